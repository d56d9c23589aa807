package core

import (
	"cmp"
	"slices"
	"sort"
	"strings"
)

// leadership is all that a server knows as the leader of its term. It is made
// when the election is won and dropped when leadership ends, so nothing in it
// can outlive the term.
type leadership struct {
	progress []*progress // one for each other member, sorted by ID

	// first is the index of this term's first entry. Until it is committed the
	// leader does not know what is, and neither reads nor changes membership.
	first       uint64
	uncommitted int // bytes of this term's entries above commit

	rounds        rounds
	nextHeartbeat Instant
	excused       Instant // when this leader last began its patience anew; see late.go

	reads    waitingReads
	transfer *transfer
	// toldOther: another server was told to stand at once; see lease.go.
	toldOther bool
}

// rounds numbers the leader's broadcasts and remembers when each was sent, so
// that an answer proves whom the follower followed at that moment or later.
// The leader's lease starts at that moment too.
type rounds struct {
	last    uint64
	started []startedRound // ascending; those still of interest
}

type startedRound struct {
	round uint64
	at    Instant
}

func (r *rounds) start(now Instant, forget Duration) uint64 {
	old := 0
	for old < len(r.started) && now.Sub(r.started[old].at) > forget {
		old++
	}
	r.last++
	r.started = append(r.started[old:], startedRound{round: r.last, at: now})
	return r.last
}

// sentAt tells when a round was started, if that was recently.
func (r *rounds) sentAt(round uint64) (Instant, bool) {
	i := sort.Search(len(r.started), func(i int) bool { return r.started[i].round >= round })
	if i == len(r.started) || r.started[i].round != round {
		return 0, false
	}
	return r.started[i].at, true
}

func (l *leadership) find(id ServerID) *progress {
	i, ok := slices.BinarySearchFunc(l.progress, id, func(p *progress, id ServerID) int {
		return strings.Compare(string(p.id), string(id))
	})
	if !ok {
		return nil
	}
	return l.progress[i]
}

