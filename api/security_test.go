package api_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"muster/api"
	"muster/catalog/acl"
)

// endless is a body of a given size that costs no memory.
type endless struct{ left int64 }

func (e *endless) Read(p []byte) (int, error) {
	n := min(int64(len(p)), e.left)
	if n == 0 {
		return 0, io.EOF
	}
	for i := range p[:n] {
		p[i] = 'a'
	}
	e.left -= n
	return int(n), nil
}

func TestBody_TooLargeIsRefusedWithinTheLimitRead(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"/v1/catalog/register", "/v1/catalog/deregister", "/v1/agent/service/register", "/v1/agent/check/pass/x", "/v1/agent/leave"} {
		for name, length := range map[string]int64{"announced": 1 << 30, "chunked": -1} {
			body := &endless{left: 1 << 30}
			req := httptest.NewRequest("PUT", path, body)
			req.ContentLength = length
			w := httptest.NewRecorder()
			r.users.ServeHTTP(w, req)
			if w.Code != 413 || !strings.Contains(w.Body.String(), "max size: 524288 bytes") {
				t.Errorf("%s, %s: %d %s", path, name, w.Code, w.Body)
			}
			if read := 1<<30 - body.left; read > 513<<10 {
				t.Errorf("%s, %s: read %d bytes", path, name, read)
			}
		}
	}
	if len(r.agent.calls) != 0 {
		t.Error("the agent left all the same")
	}
}

func TestBody_BombsAreRefusedQuickly(t *testing.T) {
	r := newRig(t)
	deep := strings.Repeat("[", 100_000)
	for name, body := range map[string]string{
		"depth":       `{"Node":"n","Address":"a","Service":{"Service":"s","Proxy":{"Config":{"a":` + deep + `}}}}`,
		"nested":      deep,
		"NaN":         `{"Node":"n","Address":"a","Service":{"Service":"s","Port":NaN}}`,
		"huge number": `{"Node":"n","Address":"a","Service":{"Service":"s","Port":1e999}}`,
		"UTF-16":      "\xff\xfe{\x00}\x00",
		"long name":   `{"Node":"` + strings.Repeat("n", 64<<10) + `","Address":"a"}`,
		"NUL":         `{"Node":"a\u0000b","Address":"a"}`,
	} {
		for _, path := range []string{"/v1/catalog/register", "/v1/agent/service/register", "/v1/agent/check/register"} {
			if w := r.do("PUT", path, body); w.Code != 400 {
				t.Errorf("%s to %s: %d %.100s", name, path, w.Code, w.Body)
			}
		}
	}
	if r.replica.writes.Load() != 0 || len(r.agent.services) != 0 {
		t.Error("something was registered")
	}
}

func TestFilter_BombsAreRefusedQuickly(t *testing.T) {
	r := newRig(t)
	for i := range 20 {
		r.replica.register(t, fmt.Sprintf("n%d", i), "web", "passing")
	}
	for name, filter := range map[string]string{
		"parentheses": strings.Repeat("(", 5000),
		"not":         strings.Repeat("not ", 2000) + "Node==x",
		"or":          strings.Repeat("Node==x or ", 1400) + "Node==x",
		"too long":    strings.Repeat("Node==x or ", 100_000) + "Node==x",
		"regexp":      `Node matches "(((a{1000}){1000}){1000})"`,
		"nested any":  strings.Repeat("any Meta as k, v { ", 50) + "k==x" + strings.Repeat("}", 50),
	} {
		start := time.Now()
		w := r.do("GET", "/v1/catalog/nodes?filter="+strings.ReplaceAll(filter, " ", "+"), "")
		if took := time.Since(start); took > time.Second {
			t.Errorf("%s: took %v", name, took)
		}
		if w.Code == 200 && name != "not" && name != "or" {
			t.Errorf("%s: %d %.100s", name, w.Code, w.Body)
		}
	}
}

