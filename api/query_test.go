package api_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	consul "github.com/hashicorp/consul/api"

	"muster/api"
	"muster/catalog/acl"
)

func TestOfficialClient_PreparedQuery(t *testing.T) {
	official(t, func(t *testing.T, c *consul.Client) {
		for node, status := range map[string]string{"n1": "passing", "n2": "warning", "n3": "critical"} {
			if _, err := c.Catalog().Register(&consul.CatalogRegistration{
				Node: node, Address: "192.0.2." + node[1:], NodeMeta: map[string]string{"rack": node},
				Service: &consul.AgentService{Service: "web", ID: "web", Port: 80, Tags: []string{"v" + node[1:]}},
				Check:   &consul.AgentCheck{Node: node, CheckID: "c", Name: "c", Status: status, ServiceID: "web"},
			}, nil); err != nil {
				t.Fatal(err)
			}
		}
		session, _, err := c.Session().CreateNoChecks(&consul.SessionEntry{Node: "n1"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		queries := c.PreparedQuery()
		def := consul.PreparedQueryDefinition{
			Name: "q", Session: session,
			Service: consul.ServiceQuery{
				Service: "web", Near: "n2", IgnoreCheckIDs: []string{"c"}, Tags: []string{"!v1"},
				Failover: consul.QueryFailoverOptions{NearestN: 1, Datacenters: []string{"dc2"}},
			},
			DNS: consul.QueryDNSOptions{TTL: "3s"},
		}
		id, _, err := queries.Create(&def, nil)
		if err != nil {
			t.Fatal(err)
		}
		def.ID = id
		list, meta, err := queries.List(nil)
		if err != nil || len(list) != 1 || !reflect.DeepEqual(*list[0], def) || meta.LastIndex == 0 || !meta.KnownLeader {
			t.Fatalf("list %+v, %+v, %v", list, meta, err)
		}
		got, _, err := queries.Get(id, nil)
		if err != nil || len(got) != 1 || !reflect.DeepEqual(*got[0], def) {
			t.Fatalf("get %+v, %v", got, err)
		}
		find := func(name string, opts *consul.QueryOptions) []string {
			t.Helper()
			found, meta, err := queries.Execute(name, opts)
			if err != nil || found.Service != "web" || found.Datacenter != "dc1" || found.Failovers != 0 || meta.LastIndex == 0 || !meta.KnownLeader {
				t.Fatalf("%s gives %+v, %+v, %v", name, found, meta, err)
			}
			var nodes []string
			for _, n := range found.Nodes {
				if n.Node.Datacenter != "dc1" || n.Service.Port != 80 || len(n.Checks) != 1 {
					t.Errorf("%s finds %+v", name, n)
				}
				nodes = append(nodes, n.Node.Node)
			}
			return nodes
		}
		for range 5 {
			if got := find("q", nil); !slices.Equal(got, []string{"n2", "n3"}) {
				t.Fatalf("the nearest first, without v1: %v", got)
			}
		}
		if got := find(id, &consul.QueryOptions{Near: "n3", AllowStale: true}); !slices.Equal(got, []string{"n3", "n2"}) {
			t.Errorf("near n3: %v", got)
		}

		def.Name, def.Session, def.Service = "r-", "", consul.ServiceQuery{Service: "web", Tags: []string{"${match(1)}"}, NodeMeta: map[string]string{"rack": "n1"}}
		def.Template = consul.QueryTemplate{Type: "name_prefix_match", Regexp: "^r-(.*)$", RemoveEmptyTags: true}
		if _, err := queries.Update(&def, nil); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string][]string{"r-v1": {"n1"}, "r-v2": nil, "r-": {"n1"}} {
			if got := find(name, nil); !slices.Equal(got, want) {
				t.Errorf("%s finds %v, want %v", name, got, want)
			}
		}
		if _, _, err := queries.Execute("q", nil); err == nil || !strings.Contains(err.Error(), "404 (Query not found)") {
			t.Errorf("the old name: %v", err)
		}
		if _, err := queries.Delete(id, nil); err != nil {
			t.Fatal(err)
		}
		if _, _, err := queries.Get(id, nil); err == nil || !strings.Contains(err.Error(), "Query not found") {
			t.Errorf("after deleting: %v", err)
		}
	})
}

// Whom _ip means: who asked the first agent, or whom a proxy before it names.
func TestPreparedQuery_NearestToWhoAsks(t *testing.T) {
	server := newRig(t)
	for _, r := range []*rig{server, newRig(t, asClient(server.listen()))} {
		for _, host := range []string{"1", "2", "3"} { // requests of tests come from 192.0.2.1
			if w := r.do("PUT", "/v1/catalog/register", `{"Node":"n`+host+`","Address":"192.0.2.`+host+`","Service":{"Service":"web"}}`); w.Code != 200 {
				t.Fatal(w.Body)
			}
		}
		first := func(target string, header ...string) string {
			t.Helper()
			w := r.do("GET", target, "", header...)
			_, after, _ := strings.Cut(w.Body.String(), `"Node":"`)
			name, _, _ := strings.Cut(after, `"`)
			return name
		}
		r.do("POST", "/v1/query", `{"Name":"q","Service":{"Service":"web","Near":"_ip"}}`)
		r.do("POST", "/v1/query", `{"Name":"r","Service":{"Service":"web"}}`)
		for range 10 {
			if got := first("/v1/query/q/execute"); got != "n1" {
				t.Fatalf("from 192.0.2.1: %s", got)
			}
			if got := first("/v1/query/q/execute", "X-Forwarded-For", "192.0.2.3, 10.0.0.1"); got != "n3" {
				t.Fatalf("for 192.0.2.3: %s", got)
			}
			if got := first("/v1/query/r/execute?near=_ip", "X-Forwarded-For", "192.0.2.2", "X-Muster-From", "192.0.2.3"); got != "n2" {
				t.Fatalf("for 192.0.2.2: %s", got)
			}
		}
	}
}

// Where nothing says which is nearest, callers who take the first share the load.
func TestPreparedQuery_OrderIsRandom(t *testing.T) {
	r := newRig(t)
	for _, host := range []string{"1", "2"} {
		r.replica.register(t, "n"+host, "web", "passing")
	}
	r.do("POST", "/v1/query", `{"Name":"q","Service":{"Service":"web","Near":"nobody"}}`)
	seen := map[bool]bool{}
	for range 64 { // all alike with a probability of 2^-63
		body := r.do("GET", "/v1/query/q/execute", "").Body.String()
		seen[strings.Index(body, `"Node":"n1"`) < strings.Index(body, `"Node":"n2"`)] = true
	}
	if len(seen) != 2 {
		t.Error("64 executions gave one order")
	}
}

// Access to a query goes by its name, and by its ID where it has none. Its token is
// for who manages tokens.
func TestACL_PreparedQueries(t *testing.T) {
	var caller acl.Authorizer = acl.AllowAll{}
	r := newRig(t, func(_ *api.Config, d *api.Deps) {
		d.Authorize = func(context.Context, string) (acl.Authorizer, error) { return caller, nil }
	})
	r.replica.register(t, "n1", "web", "passing")
	session := idIn(t, r.do("PUT", "/v1/session/create", `{"Node":"n1","Checks":[]}`))
	made := func(body string) string { return idIn(t, r.do("POST", "/v1/query", body)) }
	mine := made(`{"Name":"mine","Token":"secret","Service":{"Service":"web"}}`)
	theirs := made(`{"Name":"theirs","Service":{"Service":"web"}}`)
	nameless := made(`{"Session":"` + session + `","Token":"secret","Service":{"Service":"web"}}`)

	caller = deny{"query:mine:read": true, "query:mine:write": true}
	for _, c := range []struct {
		method, target, body string
		code                 int
		shows                string
	}{
		{"GET", "/v1/query", "", 200, mine},
		{"GET", "/v1/query/" + mine, "", 200, `"Token":"\u003chidden\u003e"`},
		{"GET", "/v1/query/" + theirs, "", 403, "lacks permission 'query:read' on \"theirs\""},
		{"GET", "/v1/query/" + nameless, "", 200, `"Token":"\u003chidden\u003e"`},
		{"GET", "/v1/query/mine/explain", "", 200, `"Token":"\u003chidden\u003e"`},
		{"GET", "/v1/query/theirs/explain", "", 403, "lacks permission 'query:read'"},
		{"POST", "/v1/query", `{"Name":"new","Service":{"Service":"web"}}`, 403, "lacks permission 'query:write' on \"new\""},
		{"POST", "/v1/query", `{"Template":{"Type":"name_prefix_match"},"Service":{"Service":"web"}}`, 403, "lacks permission 'query:write'"},
		{"PUT", "/v1/query/" + theirs, `{"Name":"mine","Service":{"Service":"web"}}`, 403, "on \"theirs\""},
		{"PUT", "/v1/query/" + mine, `{"Name":"theirs","Service":{"Service":"web"}}`, 403, "on \"theirs\""},
		{"DELETE", "/v1/query/" + theirs, "", 403, "on \"theirs\""},
		{"DELETE", "/v1/query/nothing", "", 403, "lacks permission 'query:write'"},
		{"PUT", "/v1/query/" + mine, `{"Name":"mine","Token":"<hidden>","Service":{"Service":"web"}}`, 400, "redacted token"},
		{"PUT", "/v1/query/" + mine, `{"Name":"mine","Service":{"Service":"db"}}`, 200, ""},
		{"DELETE", "/v1/query/" + mine, "", 200, ""},
	} {
		w := r.do(c.method, c.target, c.body)
		said := w.Body.String()
		if w.Code != c.code || !strings.Contains(said, c.shows) || strings.Contains(said, "secret") {
			t.Errorf("%s %s %s: %d %s, want %d %s", c.method, c.target, c.body, w.Code, said, c.code, c.shows)
		}
		if c.target == "/v1/query" && c.method == "GET" && (strings.Contains(said, theirs) || strings.Contains(said, nameless)) {
			t.Errorf("the list shows %s", said)
		}
	}
}

// idIn is the ID that an answer gives.
func idIn(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var made struct{ ID string }
	if err := json.Unmarshal(w.Body.Bytes(), &made); err != nil || made.ID == "" {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return made.ID
}
