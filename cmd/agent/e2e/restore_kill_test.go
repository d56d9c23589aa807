package e2e

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"
)

// restoredKeys is how many entries the archive has, of noise, so that it goes
// through the log in several parts.
const restoredKeys = 6

// TestRestore_WhileTheLeaderDies kills the leader with half of an archive sent, again
// right after all of it was, and once it has the new state itself. Each time all servers must come to have either
// what the archive has or what was there before, never a mix; no index goes back,
// and who watches is woken by what is new.
func TestRestore_WhileTheLeaderDies(t *testing.T) {
	c := newCluster(t)
	servers := c.servers(3)
	asked := c.client("client")
	for _, a := range append(servers, asked) {
		a.start()
	}
	for _, a := range append(servers, asked) {
		a.waitLeader()
	}
	kv := asked.consul().KV()
	fill := func(state string) {
		t.Helper()
		noise := make([]byte, 256<<10)
		for i := range restoredKeys {
			_, _ = rand.Read(noise)
			putUntilDone(t, kv, &consul.KVPair{Key: fmt.Sprintf("k%d", i), Value: append([]byte(state+" "), noise...)})
		}
	}
	fill("archived")
	status, _, archive := asked.get("/v1/snapshot")
	if status != http.StatusOK {
		t.Fatalf("save: %d %s", status, archive)
	}
	for round, sent := range []int{len(archive) / 2, len(archive), len(archive)} {
		fill("present")
		_, meta, err := kv.Get("k0", &consul.QueryOptions{RequireConsistent: true})
		if err != nil {
			t.Fatal(err)
		}
		woken := watchKey(t, asked, meta.LastIndex)
		leader := leaderOf(servers, asked)
		in, out := io.Pipe()
		answered := make(chan string, 1)
		go func() { answered <- sendArchive(t.Context(), asked, in) }()
		_, _ = io.WriteString(out, archive[:sent]) // fails where it is answered before
		installed := round == 2
		if installed {
			out.Close()
			eventually(t, 20*time.Second, "the leader has the archive's state", func() error {
				_, _, value, err := leader.tryGet("/v1/kv/k0?raw&stale")
				if err == nil && !strings.HasPrefix(value, "archived") {
					err = errors.New("not yet")
				}
				return err
			})
		}
		leader.kill()
		go func() { _, _ = io.WriteString(out, archive[sent:]); out.Close() }()
		answer := <-answered
		in.Close()
		leader.start()
		leader.waitLeader()
		state := oneState(t, servers, meta.LastIndex)
		t.Logf("round %d: %s; the state is %s", round, answer, state)
		if sent < len(archive) && state != "present" || installed && state != "archived" || strings.HasPrefix(answer, "200") && state != "archived" {
			t.Errorf("the restore is answered %s and the state is %s", answer, state)
		}
		if state == "present" {
			putUntilDone(t, kv, &consul.KVPair{Key: "k0", Value: []byte("woken")})
		}
		if err := <-woken; err != nil {
			t.Error(err)
		}
	}
}

// putUntilDone puts an entry, again while no leader answers.
func putUntilDone(t *testing.T, kv *consul.KV, p *consul.KVPair) {
	t.Helper()
	eventually(t, 20*time.Second, "put "+p.Key, func() error { _, err := kv.Put(p, nil); return err })
}

// sendArchive restores by an agent and gives status and text of the answer.
func sendArchive(ctx context.Context, a *agent, body io.Reader) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+a.addr+":8500/v1/snapshot", body)
	if err != nil {
		return err.Error()
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(resp.StatusCode, " ", string(text))
}

// watchKey waits, again after an error, for k0 to be newer than index.
func watchKey(t *testing.T, a *agent, index uint64) <-chan error {
	woken := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for {
			_, meta, err := a.consul().KV().Get("k0", (&consul.QueryOptions{WaitIndex: index}).WithContext(ctx))
			switch {
			case ctx.Err() != nil:
				woken <- fmt.Errorf("the watch was not woken: %w", ctx.Err())
				return
			case err == nil && meta.LastIndex < index:
				woken <- fmt.Errorf("the index went back from %d to %d", index, meta.LastIndex)
				return
			case err == nil && meta.LastIndex > index:
				woken <- nil
				return
			}
		}
	}()
	return woken
}

// oneState waits until all servers' own copies say the same, and gives the word that
// all entries begin with.
func oneState(t *testing.T, servers []*agent, index uint64) (state string) {
	t.Helper()
	eventually(t, 20*time.Second, "one state on all servers", func() error {
		if _, _, err := servers[0].consul().KV().Get("k0", &consul.QueryOptions{RequireConsistent: true}); err != nil {
			return err
		}
		state = ""
		for _, s := range servers {
			all, meta, err := s.consul().KV().List("k", &consul.QueryOptions{AllowStale: true})
			if err != nil {
				return err
			}
			if len(all) != restoredKeys || meta.LastIndex < index {
				return fmt.Errorf("%s has %d entries at index %d, which was %d", s.name, len(all), meta.LastIndex, index)
			}
			own, _, _ := strings.Cut(string(all[0].Value), " ")
			for _, p := range all {
				if word, _, _ := strings.Cut(string(p.Value), " "); word != own {
					t.Fatalf("%s has a mix: %s is %s, %s is %s", s.name, p.Key, word, all[0].Key, own)
				}
			}
			if state != "" && own != state {
				return fmt.Errorf("%s has what is %s, others what is %s", s.name, own, state)
			}
			state = own
		}
		return nil
	})
	return state
}
