package api_test

import (
	"bytes"
	"io"
	"testing"

	consul "github.com/hashicorp/consul/api"

	"muster/catalog/archive"
)

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
