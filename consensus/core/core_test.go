package core_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"muster/consensus/core"
)

// lone is one Core that is fed by hand.
type lone struct {
	*core.Core
	t   *testing.T
	now core.Instant
}

func newLone(t *testing.T, r core.Restored, change ...func(*core.Config)) *lone {
	t.Helper()
	config := core.Config{ID: "a", Rand: func(uint64) uint64 { return 0 }}
	for _, f := range change {
		f(&config)
	}
	c, err := core.New(config, r, 0)
	if err != nil {
		t.Fatal(err)
	}
	return &lone{Core: c, t: t}
}

// voters is the disk of one of three voters, in term 1, with just the first
// configuration.
func voters(ids ...core.ServerID) core.Restored {
	return core.Restored{
		HardState: core.HardState{Term: 1}, FirstIndex: 1, LastIndex: 1,
		Terms:   []core.TermRun{{First: 1, Term: 1}},
		Configs: []core.Entry{{Index: 1, Term: 1, Kind: core.EntryConfig, Data: core.EncodeConfiguration(configurationOf(ids...))}},
	}
}

// hear gives the Core a message and returns what it wants done.
func (l *lone) hear(m core.Message) core.Output {
	m.To = "a"
	l.Receive(l.now, m)
	return l.Output()
}

// stored reports the writes of an Output as done.
func (l *lone) stored(out core.Output, last core.EntryID) core.Output {
	l.Written(l.now, core.Written{Seq: out.Seq, Last: last})
	return l.Output()
}

// passes lets time go by, with a Tick at each Deadline on the way and at the end.
func (l *lone) passes(d core.Duration) core.Output {
	l.t.Helper()
	end := l.now.Add(d)
	for ticks := 0; l.Deadline() < end; ticks++ {
		if ticks > 10_000 {
			l.t.Fatal("time stands still: it wants a Tick that changes nothing")
		}
		l.now = max(l.now, l.Deadline())
		l.Tick(l.now)
	}
	return l.oversleeps(end.Sub(l.now))
}

// oversleeps lets time go by without a turn.
func (l *lone) oversleeps(d core.Duration) core.Output {
	l.now = l.now.Add(d)
	l.Tick(l.now)
	return l.Output()
}

// elect makes the Core the leader of term 2 with the votes of all others.
func (l *lone) elect(others ...core.ServerID) core.Output {
	l.t.Helper()
	l.passes(150 * ms)
	for _, o := range others {
		l.hear(core.Message{Kind: core.MsgPreVoteReply, From: o, Term: 2})
	}
	l.Output()
	l.Written(l.now, core.Written{Seq: 1, Last: core.EntryID{Term: 1, Index: 1}})
	for _, o := range others {
		l.Receive(l.now, core.Message{Kind: core.MsgVoteReply, From: o, To: "a", Term: 2})
	}
	out := l.Output()
	if l.Status().Role != core.Leader {
		l.t.Fatalf("not elected: %+v", l.Status())
	}
	return out
}

func entries(terms ...core.EntryID) []core.Entry {
	list := make([]core.Entry, 0, len(terms))
	for _, id := range terms {
		list = append(list, core.Entry{Index: id.Index, Term: id.Term, Kind: core.EntryCommand, Data: []byte("x")})
	}
	return list
}

func at(term, index uint64) core.EntryID { return core.EntryID{Term: term, Index: index} }

func TestSeed_S14_TheElectionTimeoutIsRandomBetween150And300ms(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	distinct := make(map[core.Instant]bool)
	shortest, longest := core.Never, core.Instant(0)
	for range 1000 {
		c, err := core.New(core.Config{ID: "a", Rand: rng.Uint64N}, voters("a", "b", "c"), 0)
		if err != nil {
			t.Fatal(err)
		}
		distinct[c.Deadline()] = true
		shortest, longest = min(shortest, c.Deadline()), max(longest, c.Deadline())
	}
	if shortest < core.Instant(150*ms) || longest >= core.Instant(300*ms) {
		t.Errorf("timeouts from %d to %d ns, want 150 to 300 ms", shortest, longest)
	}
	if shortest > core.Instant(155*ms) || longest < core.Instant(295*ms) || len(distinct) < 990 {
		t.Errorf("timeouts from %d to %d ns, %d of 1000 distinct: not spread over 150 to 300 ms", shortest, longest, len(distinct))
	}
}

