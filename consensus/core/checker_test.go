package core_test

import (
	"bytes"
	"fmt"

	"muster/consensus/core"
)

// checker looks at a cluster from outside and above, and notes each breach of
// what Raft promises (dissertation figure 3.2) and of properties.
type checker struct {
	breaches []string

	leaders   map[uint64]core.ServerID   // term -> the one that acted in it
	entries   map[core.EntryID]seenEntry // every entry ever appended anywhere
	committed map[uint64]core.EntryID    // index -> what was applied there first
	newest    uint64                     // highest index committed anywhere
	commit    map[core.ServerID]uint64   // since the server's last start
	led       map[core.ServerID]uint64   // term in which completeness was checked
	questions map[uint64]uint64          // read token -> newest when it was asked
	situation map[string]int             // what a run met

	// lossyDisks: acknowledged entries may vanish, so a majority of disks proves
	// nothing at the moment of commitment.
	lossyDisks bool
	faults     []error
}

type seenEntry struct {
	prev core.EntryID
	data []byte
}

// term is the one a server is in, stored or not; 0 while it is down.
func (s *server) term() uint64 {
	if s.core == nil {
		return 0
	}
	return s.core.Status().Term
}

func newChecker() *checker {
	return &checker{
		leaders: make(map[uint64]core.ServerID), entries: make(map[core.EntryID]seenEntry),
		committed: make(map[uint64]core.EntryID), commit: make(map[core.ServerID]uint64),
		led: make(map[core.ServerID]uint64), questions: make(map[uint64]uint64), situation: make(map[string]int),
	}
}

func (k *checker) breach(format string, args ...any) {
	k.breaches = append(k.breaches, fmt.Sprintf(format, args...))
}

func (k *checker) started(s *server) {
	delete(k.commit, s.id)
	delete(k.led, s.id)
}

// fault: as long as nobody's disk is forged, no server has reason to accuse another.
func (k *checker) fault(s *server, err error) {
	k.faults = append(k.faults, err)
	k.breach("%s reports: %v", s.id, err)
}

// forgot: a server that says it has lost what it acknowledged has, on an older copy
// of its disk.
func (k *checker) forgot(s *server, f core.Forgotten) {
	k.situation["older copy found out"]++
	if !s.restored {
		k.breach("%s says that it lost what it acknowledged, and its disk was never taken from it: %+v", s.id, f)
	}
	s.restored = false
}

// appended checks log matching: an entry ID stands for one payload after one
// predecessor, wherever it appears.
func (k *checker) appended(s *server, es []core.Entry) {
	if len(es) == 0 {
		return
	}
	if es[0].Index <= s.memory.last() {
		k.situation["conflict truncated"]++
		if es[0].Index <= s.applied {
			k.breach("%s truncates at %d, having applied up to %d", s.id, es[0].Index, s.applied)
		}
	}
	term, ok := s.memory.term(es[0].Index - 1)
	if !ok {
		k.breach("%s appends at %d to a log that ends at %d", s.id, es[0].Index, s.memory.last())
		return
	}
	prev := core.EntryID{Term: term, Index: es[0].Index - 1}
	for _, e := range es {
		id := core.EntryID{Term: e.Term, Index: e.Index}
		if seen, ok := k.entries[id]; ok && (seen.prev != prev || !bytes.Equal(seen.data, e.Data)) {
			k.breach("entry %v is not the same everywhere: after %v and after %v", id, seen.prev, prev)
		}
		k.entries[id] = seenEntry{prev: prev, data: e.Data}
		prev = id
	}
}

// sent checks what a server may say, given what its disk holds at this moment.
func (k *checker) sent(s *server, m core.Message) {
	asks := m.Kind == core.MsgPreVote || (m.Kind == core.MsgPreVoteReply && !m.Reject)
	if !asks && m.Term > s.disk.hard.Term {
		k.breach("%s shows term %d (%s) but has stored term %d", s.id, m.Term, describe(m), s.disk.hard.Term)
	}
	switch m.Kind {
	case core.MsgAppend, core.MsgHeartbeat, core.MsgSnapshot:
		if was, ok := k.leaders[m.Term]; ok && was != s.id {
			k.breach("%s and %s both lead term %d", was, s.id, m.Term)
		}
		k.leaders[m.Term] = s.id
	case core.MsgVoteReply:
		if !m.Reject && m.Term == s.disk.hard.Term && s.disk.hard.Vote != m.To {
			k.breach("%s gives %s its vote in term %d but has stored %q", s.id, m.To, m.Term, s.disk.hard.Vote)
		}
	case core.MsgVote:
		if m.Term == s.disk.hard.Term && s.disk.hard.Vote != s.id {
			k.breach("%s stands in term %d without having stored its own vote", s.id, m.Term)
		}
	case core.MsgAppendReply:
		if !m.Reject && m.Term == s.core.Status().Term && s.disk.log.last() < m.Match {
			k.breach("%s acknowledges %d but has stored up to %d", s.id, m.Match, s.disk.log.last())
		}
		if m.Voteless && s.core.Status().Voteless && !s.disk.voteless {
			k.breach("%s says that it lost what it acknowledged before its disk does", s.id)
		}
	}
}

