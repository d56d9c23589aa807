package agent

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"muster/catalog"
	"muster/catalog/archive"
	"muster/catalog/state"
	"muster/consensus/core"
)

// restorer is one over a log that needs no quorum.
func (l *oneLog) restorer(restored func()) *restorer {
	return &restorer{
		store: l.store, propose: l.propose, confirm: func(context.Context) error { return nil },
		restored: restored, logger: slog.New(slog.DiscardHandler), left: make(chan struct{}, 1),
	}
}

// noise is a value that no compression makes smaller.
func noise(t testing.TB, size int) []byte {
	t.Helper()
	b := make([]byte, size)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// archived is an archive of a store.
func archived(t testing.TB, s *state.Store) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := archive.Write(&out, archive.NewMeta(s.Index(), 1, time.Unix(0, 0)), s.Backup(), time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// leads runs what a leader does about restores until the function that it gives
// is called.
func leads(t *testing.T, r *restorer) (depose func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.run(ctx) }()
	return func() { cancel(); <-done }
}

func TestRestorer_RestoresWhatIsWholeAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t)
		for _, key := range []string{"a", "b", "c"} {
			l.must(&catalog.KV{Verb: catalog.KVSet, Key: key, Value: noise(t, 200<<10)})
		}
		whole := archived(t, l.store)
		l.must(&catalog.KV{Verb: catalog.KVDelete, Key: "a"})
		restored := 0
		r := l.restorer(func() { restored++ })
		defer leads(t, r)()

		last := len(whole) - 1
		for _, cut := range []int{0, 1, 100, 3000, last / 2, last} {
			before := l.store.View().Index()
			_, err := r.Restore(t.Context(), bytes.NewReader(whole[:cut]))
			synctest.Wait()
			if catalog.KindOf(err) != catalog.Invalid || l.store.View().Index() != before || l.store.Restoring() != "" {
				t.Errorf("cut at %d: %v; %q goes on", cut, err, l.store.Restoring())
			}
		}
		for at := 0; at < len(whole); at += last / 7 {
			damaged := bytes.Clone(whole)
			damaged[at] ^= 0x10
			if _, err := r.Restore(t.Context(), bytes.NewReader(damaged)); catalog.KindOf(err) != catalog.Invalid || l.store.View().KV("a") != nil {
				t.Errorf("with byte %d damaged: %v", at, err)
			}
		}
		synctest.Wait() // the last of these is abandoned
		index, err := r.Restore(t.Context(), bytes.NewReader(whole))
		if err != nil || index != l.store.Index() || restored != 1 || l.store.View().KV("a") == nil {
			t.Errorf("restored %d times, at %d of %d: %v", restored, index, l.store.Index(), err)
		}
	})
}

func TestRestorer_OneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t)
		whole := archived(t, l.store)
		r := l.restorer(func() {})
		defer leads(t, r)()
		in, out := io.Pipe()
		first := make(chan error, 1)
		go func() { _, err := r.Restore(t.Context(), in); first <- err }()
		synctest.Wait()
		if _, err := r.Restore(t.Context(), bytes.NewReader(whole)); catalog.KindOf(err) != catalog.TooMany {
			t.Errorf("a second one: %v", err)
		}
		if _, err := out.Write(whole); err != nil {
			t.Fatal(err)
		}
		out.Close()
		if err := <-first; err != nil {
			t.Error(err)
		}
	})
}

// TestRestorer_WhatIsLeftIsAbandoned: by the leader that failed once it can, and
// by one that comes to lead in the middle.
func TestRestorer_WhatIsLeftIsAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t)
		l.must(&catalog.KV{Verb: catalog.KVSet, Key: "a", Value: noise(t, 300<<10)})
		whole := archived(t, l.store)
		r := l.restorer(func() { t.Error("it was restored") })
		propose := r.propose
		var failing atomic.Bool
		failing.Store(true)
		r.propose = func(ctx context.Context, c catalog.Command) (catalog.Result, error) {
			if step := c.(*catalog.Restore); failing.Load() && step.Step != catalog.RestoreBegin {
				return catalog.Result{}, catalog.Errorf(catalog.Unavailable, "no leader")
			}
			return propose(ctx, c)
		}
		depose := leads(t, r)
		_, err := r.Restore(t.Context(), bytes.NewReader(whole))
		if catalog.KindOf(err) != catalog.Internal || !strings.Contains(err.Error(), "nothing changed") {
			t.Errorf("it says %v", err)
		}
		time.Sleep(time.Second)
		if l.store.Restoring() == "" {
			t.Fatal("there is no restore to abandon")
		}
		failing.Store(false)
		time.Sleep(time.Second)
		if id := l.store.Restoring(); id != "" {
			t.Errorf("%s goes on", id)
		}
		depose()

		l.must(&catalog.Restore{Step: catalog.RestoreBegin, ID: "of the leader before"})
		next := l.restorer(func() {})
		defer leads(t, next)()
		synctest.Wait()
		if id := l.store.Restoring(); id != "" {
			t.Errorf("%s goes on under the next leader", id)
		}
	})
}

// TestFSM_StopsAtARestoreOfALaterRelease: the others have restored what this
// server can't read.
func TestFSM_StopsAtARestoreOfALaterRelease(t *testing.T) {
	m := stateMachine{store: state.New()}
	var entries []core.Entry
	for i, c := range []*catalog.Restore{
		{Step: catalog.RestoreBegin, ID: "r"}, {Step: catalog.RestoreLoad, ID: "r", Part: 1, Data: []byte{200, 0, 0, 0, 0}},
	} {
		data, err := catalog.EncodeCommand(c)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, core.Entry{Index: uint64(i + 1), Data: data})
	}
	if _, err := m.Apply(entries); !errors.Is(err, catalog.ErrLaterRelease) || !strings.Contains(err.Error(), "entry 2") {
		t.Errorf("it goes on: %v", err)
	}
}

