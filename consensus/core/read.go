package core

import "slices"

// Reads without the log (dissertation §6.4). A leader that holds a lease
// (lease.go) answers from its commit index at once. Without one, and for those
// who want to trust no clock, it notes its commit index,
// sends a round of heartbeats, and once a majority has answered that round or a
// later one it knows that no newer leader had committed anything when the read
// was asked. Reads that come while a round is out wait for the next one, so any
// number of them share one round; each round has a fresh number. A follower puts
// its reads to its leader the same way, any number in one question.

// ReadKind says what a read may rest on.
type ReadKind uint8

// The kinds of reads. Both are linearizable, ReadUnderLease as long as clocks
// drift apart by less than DriftShare says.
const (
	ReadUnderLease ReadKind = iota // on the leader's lease, if it holds one
	ReadByRound                    // on answers of a majority, no clock assumed
)

// waitingReads are the reads a leader has not released.
type waitingReads struct {
	quick readBatch  // have not been looked at: a lease may answer them
	next  readBatch  // wait for a round to be sent
	out   *readRound // the round under way
}

// of gives the batch that a new read joins.
func (r *waitingReads) of(byRound bool) *readBatch {
	if byRound {
		return &r.next
	}
	return &r.quick
}

// readBatch is a set of reads with one fate.
type readBatch struct {
	local  []uint64 // tokens of this server's driver
	remote []remoteRead
}

type remoteRead struct {
	from  ServerID
	token uint64
}

func (b *readBatch) empty() bool { return len(b.local) == 0 && len(b.remote) == 0 }

func (b *readBatch) add(o readBatch) {
	b.local, b.remote = append(b.local, o.local...), append(b.remote, o.remote...)
}

// forget drops the question of a follower.
func (b *readBatch) forget(id ServerID) {
	b.remote = slices.DeleteFunc(b.remote, func(r remoteRead) bool { return r.from == id })
}

// readRound is a batch whose question is out.
type readRound struct {
	round uint64
	index uint64 // commit index when the round was sent
	reads readBatch
}

// askedReads are the reads a server has put to its leader.
type askedReads struct {
	next        []uint64 // wait for the question under way to be answered
	byRound     bool     // one of those in next must not rest on a lease
	out         []uint64
	outByRound  bool
	outstanding bool
	refused     bool   // the question under way was, and no other is put before retryAt
	token       uint64 // of the question under way
	retryAt     Instant
	leaderHeard Instant // when the leader was last heard
}

// ReadIndex asks for an index such that a read of this server's state, once that
// index is applied, is linearizable: it reflects every write that was
// acknowledged before this call. The answer is a ReadReady. now must have been
// read off the clock after the read was asked.
func (c *Core) ReadIndex(now Instant, token uint64, kind ReadKind) {
	c.advance(now)
	switch {
	case c.lead != nil:
		b := c.lead.reads.of(kind == ReadByRound)
		b.local = append(b.local, token)
	case c.leader == "":
		c.out.Reads = append(c.out.Reads, ReadReady{Token: token, Err: ErrNoLeader})
	default:
		c.asked.next = append(c.asked.next, token)
		c.asked.byRound = c.asked.byRound || kind == ReadByRound
	}
}

// startReads answers what the lease allows, and sends the round for the other
// reads that wait, if none is out. A leader that has not committed an entry of
// its term does not know yet what is committed; its reads wait for that.
func (c *Core) startReads() {
	r := &c.lead.reads
	if !r.quick.empty() {
		if c.leased() {
			c.answerReads(r.quick, c.commit, nil)
		} else {
			r.next.add(r.quick)
		}
		r.quick = readBatch{}
	}
	if r.out != nil || r.next.empty() || c.commit < c.lead.first {
		return
	}
	r.out = &readRound{round: c.startRound(), index: c.commit, reads: r.next}
	r.next = readBatch{}
	c.heartbeat()
	c.releaseReads()
}

// releaseReads ends the round under way if a majority has answered it.
func (c *Core) releaseReads() {
	r := &c.lead.reads
	if r.out == nil || quorum(c, c.lead.rounds.last, func(p *progress) uint64 { return p.round }) < r.out.round {
		return
	}
	done := r.out
	r.out = nil
	c.answerReads(done.reads, done.index, nil)
}

