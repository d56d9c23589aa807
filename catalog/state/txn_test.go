package state

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"muster/catalog"
)

// txns draws transactions whose operations meet each other.
func txns() *rapid.Generator[catalog.Command] {
	return rapid.Custom(func(t *rapid.T) catalog.Command {
		return &catalog.Txn{Ops: rapid.SliceOfN(txnOps(), 0, 5).Draw(t, "ops")}
	})
}

func txnOps() *rapid.Generator[catalog.TxnOp] {
	verbs := rapid.SampledFrom([]catalog.TxnVerb{catalog.TxnGet, catalog.TxnSet, catalog.TxnSet, catalog.TxnCAS, catalog.TxnDelete, catalog.TxnDeleteCAS})
	return rapid.Custom(func(t *rapid.T) catalog.TxnOp {
		verb, index := verbs.Draw(t, "verb"), rapid.Uint64Range(0, 12).Draw(t, "index")
		from := &catalog.Register{}
		kind := rapid.IntRange(0, 6).Draw(t, "kind")
		if kind < 3 {
			from = rapid.Custom(func(t *rapid.T) *catalog.Register { return registers(t) }).
				Filter(func(r *catalog.Register) bool { return kind != 1 || r.Service != nil }).
				Filter(func(r *catalog.Register) bool { return kind != 2 || len(r.Checks) > 0 }).Draw(t, "what")
		}
		switch kind {
		case 0:
			return catalog.TxnOp{Node: &catalog.TxnNode{Verb: verb, Index: index, Node: from.Node}}
		case 1:
			return catalog.TxnOp{Service: &catalog.TxnService{Verb: verb, Index: index, Node: from.Node.Node, Service: *from.Service}}
		case 2:
			return catalog.TxnOp{Check: &catalog.TxnCheck{Verb: verb, Index: index, Check: from.Checks[0]}}
		case 3:
			return catalog.TxnOp{Session: &catalog.TxnSession{ID: rapid.SampledFrom(modelSessions[:3]).Draw(t, "id")}}
		}
		kv := kvCommands().Draw(t, "kv").(*catalog.KV)
		kv.Verb = catalog.KVVerb(rapid.IntRange(1, 13).Draw(t, "kv verb"))
		return catalog.TxnOp{KV: kv}
	})
}

// transact carries operations out on copies, one after the other, and keeps the
// last copy only if none failed.
func (m model) transact(index uint64, t *catalog.Txn) (model, *catalog.TxnResult) {
	now, answer := m, &catalog.TxnResult{Results: []catalog.TxnItem{}}
	for i, op := range t.Ops {
		next, items, err := now.operate(index, op)
		if err != nil {
			answer.Errors = append(answer.Errors, catalog.TxnError{OpIndex: i})
			continue
		}
		now = next
		answer.Results = append(answer.Results, items...)
	}
	if answer.Errors != nil {
		return m, &catalog.TxnResult{Errors: answer.Errors}
	}
	return now, answer
}

