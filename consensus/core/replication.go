package core

// fillBatch bounds the entries that one Message asks the driver to read from
// disk; its byte limit ends most of them earlier.
const fillBatch = 1 << 12

// feed sends one server what it lacks, as far as its state and limits allow.
func (c *Core) feed(pr *progress) {
	if pr.waiting {
		return
	}
	switch pr.state {
	case Probe:
		pr.waiting = true
		c.sendEmptyAppend(pr)
	case Replicate:
		c.pipeline(pr)
	case SendingSnapshot:
		c.sendChunk(pr)
	}
}

// pipeline sends entries without waiting for answers, or else the commit index
// if that is news.
func (c *Core) pipeline(pr *progress) {
	for pr.next <= c.log.last && !pr.waiting && !pr.saturated(&c.cfg) {
		term, ok := c.log.term(pr.next - 1)
		if !ok {
			c.startSnapshot(pr)
			return
		}
		c.sendEntries(pr, EntryID{Term: term, Index: pr.next - 1})
	}
	if pr.toldCommit < min(c.commit, pr.next-1) {
		c.sendHeartbeat(pr, 0)
	}
}

// sendEntries sends one batch from the cache, or asks the driver to.
func (c *Core) sendEntries(pr *progress, prev EntryID) {
	m := Message{Kind: MsgAppend, Prev: prev, Commit: c.commit, Round: c.lead.rounds.last}
	if first := c.log.cacheFirst(); pr.next < first {
		m.Fill = min(first-1, pr.next+fillBatch-1)
		if pr.full {
			m.Fill = pr.next
		}
		pr.waiting = true
		pr.repeatAt = c.now.Add(c.timing().ElectionMax)
		c.sendReminded(pr, m)
		return
	}
	limit := c.cfg.MaxAppendBytes
	if pr.full {
		limit = 1 // one entry: it takes what is no command, and a retry costs little
	}
	m.Entries = c.log.cached(pr.next, c.log.last, limit)
	pr.sent(pr.next+uint64(len(m.Entries))-1, entriesSize(m.Entries))
	pr.toldCommit = min(c.commit, pr.next-1)
	c.sendReminded(pr, m)
}

// sendEmptyAppend asks whether the server holds the entry before next. It
// carries no entries: it is sent while that is in doubt.
func (c *Core) sendEmptyAppend(pr *progress) {
	term, ok := c.log.term(pr.next - 1)
	if !ok {
		c.startSnapshot(pr)
		return
	}
	c.sendReminded(pr, Message{
		Kind: MsgAppend, Prev: EntryID{Term: term, Index: pr.next - 1},
		Commit: c.commit, Round: c.lead.rounds.last,
	})
}

// handleAppendReply takes what a server proved, or refused.
func (c *Core) handleAppendReply(m Message) {
	pr := c.heardFrom(m)
	switch {
	case pr == nil:
		return
	case m.Match > c.log.last:
		c.fault("server %q claims to match index %d, the leader's log ends at %d", m.From, m.Match, c.log.last)
		return
	}
	if m.Voteless && !pr.voteless {
		c.lostEntries(pr)
	}
	pr.voteless = m.Voteless
	if m.Voteless {
		pr.match = 0 // it lost what it once acknowledged
	}
	if m.Reject {
		c.refused(pr, m)
		return
	}
	pr.acknowledged(m.Match)
	was := pr.match
	pr.match = max(pr.match, m.Match)
	switch {
	case pr.state == Probe && m.Match >= pr.next-1:
		pr.replicate()
	case pr.state == SendingSnapshot && m.Match >= pr.snapshot.Index:
		pr.replicate()
	case pr.match >= pr.next: // what the driver read from disk arrived
		pr.next = pr.match + 1
		pr.waiting = false
	}
	pr.catchUp.advance(was, pr.match, c.log.last, c.now, c.timing().ElectionMax)
	c.maybeCommit()
}

// refused goes back to the newest entry that may be shared. A refusal of
// anything but what is in doubt now is old and says nothing. (Or it comes from a
// server whose disk was wiped. That one is asked again with each heartbeat, no
// faster: there is nothing to go back to.)
func (c *Core) refused(pr *progress, m Message) {
	inDoubt := pr.state == Replicate || pr.state == Probe && m.Prev.Index == pr.next-1
	if !inDoubt || m.Prev.Index <= pr.match {
		return
	}
	next := c.log.base.Index // its entry before is unknown here: ends in a snapshot
	if shared, ok := c.log.lastWithTermAtMost(min(m.Hint.Index, m.Prev.Index-1), m.Hint.Term); ok {
		next = shared + 1
	}
	pr.probe(next)
}

// maybeCommit commits what a majority has on disk, the leader itself included
// only as far as its own disk is (S23). Entries of earlier terms are not
// committed by counting, only together with one of this term (figure 8).
func (c *Core) maybeCommit() {
	if c.lead == nil {
		return
	}
	index := quorum(c, c.log.durable, func(p *progress) uint64 { return p.match })
	if index < c.lead.first || index <= c.commit {
		return
	}
	counted := max(c.commit+1, c.lead.first)
	c.lead.uncommitted -= entriesSize(c.log.cached(counted, index, int(^uint(0)>>1)))
	c.commitTo(index)
	c.leaveIfRemoved()
}