// Property 17. The same (term, index) can come back through a third leader while
// the disk still holds neither: only the order of the writes tells them apart.
func TestWritten_IgnoresWhatALaterWriteReplaces(t *testing.T) {
	l := newLone(t, voters("a", "b", "c", "d"))
	first := l.hear(core.Message{Kind: core.MsgAppend, From: "b", Term: 2, Prev: at(1, 1), Round: 1, Entries: entries(at(2, 2))})
	second := l.hear(core.Message{Kind: core.MsgAppend, From: "c", Term: 3, Prev: at(1, 1), Round: 1, Entries: entries(at(3, 2))})
	third := l.hear(core.Message{Kind: core.MsgAppend, From: "d", Term: 4, Prev: at(1, 1), Round: 1, Entries: entries(at(2, 2), at(4, 3))})
	if l.stored(first, at(2, 2)); l.Status().Durable != 1 {
		t.Fatalf("durable %d after the write that the next one replaces, want 1", l.Status().Durable)
	}
	if l.stored(second, at(3, 2)); l.Status().Durable != 1 {
		t.Fatalf("durable %d after an overwritten entry was stored, want 1", l.Status().Durable)
	}
	if l.stored(third, at(4, 3)); l.Status().Durable != 3 {
		t.Fatalf("durable %d after all was stored, want 3", l.Status().Durable)
	}
}

// Property 12: what lies beyond the entries a message proved equal is not
// committed, whatever the leader's commit index; a heartbeat proves only Prev.
func TestFollower_CommitsOnlyWhatTheMessageProves(t *testing.T) {
	l := newLone(t, voters("a", "b", "c"))
	l.hear(core.Message{Kind: core.MsgAppend, From: "b", Term: 2, Prev: at(1, 1), Round: 1, Entries: entries(at(2, 2), at(2, 3), at(2, 4))})
	l.hear(core.Message{Kind: core.MsgHeartbeat, From: "c", Term: 3, Round: 1, Commit: 4})
	if c := l.Status().Commit; c != 0 {
		t.Fatalf("commit %d after a heartbeat that proves nothing, want 0", c)
	}
	l.hear(core.Message{Kind: core.MsgHeartbeat, From: "c", Term: 3, Round: 1, Commit: 4, Prev: at(2, 2)})
	if c := l.Status().Commit; c != 2 {
		t.Fatalf("commit %d after a heartbeat that proves 2, want 2", c)
	}
	l.hear(core.Message{Kind: core.MsgAppend, From: "c", Term: 3, Round: 1, Commit: 4, Prev: at(2, 2), Entries: entries(at(2, 3))})
	if c := l.Status().Commit; c != 3 {
		t.Fatalf("commit %d after an append that proves 3, want 3", c)
	}
}

// Property 13.
func TestFollower_TruncatesOnlyAtAConflict(t *testing.T) {
	l := newLone(t, voters("a", "b", "c"))
	long := core.Message{Kind: core.MsgAppend, From: "b", Term: 2, Prev: at(1, 1), Round: 1, Entries: entries(at(2, 2), at(2, 3), at(2, 4))}
	short := core.Message{Kind: core.MsgAppend, From: "b", Term: 2, Prev: at(1, 1), Round: 1, Entries: entries(at(2, 2))}
	empty := core.Message{Kind: core.MsgAppend, From: "b", Term: 2, Prev: at(1, 1), Round: 1}
	l.hear(long)
	for _, late := range []core.Message{short, empty, long} {
		if out := l.hear(late); len(out.Entries) > 0 || l.Status().LastIndex != 4 {
			t.Fatalf("a late append of %d entries rewrote %v; the log ends at %d, want 4", len(late.Entries), out.Entries, l.Status().LastIndex)
		}
	}
}

