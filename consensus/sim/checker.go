package sim

import (
	"fmt"
	"slices"

	"muster/consensus/core"
	"muster/consensus/wal"
	"muster/consensus/wal/memfs"
)

// checker holds what the whole cluster has shown so far, and compares every step
// with it. The numbers in comments are those of the properties in docs/testing.md.
type checker struct {
	sim *Sim
	err error // the first violation
	// rule is the form of its text, without what differs from run to run.
	rule string

	leaders map[uint64]core.ServerID // by term
	// terms[i] is the term of the committed entry i+1, seen[i] the term in which
	// it was first seen to be committed.
	terms, seen []uint64
	// before[i] holds what was sent as predecessors of entries with index i.
	before [][]predecessor
	// states[i] is the machine's state after the committed entry i, if it is a
	// command.
	states []state
	// ops[i] is what became of the operation i.
	ops []fate
	// floor is the index that every read and write that begins now must pass,
	// because an answer that has been given showed it.
	floor uint64
}

// predecessor says that an entry of term was sent behind one of another.
type predecessor struct{ term, behind uint64 }

// fate is what became of a client's write.
type fate struct {
	at      uint64 // where it was applied, 0 if nowhere so far
	done    bool   // it was carried out
	refused bool   // its client was told that it did not happen
}

// slot gives the i-th element of a list that grows as needed.
func slot[T any](list *[]T, i uint64) *T {
	for uint64(len(*list)) <= i {
		*list = append(*list, *new(T))
	}
	return &(*list)[i]
}

func newChecker(s *Sim) *checker {
	return &checker{
		sim:     s,
		leaders: make(map[uint64]core.ServerID),
	}
}

func (c *checker) fail(format string, args ...any) {
	if c.err == nil {
		c.rule = format
		c.err = fmt.Errorf("at %.6f s: "+format, append([]any{float64(c.sim.now) / 1e9}, args...)...)
		c.sim.trace("VIOLATION %v", c.err)
	}
}

// sent checks that only a term's one leader speaks as its leader (1).
func (c *checker) sent(m core.Message) {
	switch m.Kind {
	case core.MsgAppend, core.MsgHeartbeat, core.MsgSnapshot, core.MsgTimeoutNow:
		c.leads(m.From, m.Term)
	}
	c.carried(m)
}

// promised holds what a server grants or acknowledges against what a restart
// would find if it crashed at this moment (2, 16). Votes are all looked at,
// acknowledgements now and then, for it takes opening the log.
func (c *checker) promised(s *server, m core.Message) {
	vote := m.Kind == core.MsgVoteReply && !m.Reject
	ack := m.Kind == core.MsgAppendReply && !m.Reject && m.Match%64 == 0
	if !vote && !ack {
		return
	}
	cfg := s.config()
	l, r, err := wal.Open(s.fs.Crash(memfs.LoseAll, nil), cfg.Dir, wal.Config{SegmentBytes: cfg.SegmentBytes, RetainBytes: cfg.RetainBytes})
	if err != nil {
		c.fail("%s could not restart now: %v", s.id, err)
		return
	}
	defer func() { _ = l.Close() }()
	switch disk := r.HardState; {
	case disk.Term > m.Term: // it has gone on, and the message is void
	case disk.Term < m.Term:
		c.fail("%s speaks in term %d and has only stored term %d", s.id, m.Term, disk.Term)
	case vote && disk.Vote != m.To:
		c.fail("%s gives %s its vote in term %d and has stored %q", s.id, m.To, m.Term, disk.Vote)
	case ack && r.LastIndex < m.Match:
		c.fail("%s acknowledges entry %d and has only stored entry %d", s.id, m.Match, r.LastIndex)
	}
}

// carried checks what a leader sends: entries of no later term than its own,
// and the same predecessor for the same entry wherever it goes (log matching).
func (c *checker) carried(m core.Message) {
	prev := m.Prev
	for _, e := range m.Entries {
		if e.Term > m.Term || e.Index != prev.Index+1 {
			c.fail("%s sends entry %d/%d behind %v in term %d", m.From, e.Term, e.Index, prev, m.Term)
			return
		}
		known := slot(&c.before, e.Index)
		switch i := slices.IndexFunc(*known, func(p predecessor) bool { return p.term == e.Term }); {
		case i < 0:
			*known = append(*known, predecessor{term: e.Term, behind: prev.Term})
		case (*known)[i].behind != prev.Term:
			c.fail("%s sends entry %d/%d behind one of term %d, it was sent behind one of term %d before", m.From, e.Term, e.Index, prev.Term, (*known)[i].behind)
		}
		prev = core.EntryID{Term: e.Term, Index: e.Index}
	}
}

func (c *checker) leads(id core.ServerID, term uint64) {
	if other, ok := c.leaders[term]; ok && other != id {
		c.fail("two leaders in term %d: %s and %s", term, other, id)
	}
	c.leaders[term] = id
}

// turned checks a server after each of its turns.
func (c *checker) turned(s *server) {
	leads, term := s.engine.Leads()
	if leads {
		c.leads(s.id, term)
	}
	if leads && (s.wasLeader != term) {
		c.elected(s, term)
	}
	if leads {
		s.wasLeader = term
	}
	if s.engine.Faults() > 0 {
		c.fail("%s: was sent what contradicts committed state, though no disk was damaged", s.id)
	}
	c.votes(s)
	c.committed(s)
	if applied := s.engine.Applied(); applied < s.applied {
		c.fail("%s: applied index went back from %d to %d", s.id, s.applied, applied)
	} else if s.applied = applied; applied > s.engine.Commit() {
		c.fail("%s: applied %d beyond commit %d", s.id, applied, s.engine.Commit())
	}
}

