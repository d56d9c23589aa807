package state

import (
	"bytes"
	"fmt"
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"

	"muster/catalog"
)

// modelSessions are the IDs of sessions that commands draw, and none.
var modelSessions = []string{"s1", "s2", "S1", ""}

// sessionCommands draws beginnings and ends of sessions and lock-delays.
func sessionCommands() *rapid.Generator[catalog.Command] {
	return rapid.Custom(func(t *rapid.T) catalog.Command {
		id := rapid.SampledFrom(modelSessions[:3]).Draw(t, "id")
		switch rapid.IntRange(0, 4).Draw(t, "session op") {
		case 0:
			return &catalog.DestroySession{ID: id}
		case 1:
			return &catalog.EndLockDelays{Delays: []catalog.LockDelay{{
				Key: rapid.SampledFrom(modelKeys[1:]).Draw(t, "key"), Index: rapid.Uint64Range(1, 20).Draw(t, "since")}}}
		}
		s := catalog.Session{
			ID: id, Node: rapid.SampledFrom([]string{"a", "A", "b"}).Draw(t, "node"),
			Behavior:   rapid.SampledFrom([]string{catalog.BehaviorRelease, catalog.BehaviorDelete}).Draw(t, "behavior"),
			LockDelay:  rapid.SampledFrom([]time.Duration{0, catalog.LeastLockDelay - 1, catalog.LeastLockDelay}).Draw(t, "delay"),
			NodeChecks: rapid.SampledFrom([][]string{nil, nil, {"x"}, {"X", "y"}}).Draw(t, "checks"),
		}
		if rapid.Bool().Draw(t, "by service") {
			s.ServiceChecks = []catalog.ServiceCheck{{ID: "y"}}
		}
		return &catalog.CreateSession{Session: s}
	})
}

// mayLive says what keeps a session from being: a session is there as long as its
// node is and each of its checks is and isn't critical.
func (m model) mayLive(s catalog.Session) error {
	if _, ok := m.nodes[catalog.Fold(s.Node)]; !ok {
		return fmt.Errorf("no node")
	}
	for _, id := range s.Checks() {
		if c, ok := m.checks[[2]string{catalog.Fold(s.Node), catalog.Fold(id)}]; !ok || c.Status == catalog.StatusCritical {
			return fmt.Errorf("no check that is well")
		}
	}
	return nil
}

func (m model) createSession(index uint64, s catalog.Session) error {
	if _, ok := m.sessions[s.ID]; ok {
		return fmt.Errorf("is there already")
	}
	if err := m.mayLive(s); err != nil {
		return err
	}
	s.Node = m.nodes[catalog.Fold(s.Node)].Node
	s.Indexes = catalog.Indexes{CreateIndex: index, ModifyIndex: index}
	m.sessions[s.ID] = s
	return nil
}

func (m model) endSession(index uint64, id string) {
	s, ok := m.sessions[id]
	if !ok {
		return
	}
	delete(m.sessions, id)
	maps.DeleteFunc(m.queries, func(_ string, q catalog.PreparedQuery) bool { return q.Session == id })
	for key, e := range m.kv {
		if e.Session != id {
			continue
		}
		if s.Behavior == catalog.BehaviorDelete {
			delete(m.kv, key)
		} else {
			e.Session, e.ModifyIndex = "", index
			m.kv[key] = e
		}
		if s.LockDelay >= catalog.LeastLockDelay {
			m.delays[key] = catalog.LockDelay{Key: key, Delay: s.LockDelay, Index: index}
		}
	}
}

// set puts an entry that a session holds, or none.
func (m model) set(index uint64, c *catalog.KV, session string, lockIndex uint64) {
	old, there := m.kv[c.Key]
	if there && bytes.Equal(old.Value, c.Value) && old.Flags == c.Flags && old.Session == session && old.LockIndex == lockIndex {
		return
	}
	e := catalog.KVPair{Key: c.Key, Flags: c.Flags, Session: session, LockIndex: lockIndex,
		Indexes: catalog.Indexes{CreateIndex: index, ModifyIndex: index}}
	if len(c.Value) > 0 {
		e.Value = c.Value
	}
	if there {
		e.CreateIndex = old.CreateIndex
	}
	m.kv[c.Key] = e
}