func TestFollower_RefusesALeaderThatContradictsItsCommittedLog(t *testing.T) {
	for name, m := range map[string]core.Message{
		"in an entry": {Prev: at(1, 1), Entries: entries(at(3, 2))},
		"in prev":     {Prev: at(3, 2)},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLone(t, voters("a", "b", "c"))
			l.hear(core.Message{Kind: core.MsgAppend, From: "b", Term: 2, Prev: at(1, 1), Round: 1, Commit: 2, Entries: entries(at(2, 2))})
			m.Kind, m.From, m.Term, m.Round = core.MsgAppend, "c", 3, 1
			out := l.hear(m)
			if out.Fault == nil || !strings.Contains(out.Fault.Error(), "committed another entry") {
				t.Errorf("fault %v, want one that names the contradiction", out.Fault)
			}
			if last := l.Status().LastTerm; last != 2 || len(out.Entries) > 0 {
				t.Errorf("the committed entry was replaced: last term %d, entries %v", last, out.Entries)
			}
		})
	}
}

func TestFollower_RefusesASecondLeaderOfOneTerm(t *testing.T) {
	l := newLone(t, voters("a", "b", "c"))
	l.hear(core.Message{Kind: core.MsgHeartbeat, From: "b", Term: 2, Round: 1})
	out := l.hear(core.Message{Kind: core.MsgAppend, From: "c", Term: 2, Prev: at(1, 1), Round: 1, Entries: entries(at(2, 2))})
	if out.Fault == nil || len(out.Entries) > 0 || l.Status().Leader != "b" {
		t.Errorf("fault %v, entries %v, leader %q; want a fault, none, b", out.Fault, out.Entries, l.Status().Leader)
	}
}

// Property 26: a log that holds the snapshot's last entry is kept.
func TestSnapshot_KeepsALogThatHoldsItsLastEntry(t *testing.T) {
	meta := core.SnapshotMeta{Index: 3, Term: 2, Config: configurationOf("a", "b", "c"), ConfigIndex: 1, Size: 1}
	l := newLone(t, voters("a", "b", "c"))
	l.hear(core.Message{Kind: core.MsgAppend, From: "b", Term: 2, Prev: at(1, 1), Round: 1, Entries: entries(at(2, 2), at(2, 3), at(2, 4))})
	out := l.hear(core.Message{Kind: core.MsgSnapshot, From: "b", Term: 2, Snapshot: &meta, Data: []byte("x"), Done: true})
	if out.Chunk != nil || l.Status().LastIndex != 4 || l.Status().Commit != 3 {
		t.Errorf("chunk %v, last index %d, commit %d; want none, 4, 3", out.Chunk, l.Status().LastIndex, l.Status().Commit)
	}
}

// The other half: a log with another entry there is dropped whole.
func TestSnapshot_DropsALogInConflict(t *testing.T) {
	meta := core.SnapshotMeta{Index: 3, Term: 3, Config: configurationOf("a", "b"), ConfigIndex: 2, Size: 1}
	l := newLone(t, voters("a", "b", "c"))
	l.hear(core.Message{Kind: core.MsgAppend, From: "b", Term: 2, Prev: at(1, 1), Round: 1, Entries: entries(at(2, 2), at(2, 3), at(2, 4))})
	out := l.hear(core.Message{Kind: core.MsgSnapshot, From: "b", Term: 3, Snapshot: &meta, Data: []byte("x"), Done: true})
	if out.Chunk == nil || !out.Chunk.Last {
		t.Fatalf("chunk %v, want the last one", out.Chunk)
	}
	// While the driver is at it, nothing is appended and nobody stands.
	if out := l.hear(core.Message{Kind: core.MsgAppend, From: "b", Term: 3, Prev: at(2, 4), Round: 1, Entries: entries(at(3, 5))}); len(out.Entries) > 0 {
		t.Errorf("appended %v to a log on its way out", out.Entries)
	}
	if l.passes(10_000 * ms); l.Status().Role != core.Follower {
		t.Errorf("became %v while installing a snapshot", l.Status().Role)
	}
	l.SnapshotInstalled(l.now, meta)
	st := l.Status()
	if st.FirstIndex != 4 || st.LastIndex != 3 || st.LastTerm != 3 || st.Commit != 3 || st.Durable != 3 || len(st.Config.Servers) != 2 {
		t.Errorf("after installing: %+v", st)
	}
}

// A process that was suspended must not act as leader on what was true before.
func TestLeader_StepsDownWhenTimeJumps(t *testing.T) {
	l := newLone(t, voters("a", "b", "c"))
	l.elect("b", "c")
	l.now = l.now.Add(10_000 * ms)
	l.Propose(l.now, []core.Proposal{{Token: 1}})
	if out := l.Output(); len(out.Outcomes) != 1 || !errors.Is(out.Outcomes[0].Err, core.ErrNotLeader) || len(out.Entries) > 0 {
		t.Errorf("outcome %+v, entries %v; want ErrNotLeader and none", out.Outcomes, out.Entries)
	}
}

