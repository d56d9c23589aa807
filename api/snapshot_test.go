package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	consul "github.com/hashicorp/consul/api"

	"muster/catalog"
	"muster/catalog/archive"
	"muster/catalog/state"
)

// Restore implements snapshotapi.Replica as a server does that nothing can happen to.
func (r *fakeReplica) Restore(ctx context.Context, in io.Reader) (uint64, error) {
	step := func(c *catalog.Restore) error {
		c.ID = "r"
		result, err := r.Propose(ctx, c)
		return errors.Join(err, result.Err)
	}
	from, err := archive.NewReader(in)
	if err != nil {
		return 0, catalog.Wrap(catalog.Invalid, err)
	}
	last := &catalog.Restore{Step: catalog.RestoreInstall}
	err = step(&catalog.Restore{Step: catalog.RestoreBegin})
	if err == nil {
		err = state.Parts(from, 1000, func(data []byte) error {
			last.Part++
			return step(&catalog.Restore{Step: catalog.RestoreLoad, Part: last.Part, Data: data})
		})
	}
	if err == nil {
		err = from.Verify()
	}
	if err != nil {
		return 0, catalog.Wrap(catalog.Invalid, err)
	}
	err = step(last)
	return r.store.Index(), err
}

func TestSnapshot_SavesWithConsulsHeaders(t *testing.T) {
	r := newRig(t)
	r.replica.register(t, "n1", "web", "passing")
	w := r.do("GET", "/v1/snapshot", "", "Accept-Encoding", "gzip")
	for name, want := range map[string]string{
		"Content-Type": "application/x-gzip", "Content-Encoding": "", "X-Consul-Index": "11", "X-Consul-KnownLeader": "true",
		"X-Consul-LastContact": "0", "X-Consul-Effective-Consistency": "", "X-Consul-Query-Backend": "blocking-query",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
	report, err := archive.Inspect(w.Body, nil)
	if w.Code != 200 || err != nil || report.Meta.Index != 11 || report.Meta.Term != 3 {
		t.Fatalf("%d %+v %v", w.Code, report, err)
	}
	if reads := r.replica.reads.Load(); reads != 1 {
		t.Errorf("it was preceded by %d linearizable reads", reads)
	}
	if w := r.do("GET", "/v1/snapshot?stale", ""); w.Code != 200 || r.replica.reads.Load() != 1 {
		t.Errorf("a stale one asks the leader: %d", w.Code)
	}
	if w := r.do("GET", "/v1/snapshot", "", "Accept", "text/event-stream"); w.Header().Get("Content-Type") != "application/x-gzip" {
		t.Errorf("it can be had as a %s", w.Header().Get("Content-Type"))
	}
}

func TestOfficialClient_SnapshotSave(t *testing.T) {
	official(t, func(t *testing.T, c *consul.Client) {
		if _, err := c.KV().Put(&consul.KVPair{Key: "k", Value: []byte("v")}, nil); err != nil {
			t.Fatal(err)
		}
		body, meta, err := c.Snapshot().Save(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		saved, err := io.ReadAll(body)
		if err != nil || meta.LastIndex == 0 || !meta.KnownLeader {
			t.Fatalf("%+v %v", meta, err)
		}
		report, err := archive.Inspect(bytes.NewReader(saved), nil)
		if err != nil || report.Meta.Index != meta.LastIndex {
			t.Errorf("%+v %v", report, err)
		}
	})
}

// TestSnapshot_CutShortIsSeen has a server end while it sends.
func TestSnapshot_CutShortIsSeen(t *testing.T) {
	r := newRig(t)
	r.server.Drain()
	defer func() {
		if recover() == nil {
			t.Error("half an archive ended like a whole one")
		}
	}()
	r.do("GET", "/v1/snapshot", "")
}

func TestOfficialClient_SnapshotRestore(t *testing.T) {
	official(t, func(t *testing.T, c *consul.Client) {
		put := func(value string) {
			t.Helper()
			if _, err := c.KV().Put(&consul.KVPair{Key: "k", Value: []byte(value)}, nil); err != nil {
				t.Fatal(err)
			}
		}
		put("before")
		body, _, err := c.Snapshot().Save(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		saved, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		put("after")
		_, meta, err := c.KV().Get("k", nil)
		if err != nil {
			t.Fatal(err)
		}
		woken := make(chan string, 1)
		go func() {
			p, _, err := c.KV().Get("k", &consul.QueryOptions{WaitIndex: meta.LastIndex})
			woken <- fmt.Sprintf("%s %v", p.Value, err)
		}()
		if err := c.Snapshot().Restore(nil, bytes.NewReader(saved)); err != nil {
			t.Fatal(err)
		}
		if got := <-woken; got != "before <nil>" {
			t.Errorf("who waits for the entry wakes with %s", got)
		}
		p, restored, err := c.KV().Get("k", nil)
		if err != nil || string(p.Value) != "before" || restored.LastIndex <= meta.LastIndex || p.ModifyIndex != restored.LastIndex {
			t.Errorf("%+v at %d, before at %d: %v", p, restored.LastIndex, meta.LastIndex, err)
		}
	})
}

func TestSnapshot_RefusesWhatIsNoArchiveAndChangesNothing(t *testing.T) {
	r := newRig(t)
	r.replica.register(t, "n1", "web", "passing")
	saved := r.do("GET", "/v1/snapshot", "").Body.String()
	middle := len(saved) / 2
	for name, c := range map[string]struct{ body, text string }{
		"nothing":      {"", "failed to decompress snapshot: unexpected EOF"},
		"junk":         {"junk, and not so little of it", "failed to decompress snapshot: gzip: invalid header"},
		"half of it":   {saved[:middle], "unexpected EOF"},
		"a byte wrong": {saved[:middle] + string(saved[middle]^1) + saved[middle+1:], ""},
	} {
		before := r.do("GET", "/v1/catalog/service/web?stale", "").Body.String()
		w := r.do("PUT", "/v1/snapshot", c.body)
		if w.Code != 400 || !strings.Contains(w.Body.String(), c.text) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if after := r.do("GET", "/v1/catalog/service/web?stale", "").Body.String(); after != before {
			t.Errorf("%s changes the catalog to %s", name, after)
		}
	}
	if w := r.do("PUT", "/v1/snapshot", saved); w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Type") != "application/octet-stream" {
		t.Errorf("the whole of it: %d %v %s", w.Code, w.Header(), w.Body)
	}
}

// TestSnapshot_IsNotSentTwice: a body that was read once can't be tried again, at
// another server or by this one.
func TestSnapshot_IsNotSentTwice(t *testing.T) {
	tries := 0
	client := newRig(t, asClient("192.0.2.1:1", "192.0.2.2:1"))
	client.cluster.direct = func(_ string, r *http.Request) (*http.Response, error) {
		if _, err := io.ReadAll(r.Body); err != nil {
			t.Error(err)
		}
		tries++
		w := httptest.NewRecorder()
		w.Header().Set("X-Muster-Not-Done", "true")
		w.WriteHeader(500)
		return w.Result(), nil
	}
	if w := client.do("PUT", "/v1/snapshot", "archive"); w.Code != 500 || tries != 1 || !strings.Contains(w.Body.String(), "send the request again") {
		t.Errorf("%d tries, %d %s", tries, w.Code, w.Body)
	}

	// A server that was never reached has read nothing.
	server := newRig(t)
	client = newRig(t, asClient(refused(t), server.listen()))
	saved := server.do("GET", "/v1/snapshot", "").Body.String()
	if w := client.do("PUT", "/v1/snapshot", saved); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