func TestPath_TricksReachNoOtherRoute(t *testing.T) {
	r := newRig(t, func(c *api.Config, _ *api.Deps) { c.BlockEndpoints = []string{"/v1/agent/", "/v1/catalog/node/secret"} })
	for target, want := range map[string]int{
		"/v1/agent/self": 403, "/v1/%61gent/self": 403, "/v1/catalog/node/secret": 403,
		"/v1/catalog/node/%73ecret": 403, "/v1/catalog/node/secre": 200,
		"//v1/agent/self": 404, "/v1//agent/self": 404, "/v1/./agent/self": 404, "/v1/catalog/../agent/self": 404,
		"/v1/catalog/%2e%2e/agent/self": 404, "/v1%2fagent/self": 403, "/v1/catalog%2fnodes": 404,
		"/V1/agent/self": 404, "/v1/catalog/nodes%00": 404, "/v1/catalog/nodes/": 404, "/v1/catalog/nodes;x": 404,
		"/ui/..%2fv1/agent/self": 404, "/v1/catalog/node/a%2Fb": 200, "/v1/catalog/node/a/b": 200,
	} {
		if w := r.do("GET", target, ""); w.Code != want {
			t.Errorf("%s: %d %s, want %d", target, w.Code, w.Body, want)
		}
	}
	if w := r.do("POST", "/v1/catalog/deregister", registerN1, "X-HTTP-Method-Override", "PUT"); w.Code != 405 {
		t.Errorf("the method was overridden: %d", w.Code)
	}
}

func TestPath_AnEscapedSlashIsPartOfTheName(t *testing.T) {
	r := newRig(t)
	r.replica.register(t, "n1", "a/b", "passing")
	for _, target := range []string{"/v1/catalog/service/a%2Fb", "/v1/catalog/service/a%2fb", "/v1/catalog/service/a/b"} {
		if w := r.do("GET", target, ""); !strings.Contains(w.Body.String(), `"a/b"`) {
			t.Errorf("%s: %s", target, w.Body)
		}
	}
}

func TestBrowser_PagesOfOtherSitesMayNotWrite(t *testing.T) {
	for _, c := range []struct {
		origin, site string
		response     string // of Access-Control-Allow-Origin in response_headers
		want         int
	}{
		{"", "", "", 200},
		{"http://example.com", "", "", 200}, // httptest's own host
		{"http://example.com", "same-origin", "", 200},
		{"", "none", "", 200},
		{"http://evil.test", "", "", 403},
		{"http://evil.test", "cross-site", "", 403},
		{"http://example.com:81", "same-site", "", 403},
		{"null", "", "", 403},
		{"", "cross-site", "", 403},
		{"https://ui.test", "cross-site", "https://ui.test", 200},
		{"https://ui.test", "cross-site", "*", 200},
		{"https://evil.test", "cross-site", "https://ui.test", 403},
	} {
		r := newRig(t, func(cfg *api.Config, _ *api.Deps) {
			if c.response != "" {
				cfg.ResponseHeaders = map[string]string{"Access-Control-Allow-Origin": c.response}
			}
		})
		var header []string
		if c.origin != "" {
			header = append(header, "Origin", c.origin)
		}
		if c.site != "" {
			header = append(header, "Sec-Fetch-Site", c.site)
		}
		if w := r.do("PUT", "/v1/catalog/register", registerN1, header...); w.Code != c.want {
			t.Errorf("%+v: %d %s", c, w.Code, w.Body)
		}
		if w := r.do("GET", "/v1/catalog/nodes", "", header...); w.Code != 200 || (w.Header().Get("Access-Control-Allow-Origin") != c.response) {
			t.Errorf("reading, %+v: %d %v", c, w.Code, w.Header())
		}
		if wrote := r.replica.writes.Load() == 1; wrote != (c.want == 200) {
			t.Errorf("%+v: wrote %v", c, wrote)
		}
	}
}