// votes checks that nobody gives up its vote whose disk is the one that it had.
func (c *checker) votes(s *server) {
	was := s.voteless
	if s.voteless = s.engine.Voteless(); !s.voteless || was {
		return
	}
	s.marked = true
	c.sim.met(OldCopyFound)
	if !s.aged {
		c.fail("%s: gave up its vote, though its disk is the one that it had", s.id)
	}
}

// elected checks leader completeness: a new leader holds all that was committed
// in earlier terms (by log matching the last of it tells for all). It may come to
// know of its election when a later leader has already committed more.
func (c *checker) elected(s *server, term uint64) {
	c.sim.met(LeaderElected)
	for _, o := range c.sim.servers {
		if o == s || o.engine == nil || !c.sim.plan.clocksAgree() || !o.engine.Leased(o.clock()) {
			continue
		}
		// Whoever learns late that it won an earlier term commits nothing any more.
		if _, earlier := o.engine.Leads(); earlier < term {
			c.fail("%s leads in term %d while %s holds a lease of term %d (30)", s.id, term, o.id, earlier)
		}
	}
	c.sim.trace("leader %s term=%d", s.id, term)
	last := uint64(len(c.terms))
	for last > 0 && c.seen[last-1] >= term {
		last--
	}
	if last == 0 {
		return
	}
	if got, ok := s.engine.Term(last); !ok || got != c.terms[last-1] {
		c.fail("%s leads in term %d without committed entry %d of term %d (has term %d, %v)", s.id, term, last, c.terms[last-1], got, ok)
	}
}

// committed checks that what a server takes for committed only grows (13), and
// is the same entry on every server (state machine safety).
func (c *checker) committed(s *server) {
	commit := s.engine.Commit()
	if commit < s.commit {
		c.fail("%s: commit index went back from %d to %d", s.id, s.commit, commit)
	}
	for i := s.commit + 1; i <= commit; i++ {
		term, ok := s.engine.Term(i)
		switch known := i <= uint64(len(c.terms)); {
		case !ok && !known:
			c.fail("%s: committed entry %d that it does not hold and nobody committed before", s.id, i)
			return
		case !ok: // a snapshot covers it; its content is checked when restored
		case known && term != c.terms[i-1]:
			c.fail("%s: committed entry %d of term %d where term %d was committed before", s.id, i, term, c.terms[i-1])
		case !known:
			_, now := s.engine.Leads()
			c.terms, c.seen = append(c.terms, term), append(c.seen, now)
		}
	}
	s.commit = commit
}

// applied checks one applied command against what others applied there, and that
// no operation takes effect twice or after its client was told that it did not.
func (c *checker) applied(s *server, e core.Entry, op uint64, done bool, st state) {
	if e.Index > uint64(len(c.terms)) || c.terms[e.Index-1] != e.Term {
		c.fail("%s: applied entry %d/%d, which is not committed", s.id, e.Term, e.Index)
		return
	}
	known := slot(&c.states, e.Index)
	if known.count != 0 && *known != st {
		c.fail("%s: state after entry %d is %v, elsewhere %v", s.id, e.Index, st, *known)
	}
	*known = st
	f := slot(&c.ops, op)
	if f.at != 0 && f.at != e.Index {
		c.fail("operation %d took effect at %d and at %d", op, f.at, e.Index)
	}
	f.at, f.done = e.Index, done
	if f.refused {
		c.fail("operation %d took effect at %d though its client was told it would not (19)", op, e.Index)
	}
}

// restored checks a state that came out of a snapshot.
func (c *checker) restored(s *server, st state) {
	if st.count == 0 {
		return
	}
	if known := *slot(&c.states, st.index); known != st {
		c.fail("%s: restored state %v, elsewhere %v", s.id, st, known)
	}
}

// wrote checks a write's answer (19, linearizability): it stands where the
// answer says and behind all that was known when it began.
func (c *checker) wrote(op uint64, id core.EntryID, count uint64, floor uint64) {
	if at := slot(&c.ops, op).at; at == 0 || at != id.Index {
		c.fail("operation %d acknowledged at %d but found at %d", op, id.Index, at)
		return
	}
	if id.Index <= floor {
		c.fail("operation %d acknowledged at %d, not behind %d, which was known before it began", op, id.Index, floor)
	}
	if want := c.states[id.Index].count; count != want {
		c.fail("operation %d: result %d instead of %d", op, count, want)
	}
	c.floor = max(c.floor, id.Index)
}

// took says where an operation took effect, for the judge of the history.
func (c *checker) took(op uint64) (index uint64, done, ok bool) {
	f := slot(&c.ops, op)
	return f.at, f.done, f.at != 0
}

// denied notes that a client was told that its operation did not happen.
func (c *checker) denied(op uint64) {
	f := slot(&c.ops, op)
	f.refused = true
	if f.at != 0 {
		c.fail("operation %d: client told that it did not take effect, but it did at %d (19)", op, f.at)
	}
}

// read checks a read's answer (29, 32): the state it saw has all that was known
// when it began.
func (c *checker) read(s *server, seen state, floor uint64) {
	if seen.index < floor {
		c.fail("read on %s saw the state at %d, older than %d, which was known before it began", s.id, seen.index, floor)
	}
	c.floor = max(c.floor, seen.index)
}
