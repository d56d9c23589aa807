package core_test

import (
	"math/bits"
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

// Whatever is lost of the entries on their way to a follower, or of its answers,
// the leader finds out and sends it again: within two heartbeats, and one more
// for each message of the repair that is lost too. Each entry here takes a
// message of its own.
func TestProgress_WhatIsLostIsMadeGoodWithinHeartbeats(t *testing.T) {
	const drawn = 8 // messages of which any may be lost
	for mask := range 1 << drawn {
		c := newCluster(t, "a", "b")
		c.seed(configurationOf("a", "b"))
		for _, s := range c.servers {
			s.conf.Rand = func(uint64) uint64 { return 0 }
			s.conf.MaxAppendBytes = 1
		}
		c.server("b").conf.Rand = func(n uint64) uint64 { return n - 1 }
		for _, s := range c.servers {
			s.start()
		}
		c.run(600 * ms)
		leader := c.server("a")
		if c.leader() != leader {
			t.Fatal("a does not lead")
		}
		for range 3 {
			leader.propose("large")
		}
		start, seen := c.now, 0
		for last := leader.core.Status().LastIndex; leader.core.Status().Commit < last; c.pass(ms) {
			for n := 0; len(c.wire) > 0 && n < 1000; n++ {
				kind := c.wire[0].Kind
				if kind == core.MsgAppend || kind == core.MsgAppendReply {
					if seen++; seen <= drawn && mask>>(seen-1)&1 == 1 {
						c.wire = c.wire[1:]
						continue
					}
				}
				c.deliver(0)
			}
			if len(c.check.breaches) > 0 {
				t.Fatal(c.check.breaches)
			}
			took, most := c.now.Sub(start), core.Duration(2+bits.OnesCount(uint(mask)))*core.DefaultTiming().Heartbeat
			if took > most {
				t.Fatalf("lost by mask %b: nothing is committed after %d ms, want it within %d ms", mask, took/ms, most/ms)
			}
		}
		if c.leader() != leader {
			t.Fatalf("lost by mask %b: the leader was deposed", mask)
		}
	}
}
