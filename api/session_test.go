package api_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/api"
	"muster/catalog"
)

// session creates a session and gives its ID.
func (r *rig) session(body string) string {
	r.t.Helper()
	w := r.do("PUT", "/v1/session/create", body)
	var made struct{ ID string }
	if err := json.Unmarshal(w.Body.Bytes(), &made); err != nil || w.Code != 200 || len(made.ID) != 36 {
		r.t.Fatalf("create %s: %d %s", body, w.Code, w.Body)
	}
	return made.ID
}

// withNode makes a rig whose agent is node n1.
func withNode(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, func(c *api.Config, _ *api.Deps) { c.NodeName = "n1" })
	w := r.do("PUT", "/v1/catalog/register", `{"Node":"n1","Address":"192.0.2.1","Checks":[{"Name":"serf","CheckID":"serfHealth","Status":"passing"},{"Name":"own","Status":"passing"}]}`)
	if w.Code != 200 {
		t.Fatal(w.Body)
	}
	return r
}

func TestSession_HasConsulsDefaults(t *testing.T) {
	r := withNode(t)
	for body, want := range map[string]catalog.Session{
		"": {Node: "n1", LockDelay: 15 * time.Second, Behavior: "release", NodeChecks: []string{"serfHealth"}},
		`{"Name":"x","TTL":"10s","LockDelay":20,"Behavior":"delete","NodeChecks":[]}`: {
			Name: "x", Node: "n1", TTL: "10s", LockDelay: 20 * time.Second, Behavior: "delete", NodeChecks: []string{}},
		`{"LockDelay":1500000000,"Node":"N1"}`:                  {Node: "n1", LockDelay: 1500 * time.Millisecond, Behavior: "release", NodeChecks: []string{"serfHealth"}},
		`{"Checks":[]}`:                                         {Node: "n1", LockDelay: 15 * time.Second, Behavior: "release", NodeChecks: []string{}},
		`{"NodeChecks":null}`:                                   {Node: "n1", LockDelay: 15 * time.Second, Behavior: "release"},
		`{"Checks":["own","serfHealth"],"Namespace":"default"}`: {Node: "n1", LockDelay: 15 * time.Second, Behavior: "release", NodeChecks: []string{"serfHealth", "own"}},
		`{"LockDelay":"0s"}`:                                    {Node: "n1", Behavior: "release", NodeChecks: []string{"serfHealth"}},
	} {
		id := r.session(body)
		for _, target := range []string{"PUT /v1/session/renew/" + id, "GET /v1/session/info/" + id} {
			method, path, _ := strings.Cut(target, " ")
			w := r.do(method, path, "")
			want.ID = id
			want.CreateIndex, want.ModifyIndex = r.replica.index.Load(), r.replica.index.Load()
			data, err := json.Marshal([]catalog.Session{want})
			if err != nil {
				t.Fatal(err)
			}
			if w.Code != 200 || w.Body.String() != string(data) {
				t.Errorf("%s: %s\nwant %s", target, w.Body, data)
			}
		}
	}
	if w := r.do("GET", "/v1/session/node/N1", ""); strings.Count(w.Body.String(), `"ID"`) != 7 {
		t.Errorf("on the node: %s", w.Body)
	}
}

func TestSession_LocksAndUnlocks(t *testing.T) {
	r := withNode(t)
	one, two := r.session(`{"LockDelay":"1s"}`), r.session("")
	for _, c := range []struct{ method, target, want string }{
		{"PUT", "/v1/kv/l?acquire=" + one, "true"},
		{"PUT", "/v1/kv/l?acquire=" + one, "true"},
		{"PUT", "/v1/kv/l?acquire=" + two, "false"},
		{"PUT", "/v1/kv/l?release=" + two, "false"},
		{"PUT", "/v1/kv/l?release=" + one, "true"},
		{"PUT", "/v1/kv/l?flags=7&acquire=" + one, "true"},
		{"PUT", "/v1/kv/l?flags=8", "true"},
		{"PUT", "/v1/session/destroy/" + one, "true"},
		{"PUT", "/v1/kv/l?acquire=" + two, "false"}, // the lock-delay is on
	} {
		if w := r.do(c.method, c.target, "v"); w.Code != 200 || w.Body.String() != c.want {
			t.Errorf("%s %s: %d %s, want %s", c.method, c.target, w.Code, w.Body, c.want)
		}
	}
	if w := r.do("GET", "/v1/kv/l", ""); !strings.HasPrefix(w.Body.String(), `[{"LockIndex":2,"Key":"l","Flags":8,"Value":"dg==","CreateIndex"`) {
		t.Errorf("%s", w.Body)
	}
}

// A holder watches its own entry: it learns at once that its session ended, also
// by a check.
func TestSession_ItsEndWakesWhoWatchesTheLock(t *testing.T) {
	for _, end := range []string{
		`PUT /v1/session/destroy/ID`,
		`PUT /v1/catalog/register {"Node":"n1","Address":"192.0.2.1","Check":{"Name":"serf","CheckID":"serfHealth","Status":"critical"}}`,
		`PUT /v1/catalog/deregister {"Node":"n1","CheckID":"serfHealth"}`,
		`PUT /v1/catalog/deregister {"Node":"n1"}`,
	} {
		synctest.Test(t, func(t *testing.T) {
			r := withNode(t)
			id := r.session("")
			r.do("PUT", "/v1/kv/l?acquire="+id, "")
			answer := r.ask(t.Context(), "/v1/kv/l?consistent&wait=1m&index="+index(r.do("GET", "/v1/kv/l", "")))
			waits(t, answer)
			words := strings.SplitN(strings.ReplaceAll(end, "ID", id), " ", 3)
			if strings.Contains(end, "{") {
				words = strings.SplitN(end, " ", 3)
			}
			r.do(words[0], words[1], strings.Join(words[2:], ""))
			if w := <-answer; w.Code != 200 || strings.Contains(w.Body.String(), "Session") {
				t.Errorf("%s: %d %s", end, w.Code, w.Body)
			}
			if w := r.do("PUT", "/v1/session/renew/"+id, ""); w.Code != 404 || w.Body.String() != "Session id '"+id+"' not found" {
				t.Errorf("renew: %d %s", w.Code, w.Body)
			}
		})
	}
}

// A client agent's sessions are on its own node, whoever makes them.
func TestSession_IsOnTheNodeOfTheAgentThatWasAsked(t *testing.T) {
	server := withNode(t)
	if w := server.do("PUT", "/v1/catalog/register", `{"Node":"c1","Address":"192.0.2.2","Check":{"Name":"serf","CheckID":"serfHealth","Status":"passing"}}`); w.Code != 200 {
		t.Fatal(w.Body)
	}
	// Users can't name another.
	w := server.do("PUT", "/v1/session/create", "", "X-Muster-Agent", "c1")
	if w.Code != 200 || len(server.replica.store.View().SessionsOn("n1")) != 1 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w = do(t, server.server.ClusterHandler(nil), "PUT", "/v1/session/create", "", "X-Muster-Agent", "c1", "X-Muster-Hops", "1")
	if w.Code != 200 || len(server.replica.store.View().SessionsOn("c1")) != 1 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