func TestFollower_ForgetsALeaderItDoesNotHear(t *testing.T) {
	for name, disk := range map[string]core.Restored{"voter": voters("a", "b", "c"), "learner": voters("b", "c")} {
		t.Run(name, func(t *testing.T) {
			l := newLone(t, disk)
			l.hear(core.Message{Kind: core.MsgHeartbeat, From: "b", Term: 2, Round: 1})
			if l.Status().Leader != "b" {
				t.Fatalf("leader %q, want b", l.Status().Leader)
			}
			out := l.passes(300 * ms)
			if l.Status().Leader != "" || !out.Changed {
				t.Errorf("leader %q, changed %t after a timeout of silence; want none, true", l.Status().Leader, out.Changed)
			}
			l.ReadIndex(l.now, 1, core.ReadByRound)
			if r := l.Output().Reads; len(r) != 1 || !errors.Is(r[0].Err, core.ErrNoLeader) {
				t.Errorf("reads %+v, want ErrNoLeader", r)
			}
		})
	}
}

// A server whose log may have lost what it acknowledged gives no vote, and its
// leader believes its new acknowledgements only.
func TestVoteless_NeitherVotesNorKeepsOldAcknowledgements(t *testing.T) {
	disk := voters("a", "b", "c")
	disk.Voteless = true
	l := newLone(t, disk)
	l.passes(400 * ms)
	if st := l.Status(); st.Role != core.Follower {
		t.Errorf("stands as %v", st.Role)
	}
	for _, m := range []core.Message{
		{Kind: core.MsgPreVote, From: "b", Term: 2, Prev: at(1, 9)},
		{Kind: core.MsgVote, From: "b", Term: 2, Prev: at(1, 9)},
	} {
		out := l.hear(m)
		for _, reply := range append(out.Send, out.SendAfter...) {
			if !reply.Reject {
				t.Errorf("answers %s with a vote", describe(m))
			}
		}
	}

	leader := newLone(t, voters("a", "b", "c"))
	leader.elect("b", "c")
	leader.hear(core.Message{Kind: core.MsgAppendReply, From: "b", Term: 2, Match: 2, Round: 1})
	leader.hear(core.Message{Kind: core.MsgAppendReply, From: "b", Term: 2, Round: 1, Reject: true, Prev: at(2, 2), Hint: at(1, 1), Voteless: true})
	if p := leader.Status().Progress[0]; p.Match != 0 || p.State != core.Probe {
		t.Errorf("after b lost its log: %+v, want match 0 in Probe", p)
	}
}

// Property 10.
func TestLeader_StepsDownAtAHigherTermInAnyReply(t *testing.T) {
	for _, kind := range []core.MessageKind{
		core.MsgPreVoteReply, core.MsgVoteReply, core.MsgAppendReply, core.MsgHeartbeatReply, core.MsgSnapshotReply, core.MsgReadIndexReply,
	} {
		l := newLone(t, voters("a", "b", "c"))
		l.elect("b", "c")
		l.hear(core.Message{Kind: kind, From: "x", Term: 7, Reject: true})
		if st := l.Status(); st.Role != core.Leader {
			t.Errorf("kind %d: a server that is no member deposed the leader", kind)
		}
		l.hear(core.Message{Kind: kind, From: "b", Term: 7, Reject: true})
		if st := l.Status(); st.Role != core.Follower || st.Term != 7 || st.Leader != "" {
			t.Errorf("kind %d: %v of term %d behind %q, want a follower of term 7 behind nobody", kind, st.Role, st.Term, st.Leader)
		}
	}
}

