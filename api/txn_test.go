package api_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	consul "github.com/hashicorp/consul/api"

	"muster/api"
	"muster/catalog"
)

// kvOps is the body of a transaction that sets keys to a value.
func kvOps(verb, value string, keys ...string) string {
	ops := make([]string, len(keys))
	for i, k := range keys {
		ops[i] = fmt.Sprintf(`{"KV":{"Verb":%q,"Key":%q,"Value":%q}}`, verb, k, base64.StdEncoding.EncodeToString([]byte(value)))
	}
	return "[" + strings.Join(ops, ",") + "]"
}

func TestOfficialClient_Txn(t *testing.T) {
	official(t, func(t *testing.T, c *consul.Client) {
		node := consul.Node{Node: "n1", Address: "192.0.2.1", Datacenter: "dc1"}
		service := consul.AgentService{ID: "web-1", Service: "web", Port: 80, Tags: []string{"v1"}, Proxy: &consul.AgentServiceConnectProxyConfig{}}
		check := consul.HealthCheck{Node: "n1", CheckID: "c", Name: "c", Status: "passing", ServiceID: "web-1",
			Definition: consul.HealthCheckDefinition{TCP: "192.0.2.1:80"}}
		ok, answer, _, err := c.Txn().Txn(consul.TxnOps{
			{KV: &consul.KVTxnOp{Verb: consul.KVSet, Key: "k", Value: []byte("v\x00"), Flags: 1 << 63}},
			{KV: &consul.KVTxnOp{Verb: consul.KVGet, Key: "k"}},
			{Node: &consul.NodeTxnOp{Verb: consul.NodeSet, Node: node}},
			{Service: &consul.ServiceTxnOp{Verb: consul.ServiceSet, Node: "n1", Service: service}},
			{Check: &consul.CheckTxnOp{Verb: consul.CheckSet, Check: check}},
		}, nil)
		if err != nil || !ok || len(answer.Results) != 5 {
			t.Fatalf("%t, %+v, %v", ok, answer, err)
		}
		if got := answer.Results[1].KV; string(got.Value) != "v\x00" || got.Flags != 1<<63 {
			t.Errorf("reads of its own write %+v", got)
		}
		entries, _, err := c.Health().Service("web", "v1", true, nil)
		if err != nil || len(entries) != 1 || entries[0].Service.Port != 80 || entries[0].Service.ModifyIndex != answer.Results[0].KV.ModifyIndex {
			t.Errorf("web: %v, %v", entries, err)
		}

		// What was read can be written back, under the index that it had.
		back := *answer.Results[3].Service
		back.Port = 81
		ok, answer, _, err = c.Txn().Txn(consul.TxnOps{
			{Service: &consul.ServiceTxnOp{Verb: consul.ServiceCAS, Node: "n1", Service: back}},
			{Check: &consul.CheckTxnOp{Verb: consul.CheckCAS, Check: *answer.Results[4].Check}},
		}, nil)
		if err != nil || !ok || len(answer.Results) != 2 || answer.Results[0].Service.Port != 81 {
			t.Fatalf("%t, %+v, %v", ok, answer, err)
		}
		ok, answer, _, err = c.Txn().Txn(consul.TxnOps{
			{KV: &consul.KVTxnOp{Verb: consul.KVDelete, Key: "k"}},
			{Service: &consul.ServiceTxnOp{Verb: consul.ServiceCAS, Node: "n1", Service: back}},
		}, nil)
		if err != nil || ok || len(answer.Errors) != 1 || answer.Errors[0].OpIndex != 1 || answer.Results != nil {
			t.Fatalf("a stale index: %t, %+v, %v", ok, answer, err)
		}
		ok, answer, meta, err := c.Txn().Txn(consul.TxnOps{{KV: &consul.KVTxnOp{Verb: consul.KVGetTree, Key: ""}}, {KV: &consul.KVTxnOp{Verb: consul.KVGet, Key: "k"}}},
			&consul.QueryOptions{RequireConsistent: true})
		if err != nil || ok || !strings.Contains(answer.Errors[0].What, "Must provide key") {
			t.Errorf("%t, %+v, %+v, %v", ok, answer, meta, err)
		}
		ok, answer, meta, err = c.Txn().Txn(consul.TxnOps{{KV: &consul.KVTxnOp{Verb: consul.KVGetTree, Key: "k"}}}, &consul.QueryOptions{AllowStale: true})
		if err != nil || !ok || len(answer.Results) != 1 || !meta.KnownLeader {
			t.Errorf("%t, %+v, %+v, %v", ok, answer, meta, err)
		}
		held, _, err := c.KV().Get("k", nil)
		if err != nil || held == nil {
			t.Fatalf("a transaction that failed deleted k: %v", err)
		}
	})
}