// operate carries one operation out. An error stands for any reason.
func (m model) operate(index uint64, op catalog.TxnOp) (model, []catalog.TxnItem, error) {
	switch {
	case op.KV != nil:
		return m.operateKV(index, op.KV)
	case op.Session != nil:
		next, err := m.apply(index, &catalog.DestroySession{ID: op.Session.ID})
		return next, nil, err
	case op.Node != nil:
		c := op.Node
		find := func(m model) (catalog.Node, bool) {
			n, ok := m.nodes[catalog.Fold(c.Node.Node)]
			if c.Verb == catalog.TxnGet && c.Node.ID != "" {
				ok = false
				for _, other := range m.nodes {
					if other.ID == c.Node.ID {
						n, ok = other, true
					}
				}
			}
			return n, ok
		}
		old, ok := find(m)
		next, err := m.change(index, c.Verb, c.Index, ok, old.ModifyIndex,
			&catalog.Register{Node: c.Node}, &catalog.Deregister{Node: c.Node.Node})
		n, _ := find(next)
		return next, shown(c.Verb, catalog.TxnItem{Node: &n}), err
	case op.Service != nil:
		c := op.Service
		at := [2]string{catalog.Fold(c.Node), catalog.Fold(c.Service.ID)}
		old, ok := m.services[at]
		if _, there := m.nodes[at[0]]; !there && !ok && (c.Verb == catalog.TxnSet || c.Verb == catalog.TxnCAS) {
			return m, nil, fmt.Errorf("no node")
		}
		next, err := m.change(index, c.Verb, c.Index, ok, old.ModifyIndex,
			&catalog.Register{Node: catalog.Node{Node: c.Node}, SkipNodeUpdate: true, Service: &c.Service},
			&catalog.Deregister{Node: c.Node, ServiceID: c.Service.ID})
		s := next.services[at]
		return next, shown(c.Verb, catalog.TxnItem{Service: &s}), err
	}
	c := op.Check
	at := [2]string{catalog.Fold(c.Check.Node), catalog.Fold(c.Check.CheckID)}
	old, ok := m.checks[at]
	if _, there := m.nodes[at[0]]; !there && (c.Verb == catalog.TxnSet || c.Verb == catalog.TxnCAS) {
		return m, nil, fmt.Errorf("no node")
	}
	next, err := m.change(index, c.Verb, c.Index, ok, old.ModifyIndex,
		&catalog.Register{Node: catalog.Node{Node: c.Check.Node}, SkipNodeUpdate: true, Checks: []catalog.Check{c.Check}},
		&catalog.Deregister{Node: c.Check.Node, CheckID: c.Check.CheckID})
	check := next.checks[at]
	return next, shown(c.Verb, catalog.TxnItem{Check: &check}), err
}

// change sets or removes a thing that was there, or not, since an index.
func (m model) change(index uint64, verb catalog.TxnVerb, at uint64, there bool, since uint64, set, remove catalog.Command) (model, error) {
	switch verb {
	case catalog.TxnGet:
		if !there {
			return m, fmt.Errorf("isn't there")
		}
		return m, nil
	case catalog.TxnCAS:
		if since != at {
			return m, fmt.Errorf("stale")
		}
		return m.apply(index, set)
	case catalog.TxnSet:
		return m.apply(index, set)
	case catalog.TxnDeleteCAS:
		if !there || since != at {
			return m, fmt.Errorf("stale")
		}
	}
	return m.apply(index, remove)
}

func shown(verb catalog.TxnVerb, item catalog.TxnItem) []catalog.TxnItem {
	if verb == catalog.TxnDelete || verb == catalog.TxnDeleteCAS {
		return nil
	}
	return []catalog.TxnItem{item}
}

func (m model) operateKV(index uint64, c *catalog.KV) (model, []catalog.TxnItem, error) {
	old, there := m.kv[c.Key]
	fails := false
	switch c.Verb {
	case catalog.KVGet:
		fails = !there
	case catalog.KVCheckIndex:
		fails = !there || old.ModifyIndex != c.Index
	case catalog.KVCheckSession:
		fails = !there || old.Session != c.Session
	case catalog.KVCheckNotExists:
		fails = there
	case catalog.KVCAS:
		fails = old.ModifyIndex != c.Index
	case catalog.KVDeleteCAS:
		fails = there && old.ModifyIndex != c.Index
	case catalog.KVLock:
		_, delayed := m.delays[c.Key]
		fails = old.Session != c.Session && (old.Session != "" || delayed)
	case catalog.KVUnlock:
		fails = !there || old.Session != c.Session
	}
	if fails {
		return m, nil, fmt.Errorf("condition not met")
	}
	next, err := m.apply(index, c)
	e := next.kv[c.Key]
	e.Key = c.Key
	switch c.Verb {
	case catalog.KVDelete, catalog.KVDeleteCAS, catalog.KVDeleteTree, catalog.KVCheckNotExists:
		return next, nil, err
	case catalog.KVGetTree:
		var items []catalog.TxnItem
		for key, e := range next.kv {
			if strings.HasPrefix(key, c.Key) {
				items = append(items, catalog.TxnItem{KV: &e})
			}
		}
		slices.SortFunc(items, func(a, b catalog.TxnItem) int { return strings.Compare(a.KV.Key, b.KV.Key) })
		return next, items, err
	case catalog.KVGet, catalog.KVGetOrEmpty:
	default:
		e.Value = nil
	}
	return next, []catalog.TxnItem{{KV: &e}}, err
}