// A write that a browser may make stays allowed where it is passed on.
func TestBrowser_OwnPageWritesThroughAClientAgent(t *testing.T) {
	client := newRig(t, asClient(newRig(t).listen()))
	if w := client.do("PUT", "/v1/catalog/register", registerN1, "Origin", "http://example.com", "Sec-Fetch-Site", "same-origin"); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestPanic_IsAnsweredAndLogged(t *testing.T) {
	var log bytes.Buffer
	r := newRig(t, func(_ *api.Config, d *api.Deps) { d.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	if w := r.do("GET", "/v1/test/panic", ""); w.Code != 500 || !strings.Contains(w.Body.String(), "internal error") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if !strings.Contains(log.String(), "on purpose") || r.metric("muster_http_panics_total") != 1 {
		t.Errorf("log: %s", log.String())
	}
	if in := r.metric("muster_http_requests_in_flight"); in != 0 {
		t.Errorf("%v requests still in flight", in)
	}
}

// deny is an authorizer that allows only what it names.
type deny map[string]bool

func (d deny) Allowed(r acl.Resource, name string, a acl.Access) bool {
	return d[fmt.Sprintf("%s:%s:%s", r, name, a)]
}
func (d deny) AllowedAll(acl.Resource, acl.Access) bool { return false }
func (d deny) ViewID() string                           { return fmt.Sprint(map[string]bool(d)) }

// Every route asks: with a token that may do nothing, each refuses or shows
// nothing of what is there.
func TestACL_EveryRouteAsks(t *testing.T) {
	public := map[string]bool{ // what Consul tells everyone too
		"/v1/status/leader": true, "/v1/status/peers": true, "/v1/catalog/datacenters": true, "/v1/test/panic": true,
	}
	allowed := true
	r := newRig(t, func(_ *api.Config, d *api.Deps) {
		d.Authorize = authorizeWhile(&allowed)
	})
	r.replica.register(t, "topsecret", "topsecret", "passing")
	r.do("PUT", "/v1/agent/service/register", `{"Name":"topsecret","Check":{"TTL":"10s","CheckID":"topsecret"}}`)
	allowed = false
	bodies := map[string]string{
		"/v1/catalog/register":       `{"Node":"topsecret","Address":"192.0.2.9"}`,
		"/v1/catalog/deregister":     `{"Node":"topsecret"}`,
		"/v1/agent/service/register": `{"Name":"topsecret"}`,
		"/v1/agent/check/register":   `{"Name":"topsecret","TTL":"10s"}`,
	}
	writes := r.replica.writes.Load()
	for _, route := range r.server.Routes() {
		if public[route.Path] {
			continue
		}
		head, _, _ := strings.Cut(route.Path, "{")
		target := head
		if head != route.Path {
			target += map[bool]string{true: "any", false: "topsecret"}[strings.HasSuffix(head, "/state/")]
		}
		body := bodies[target]
		if strings.Contains(target, "/check/update/") {
			body = `{"Status":"passing"}`
		}
		w := r.do(route.Method, target+"?enable=true", body)
		if w.Code != 403 && (route.Method != "GET" || strings.Contains(w.Body.String(), "topsecret")) {
			t.Errorf("%s %s: %d %.200s", route.Method, target, w.Code, w.Body)
		}
	}
	if r.replica.writes.Load() != writes || len(r.agent.calls) != 0 {
		t.Errorf("something was written or done: %v", r.agent.calls)
	}
}

func TestACL_HidesBeforeItFilters(t *testing.T) {
	r := newRig(t, func(_ *api.Config, d *api.Deps) {
		d.Authorize = authorizeAs(deny{"node:n1:read": true, "service:web:read": true})
	})
	r.replica.register(t, "n1", "web", "passing")
	r.replica.register(t, "n2", "db", "passing")
	w := r.do("GET", "/v1/catalog/nodes", "")
	if strings.Contains(w.Body.String(), "n2") || !strings.Contains(w.Body.String(), "n1") || w.Header().Get("X-Consul-Results-Filtered-By-ACLs") != "true" {
		t.Errorf("%s %v", w.Body, w.Header())
	}
	if w := r.do("GET", "/v1/catalog/nodes?filter=Node==n2", ""); w.Body.String() != "[]" {
		t.Errorf("the filter showed %s", w.Body)
	}
	if w := r.do("GET", "/v1/catalog/services", ""); w.Body.String() != `{"web":[]}` {
		t.Errorf("services: %s", w.Body)
	}
}

func TestAnswers_AreKeptByWhatACallerMaySee(t *testing.T) {
	r := newRig(t, func(_ *api.Config, d *api.Deps) { d.Authorize = authorizeByToken })
	r.replica.register(t, "n1", "web", "passing")
	for range 2 {
		if w := r.do("GET", "/v1/catalog/nodes", "", "X-Consul-Token", "all"); !strings.Contains(w.Body.String(), "n1") {
			t.Errorf("with the right token: %s", w.Body)
		}
		if w := r.do("GET", "/v1/catalog/nodes?token=all", "", "X-Consul-Token", "none"); w.Body.String() != "[]" {
			t.Errorf("the header's token goes first: %s", w.Body)
		}
		if w := r.do("GET", "/v1/catalog/nodes", "", "Authorization", "Bearer all"); !strings.Contains(w.Body.String(), "n1") {
			t.Errorf("with a bearer token: %s", w.Body)
		}
		if w := r.do("GET", "/v1/catalog/nodes?token=bad", ""); w.Code != 403 {
			t.Errorf("with a bad token: %d %s", w.Code, w.Body)
		}
	}
}

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
		before := r.replica.reads.Load()
		w := r.do("GET", target, "")
		h := w.Header()
		if reads := r.replica.reads.Load() - before; reads != want.reads || h.Get("X-Consul-Effective-Consistency") != want.mode || h.Get("X-Consul-LastContact") != want.lastC {
			t.Errorf("%s: %d quorum reads, %v", target, reads, h)
		}
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
