package e2e

//lint:file-ignore SA1019 the client's older methods have users too

import (
	"bytes"
	"io"
	"slices"
	"strings"

	consul "github.com/hashicorp/consul/api"
)

// own is a name that no other asked agent's rows use.
func own(c client, name string) string { return "official " + c.agent.name + "/" + name }

// ownSession finds the session that Session.Create has made.
func ownSession(c client) string {
	c.t.Helper()
	all, _, err := c.Session().Node(c.agent.name, nil)
	i := slices.IndexFunc(all, func(s *consul.SessionEntry) bool { return s.Name == own(c, "s") })
	if err != nil || i < 0 {
		c.t.Fatalf("no session of %s in %v: %v", c.agent.name, all, err)
	}
	return all[i].ID
}

// ownEntry reads the entry that KV.Put has made.
func ownEntry(c client) *consul.KVPair {
	c.t.Helper()
	p, _, err := c.KV().Get(own(c, "a"), nil)
	if err != nil || p == nil {
		c.t.Fatalf("entry %+v, %v", p, err)
	}
	return p
}

// The rows make a session and entries, lock one, and take all away again.
var kvCalls = []call{
	{method: "KV.Put", check: func(c client) {
		_, err := c.KV().Put(&consul.KVPair{Key: own(c, "a"), Value: []byte("1"), Flags: 7}, nil)
		c.want(err, true, "")
	}},
	{method: "KV.Get", check: func(c client) {
		p, meta, err := c.KV().Get(own(c, "a"), &consul.QueryOptions{RequireConsistent: true})
		c.want(err, err == nil && p != nil && string(p.Value) == "1" && p.Flags == 7 && meta.LastIndex == p.ModifyIndex && meta.KnownLeader, "%+v %+v", p, meta)
	}},
	{method: "KV.CAS", check: func(c client) {
		ok, _, err := c.KV().CAS(&consul.KVPair{Key: own(c, "a"), Value: []byte("2"), ModifyIndex: ownEntry(c).ModifyIndex}, nil)
		c.want(err, ok && string(ownEntry(c).Value) == "2", "%t", ok)
		ok, _, err = c.KV().CAS(&consul.KVPair{Key: own(c, "a"), Value: []byte("3"), ModifyIndex: 1}, nil)
		c.want(err, !ok && string(ownEntry(c).Value) == "2", "%t", ok)
	}},
	{method: "KV.Keys", check: func(c client) {
		keys, _, err := c.KV().Keys(own(c, ""), "", &consul.QueryOptions{AllowStale: true, WaitIndex: 1})
		c.want(err, slices.Equal(keys, []string{own(c, "a")}), "%q", keys)
	}},
	{method: "KV.List", check: func(c client) {
		list, _, err := c.KV().List(own(c, ""), nil)
		c.want(err, len(list) == 1 && string(list[0].Value) == "2", "%v", list)
	}},
	{method: "Session.Create", check: func(c client) {
		id, _, err := c.Session().Create(&consul.SessionEntry{Name: own(c, "s"), TTL: "10m", Behavior: consul.SessionBehaviorDelete, LockDelay: 1}, nil)
		c.want(err, len(id) == 36, "%s", id)
	}},
	{method: "Session.CreateNoChecks", check: func(c client) {
		id, _, err := c.Session().CreateNoChecks(&consul.SessionEntry{Name: own(c, "no checks")}, nil)
		c.want(err, len(id) == 36, "%s", id)
		s, _, err := c.Session().Info(id, nil)
		c.want(err, s != nil && len(s.NodeChecks) == 0 && s.Node == c.agent.name, "%+v", s)
		_, err = c.Session().Destroy(id, nil)
		c.want(err, true, "")
	}},
	{method: "Session.Info", check: func(c client) {
		s, meta, err := c.Session().Info(ownSession(c), nil)
		c.want(err, err == nil && s != nil && s.TTL == "10m" && s.Behavior == "delete" && slices.Equal(s.NodeChecks, []string{"serfHealth"}) && meta.LastIndex > 1, "%+v", s)
	}},
	{method: "Session.List", check: func(c client) {
		all, _, err := c.Session().List(nil)
		c.want(err, slices.ContainsFunc(all, func(s *consul.SessionEntry) bool { return s.Name == own(c, "s") }), "%v", all)
	}},
	{method: "Session.Node", check: func(c client) {
		all, _, err := c.Session().Node("nobody", nil)
		c.want(err, len(all) == 0 && ownSession(c) != "", "%v", all)
	}},
	{method: "Session.Renew", check: func(c client) {
		s, _, err := c.Session().Renew(ownSession(c), nil)
		c.want(err, s != nil && s.TTL == "10m", "%+v", s)
	}},
	{method: "KV.Acquire", check: func(c client) {
		session := ownSession(c)
		ok, _, err := c.KV().Acquire(&consul.KVPair{Key: own(c, "a"), Value: []byte("held"), Session: session}, nil)
		p := ownEntry(c)
		c.want(err, ok && p.Session == session && p.LockIndex == 1, "%t %+v", ok, p)
	}},
	{method: "Txn.Txn", check: func(c client) {
		ops := consul.TxnOps{
			{KV: &consul.KVTxnOp{Verb: consul.KVCheckSession, Key: own(c, "a"), Session: ownSession(c)}},
			{KV: &consul.KVTxnOp{Verb: consul.KVSet, Key: own(c, "b"), Value: []byte("fenced")}},
			{Node: &consul.NodeTxnOp{Verb: consul.NodeGet, Node: consul.Node{Node: c.agent.name}}},
		}
		ok, got, _, err := c.Txn().Txn(ops, nil)
		c.want(err, ok && len(got.Results) == 3 && got.Results[2].Node.Node == c.agent.name, "%t %+v", ok, got)
		ops[0].KV.Session, ops[1].KV.Value = "another", []byte("not fenced")
		ok, got, _, err = c.Txn().Txn(ops, nil)
		c.want(err, !ok && len(got.Errors) == 1 && got.Errors[0].OpIndex == 0, "%t %+v", ok, got)
	}},
	{method: "KV.Txn", check: func(c client) {
		ok, got, _, err := c.KV().Txn(consul.KVTxnOps{{Verb: consul.KVGet, Key: own(c, "b")}}, &consul.QueryOptions{RequireConsistent: true})
		c.want(err, ok && len(got.Results) == 1 && string(got.Results[0].Value) == "fenced", "%t %+v", ok, got)
	}},
	{method: "KV.Release", check: func(c client) {
		ok, _, err := c.KV().Release(&consul.KVPair{Key: own(c, "a"), Session: ownSession(c)}, nil)
		p := ownEntry(c)
		c.want(err, ok && p.Session == "" && p.LockIndex == 1, "%t %+v", ok, p)
	}},
	{method: "KV.DeleteCAS", check: func(c client) {
		p := ownEntry(c)
		ok, _, err := c.KV().DeleteCAS(&consul.KVPair{Key: p.Key, ModifyIndex: p.ModifyIndex + 1}, nil)
		c.want(err, !ok, "%t", ok)
		ok, _, err = c.KV().DeleteCAS(p, nil)
		c.want(err, ok, "%t", ok)
	}},
	{method: "KV.Delete", check: func(c client) {
		_, err := c.KV().Delete(own(c, "b"), nil)
		c.want(err, true, "")
		p, _, err := c.KV().Get(own(c, "b"), nil)
		c.want(err, p == nil, "%+v", p)
	}},
	{method: "KV.DeleteTree", check: func(c client) {
		ok, _, err := c.KV().Acquire(&consul.KVPair{Key: own(c, "held"), Session: ownSession(c)}, nil)
		c.want(err, ok, "%t", ok)
		_, err = c.KV().DeleteTree(own(c, ""), nil)
		c.want(err, true, "")
		keys, _, err := c.KV().Keys(own(c, ""), "", nil)
		c.want(err, len(keys) == 0, "%q", keys)
	}},
	{method: "Session.RenewPeriodic", check: func(c client) {
		done := make(chan struct{})
		close(done) // it renews no more, and ends the session
		c.want(c.Session().RenewPeriodic("10m", ownSession(c), nil, done), true, "")
	}},
	{method: "Session.Destroy", check: func(c client) {
		all, _, err := c.Session().Node(c.agent.name, nil)
		c.want(err, len(all) == 0, "%v", all)
		_, err = c.Session().Destroy("none", nil)
		c.want(err, true, "")
	}},
	{method: "Snapshot.Save", check: func(c client) {
		saved, meta := snapshotOf(c)
		c.want(nil, bytes.HasPrefix(saved, []byte{0x1f, 0x8b}) && meta.LastIndex > 1 && meta.KnownLeader, "%d bytes, %+v", len(saved), meta)
	}},
	{method: "Snapshot.Restore", check: func(c client) {
		put := func(value string) {
			_, err := c.KV().Put(&consul.KVPair{Key: own(c, "a"), Value: []byte(value)}, nil)
			c.want(err, true, "")
		}
		put("saved")
		saved, _ := snapshotOf(c)
		put("overwritten")
		before := ownEntry(c).ModifyIndex
		c.want(c.Snapshot().Restore(nil, bytes.NewReader(saved)), true, "")
		p := ownEntry(c)
		c.want(nil, string(p.Value) == "saved" && p.ModifyIndex > before, "%+v, before at %d", p, before)
		_, err := c.KV().DeleteTree(own(c, ""), nil)
		c.want(err, true, "")
	}},
}