func transaction(ops ...catalog.TxnOp) *catalog.Txn { return &catalog.Txn{Ops: ops} }

func onKV(c *catalog.KV) catalog.TxnOp { return catalog.TxnOp{KV: c} }

// A transaction within a batch is on its own: what comes before it stands where it
// fails, and what comes after it sees what it did.
func TestTxn_IsAllOrNothingWithinABatch(t *testing.T) {
	f := newFixture(t)
	stale := onKV(&catalog.KV{Verb: catalog.KVCheckIndex, Key: "before", Index: 99})
	batch := []catalog.Command{
		set("before", "1"),
		transaction(onKV(set("failed", "1")), stale, onKV(remove("before"))),
		transaction(onKV(set("done", "1")), onKV(remove("before"))),
		set("after", "1"),
		transaction(stale),
	}
	var es []Entry
	for i, c := range batch {
		es = append(es, Entry{Index: uint64(i + 10), Data: encode(t, c)})
	}
	results := f.Apply(es)
	for i, want := range []bool{true, false, true, true, false} {
		if results[i].Changed != want || results[i].Err != nil {
			t.Errorf("command %d: %+v", i, results[i])
		}
	}
	failed := results[1].Value.(*catalog.TxnResult)
	if failed.Results != nil || len(failed.Errors) != 1 || failed.Errors[0].OpIndex != 1 {
		t.Errorf("the failed one answers %+v", failed)
	}
	v := f.View()
	if v.KV("failed") != nil || v.KV("before") != nil || v.KV("done").ModifyIndex != 12 || v.KV("after") == nil || v.Applied() != 14 {
		t.Errorf("after the batch: %+v at %d", v.KVBelow(""), v.Applied())
	}

	one := New()
	for _, e := range es {
		one.Apply([]Entry{e})
	}
	if !bytes.Equal(snapshotBytes(t, one.Snapshot()), snapshotBytes(t, f.Snapshot())) {
		t.Error("entry by entry the state is another one")
	}
}

// What goes and comes back within one transaction is not taken for gone, and who
// waits for it is woken by what is there afterwards.
func TestTxn_BringsBackWhatItRemoved(t *testing.T) {
	f := newFixture(t, register("n1", withService("web", "web")))
	before := f.View()
	before.ServiceInstances("web")
	txn := transaction(
		catalog.TxnOp{Node: &catalog.TxnNode{Verb: catalog.TxnDelete, Node: catalog.Node{Node: "n1"}}},
		catalog.TxnOp{Node: &catalog.TxnNode{Verb: catalog.TxnSet, Node: catalog.Node{Node: "n1", Address: "10.0.0.2", Datacenter: "dc1"}}},
		catalog.TxnOp{Service: &catalog.TxnService{Verb: catalog.TxnSet, Node: "n1", Service: catalog.Service{ID: "web", Service: "web"}}},
	)
	index := f.must(txn)
	v := f.View()
	for row := range each[*topicRow](v.reader, tableTopics, byIDPrefix, "") {
		if row.Gone == v.present(row.Topic) {
			t.Errorf("%+v counts as gone: %t", row.Topic, row.Gone)
		}
	}
	in := v.ServiceInstances("web")
	if len(in) != 1 || in[0].Node.CreateIndex != index || v.Index() != index || !v.Moved(before.Topics(), before.Index()) {
		t.Errorf("web is %+v at %d", in, v.Index())
	}
}