func TestLeader_BoundsWhatIsInFlight(t *testing.T) {
	l := newLone(t, voters("a", "b", "c"), func(c *core.Config) {
		c.MaxInflight, c.MaxInflightBytes, c.MaxAppendBytes = 4, 1000, 1
	})
	l.elect("b", "c")
	l.hear(core.Message{Kind: core.MsgAppendReply, From: "b", Term: 2, Match: 1, Round: 1})
	count := func(out core.Output) (n int) {
		for _, m := range append(out.Send, out.SendAfter...) {
			if m.Kind == core.MsgAppend && m.To == "b" {
				n += len(m.Entries)
			}
		}
		return n
	}
	for i := range 20 {
		l.Propose(l.now, []core.Proposal{{Token: uint64(i), Data: make([]byte, 100)}})
	}
	// The empty entry that opened the term is one of the four.
	if n := count(l.Output()); n != 3 {
		t.Errorf("%d more entries sent unacknowledged, want 3", n)
	}
	out := l.hear(core.Message{Kind: core.MsgAppendReply, From: "b", Term: 2, Match: 4, Round: 1})
	if n := count(out); n != 3 {
		t.Errorf("%d entries follow three acknowledgements, want 3", n)
	}
	l.Propose(l.now, []core.Proposal{{Token: 99, Data: make([]byte, 5000)}})
	for match := uint64(5); match <= 22; match++ {
		l.hear(core.Message{Kind: core.MsgAppendReply, From: "b", Term: 2, Match: match, Round: 1})
	}
	if p := l.Status().Progress[0]; p.Inflight != 1 || p.InflightBytes < 5000 {
		t.Errorf("a large entry must travel alone: %+v", p)
	}
}