func snapshotOf(c client) ([]byte, *consul.QueryMeta) {
	c.t.Helper()
	in, meta, err := c.Snapshot().Save(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	defer in.Close()
	saved, err := io.ReadAll(in)
	if err != nil {
		c.t.Fatal(err)
	}
	return saved, meta
}

// defaults is an entry of the asked agent's own.
func defaults(c client, protocol string) *consul.ServiceConfigEntry {
	return &consul.ServiceConfigEntry{Kind: consul.ServiceDefaults, Name: "of-" + c.agent.name, Protocol: protocol}
}

var configCalls = []call{
	{method: "ConfigEntries.Set", check: func(c client) {
		ok, _, err := c.ConfigEntries().Set(defaults(c, "http"), nil)
		c.want(err, ok, "%t", ok)
		_, _, err = c.ConfigEntries().Set(&consul.ServiceSplitterConfigEntry{Kind: consul.ServiceSplitter, Name: "x", Splits: []consul.ServiceSplit{{Weight: 40}}}, nil)
		c.want(nil, err != nil && strings.Contains(err.Error(), "400"), "%v", err)
	}},
	{method: "ConfigEntries.Get", check: func(c client) {
		got, meta, err := c.ConfigEntries().Get(consul.ServiceDefaults, "of-"+c.agent.name, nil)
		c.want(err, err == nil && got.(*consul.ServiceConfigEntry).Protocol == "http" && got.GetModifyIndex() == meta.LastIndex, "%+v", got)
	}},
	{method: "ConfigEntries.List", check: func(c client) {
		got, _, err := c.ConfigEntries().List(consul.ServiceDefaults, nil)
		c.want(err, len(got) == 1 && got[0].GetName() == "of-"+c.agent.name, "%v", got)
	}},
	{method: "ConfigEntries.CAS", check: func(c client) {
		ok, _, err := c.ConfigEntries().CAS(defaults(c, "tcp"), 1, nil)
		c.want(err, !ok, "%t", ok)
	}},
	{method: "ConfigEntries.DeleteCAS", check: func(c client) {
		ok, _, err := c.ConfigEntries().DeleteCAS(consul.ServiceDefaults, "of-"+c.agent.name, 1, nil)
		c.want(err, !ok, "%t", ok)
	}},
	{method: "ConfigEntries.Delete", check: func(c client) {
		_, err := c.ConfigEntries().Delete(consul.ServiceDefaults, "of-"+c.agent.name, nil)
		c.want(err, true, "")
		_, _, err = c.ConfigEntries().Get(consul.ServiceDefaults, "of-"+c.agent.name, nil)
		c.want(nil, err != nil && strings.Contains(err.Error(), "404"), "%v", err)
	}},
}

// intention is one of the asked agent's own.
func intention(c client, action consul.IntentionAction) *consul.Intention {
	return &consul.Intention{SourceName: "from-" + c.agent.name, DestinationName: "to-" + c.agent.name, Action: action}
}

// ownIntention finds what Connect.IntentionCreate has made.
func ownIntention(c client) *consul.Intention {
	c.t.Helper()
	got, _, err := c.Connect().IntentionGetExact("from-"+c.agent.name, "to-"+c.agent.name, nil)
	if err != nil || got == nil {
		c.t.Fatalf("intention %+v, %v", got, err)
	}
	return got
}

var connectCalls = []call{
	{method: "Connect.IntentionCreate", check: func(c client) {
		id, _, err := c.Connect().IntentionCreate(intention(c, consul.IntentionActionAllow), nil)
		c.want(err, len(id) == 36, "%s", id)
	}},
	{method: "Connect.IntentionGetExact", check: func(c client) {
		got := ownIntention(c)
		c.want(nil, got.Action == consul.IntentionActionAllow, "%+v", got)
	}},
	{method: "Connect.IntentionGet", check: func(c client) {
		got, _, err := c.Connect().IntentionGet(ownIntention(c).ID, nil)
		c.want(err, got != nil && got.SourceName == "from-"+c.agent.name, "%+v", got)
	}},
	{method: "Connect.IntentionUpdate", check: func(c client) {
		changed := ownIntention(c)
		changed.Description = "changed"
		_, err := c.Connect().IntentionUpdate(changed, nil)
		c.want(err, ownIntention(c).Description == "changed", "%+v", ownIntention(c))
	}},
	{method: "Connect.Intentions", check: func(c client) {
		got, _, err := c.Connect().Intentions(nil)
		c.want(err, len(got) == 1, "%v", got)
	}},
	{method: "Connect.IntentionMatch", check: func(c client) {
		to := "to-" + c.agent.name
		got, _, err := c.Connect().IntentionMatch(&consul.IntentionMatch{By: consul.IntentionMatchDestination, Names: []string{to}}, nil)
		c.want(err, len(got[to]) == 1, "%v", got)
	}},
	{method: "Connect.IntentionCheck", check: func(c client) {
		ok, _, err := c.Connect().IntentionCheck(&consul.IntentionCheck{Source: "from-" + c.agent.name, Destination: "to-" + c.agent.name}, nil)
		c.want(err, ok, "%t", ok)
	}},
	{method: "Connect.IntentionDelete", check: func(c client) {
		_, err := c.Connect().IntentionDelete(ownIntention(c).ID, nil)
		c.want(err, true, "")
	}},
	{method: "Connect.IntentionUpsert", check: func(c client) {
		_, err := c.Connect().IntentionUpsert(intention(c, consul.IntentionActionDeny), nil)
		c.want(err, ownIntention(c).Action == consul.IntentionActionDeny, "%+v", ownIntention(c))
	}},
	{method: "Connect.IntentionDeleteExact", check: func(c client) {
		_, err := c.Connect().IntentionDeleteExact("from-"+c.agent.name, "to-"+c.agent.name, nil)
		c.want(err, true, "")
		got, _, err := c.Connect().Intentions(nil)
		c.want(err, len(got) == 0, "%v", got)
	}},
	{method: "Connect.CARoots", endpoint: "GET /v1/connect/ca/roots", ask: func(c *consul.Client) error {
		_, _, err := c.Connect().CARoots(nil)
		return err
	}},
	{method: "Connect.CAGetConfig", endpoint: "GET /v1/connect/ca/configuration", ask: func(c *consul.Client) error {
		_, _, err := c.Connect().CAGetConfig(nil)
		return err
	}},
	{method: "Connect.CASetConfig", endpoint: "PUT /v1/connect/ca/configuration", ask: func(c *consul.Client) error {
		_, err := c.Connect().CASetConfig(&consul.CAConfig{Provider: "none"}, nil)
		return err
	}},
}