// failLeaderReads answers what can't be released any more.
func (c *Core) failLeaderReads() {
	r := &c.lead.reads
	if r.out != nil {
		c.answerReads(r.out.reads, 0, ErrLeadershipLost)
	}
	c.answerReads(r.next, 0, ErrLeadershipLost)
	c.answerReads(r.quick, 0, ErrLeadershipLost)
	*r = waitingReads{}
}

func (c *Core) answerReads(b readBatch, index uint64, err error) {
	c.readyAll(b.local, index, err)
	for _, r := range b.remote {
		c.send(Message{
			Kind: MsgReadIndexReply, To: r.from, Token: r.token,
			Index: index, Prev: c.log.lastID(), Reject: err != nil,
		})
	}
}

func (c *Core) readyAll(tokens []uint64, index uint64, err error) {
	for _, t := range tokens {
		c.out.Reads = append(c.out.Reads, ReadReady{Token: t, Index: index, Err: err})
	}
}

// handleReadIndex takes the question of a follower, in place of an earlier one
// of the same follower: that has given up on it.
func (c *Core) handleReadIndex(m Message) {
	switch {
	case c.lead == nil:
		c.send(Message{Kind: MsgReadIndexReply, To: m.From, Token: m.Token, Reject: true})
	case c.lead.find(m.From) != nil:
		r := &c.lead.reads
		r.quick.forget(m.From)
		r.next.forget(m.From)
		b := r.of(m.ByRound)
		b.remote = append(b.remote, remoteRead{from: m.From, token: m.Token})
	}
}

// askReads puts the waiting reads to the leader, if no question is under way. A
// voteless server asks even without reads, to learn how far it must catch up.
func (c *Core) askReads() {
	a := &c.asked
	wanted := len(a.next) > 0 || (c.voteless.on && c.voteless.target == 0)
	if c.leader == "" || a.outstanding || !wanted {
		return
	}
	c.readToken++
	a.token, a.outstanding, a.refused = c.readToken, true, false
	a.out, a.next = a.next, nil
	a.outByRound, a.byRound = a.byRound, false
	c.putQuestion()
}

// putQuestion sends the question under way.
func (c *Core) putQuestion() {
	a := &c.asked
	a.retryAt = c.now.Add(c.timing().ElectionMin)
	c.send(Message{Kind: MsgReadIndex, To: c.leader, Token: a.token, ByRound: a.outByRound})
}

// retryReads puts the question under way once more if no answer has come. It is
// the same question, for the same reads, so an answer to any copy will do: were
// each a new one, a leader further away than the wait would be heard too late
// every time.
func (c *Core) retryReads() {
	switch {
	case !c.asked.outstanding || c.now < c.asked.retryAt:
	case c.asked.refused:
		c.withdrawReads()
	default:
		c.putQuestion()
	}
}

// withdrawReads gives up the question under way; its reads wait for the next.
func (c *Core) withdrawReads() {
	a := &c.asked
	a.next = append(a.out, a.next...)
	a.byRound = a.byRound || len(a.out) > 0 && a.outByRound
	a.out, a.outstanding = nil, false
}

// readsLoseLeader is called when the leader changes or is lost.
func (c *Core) readsLoseLeader() {
	c.withdrawReads()
	if c.leader == "" {
		c.readyAll(c.asked.next, 0, ErrNoLeader)
		c.asked.next, c.asked.byRound = nil, false
	}
}

func (c *Core) handleReadIndexReply(m Message) {
	a := &c.asked
	if c.leader != m.From || !a.outstanding || a.token != m.Token {
		return // an answer to an attempt that was given up
	}
	tokens := a.out
	a.out = nil
	if m.Reject {
		// It leads no longer, and would refuse the next question as well: that
		// one waits until retryAt, or for another leader.
		a.refused = true
		c.readyAll(tokens, 0, ErrLeadershipLost)
		return
	}
	a.outstanding = false
	c.readyAll(tokens, m.Index, nil)
	if c.voteless.on && c.voteless.target == 0 {
		c.voteless.target = m.Prev.Index
		c.endVoteless()
	}
}