func session(id string, delay time.Duration) *catalog.CreateSession {
	return &catalog.CreateSession{Session: catalog.Session{ID: id, Node: "n1", Behavior: catalog.BehaviorRelease, LockDelay: delay}}
}

func lock(key, id string) *catalog.KV {
	return &catalog.KV{Verb: catalog.KVLock, Key: key, Session: id}
}

func TestSession_ALockDelayIsKeptUntilItIsEnded(t *testing.T) {
	f := newFixture(t, register("n1"), session("s1", time.Second), session("s2", time.Second), lock("k", "s1"))
	f.must(&catalog.DestroySession{ID: "s1"})
	f.mustKeep(lock("k", "s2"))

	// Whoever leads next finds it in the state, wherever that came from.
	again := &fixture{TB: t, Store: New(), index: f.index}
	if err := again.Restore(bytes.NewReader(snapshotBytes(t, f.Snapshot()))); err != nil {
		t.Fatal(err)
	}
	delays := again.View().LockDelays()
	if len(delays) != 1 || delays[0].Key != "k" || delays[0].Delay != time.Second || again.View().KV("k").Session != "" {
		t.Fatalf("restored: %+v", delays)
	}
	again.mustKeep(lock("k", "s2"))
	again.mustKeep(&catalog.EndLockDelays{Delays: []catalog.LockDelay{{Key: "k", Index: delays[0].Index - 1}}})
	again.must(&catalog.EndLockDelays{Delays: []catalog.LockDelay{*delays[0], *delays[0]}})
	again.must(lock("k", "s2"))
	if e := again.View().KV("k"); e.Session != "s2" || e.LockIndex != 2 {
		t.Errorf("%+v", e)
	}
}

func TestSession_AShortLockDelayIsNone(t *testing.T) {
	f := newFixture(t, register("n1"), session("s1", time.Millisecond), session("s2", 0), lock("k", "s1"))
	f.must(&catalog.DestroySession{ID: "s1"})
	f.must(lock("k", "s2"))
	if s := f.View().Session("s2"); s == nil || len(f.View().LockDelays()) > 0 {
		t.Errorf("%+v, delays %v", s, f.View().LockDelays())
	}
}

func TestSession_UnlockingIsNoReasonForADelay(t *testing.T) {
	f := newFixture(t, register("n1"), session("s1", time.Second), session("s2", time.Second), lock("k", "s1"))
	f.mustKeep(&catalog.KV{Verb: catalog.KVUnlock, Key: "k", Session: "s2"})
	f.must(&catalog.KV{Verb: catalog.KVUnlock, Key: "k", Session: "s1"})
	f.must(lock("k", "s2"))
}

func TestSession_RefusesWhatCanNotBe(t *testing.T) {
	f := newFixture(t, register("n1"), session("s1", 0))
	onCheck := session("s3", 0)
	onCheck.Session.NodeChecks = []string{"none"}
	elsewhere := session("s3", 0)
	elsewhere.Session.Node = "none"
	for want, c := range map[string]catalog.Command{
		`there is a session "s1" already`:   session("s1", 0),
		"Missing check 'none' registration": onCheck,
		"Missing node registration":         elsewhere,
		`invalid session "none"`:            lock("k", "none"),
		"missing session":                   lock("k", ""),
		`the session ID must not be empty`:  session("", 0),
		`"a\x00b" contains a NUL character`: session("a\x00b", 0),
	} {
		if r := f.apply(c); fmt.Sprint(r.Err) != want || r.Changed {
			t.Errorf("got %v, want %s", r.Err, want)
		}
	}
}