// Previews write to copies of what Apply goes on from at the same time.
func TestTxn_PreviewsWhileCommandsAreApplied(t *testing.T) {
	f := newFixture(t, register("n1"), set("k", "0"))
	txn := transaction(
		onKV(set("k", "preview")), onKV(set("new", "preview")), onKV(&catalog.KV{Verb: catalog.KVGetTree}),
		catalog.TxnOp{Node: &catalog.TxnNode{Verb: catalog.TxnDelete, Node: catalog.Node{Node: "n1"}}},
	)
	var previews sync.WaitGroup
	for range 4 {
		previews.Go(func() {
			for range 200 {
				got := f.Preview(txn)
				if items := got.Value.(*catalog.TxnResult).Results; !got.Changed || len(items) != 4 || string(items[2].KV.Value) != "preview" {
					t.Errorf("a preview: %+v", items)
					return
				}
			}
		})
	}
	for i := range 200 {
		f.must(set("k", fmt.Sprint(i+1)))
		if i%2 == 0 {
			f.mustKeep(transaction(onKV(set("k", "dropped")), onKV(&catalog.KV{Verb: catalog.KVCheckNotExists, Key: "k"})))
		}
	}
	previews.Wait()
	if v := f.View(); string(v.KV("k").Value) != "200" || v.KV("new") != nil || v.Node("n1") == nil {
		t.Errorf("something of the previews stayed: %+v", v.KVBelow(""))
	}
}

func TestTxn_ReadOnly(t *testing.T) {
	session := catalog.TxnOp{Session: &catalog.TxnSession{ID: "s1"}}
	get := onKV(&catalog.KV{Verb: catalog.KVGet, Key: "k"})
	for _, c := range []struct {
		txn  *catalog.Txn
		want bool
	}{
		{transaction(), true},
		{transaction(get, catalog.TxnOp{Node: &catalog.TxnNode{Verb: catalog.TxnGet}}), true},
		{transaction(onKV(&catalog.KV{Verb: catalog.KVCheckNotExists}), catalog.TxnOp{Check: &catalog.TxnCheck{Verb: catalog.TxnGet}}), true},
		{transaction(get, onKV(set("k", ""))), false},
		{transaction(get, session), false},
		{transaction(catalog.TxnOp{Service: &catalog.TxnService{Verb: catalog.TxnDelete}}), false},
		{transaction(catalog.TxnOp{}), false},
	} {
		if c.txn.ReadOnly() != c.want {
			t.Errorf("%+v: %t", c.txn.Ops, !c.want)
		}
	}
}