func TestLeader_RefusesProposalsBeyondItsBound(t *testing.T) {
	l := newLone(t, voters("a", "b", "c"), func(c *core.Config) { c.MaxUncommittedBytes = 1000 })
	l.elect("b", "c")
	propose := func(token uint64) error {
		l.Propose(l.now, []core.Proposal{{Token: token, Data: make([]byte, 300)}})
		return l.Output().Outcomes[0].Err
	}
	for i := uint64(1); i <= 2; i++ {
		if err := propose(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := propose(3); !errors.Is(err, core.ErrOverloaded) {
		t.Fatalf("error %v, want ErrOverloaded", err)
	}
	for _, from := range []core.ServerID{"b", "c"} {
		l.hear(core.Message{Kind: core.MsgAppendReply, From: from, Term: 2, Match: 4, Round: 1})
	}
	if err := propose(4); err != nil {
		t.Errorf("after everything was committed: %v", err)
	}
}

// Property 14: what a server acknowledged as an earlier member does not count.
func TestLeader_DropsAcknowledgementsOfAnEarlierMembership(t *testing.T) {
	l := newLone(t, voters("a", "b", "c"))
	out := l.elect("b", "c")
	l.stored(out, at(2, 2))
	l.hear(core.Message{Kind: core.MsgAppendReply, From: "b", Term: 2, Match: 2, Round: 1})
	old := core.Message{Kind: core.MsgAppendReply, From: "c", Term: 2, Match: 2, Round: 1}
	for i, ch := range []core.Change{{Kind: core.RemoveServer, ID: "c"}, {Kind: core.AddLearner, ID: "c", Addr: "new"}} {
		l.Change(l.now, uint64(i), ch)
		out := l.Output()
		if out.Outcomes[0].Err != nil {
			t.Fatal(out.Outcomes[0].Err)
		}
		id := out.Outcomes[0].ID
		l.stored(out, id)
		l.hear(core.Message{Kind: core.MsgAppendReply, From: "b", Term: 2, Match: id.Index, Round: 1})
	}
	l.hear(old)
	if p := l.Status().Progress[1]; p.ID != "c" || p.Match != 0 {
		t.Errorf("after a late acknowledgement: %+v, want match 0", p)
	}
}

// Property 15: one probe for each term in dispute, not one for each entry.
func TestLeader_FindsTheConflictInAsManyProbesAsTerms(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	c.seed(configurationOf("a", "b", "c"))
	long := func(s *server, runs ...[2]uint64) { // {term, entries}
		for _, run := range runs {
			for range run[1] {
				s.disk.log.entries = append(s.disk.log.entries, core.Entry{
					Index: s.disk.log.last() + 1, Term: run[0], Kind: core.EntryCommand, Data: fmt.Append(nil, s.id),
				})
			}
		}
		s.disk.hard.Term = 9
	}
	long(c.server("a"), [2]uint64{2, 500}, [2]uint64{4, 500}, [2]uint64{6, 500}, [2]uint64{8, 500})
	long(c.server("b"), [2]uint64{3, 900}, [2]uint64{5, 900}, [2]uint64{7, 900})
	long(c.server("c"))
	c.server("b").conf.Rand = func(n uint64) uint64 { return n - 1 }
	c.server("c").conf.Rand = c.server("b").conf.Rand
	c.server("a").conf.Rand = func(uint64) uint64 { return 0 }
	probes := 0
	c.log = func(format string, args ...any) {
		if line := fmt.Sprintf(format, args...); strings.Contains(line, "refused after") && strings.HasPrefix(line, "a  hears b") {
			probes++
		}
	}
	for _, s := range c.servers {
		s.start()
	}
	c.run(300 * ms)
	if b := c.server("b"); !b.memory.holds(c.server("a").memory.lastID()) || probes == 0 || probes > 8 {
		t.Errorf("b's log ends at %v after %d refusals, want the leader's %v after at most 8", b.memory.lastID(), probes, c.server("a").memory.lastID())
	}
}

// Property 27: however many chunks are lost, and whatever newer snapshots the
// leader takes meanwhile, a transfer ends.
func TestSnapshot_TransferEndsUnderLossAndNewSnapshots(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	c := newCluster(t, "a", "b", "c")
	c.seed(configurationOf("a", "b", "c"))
	for _, s := range c.servers {
		s.conf.Rand = rng.Uint64N
		s.start()
	}
	c.run(600 * ms)
	leader := c.leader()
	var lagging *server
	for _, s := range c.servers {
		if s != leader {
			lagging = s
		}
	}
	c.isolate(lagging.id)
	leader.propose("x")
	c.run(100 * ms)
	leader.takeSnapshot(1 << 20)
	c.heal()
	for range 2000 {
		c.pass(10 * ms)
		for i := len(c.wire) - 1; i >= 0; i-- {
			lossy := c.wire[i].Kind == core.MsgSnapshot || c.wire[i].Kind == core.MsgSnapshotReply
			if lossy && rng.IntN(2) == 0 {
				c.wire = append(c.wire[:i:i], c.wire[i+1:]...)
			}
		}
		c.deliverAll()
		if rng.IntN(20) == 0 {
			leader.propose("y")
			leader.takeSnapshot(leader.applied - 3)
		}
		if lagging.applied > 4 {
			return
		}
	}
	t.Errorf("after 20 s the follower has applied %d, the leader %d", lagging.applied, leader.applied)
}

func TestNew_RefusesADiskThatCannotBe(t *testing.T) {
	snapshot := core.SnapshotMeta{Index: 5, Term: 2, Config: configurationOf("a"), ConfigIndex: 1}
	runs := func(r ...core.TermRun) []core.TermRun { return r }
	for name, tc := range map[string]struct {
		r    core.Restored
		want string
	}{
		"gap after snapshot":   {core.Restored{HardState: core.HardState{Term: 2}, Snapshot: snapshot, FirstIndex: 7, LastIndex: 7, Terms: runs(core.TermRun{First: 7, Term: 2})}, "missing"},
		"log before snapshot":  {core.Restored{HardState: core.HardState{Term: 2}, Snapshot: snapshot, FirstIndex: 1, LastIndex: 4, Terms: runs(core.TermRun{First: 1, Term: 2})}, "reset"},
		"conflict at snapshot": {core.Restored{HardState: core.HardState{Term: 2}, Snapshot: snapshot, FirstIndex: 1, LastIndex: 6, Terms: runs(core.TermRun{First: 1, Term: 1})}, "the snapshot there has term 2"},
		"term too new":         {core.Restored{HardState: core.HardState{Term: 1}, FirstIndex: 1, LastIndex: 1, Terms: runs(core.TermRun{First: 1, Term: 2})}, "knows only term 1"},
		"runs out of order":    {core.Restored{HardState: core.HardState{Term: 3}, FirstIndex: 1, LastIndex: 3, Terms: runs(core.TermRun{First: 1, Term: 3}, core.TermRun{First: 2, Term: 2})}, "out of order"},
	} {
		_, err := core.New(core.Config{ID: "a", Rand: func(uint64) uint64 { return 0 }}, tc.r, 0)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, tc.want)
		}
	}
	if _, err := core.New(core.Config{MaxInflight: -1}, core.Restored{}, 0); err == nil ||
		!strings.Contains(err.Error(), "no ID") || !strings.Contains(err.Error(), "randomness") || !strings.Contains(err.Error(), "limits must be positive") {
		t.Errorf("a config with every fault: %v", err)
	}
}