// TestRestore_InACluster restores three servers, asked through one that follows:
// once with the leader changing in the middle, which changes nothing, and then to the end.
func TestRestore_InACluster(t *testing.T) {
	c := newTestCluster(t)
	var servers []*testAgent
	for range 3 {
		servers = append(servers, c.start(c.config(3)))
	}
	oneCluster(t, servers...)
	leader, follower := servers[0], servers[1]
	for _, s := range servers {
		if s.quorum.IsLeader() {
			leader = s
		}
	}
	if follower == leader {
		follower = servers[2]
	}
	put := func(key string, value []byte) {
		t.Helper()
		if status, body := request(t, http.MethodPut, follower, "/v1/kv/"+key, bytes.NewReader(value)); status != 200 || body != "true" {
			t.Fatalf("put %s: %d %s", key, status, body)
		}
	}
	for i := range 4 {
		put(fmt.Sprintf("k%d", i), noise(t, 300<<10))
	}
	status, whole := request(t, http.MethodGet, follower, "/v1/snapshot", nil)
	if status != 200 {
		t.Fatalf("save: %d %s", status, whole)
	}
	put("k0", []byte("changed"))

	in, out := io.Pipe()
	answered := make(chan string, 1)
	go func() {
		status, body := request(t, http.MethodPut, follower, "/v1/snapshot", in)
		answered <- fmt.Sprint(status, " ", body)
	}()
	half := len(whole) / 2
	if _, err := io.WriteString(out, whole[:half]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a restore under way on all servers", func() error {
		for _, s := range servers {
			if s.quorum.store.Restoring() == "" {
				return fmt.Errorf("%s has none", s.cfg.NodeName)
			}
		}
		return nil
	})
	if err := leader.quorum.node.TransferLeadership(t.Context(), core.ServerID(follower.nodeID)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the restore is abandoned on all servers", func() error {
		for _, s := range servers {
			if id := s.quorum.store.Restoring(); id != "" {
				return fmt.Errorf("%s goes on with %s", s.cfg.NodeName, id)
			}
		}
		return nil
	})
	// Whoever it was sent to answers before it has all of it, so that writing fails.
	go func() { _, _ = io.WriteString(out, whole[half:]); out.Close() }()
	if got := <-answered; !strings.HasPrefix(got, "500 ") || !strings.Contains(got, "nothing was restored") {
		t.Errorf("it is answered with %s", got)
	}
	in.Close()
	if status, body := request(t, http.MethodGet, follower, "/v1/kv/k0?raw", nil); body != "changed" {
		t.Errorf("the catalog was changed: %d %s", status, body)
	}

	if status, body := request(t, http.MethodPut, leader, "/v1/snapshot", strings.NewReader(whole)); status != 200 {
		t.Fatalf("restore: %d %s", status, body)
	}
	for _, s := range servers {
		if status, body := request(t, http.MethodGet, s, "/v1/kv/k0?raw", nil); status != 200 || len(body) != 300<<10 {
			t.Errorf("%s has %d bytes: %d", s.cfg.NodeName, len(body), status)
		}
	}
	eventually(t, "the same state everywhere", func() error {
		var states []string
		for _, s := range servers {
			var b bytes.Buffer
			if _, err := s.quorum.store.Snapshot().WriteTo(&b); err != nil {
				return err
			}
			states = append(states, b.String())
		}
		if states[0] != states[1] || states[0] != states[2] {
			return errors.New("they differ")
		}
		return nil
	})
}

// All agents hear of a restore and put back what the archive lacks, long before
// their next full sync.
func TestRestore_AgentsPutTheirServicesBackAtOnce(t *testing.T) {
	c := newTestCluster(t)
	server := c.start(c.config(1))
	client := c.start(c.config(0))
	oneCluster(t, server)
	serviceIsThere := func() error {
		if status, body := request(t, http.MethodGet, server, "/v1/catalog/service/web", nil); status != 200 || !strings.Contains(body, `"web"`) {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	}
	eventually(t, "the client agent is in the catalog", func() error {
		if status, body := request(t, http.MethodGet, server, "/v1/catalog/node/"+client.cfg.NodeName, nil); status != 200 || body == "null" {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	status, archive := request(t, http.MethodGet, client, "/v1/snapshot", nil)
	if status != 200 {
		t.Fatalf("save: %d %s", status, archive)
	}
	if status, body := request(t, http.MethodPut, client, "/v1/agent/service/register", strings.NewReader(`{"Name":"web"}`)); status != 200 {
		t.Fatalf("register: %d %s", status, body)
	}
	eventually(t, "the service is in the catalog", serviceIsThere)
	if status, body := request(t, http.MethodPut, client, "/v1/snapshot", strings.NewReader(archive)); status != 200 {
		t.Fatalf("restore: %d %s", status, body)
	}
	eventually(t, "the service is in the catalog again", serviceIsThere)
}

// request asks an agent over HTTP.
func request(t testing.TB, method string, a *testAgent, target string, body io.Reader) (status int, answer string) {
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+a.cfg.HTTP[0].Address+target, body)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(data)
}