func TestTxn_SaysWhyEachOperationFailed(t *testing.T) {
	f := newFixture(t, register("n1"), register("n2"), session("s1", time.Second), session("s2", 0), set("a", "1"), lock("held", "s2"), lock("late", "s1"),
		&catalog.DestroySession{ID: "s1"})
	at := f.View().KV("a").ModifyIndex
	kv := func(verb catalog.KVVerb, key string, index uint64, session string) catalog.TxnOp {
		return onKV(&catalog.KV{Verb: verb, Key: key, Index: index, Session: session})
	}
	service := func(verb catalog.TxnVerb, node, id string) catalog.TxnOp {
		return catalog.TxnOp{Service: &catalog.TxnService{Verb: verb, Node: node, Index: 99, Service: catalog.Service{ID: id, Service: id}}}
	}
	check := func(verb catalog.TxnVerb, node, id, service string) catalog.TxnOp {
		return catalog.TxnOp{Check: &catalog.TxnCheck{Verb: verb, Index: 99, Check: catalog.Check{Node: node, CheckID: id, ServiceID: service, Status: "passing"}}}
	}
	node := func(verb catalog.TxnVerb, name string) catalog.TxnOp {
		return catalog.TxnOp{Node: &catalog.TxnNode{Verb: verb, Index: 99, Node: catalog.Node{Node: name}}}
	}
	for _, c := range []struct {
		op   catalog.TxnOp
		want string
	}{
		{kv(catalog.KVGet, "none", 0, ""), `key "none" doesn't exist`},
		{kv(catalog.KVCAS, "a", 1, ""), `failed to set key "a", index is stale`},
		{kv(catalog.KVDeleteCAS, "a", 1, ""), `failed to delete key "a", index is stale`},
		{kv(catalog.KVCheckIndex, "none", 0, ""), `failed to check index, key "none" doesn't exist`},
		{kv(catalog.KVCheckIndex, "a", 1, ""), fmt.Sprintf(`failed index check for key "a", current modify index %d != 1`, at)},
		{kv(catalog.KVCheckSession, "none", 0, "x"), `failed to check session, key "none" doesn't exist`},
		{kv(catalog.KVCheckSession, "a", 0, "x"), `failed session check for key "a", current session "" != "x"`},
		{kv(catalog.KVCheckNotExists, "a", 0, ""), `key "a" exists`},
		{kv(catalog.KVLock, "a", 0, ""), `missing session`},
		{kv(catalog.KVLock, "a", 0, "none"), `invalid session "none"`},
		{kv(catalog.KVLock, "late", 0, "s2"), `failed to lock key "late" due to lock delay`},
		{kv(catalog.KVUnlock, "a", 0, "s2"), `failed to unlock key "a", lock isn't held, or is held by another session`},
		{node(catalog.TxnGet, "none"), `node "none" doesn't exist`},
		{node(catalog.TxnCAS, "n1"), `failed to set node "n1", index is stale`},
		{node(catalog.TxnDeleteCAS, "none"), `failed to delete node "none", index is stale`},
		{node(catalog.TxnSet, ""), `the node name must not be empty`},
		{node(catalog.TxnDelete, ""), `the node name must not be empty`},
		{service(catalog.TxnGet, "n1", "none"), `service "none" on node "n1" doesn't exist`},
		{service(catalog.TxnCAS, "n1", "web"), `failed to set service "web" on node "n1", index is stale`},
		{service(catalog.TxnSet, "none", "web"), `Missing node registration`},
		{service(catalog.TxnDeleteCAS, "n1", "web"), `failed to delete service "web" on node "n1", index is stale`},
		{service(catalog.TxnDelete, "n1", ""), `the service ID must not be empty`},
		{check(catalog.TxnGet, "n1", "none", ""), `check "none" on node "n1" doesn't exist`},
		{check(catalog.TxnCAS, "n1", "c", ""), `failed to set check "c" on node "n1", index is stale`},
		{check(catalog.TxnSet, "none", "c", ""), `Missing node registration`},
		{check(catalog.TxnSet, "n1", "c", "none"), `Missing service registration`},
		{check(catalog.TxnDeleteCAS, "n1", "c", ""), `failed to delete check "c" on node "n1", index is stale`},
		{check(catalog.TxnDelete, "n1", "", ""), `the check ID must not be empty`},
		{node(99, "n1"), `unknown verb 99 of a node`},
		{kv(99, "a", 0, ""), `unknown KV verb 99`},
		{catalog.TxnOp{}, `the operation is of a kind that is not known`},
	} {
		txn := transaction(onKV(set("written", "")), c.op)
		f.mustKeep(txn)
		got := f.Preview(txn).Value.(*catalog.TxnResult)
		if len(got.Errors) != 1 || got.Errors[0] != (catalog.TxnError{OpIndex: 1, What: c.want}) {
			t.Errorf("%+v: %+v, want %s", c.op, got.Errors, c.want)
		}
	}
	// One that is held is told from one that waits for its delay.
	f.must(session("s3", 0))
	got := f.Preview(transaction(kv(catalog.KVLock, "held", 0, "s3"))).Value.(*catalog.TxnResult)
	if len(got.Errors) != 1 || got.Errors[0].What != `failed to lock key "held", lock is already held` {
		t.Errorf("held: %+v", got)
	}
}