// KV().Txn is the older of the client's two ways, with answers of its own.
func TestOfficialClient_KVTxnLocks(t *testing.T) {
	official(t, func(t *testing.T, c *consul.Client) {
		if _, err := c.Catalog().Register(&consul.CatalogRegistration{Node: "n1", Address: "192.0.2.1"}, nil); err != nil {
			t.Fatal(err)
		}
		id, _, err := c.Session().CreateNoChecks(&consul.SessionEntry{Node: "n1"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ok, answer, _, err := c.KV().Txn(consul.KVTxnOps{
			{Verb: consul.KVLock, Key: "leader", Value: []byte("me"), Session: id},
			{Verb: consul.KVCheckSession, Key: "leader", Session: id},
			{Verb: consul.KVSet, Key: "config", Value: []byte("1")},
		}, nil)
		if err != nil || !ok || len(answer.Results) != 3 || answer.Results[0].Session != id || answer.Results[0].LockIndex != 1 {
			t.Fatalf("%t, %+v, %v", ok, answer, err)
		}
		other, _, err := c.Session().CreateNoChecks(&consul.SessionEntry{Node: "n1"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ok, answer, _, err = c.KV().Txn(consul.KVTxnOps{
			{Verb: consul.KVSet, Key: "config", Value: []byte("2")},
			{Verb: consul.KVLock, Key: "leader", Session: other},
		}, nil)
		if err != nil || ok || len(answer.Errors) != 1 || answer.Errors[0].What != `failed to lock key "leader", lock is already held` {
			t.Fatalf("%t, %+v, %v", ok, answer, err)
		}
		if e, _, err := c.KV().Get("config", nil); err != nil || string(e.Value) != "1" {
			t.Errorf("config is %+v, %v", e, err)
		}
	})
}

func TestTxn_EndsSessions(t *testing.T) {
	r := newRig(t)
	r.replica.register(t, "n1", "", "")
	id := r.session(`{"Node":"n1","NodeChecks":[],"LockDelay":"0s"}`)
	if w := r.do("PUT", "/v1/kv/k?acquire="+id, "x"); w.Body.String() != "true" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	w := r.do("PUT", "/v1/txn", fmt.Sprintf(`[{"Session":{"Verb":"delete","Session":{"ID":%q}}},{"KV":{"Verb":"check-session","Key":"k","Session":""}}]`, id))
	if w.Code != 200 || r.replica.store.View().Session(id) != nil {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestTxn_IsBounded(t *testing.T) {
	r := newRig(t)
	keys := make([]string, catalog.MaxTxnOps+1)
	for i := range keys {
		keys[i] = fmt.Sprint("k", i)
	}
	if w := r.do("PUT", "/v1/txn", kvOps("set", "", keys...)); w.Code != 413 || w.Body.String() != "Transaction contains too many operations (129 > 128)" {
		t.Errorf("one too many: %d %s", w.Code, w.Body)
	}
	if w := r.do("PUT", "/v1/txn", kvOps("set", "", keys[1:]...)); w.Code != 200 || r.replica.writes.Load() != 1 {
		t.Errorf("the most there may be: %d %s, %d entries", w.Code, w.Body, r.replica.writes.Load())
	}
	if w := r.do("PUT", "/v1/txn", strings.Repeat(" ", 512<<10+1)); w.Code != 413 || !strings.HasPrefix(w.Body.String(), "Request body(524289 bytes) too large, max size: 524288 bytes") {
		t.Errorf("a large body: %d %s", w.Code, w.Body)
	}

	r = newRig(t, func(c *api.Config, _ *api.Deps) { c.MaxValueBytes, c.MaxTxnBytes = 100, 300 })
	if w := r.do("PUT", "/v1/txn", kvOps("set", strings.Repeat("x", 101), "k")); w.Code != 413 || w.Body.String() != `Value for key "k" is too large (101 > 100 bytes)` {
		t.Errorf("a large value: %d %s", w.Code, w.Body)
	}
	if w := r.do("PUT", "/v1/txn", strings.Repeat(" ", 301)); w.Code != 413 || !strings.Contains(w.Body.String(), "max size: 300 bytes") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	r = newRig(t, func(c *api.Config, _ *api.Deps) { c.MaxValueBytes, c.MaxTxnBytes = 300, 100 })
	if w := r.do("PUT", "/v1/txn", kvOps("set", strings.Repeat("x", 150), "k")); w.Code != 200 {
		t.Errorf("the larger limit counts: %d %s", w.Code, w.Body)
	}
}

// A follower answers what only reads, and passes on what writes.
func TestTxn_FollowersReadThemselves(t *testing.T) {
	leader, follower := newRig(t), newRig(t)
	follower.replica.leads.Store(false)
	follower.cluster.set(leader.listen())
	if w := follower.do("PUT", "/v1/txn", kvOps("set", "v", "a")); w.Code != 200 || leader.replica.writes.Load() != 1 || follower.replica.writes.Load() != 0 {
		t.Fatalf("a write: %d %s", w.Code, w.Body)
	}
	if w := follower.do("PUT", "/v1/txn?stale", kvOps("get-or-empty", "", "a")); w.Code != 200 || w.Header().Get("X-Consul-KnownLeader") != "false" ||
		!strings.Contains(w.Body.String(), `"CreateIndex":0`) || !strings.Contains(w.Body.String(), `"ConsistencyLevel":"stale"`) {
		t.Errorf("a stale read: %d %v %s", w.Code, w.Header(), w.Body)
	}
	if w := follower.do("PUT", "/v1/txn", kvOps("bogus", "", "a")); w.Code != 409 || leader.replica.writes.Load() != 1 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	reads, confirms := leader.replica.reads.Load(), leader.replica.confirms.Load()
	leader.do("PUT", "/v1/txn", kvOps("get", "", "a"))
	leader.do("PUT", "/v1/txn?consistent", kvOps("get", "", "a"))
	if leader.replica.reads.Load()-reads != 2 || leader.replica.confirms.Load()-confirms != 1 {
		t.Error("a default read takes a read index, a consistent one the word of a majority")
	}
}

// What changes nothing takes no entry, whether it fails or says what is so already.
func TestTxn_TakesNoEntryForNothing(t *testing.T) {
	r := newRig(t)
	r.put("a", "v")
	reads := r.replica.reads.Load()
	for _, body := range []string{
		kvOps("set", "v", "a"),
		kvOps("delete", "", "none"),
		strings.TrimSuffix(kvOps("set", "w", "b"), "]") + `,{"KV":{"Verb":"check-not-exists","Key":"a"}}]`,
	} {
		w := r.do("PUT", "/v1/txn", body)
		if w.Code != 200 && w.Code != 409 || r.replica.writes.Load() != 1 || r.replica.reads.Load() == reads {
			t.Errorf("%s: %d %s, %d entries", body, w.Code, w.Body, r.replica.writes.Load())
		}
		reads = r.replica.reads.Load()
	}
}

// A transaction wakes those that wait for what it changed, and nobody else.
func TestTxn_WakesForWhatItChangedOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.put("a", "1")
		r.put("b", "1")
		r.replica.register(t, "n1", "web", "passing")
		ask := func(target string) chan int {
			before := r.do("GET", target, "")
			answer, woken := r.ask(t.Context(), target+"wait=1m&index="+index(before)), make(chan int, 1)
			go func() { woken <- (<-answer).Code }()
			return woken
		}
		changed := []chan int{ask("/v1/kv/a?"), ask("/v1/kv/new?"), ask("/v1/kv/n?recurse&"), ask("/v1/catalog/nodes?")}
		others := []chan int{ask("/v1/kv/b?"), ask("/v1/kv/failed?"), ask("/v1/health/service/db?")}
		synctest.Wait()
		write := func(body string, status int) {
			t.Helper()
			if w := r.do("PUT", "/v1/txn", body); w.Code != status {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			synctest.Wait()
		}
		write(kvOps("set", "1", "failed", "a", "")+" ", 409)
		for i, c := range append(changed, others...) {
			if len(c) > 0 {
				t.Errorf("a transaction that failed woke %d", i)
			}
		}
		write(`[{"KV":{"Verb":"set","Key":"new"}},{"KV":{"Verb":"delete","Key":"a"}},{"KV":{"Verb":"get","Key":"b"}},{"Node":{"Verb":"set","Node":{"Node":"n2","Address":"192.0.2.2"}}}]`, 200)
		for i, c := range changed {
			if len(c) == 0 {
				t.Errorf("%d sleeps through what it waits for", i)
			}
		}
		for i, c := range others {
			if len(c) > 0 {
				t.Errorf("%d woke for others", i)
			}
		}
	})
}

func TestTxn_ShowsAndChangesOnlyWhatACallerMay(t *testing.T) {
	r := newRig(t, func(_ *api.Config, d *api.Deps) {
		d.Authorize = authorizeAs(deny{"key:mine:read": true, "key:mine:write": true, "node:n1:read": true})
	})
	r.replica.register(t, "n1", "web", "passing")
	r.replica.register(t, "n2", "", "")
	for _, key := range []string{"mine", "other"} {
		if _, err := r.replica.Propose(t.Context(), setKV(key)); err != nil {
			t.Fatal(err)
		}
	}
	writes := r.replica.writes.Load()
	for _, op := range []string{
		`{"KV":{"Verb":"set","Key":"other"}}`, `{"KV":{"Verb":"delete-tree","Key":"mine"}}`, `{"KV":{"Verb":"check-not-exists","Key":"other"}}`,
		`{"Node":{"Verb":"set","Node":{"Node":"n1","Address":"192.0.2.9"}}}`, `{"Service":{"Verb":"set","Node":"n1","Service":{"Service":"web"}}}`,
		`{"Service":{"Verb":"delete","Node":"n1","Service":{"ID":"web"}}}`, `{"Check":{"Verb":"set","Check":{"Node":"n1","CheckID":"x"}}}`,
		`{"Check":{"Verb":"set","Check":{"Node":"n1","CheckID":"x","ServiceID":"web"}}}`, `{"Session":{"Verb":"delete","Session":{"ID":"x"}}}`,
	} {
		w := r.do("PUT", "/v1/txn", `[{"KV":{"Verb":"set","Key":"mine","Value":"YQ=="}},`+op+`]`)
		if w.Code != 403 || !strings.Contains(w.Body.String(), "Permission denied") || r.replica.writes.Load() != writes {
			t.Errorf("%s: %d %s", op, w.Code, w.Body)
		}
	}
	w := r.do("PUT", "/v1/txn", `[{"KV":{"Verb":"get","Key":"mine"}},{"KV":{"Verb":"get","Key":"other"}},{"Node":{"Verb":"get","Node":{"Node":"n1"}}},
		{"Node":{"Verb":"get","Node":{"Node":"n2"}}},{"Service":{"Verb":"get","Node":"n1","Service":{"ID":"web"}}},{"Check":{"Verb":"get","Check":{"Node":"n1","CheckID":"c-web"}}}]`)
	var got struct {
		Results               []catalog.TxnItem
		ResultsFilteredByACLs bool
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Results) != 2 || got.Results[0].KV.Key != "mine" || got.Results[1].Node.Node != "n1" || !got.ResultsFilteredByACLs {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// FuzzTxn sends bodies of transactions. Whatever they are, one is carried out whole,
// or refused and nothing is written.
func FuzzTxn(f *testing.F) {
	for _, seed := range []string{
		`[]`, `null`, `[null]`, `[{}]`, `{`, kvOps("set", "v", "a", "b"), kvOps("get-tree", "", "a"), kvOps("delete-tree", "", ""),
		`[{"KV":{"Verb":"cas","Key":"a","Index":18446744073709551615}}]`, `[{"KV":{"Verb":"lock","Key":"a","Session":"s"}},{"KV":{"Verb":"set","Key":"b"}}]`,
		`[{"Node":{"Verb":"set","Node":{"Node":"n2","Address":"192.0.2.2"}}},{"Service":{"Verb":"set","Node":"n2","Service":{"Service":"db","Proxy":{"Config":{"a":[1]}}}}}]`,
		`[{"Check":{"Verb":"set","Check":{"Node":"n1","CheckID":"x","Status":"critical","ServiceID":"web","Definition":{"Interval":1e300}}}}]`,
		`[{"Node":{"Verb":"delete","Node":{"Node":"n1"}}},{"Service":{"Verb":"get","Node":"n1","Service":{"ID":"web"}}}]`,
		`[{"Service":{"Verb":"delete","Node":"n1","Service":{"Service":"web"}}},{"Session":{"Verb":"delete","Session":{"ID":""}}}]`,
		`[{"Check":{"Verb":"delete-cas","Check":{"Node":"n1","CheckID":"c-web","ModifyIndex":11}}},{"KV":{"Verb":"check-index","Key":"a","Index":0}}]`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		r := newRig(t)
		r.replica.register(t, "n1", "web", "passing")
		everything := func() string {
			v := r.replica.store.View()
			return fmt.Sprint(asText(t, v.KVBelow("")), asText(t, v.Nodes()), asText(t, v.AllInstancesWithChecks()), asText(t, v.Sessions()))
		}
		before, writes := everything(), r.replica.writes.Load()
		w := r.do("PUT", "/v1/txn", body)
		switch w.Code {
		case 200:
			if (r.replica.writes.Load() != writes) != (everything() != before) {
				t.Errorf("%q took %d entries", body, r.replica.writes.Load()-writes)
			}
		case 400, 409, 413:
			if everything() != before || r.replica.writes.Load() != writes {
				t.Errorf("%q was refused with %d and changed something", body, w.Code)
			}
		default:
			t.Errorf("%q: %d %s", body, w.Code, w.Body)
		}
	})
}

func asText(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
