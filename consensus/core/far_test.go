package core_test

import (
	"testing"

	"muster/consensus/core"
)

// An answer that takes longer than the wait before the question is put again must
// be taken, or a leader far away would never answer. Here a question that a lease
// answers takes 80 ms, and the shortest election timeout is 150 ms. One that needs
// a round waits up to 50 ms more for a round that began before it, and then 80 ms
// for its own.
func TestReads_AreAnsweredByALeaderFurtherAwayThanTheRetry(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	c.seed(configurationOf("a", "b", "c"))
	leader := c.server("a")
	for _, s := range c.servers {
		s.conf.Rand = func(n uint64) uint64 { return n - 1 } // the longest election timeout
		if s == leader {
			s.conf.Rand = func(uint64) uint64 { return 0 }
		}
		s.start()
	}
	c.run(600 * ms)
	if c.leader() != leader {
		t.Fatal("a does not lead")
	}
	far := newFarAway(c, leader, 40*ms)
	far.run(300 * ms)
	for _, s := range c.servers {
		if s == leader {
			continue
		}
		for _, read := range []struct {
			kind   core.ReadKind
			within core.Duration
		}{{core.ReadUnderLease, 90 * ms}, {core.ReadByRound, 220 * ms}} {
			token := s.read(read.kind)
			far.run(read.within)
			if r, ok := s.reads[token]; !ok || r.Err != nil {
				t.Errorf("a read of kind %d at %s: %+v (answered: %t) after %d ms", read.kind, s.id, r, ok, read.within/ms)
			}
		}
	}
	if c.leader() != leader || len(c.check.breaches) > 0 {
		t.Errorf("the leader was deposed, or %v", c.check.breaches)
	}
}

// farAway delays what one server sends and hears; all else arrives at once.
type farAway struct {
	c      *cluster
	server *server
	delay  core.Duration
	onWay  []delayed
}

type delayed struct {
	message core.Message
	due     core.Instant
}

func newFarAway(c *cluster, s *server, delay core.Duration) *farAway {
	return &farAway{c: c, server: s, delay: delay}
}

func (f *farAway) run(d core.Duration) {
	for end := f.c.now.Add(d); f.c.now < end && len(f.c.check.breaches) == 0; {
		f.c.pass(ms)
		f.arrive()
		for len(f.c.wire) > 0 {
			if m := f.c.wire[0]; m.From == f.server.id || m.To == f.server.id {
				f.onWay = append(f.onWay, delayed{m, f.c.now.Add(f.delay)})
				f.c.wire = f.c.wire[1:]
				continue
			}
			f.c.deliver(0)
		}
	}
}

// arrive delivers what is due, in order.
func (f *farAway) arrive() {
	sent := f.c.wire
	for len(f.onWay) > 0 && f.onWay[0].due <= f.c.now {
		f.c.wire = []core.Message{f.onWay[0].message}
		f.onWay = f.onWay[1:]
		f.c.deliver(0)
		sent = append(sent, f.c.wire...)
	}
	f.c.wire = sent
}
