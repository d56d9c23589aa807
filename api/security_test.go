package api_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/api"
	"muster/catalog"
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
	for _, route := range r.server.Routes() {
		if route.Method == "GET" {
			continue
		}
		path := strings.NewReplacer("{", "", "}", "").Replace(route.Path)
		for name, length := range map[string]int64{"announced": 1 << 30, "chunked": -1} {
			body := &endless{left: 1 << 30}
			req := httptest.NewRequest(route.Method, path, body)
			req.ContentLength = length
			w := httptest.NewRecorder()
			r.users.ServeHTTP(w, req)
			if route.Upload && w.Code == 400 {
				// Its size has no bound, but what begins wrong isn't read on.
			} else if w.Code != 413 || !strings.Contains(w.Body.String(), "max size: 524288 bytes") {
				t.Errorf("%s, %s: %d %s", path, name, w.Code, w.Body)
			}
			if read := 1<<30 - body.left; read > 513<<10 {
				t.Errorf("%s, %s: read %d bytes", path, name, read)
			}
		}
	}
	if len(r.agent.calls) != 0 || r.replica.writes.Load() != 0 {
		t.Errorf("something was done all the same: %v", r.agent.calls)
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
		"//v1/agent/self": 307, "/v1//agent/self": 307, "/v1/./agent/self": 307, "/v1/catalog/../agent/self": 307,
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

func TestPath_WhatIsSpeltOtherwiseIsSentOn(t *testing.T) {
	r := newRig(t)
	for target, want := range map[string]string{
		"/v1/kv?recurse&dc=a%20b": "/v1/kv/?recurse&dc=a%20b", "//v1/kv/a%2Fb": "/v1/kv/a%2Fb", "/v1/catalog/service": "/v1/catalog/service/",
		"//v1//catalog/nodes": "/v1/catalog/nodes", "/../v1/kv/./a": "/v1/kv/a", "/v1/kv/a//b": "", "//example.com/v1/kv/a": "",
		"//v1/catalog/nodes/": "", "/v1/catalog": "", "//": "", "/v1/x/../kv/%2e%2e": "/v1/kv/%2e%2e",
	} {
		w := r.do("PUT", target, "x")
		if got := w.Header().Get("Location"); got != want || (want != "") != (w.Code == http.StatusTemporaryRedirect) {
			t.Errorf("%s: %d to %q, want %q", target, w.Code, got, want)
		}
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
		"/v1/status/leader": true, "/v1/status/peers": true, "/v1/catalog/datacenters": true, "/v1/coordinate/datacenters": true, "/v1/test/panic": true,
	}
	allowed := true
	r := newRig(t, func(_ *api.Config, d *api.Deps) {
		d.Authorize = authorizeWhile(&allowed)
	})
	r.replica.register(t, "topsecret", "topsecret", "passing")
	r.do("PUT", "/v1/connect/intentions/exact?source=a&destination=topsecret", `{"Action":"deny","Description":"topsecret"}`)
	r.do("PUT", "/v1/config", `{"Kind":"service-defaults","Name":"topsecret"}`)
	r.do("PUT", "/v1/agent/service/register", `{"Name":"topsecret","Check":{"TTL":"10s","CheckID":"topsecret"}}`)
	allowed = false
	bodies := map[string]string{
		"/v1/catalog/register":          `{"Node":"topsecret","Address":"192.0.2.9"}`,
		"/v1/catalog/deregister":        `{"Node":"topsecret"}`,
		"/v1/config":                    `{"Kind":"service-defaults","Name":"topsecret"}`,
		"/v1/connect/intentions":        `{"SourceName":"a","DestinationName":"topsecret","Action":"deny"}`,
		"/v1/discovery-chain/topsecret": `{}`,
		"/v1/connect/intentions/exact":  `{"Action":"deny"}`,
		"/v1/agent/connect/authorize":   `{"Target":"topsecret","ClientCertURI":"spiffe://c.consul/ns/default/dc/dc1/svc/a"}`,
		"/v1/agent/service/register":    `{"Name":"topsecret"}`,
		"/v1/agent/check/register":      `{"Name":"topsecret","TTL":"10s"}`,
		"/v1/session/create":            `{"Node":"topsecret"}`,
		"/v1/query":                     `{"Name":"topsecret","Service":{"Service":"web"}}`,
		"/v1/query/topsecret":           `{"Name":"topsecret","Service":{"Service":"web"}}`,
		"/v1/txn":                       `[{"KV":{"Verb":"set","Key":"topsecret"}}]`,
		"/v1/coordinate/update":         `{"Node":"topsecret","Coord":{"Vec":[0,0,0,0,0,0,0,0]}}`,
	}
	writes := r.replica.writes.Load()
	for _, route := range r.server.Routes() {
		if public[route.Path] {
			continue
		}
		head, _, _ := strings.Cut(route.Path, "{")
		target := head
		if head == "/v1/config/" {
			target = strings.NewReplacer("{kind}", "service-defaults", "{name}", "topsecret").Replace(route.Path)
		} else if head != route.Path {
			target += map[bool]string{true: "any", false: "topsecret"}[strings.HasSuffix(head, "/state/")]
		}
		body := bodies[target]
		if strings.Contains(target, "/check/update/") {
			body = `{"Status":"passing"}`
		}
		w := r.do(route.Method, target+"?enable=true&source=a&destination=topsecret&by=destination&name=topsecret", body)
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

func TestACL_ATokenThatIsRevokedShowsNothingToWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		allowed := true
		r := newRig(t, func(_ *api.Config, d *api.Deps) {
			d.Authorize = func(context.Context, string) (acl.Authorizer, error) {
				if allowed {
					return acl.AllowAll{}, nil
				}
				return nil, catalog.Errorf(catalog.Denied, "ACL not found")
			}
		})
		r.replica.register(t, "n1", "web", "passing")
		answer := r.ask(t.Context(), "/v1/health/service/web?wait=1m&index=11")
		waits(t, answer)
		allowed = false
		r.replica.register(t, "n2", "web", "passing")
		if w := <-answer; w.Code != 403 || strings.Contains(w.Body.String(), "n2") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
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

// A page whose own name was made to resolve to loopback is not this agent's page.
func TestGuard_GoesByItsOwnNamesOnLoopback(t *testing.T) {
	r := newRig(t, func(c *api.Config, _ *api.Deps) {
		c.ResponseHeaders = map[string]string{"Access-Control-Allow-Origin": "https://ui.example.com"}
	})
	for _, c := range []struct {
		local, host string
		want        int
	}{
		{"127.0.0.1", "evil.test", 421},
		{"127.0.0.1", "evil.test:8500", 421},
		{"127.0.0.1", "127.0.0.1.evil.test:8500", 421},
		{"::1", "evil.test.", 421},
		{"192.0.2.1", "evil.test", 200}, // whoever gets there could have gone there by its address
		{"127.0.0.1", "127.0.0.1:8500", 200},
		{"127.0.0.1", "[::1]:8500", 200},
		{"127.0.0.1", "LocalHost:8500", 200},
		{"127.0.0.1", "app.localhost", 200},
		{"127.0.0.1", "consul:8500", 200},
		{"127.0.0.1", "UI.example.com", 200},
	} {
		req := httptest.NewRequest("GET", "/v1/agent/version", nil)
		req.Host = c.host
		req = req.WithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.ParseIP(c.local)}))
		w := httptest.NewRecorder()
		r.users.ServeHTTP(w, req)
		if w.Code != c.want {
			t.Errorf("%s on %s: %d %s", c.host, c.local, w.Code, w.Body)
		}
	}
}
