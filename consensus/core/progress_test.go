package core_test

import (
	"testing"

	"muster/consensus/core"
)

// A follower that answers heartbeats and stores nothing is told from one that is
// silent and from one that lacks nothing.
func TestProgress_StuckWhileHeartbeatsAreAnswered(t *testing.T) {
	l := newLone(t, voters("a", "b", "c"))
	l.elect("b", "c")
	timing := core.DefaultTiming()
	// live lets time pass while some answer heartbeats; b acknowledges all it gets.
	live := func(from, until core.Instant, answers ...core.ServerID) {
		for l.now = from; l.now < until; l.now = l.now.Add(timing.Heartbeat) {
			l.Tick(l.now)
			for _, m := range l.Output().Send {
				if m.Kind == core.MsgHeartbeat && m.Round > 0 {
					for _, id := range answers {
						if m.To == id {
							l.hear(core.Message{Kind: core.MsgHeartbeatReply, From: id, Term: l.Status().Term, Round: m.Round})
						}
					}
				}
			}
			l.hear(core.Message{Kind: core.MsgAppendReply, From: "b", Term: l.Status().Term, Match: l.Status().LastIndex, Round: 1})
		}
	}
	start := l.now
	live(start, start.Add(4*timing.ElectionMax), "b", "c")
	b, c := l.Status().Progress[0], l.Status().Progress[1]
	if b.StuckSince != 0 || !b.CaughtUp || b.MatchTerm != l.Status().Term {
		t.Errorf("b has all: %+v", b)
	}
	if c.StuckSince == 0 || c.StuckSince > start || c.CaughtUp {
		t.Errorf("c answers and stores nothing since %d: %+v", start, c)
	}
	live(l.now, l.now.Add(2*timing.ElectionMax), "b")
	if c := l.Status().Progress[1]; c.StuckSince != 0 {
		t.Errorf("c is silent, not stuck: %+v", c)
	}
	l.hear(core.Message{Kind: core.MsgAppendReply, From: "c", Term: l.Status().Term, Match: l.Status().LastIndex, Round: 1})
	if c := l.Status().Progress[1]; c.StuckSince != 0 {
		t.Errorf("c has all: %+v", c)
	}
}
