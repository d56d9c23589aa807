package core_test

import (
	"slices"
	"testing"

	"muster/consensus/core"
)

// A server that lacks what its leader says it has acknowledged was put on an older
// copy of its disk. It says so once its disk does, and not before.
func TestOldCopy_IsFoundOutByWhatTheLeaderRemembers(t *testing.T) {
	for name, c := range map[string]struct {
		acknowledged core.EntryID
		log          core.Incarnation
		lost         bool
	}{
		"nothing":              {core.EntryID{}, 7, false},
		"the last entry":       {at(2, 5), 7, false},
		"an entry before":      {at(1, 3), 7, false},
		"in the snapshot":      {at(1, 2), 7, false},
		"of unknown term":      {at(0, 5), 7, false},
		"beyond the end":       {at(2, 6), 7, true},
		"beyond, term unknown": {at(0, 6), 7, true},
		"another entry":        {at(3, 5), 7, true},
		"another log's":        {at(3, 6), 8, false},
	} {
		t.Run(name, func(t *testing.T) {
			config := configurationOf("a", "b", "c")
			l := newLone(t, core.Restored{
				HardState: core.HardState{Term: 2}, FirstIndex: 4, LastIndex: 5, Log: 7,
				Terms:    []core.TermRun{{First: 4, Term: 1}, {First: 5, Term: 2}},
				Snapshot: core.SnapshotMeta{Index: 3, Term: 1, Config: config, ConfigIndex: 1},
			})
			l.now = core.Instant(400 * ms)
			out := l.hear(core.Message{
				Kind: core.MsgHeartbeat, From: "b", Term: 2, Prev: at(3, 6), Commit: 6, Round: 1,
				Acknowledged: c.acknowledged, AcknowledgedBy: c.log,
			})
			if got := out.Forgotten != nil; got != c.lost || l.Status().Voteless != c.lost {
				t.Fatalf("found out: %v (%+v), voteless: %v, want %v", got, out.Forgotten, l.Status().Voteless, c.lost)
			}
			if !c.lost {
				return
			}
			if len(out.Send) > 0 || out.HardState == nil || !out.MustSync {
				t.Errorf("writes %+v (must sync: %v) and sends %v at once, want a write before all else", out.HardState, out.MustSync, out.Send)
			}
			if i := slices.IndexFunc(out.SendAfter, func(m core.Message) bool { return m.Kind == core.MsgAppendReply }); i < 0 || !out.SendAfter[i].Voteless {
				t.Errorf("after the write it sends %+v, want that it lost entries", out.SendAfter)
			}
		})
	}
}

// What a server acknowledged before it lost it may arrive later than the news.
func TestOldCopy_EarlierAcknowledgementsCountNoMore(t *testing.T) {
	l := newLone(t, voters("a", "b", "c"))
	l.elect("b", "c")
	l.hear(core.Message{Kind: core.MsgAppendReply, From: "b", Term: 2, Round: 1, Reject: true, Prev: at(2, 2), Hint: at(1, 1), Voteless: true})
	l.hear(core.Message{Kind: core.MsgAppendReply, From: "b", Term: 2, Round: 1, Match: 2})
	if p, commit := l.Status().Progress[0], l.Status().Commit; p.Match != 0 || commit >= 2 {
		t.Errorf("an acknowledgement from before its loss counts: %+v, commit %d", p, commit)
	}
	l.hear(core.Message{Kind: core.MsgAppendReply, From: "b", Term: 2, Round: 2, Match: 2, Voteless: true})
	if p := l.Status().Progress[0]; p.Match != 2 {
		t.Errorf("an acknowledgement from after its loss does not count: %+v", p)
	}
}

// A leader that hands over knows its successor to have the whole log. One that has
// lost some of it since doesn't stand.
func TestOldCopy_DoesNotStandAtItsLeadersWish(t *testing.T) {
	l := newLone(t, voters("a", "b", "c"))
	out := l.hear(core.Message{Kind: core.MsgTimeoutNow, From: "b", Term: 2, Acknowledged: at(2, 2)})
	if st := l.Status(); st.Role != core.Follower || st.Term != 2 || !st.Voteless || out.Forgotten == nil {
		t.Errorf("%v of term %d, voteless: %v, want a voteless follower of term 2", st.Role, st.Term, st.Voteless)
	}
}

// putBack crashes s and starts it on an older copy of its disk, where nothing else
// is missing anywhere, its leader knows all that it acknowledged, and lives to say
// so: else what is committed may be lost. What is demanded is that nothing is,
// whatever happens once s has heard it.
func (w *walk) putBack(s *server) {
	l := w.c.leader()
	config, settled := w.settled()
	voteless := func(o *server) bool { return o.disk.voteless }
	if l == nil || l == s || !settled || w.keepers(config) < len(w.c.servers) || slices.ContainsFunc(w.c.servers, voteless) {
		return
	}
	s.crash()
	w.deliverIf(func(m core.Message) bool { return m.From == s.id })
	if !w.remembers(l, s) {
		s.start()
		return
	}
	term := l.core.Status().Term
	w.c.wire = slices.DeleteFunc(w.c.wire, func(m core.Message) bool { return m.Kind == core.MsgTimeoutNow }) // knows less
	s.restore(s.image)
	s.start()
	delete(w.c.cut, [2]core.ServerID{l.id, s.id})
	beat := l.core.Status().Config.Timing.Heartbeat
	for waited := core.Duration(0); waited < beat+beat/5; waited += 5 * ms {
		w.c.pass(5 * ms)
		w.deliverIf(func(m core.Message) bool { return m.From == l.id && m.To == s.id })
	}
	s.sync(len(s.queue))
	if st := s.core.Status(); st.Leader != l.id && st.Term <= term { // else it stood, at its leader's wish
		w.c.check.breach("%s has not heard its leader %s within a heartbeat interval", s.id, l.id)
	}
	s.restored = false
}

// remembers says whether l leads for certain and by its own term's entries, so that
// nothing rests on what s, which is down, told anybody else, or has lost of times
// and terms since its disk was copied.
func (w *walk) remembers(l, s *server) bool {
	st := l.core.Status()
	term, _ := l.memory.term(st.Commit)
	if st.Role != core.Leader || term != st.Term || l.clock().Sub(st.LastContact) >= st.Config.Timing.ElectionMin ||
		s.image.incarnation != s.disk.incarnation || s.image.configIndex() != st.ConfigIndex {
		return false
	}
	return !slices.ContainsFunc(w.c.servers, func(o *server) bool {
		rival := o != l && o.core != nil && o.core.Status().Role >= core.Candidate
		return rival || max(o.term(), o.disk.hard.Term) > st.Term
	})
}
