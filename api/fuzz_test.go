package api_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzBodies sends bodies to all that decode one. None may panic or blame the
// server, and what is refused changes nothing.
func FuzzBodies(f *testing.F) {
	for _, seed := range []string{
		``, `{`, `[]`, `null`, `{"Name":"a"}`, `{"Node":"a","Address":"b"}`, `{"Name":"a","Check":{"TTL":"1s"}}`,
		`{"Name":"a","check":{"deregister_critical_service_after":1e300}}`, `{"Name":"a","Weights":{"Passing":70000}}`,
		`{"Node":"a","Address":"b","Service":{"Service":"s","Proxy":{"Config":{"a":[1,{"b":null}]}}}}`,
		`{"Node":"a","Address":"b","Check":{"Name":"c","Definition":{"Interval":"1s","TTL":-1}}}`, `{"Status":"passing"}`,
		`{"Name":"q","Service":{"Service":"web","Failover":{"Targets":[{"Peer":"p"}]},"NodeMeta":{"a":"b"}},"DNS":{"TTL":"1s"}}`,
		`{"Template":{"Type":"name_prefix_match","Regexp":"^(.*)$"},"Service":{"Service":"${match(1)}","Tags":["!${name.suffix}$$"]}}`,
		`{"Kind":"service-splitter","Name":"a","Splits":[{"Weight":100}]}`, `{"Kind":"mesh","TLS":[{"Incoming":{}}]}`, `{"kind":"bound-api-gateway"}`,
		`{"SourceName":"a","DestinationName":"b","Action":"allow"}`, `{"OverrideConnectTimeout":"5s"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		r := newRig(t)
		for _, path := range []string{"/v1/catalog/register", "/v1/catalog/deregister", "/v1/agent/service/register",
			"/v1/agent/check/register", "/v1/agent/check/update/x", "/v1/query", "/v1/query/x",
			"/v1/config", "/v1/connect/intentions", "/v1/connect/intentions/exact?source=a&destination=b", "/v1/discovery-chain/a"} {
			method := "PUT"
			if path == "/v1/query" || path == "/v1/connect/intentions" || path == "/v1/discovery-chain/a" {
				method = "POST"
			}
			writes := r.replica.writes.Load()
			w := r.do(method, path, body)
			if w.Code != 200 && w.Code != 400 && w.Code != 403 && w.Code != 404 && w.Code != 409 && !strings.Contains(w.Body.String(), "No path to datacenter") {
				t.Errorf("PUT %s %q: %d %s", path, body, w.Code, w.Body)
			}
			if w.Code == 400 && r.replica.writes.Load() != writes {
				t.Errorf("PUT %s %q was refused and written", path, body)
			}
		}
	})
}

// FuzzRequests sends paths and query strings to the whole API.
func FuzzRequests(f *testing.F) {
	for _, seed := range [][2]string{
		{"/v1/catalog/nodes", "stale&index=1"}, {"/v1/health/service/web", "passing&wait=1ns&index=5"},
		{"/v1/catalog/service/%2F", "filter=a==b"}, {"//v1", "%zz"}, {"/v1/agent/health/service/name/\xff", "format=text"},
		{"/v1/catalog/nodes", "filter=any Meta as k,v {k==v}"}, {"/v1/agent/members", `filter=Tags["a"] matches "("`},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, path, query string) {
		r := newRig(t)
		r.replica.register(t, "n1", "web", "passing")
		u, err := url.ParseRequestURI(path)
		if err != nil || strings.Contains(path, "/test/panic") {
			return
		}
		u.RawQuery = strings.ReplaceAll(query, "index=", "x=") // nobody waits
		w := httptest.NewRecorder()
		r.users.ServeHTTP(w, &http.Request{Method: "GET", URL: u, Header: http.Header{}, Host: "h", Body: http.NoBody})
		if w.Code >= 500 && w.Code != 503 && !strings.Contains(w.Body.String(), "ilter") && !strings.Contains(w.Body.String(), "expression") &&
			!strings.Contains(w.Body.String(), "No path to datacenter") && !strings.Contains(w.Body.String(), "segments") {
			t.Errorf("GET %q?%q: %d %s", path, query, w.Code, w.Body)
		}
	})
}