// applied checks state machine safety.
func (k *checker) applied(s *server, e core.Entry) {
	id := core.EntryID{Term: e.Term, Index: e.Index}
	if first, ok := k.committed[e.Index]; ok && first != id {
		k.breach("%s applies %v where %v was applied before", s.id, id, first)
	}
	k.committed[e.Index] = id
	k.newest = max(k.newest, e.Index)
}

// after looks at a server after an Output was carried out.
func (k *checker) after(s *server) {
	st := s.core.Status()
	if st.Commit < k.commit[s.id] {
		k.breach("%s moves its commit index back from %d to %d", s.id, k.commit[s.id], st.Commit)
	}
	if st.Commit > st.LastIndex || st.Durable > st.LastIndex {
		k.breach("%s has commit %d, durable %d in a log that ends at %d", s.id, st.Commit, st.Durable, st.LastIndex)
	}
	if !k.lossyDisks && st.Durable > s.disk.log.last() {
		k.breach("%s believes %d durable, its disk holds %d", s.id, st.Durable, s.disk.log.last())
	}
	if st.Role == core.Leader {
		if was, ok := k.leaders[st.Term]; ok && was != s.id {
			k.breach("%s and %s both lead term %d", was, s.id, st.Term)
		}
		k.leaders[st.Term] = s.id
		if k.led[s.id] != st.Term {
			k.led[s.id] = st.Term
			k.complete(s)
		}
		if !k.lossyDisks {
			k.proven(s, st)
			if st.Commit > k.commit[s.id] {
				k.onMajority(s, st)
			}
		}
	}
	k.commit[s.id] = st.Commit
	k.alone(s.c)
}

// alone checks property 30: while a leader holds a lease, nobody leads a later
// term, and so nobody can have acknowledged anything that it does not know.
func (k *checker) alone(c *cluster) {
	for _, s := range c.servers {
		if s.core == nil {
			continue
		}
		end, _ := s.core.Lease()
		if end <= s.clock() {
			continue
		}
		k.situation["lease held"]++
		for _, o := range c.servers {
			if o.core != nil && o.term() > s.term() && o.core.Status().Role == core.Leader {
				k.breach("%s leads term %d while %s still holds a lease of term %d", o.id, o.term(), s.id, s.term())
			}
		}
	}
}

// complete checks leader completeness: a new leader holds all that is committed.
func (k *checker) complete(s *server) {
	for index, id := range k.committed {
		if index > s.memory.base.Index && !s.memory.holds(id) {
			k.breach("%s leads term %d without the committed entry %v", s.id, s.core.Status().Term, id)
		}
	}
}

// onMajority checks that what a leader commits is on the disks of a majority.
func (k *checker) onMajority(s *server, st core.Status) {
	term, ok := s.memory.term(st.Commit)
	if !ok {
		return
	}
	have := 0
	for _, member := range st.Config.Servers {
		if member.Suffrage != core.Voter {
			continue
		}
		log := &s.c.server(member.ID).disk.log
		if log.base.Index >= st.Commit || log.holds(core.EntryID{Term: term, Index: st.Commit}) {
			have++
		}
	}
	if have < st.Config.Voters()/2+1 {
		k.breach("%s commits %d in term %d, which %d of %d voters have stored", s.id, st.Commit, st.Term, have, st.Config.Voters())
	}
}

// proven checks property 14: what a leader takes for equal on another server
// stands on that one's disk, as long as it has not gone on to a later term or come
// back without part of its log.
func (k *checker) proven(s *server, st core.Status) {
	for _, pr := range st.Progress {
		term, ok := s.memory.term(pr.Match)
		to := s.c.server(pr.ID)
		if !ok || pr.Match == 0 || pr.Log != to.disk.incarnation || to.disk.voteless || max(to.disk.hard.Term, to.term()) > st.Term {
			continue
		}
		if log := &to.disk.log; log.base.Index < pr.Match && !log.holds(core.EntryID{Term: term, Index: pr.Match}) {
			k.breach("%s believes that %s matches up to %d, whose log (%v, %d] does not hold it", s.id, pr.ID, pr.Match, log.base, log.last())
		}
	}
}

func (k *checker) asked(s *server, token uint64) { k.questions[token] = k.newest }

// released checks that a read sees all that was committed when it was asked.
func (k *checker) released(s *server, r core.ReadReady) {
	if r.Err == nil {
		k.situation["read released"]++
		if r.Index < k.questions[r.Token] {
			k.breach("%s serves read %d at %d, but %d was committed when it was asked", s.id, r.Token, r.Index, k.questions[r.Token])
		}
	}
	delete(k.questions, r.Token)
}