// quorum gives the highest value that a majority of the voters has reached; self
// is this server's own. The leader counts itself only while it is a voter.
func quorum[T cmp.Ordered](c *Core, self T, of func(*progress) T) T {
	values := make([]T, 0, 8)
	for _, s := range c.config().Servers {
		switch {
		case s.Suffrage != Voter:
		case s.ID == c.cfg.ID:
			values = append(values, self)
		default:
			values = append(values, of(c.lead.find(s.ID)))
		}
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}

// quorumContact is the newest Instant at which a majority still followed this
// leader for certain.
func (c *Core) quorumContact() Instant {
	return quorum(c, c.now, func(p *progress) Instant { return p.contact })
}

// becomeLeader opens the term with an empty entry, whose commitment commits all
// that came before it (dissertation §6.4).
func (c *Core) becomeLeader() {
	c.role = Leader
	c.ballots = nil
	c.leader = c.cfg.ID
	c.lead = &leadership{first: c.log.last + 1}
	c.startRound()
	heartbeat, _ := c.span()
	c.lead.nextHeartbeat = c.now.Add(heartbeat)
	c.syncProgress()
	c.appendOwn(EntryNoop, nil)
}

// resign ends this server's leadership, because term has begun or, if that is
// its own, because no quorum hears it any more or it was removed.
func (c *Core) resign(term uint64) {
	if c.lead.transfer != nil {
		c.endTransfer(c.transferVerdict(term))
	}
	c.failLeaderReads()
	c.lead = nil
}

// appendOwn appends one entry of this term.
func (c *Core) appendOwn(kind EntryKind, data []byte) EntryID {
	e := Entry{Index: c.log.last + 1, Term: c.hard.Term, Kind: kind, Data: data}
	c.log.append(e)
	c.lead.uncommitted += entrySize(e)
	return EntryID{Term: e.Term, Index: e.Index}
}

// Propose asks to append commands. Each gets an Outcome by its token in the next
// Output. On a server that cannot take them the Outcome says why, and the
// commands never take effect.
func (c *Core) Propose(now Instant, ps []Proposal) {
	c.advance(now)
	room := c.roomForCommands()
	for _, p := range ps {
		id, err := c.propose(p.Data, room)
		c.out.Outcomes = append(c.out.Outcomes, Outcome{Token: p.Token, ID: id, Err: err})
	}
}

func (c *Core) propose(data []byte, room bool) (EntryID, error) {
	switch {
	case c.lead == nil:
		return EntryID{}, ErrNotLeader
	case c.lead.transfer != nil:
		return EntryID{}, ErrTransferring
	case !room:
		return EntryID{}, ErrDiskFull
	case c.lead.uncommitted > 0 && c.lead.uncommitted+len(data)+entryOverhead > c.cfg.MaxUncommittedBytes:
		return EntryID{}, ErrOverloaded
	}
	return c.appendOwn(EntryCommand, data), nil
}

func (c *Core) tickLeader() {
	if t := c.lead.transfer; t != nil && c.now >= t.deadline {
		c.abandonTransfer()
	}
	if c.now < c.lead.nextHeartbeat {
		return
	}
	heartbeat, patience := c.span()
	c.lead.nextHeartbeat = c.now.Add(heartbeat)
	for _, pr := range c.lead.progress {
		if pr.state == Replicate && c.now.Sub(pr.heard) >= patience {
			pr.probe(pr.match + 1) // it is gone: keep nothing in flight for it
			pr.waiting = true      // and ask again when it answers a heartbeat
		}
		pr.beat(c.log.last, c.now)
	}
	c.startRound()
	c.heartbeat()
}

func (c *Core) leaderDeadline() Instant {
	deadline := min(c.lead.nextHeartbeat, c.quorumDeadline())
	if t := c.lead.transfer; t != nil {
		deadline = min(deadline, t.deadline)
	}
	return deadline
}

// startRound gives what is sent from now on a fresh number.
func (c *Core) startRound() uint64 {
	_, patience := c.span()
	return c.lead.rounds.start(c.now, patience)
}

// heartbeat sends the newest round to all.
func (c *Core) heartbeat() {
	for _, pr := range c.lead.progress {
		c.sendHeartbeat(pr, c.lead.rounds.last)
	}
}

// sendHeartbeat hands on the commit index as far as the other server can check
// it: up to the entry before those it has yet to be sent. In round 0 it does
// only that and is not answered.
func (c *Core) sendHeartbeat(pr *progress, round uint64) {
	m := Message{Kind: MsgHeartbeat, Commit: c.commit, Round: round}
	known := pr.match
	if pr.state == Replicate {
		known = pr.next - 1
	}
	if term, ok := c.log.term(known); ok {
		m.Prev = EntryID{Term: term, Index: known}
		pr.toldCommit = min(c.commit, known)
	}
	c.sendReminded(pr, m)
}

// heardFrom notes a reply of this term, and gives the sender's progress; nil if
// the reply does not count.
func (c *Core) heardFrom(m Message) *progress {
	if c.lead == nil {
		return nil
	}
	pr := c.lead.find(m.From)
	if pr == nil || m.Round < pr.since || m.Round > c.lead.rounds.last {
		return nil // no member, or not yet one when it was asked
	}
	if !c.knowsLog(pr, m) {
		return nil
	}
	pr.heard = c.now
	c.countPledge(pr, m)
	if m.Round > pr.round {
		pr.round = m.Round
		if at, ok := c.lead.rounds.sentAt(m.Round); ok {
			pr.contact = max(pr.contact, at)
		}
		c.releaseReads()
	}
	return pr
}

// handleHeartbeatReply: the server lives. If it has not confirmed everything,
// something may have been lost on the way, so it is asked.
func (c *Core) handleHeartbeatReply(m Message) {
	pr := c.heardFrom(m)
	if pr == nil {
		return
	}
	pr.full = m.Full
	switch {
	case pr.state == Probe:
		pr.waiting = false
	case pr.waiting && c.now >= pr.repeatAt:
		pr.waiting = false
	case pr.state == Replicate && pr.stalled && pr.match < c.log.last:
		pr.stalled = false
		c.sendEmptyAppend(pr)
	}
	c.repeatTimeoutNow(pr)
}
