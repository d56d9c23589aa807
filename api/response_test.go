package api_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"muster/api"
)

func TestAnswers_StayWithinTheirBound(t *testing.T) {
	const bound = 64 << 10
	r := newRig(t, func(c *api.Config, _ *api.Deps) { c.CacheBytes = bound })
	for i := range 50 {
		r.replica.register(t, fmt.Sprintf("n%d", i), "web", "passing")
	}
	for i := range 500 {
		want := fmt.Sprintf("n%d", i%50)
		if w := r.do("GET", fmt.Sprintf("/v1/catalog/nodes?filter=Node==%s+or+Node==x%d", want, i), ""); !strings.Contains(w.Body.String(), `"`+want+`"`) {
			t.Fatalf("%s", w.Body)
		}
		if size := r.metric("muster_http_answers_bytes"); size > bound {
			t.Fatalf("%v bytes kept, more than %d", size, bound)
		}
	}
}

func TestWrite_ThatChangesNothingTakesNoLogEntry(t *testing.T) {
	r := newRig(t)
	for range 3 {
		if w := r.do("PUT", "/v1/catalog/register", registerN1); w.Code != 200 {
			t.Fatal(w.Body)
		}
	}
	if n := r.replica.writes.Load(); n != 1 {
		t.Errorf("%d log entries for one change", n)
	}
	if r.replica.reads.Load() < 2 {
		t.Error("that nothing changes was not confirmed by a linearizable read")
	}
	other := `{"Node":"n2","Address":"192.0.2.2","ID":"11111111-2222-3333-4444-555555555555"}`
	r.do("PUT", "/v1/catalog/register", other)
	w := r.do("PUT", "/v1/catalog/register", strings.ReplaceAll(other, "n2", "n1x"))
	if w.Code < 200 || w.Code >= 500 {
		t.Errorf("a second node with the same ID: %d %s", w.Code, w.Body)
	}
}

func TestConsistency_ModesReadAsMuchAsTheyPromise(t *testing.T) {
	r := newRig(t)
	r.replica.age = 1500 * time.Millisecond
	for target, want := range map[string]struct {
		reads       int64
		mode, lastC string
	}{
		"/v1/catalog/nodes":                    {1, "leader", "0"},
		"/v1/catalog/nodes?consistent":         {1, "consistent", "0"},
		"/v1/catalog/nodes?stale":              {0, "stale", "1500"},
		"/v1/catalog/nodes?stale&max_stale=2s": {0, "stale", "1500"},
		"/v1/catalog/nodes?stale&max_stale=1s": {1, "leader", "0"},
	} {
		before, confirmed := r.replica.reads.Load(), r.replica.confirms.Load()
		w := r.do("GET", target, "")
		if byRound := r.replica.confirms.Load() > confirmed; byRound != (want.mode == "consistent") {
			t.Errorf("%s: confirmed by a round: %v", target, byRound)
		}
		h := w.Header()
		if reads := r.replica.reads.Load() - before; reads != want.reads || h.Get("X-Consul-Effective-Consistency") != want.mode || h.Get("X-Consul-LastContact") != want.lastC {
			t.Errorf("%s: %d quorum reads, %v", target, reads, h)
		}
	}
}

// Until a restarted server has applied what it knew to be committed, its copy is
// older than answers that it gave before.
func TestConsistency_StaleReadsDoNotGoBackAfterARestart(t *testing.T) {
	r := newRig(t)
	r.replica.replaying.Store(true)
	w := r.do("GET", "/v1/catalog/nodes?stale", "")
	if reads := r.replica.reads.Load(); reads != 1 || w.Header().Get("X-Consul-Effective-Consistency") != "leader" {
		t.Errorf("answered from an old copy: %d quorum reads, %v", reads, w.Header())
	}
}

func TestResponse_IsCompressedWhereItPays(t *testing.T) {
	r := newRig(t)
	for i := range 30 {
		r.replica.register(t, fmt.Sprintf("n%d", i), "web", "passing")
	}
	plain := r.do("GET", "/v1/health/service/web", "")
	if plain.Header().Get("Content-Encoding") != "" || plain.Header().Get("Vary") != "Accept-Encoding" {
		t.Errorf("without being asked: %v", plain.Header())
	}
	w := r.do("GET", "/v1/health/service/web", "", "Accept-Encoding", "br, gzip;q=0.5")
	if w.Header().Get("Content-Encoding") != "gzip" {
		t.Fatalf("%v", w.Header())
	}
	z, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(z); err != nil || !bytes.Equal(text, plain.Body.Bytes()) {
		t.Errorf("%v", err)
	}
	for _, no := range []string{"gzip;q=0", "br", "identity"} {
		if w := r.do("GET", "/v1/health/service/web", "", "Accept-Encoding", no); w.Header().Get("Content-Encoding") != "" {
			t.Errorf("%s: compressed", no)
		}
	}
	if w := r.do("GET", "/v1/catalog/datacenters", "", "Accept-Encoding", "gzip"); w.Header().Get("Content-Encoding") != "" {
		t.Error("a few bytes are compressed")
	}
}