func TestConfiguration_RoundTripsAndRefusesWhatItDoesNotKnow(t *testing.T) {
	config := configurationOf("b", "a")
	config.Servers[1].Suffrage = core.Learner
	data := core.EncodeConfiguration(config)
	if got, err := core.DecodeConfiguration(data); err != nil || fmt.Sprint(got) != fmt.Sprint(config) {
		t.Errorf("decoded %+v, %v; want %+v", got, err, config)
	}
	const golden = "\x01" + `{"cluster_id":"test","servers":[{"id":"a","addr":"a:8300","suffrage":"voter"},{"id":"b","addr":"b:8300","suffrage":"learner"}]}`
	if string(data) != golden {
		t.Errorf("encoded %q, want %q", data, golden)
	}
	for _, bad := range []string{
		"", "\x02{}", "\x01", "\x01{}", golden + " 1", "\x01" + `{"cluster_id":"t","servers":[],"x":1}`,
		strings.Replace(golden, `"learner"`, `"boss"`, 1), strings.Replace(golden, `"id":"b"`, `"id":"a"`, 1), strings.Replace(golden, `"voter"`, `"learner"`, 1),
	} {
		if got, err := core.DecodeConfiguration([]byte(bad)); err == nil {
			t.Errorf("decoded %q into %+v", bad, got)
		}
	}
}

// A voter whose disk was wiped denies what it acknowledged. There is nothing to
// agree on, and no reason to ask as fast as the network can carry the question.
func TestLeader_DoesNotSpinOnAServerThatDeniesWhatItAcknowledged(t *testing.T) {
	l := newLone(t, voters("a", "b", "c"))
	out := l.elect("b", "c")
	l.stored(out, at(2, 2))
	for _, from := range []core.ServerID{"b", "c"} {
		l.hear(core.Message{Kind: core.MsgAppendReply, From: from, Term: 2, Match: 2, Round: 1})
	}
	for range 6 { // b is away
		for _, m := range l.passes(50 * ms).Send {
			if m.To == "c" {
				l.hear(core.Message{Kind: core.MsgHeartbeatReply, From: "c", Term: 2, Round: m.Round})
			}
		}
	}
	l.hear(core.Message{Kind: core.MsgHeartbeatReply, From: "b", Term: 2, Round: 1})
	asked := 0
	for range 10 {
		deny := core.Message{Kind: core.MsgAppendReply, From: "b", Term: 2, Round: 1, Reject: true, Prev: at(2, 2)}
		for _, m := range l.hear(deny).Send {
			if m.Kind == core.MsgAppend && m.To == "b" {
				asked++
			}
		}
	}
	if asked > 1 {
		t.Errorf("asked %d times after 10 refusals of what was acknowledged", asked)
	}
}

// A voteless server says once in a while what it lacks, but not while it is being
// fed: heartbeats overtake entries, and each refusal makes the leader start over.
func TestVoteless_RefusesAHeartbeatOnlyWhenNothingComes(t *testing.T) {
	disk := voters("a", "b", "c")
	disk.Voteless = true
	l := newLone(t, disk)
	refusals := func() (n int) {
		beat := core.Message{Kind: core.MsgHeartbeat, From: "b", Term: 2, Prev: at(2, 5), Commit: 5, Round: 1}
		out := l.hear(beat)
		for _, m := range append(out.Send, out.SendAfter...) {
			if m.Kind == core.MsgAppendReply && m.Reject && m.Voteless && m.Prev == at(2, 5) {
				n++
			}
		}
		return n
	}
	l.passes(100 * ms)
	out := l.hear(core.Message{Kind: core.MsgAppend, From: "b", Term: 2, Prev: at(1, 1), Entries: entries(at(2, 2)), Round: 1})
	l.stored(out, at(2, 2))
	if n := refusals(); n != 0 {
		t.Errorf("refused %d times right after an append", n)
	}
	for range 3 {
		l.passes(100 * ms)
		l.hear(core.Message{Kind: core.MsgHeartbeat, From: "b", Term: 2, Prev: at(2, 2), Commit: 1, Round: 1})
	}
	if n := refusals(); n != 1 {
		t.Errorf("refused %d times after 300 ms without an append, want 1", n)
	}
}