func TestResponse_CarriesConsulsHeaders(t *testing.T) {
	r := newRig(t, func(c *api.Config, _ *api.Deps) { c.ResponseHeaders = map[string]string{"X-Own": "yes"} })
	for _, target := range []string{"/v1/catalog/nodes", "/v1/agent/self", "/v1/health/service/", "/v1/nope", "/metrics"} {
		w := r.do("GET", target, "")
		if w.Header().Get("X-Own") != "yes" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", target, w.Header())
		}
		if known := target != "/v1/nope" && target != "/metrics"; known != (w.Header().Get("X-Consul-Default-ACL-Policy") == "allow") {
			t.Errorf("%s: %v", target, w.Header())
		}
	}
	if w := r.do("GET", "/v1/catalog/nodes", ""); w.Header().Get("X-Consul-Query-Backend") != "blocking-query" {
		t.Errorf("%v", w.Header())
	}
}

func TestUI_IsServedWhereThereIsOne(t *testing.T) {
	with := newRig(t, func(_ *api.Config, d *api.Deps) {
		d.UI = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "page ", r.URL.Path) })
	})
	if w := with.do("GET", "/", ""); w.Code != 301 || w.Header().Get("Location") != "/ui/" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w := with.do("GET", "/ui/app.js", ""); w.Body.String() != "page /ui/app.js" {
		t.Errorf("%s", w.Body)
	}
	without := newRig(t)
	if w := without.do("GET", "/ui/", ""); w.Code != 404 {
		t.Errorf("%d", w.Code)
	}
}

func TestMetrics_BothForms(t *testing.T) {
	r := newRig(t)
	r.do("GET", "/v1/catalog/nodes", "")
	if n := r.metric("muster_http_requests_total"); n != 1 {
		t.Errorf("%v requests counted", n)
	}
	w := r.do("GET", "/v1/agent/metrics?format=prometheus", "")
	if !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; version=0.0.4") ||
		!strings.Contains(w.Body.String(), `muster_http_requests_total{code="200",method="GET",route="/v1/catalog/nodes"} 1`) {
		t.Errorf("%v %s", w.Header(), w.Body)
	}
	var form struct {
		Timestamp string
		Gauges    []struct {
			Name  string
			Value float64
		}
		Counters, Samples []struct {
			Name  string
			Count int
		}
	}
	if err := json.Unmarshal(r.do("GET", "/v1/agent/metrics", "").Body.Bytes(), &form); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, g := range form.Gauges {
		found = found || g.Name == "consul.host.runtime.alloc_bytes" && g.Value > 0
	}
	if !found || form.Timestamp == "" || len(form.Counters) == 0 || len(form.Samples) == 0 {
		t.Errorf("%+v", form)
	}
}

func TestHost_DescribesTheMachine(t *testing.T) {
	r := newRig(t)
	var host struct {
		CollectionTime int64
		Memory         struct{ Total uint64 }
		CPU            []any
		Disk           struct{ Total uint64 }
	}
	if err := json.Unmarshal(r.do("GET", "/v1/agent/host", "").Body.Bytes(), &host); err != nil {
		t.Fatal(err)
	}
	if host.CollectionTime == 0 || host.Memory.Total == 0 || len(host.CPU) == 0 || host.Disk.Total == 0 {
		t.Errorf("%+v", host)
	}
}

func TestNew_RefusesWhatCannotWork(t *testing.T) {
	do := func(*api.Request) (any, error) { return nil, nil }
	good := api.Route{Method: "GET", Path: "/v1/x", Kind: api.Local, Doc: "X.", Do: do}
	for name, change := range map[string]func(*api.Route){
		"no handler": func(r *api.Route) { r.Do = nil },
		"two":        func(r *api.Route) { r.Ask = do },
		"other kind": func(r *api.Route) { r.Kind = api.Write },
		"no doc":     func(r *api.Route) { r.Doc = "" },
		"path":       func(r *api.Route) { r.Path = "/x" },
	} {
		bad := good
		change(&bad)
		if _, err := api.New(api.DefaultConfig(), api.Deps{Cluster: newCluster()}, []api.Route{bad}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := api.New(api.DefaultConfig(), api.Deps{Cluster: newCluster()}, []api.Route{good, good}); err == nil {
		t.Error("one route twice: accepted")
	}
	bad := api.Config{ResponseHeaders: map[string]string{"a b": "c"}, BlockEndpoints: []string{"v1"}, CacheBytes: -1}
	err := bad.Validate()
	for _, fault := range []string{"Datacenter", "MaxBodyBytes", "DefaultQueryTime", "MaxQueryTime", "HoldTimeout", "CacheBytes", `"a b"`, `"v1"`} {
		if err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("%v does not name %s", err, fault)
		}
	}
}
