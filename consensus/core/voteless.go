package core

// A disk can come back older than it was: a machine's snapshot that is rolled
// back, a backup put in its place. Such a log has the right Incarnation and has
// forgotten what it acknowledged, and so its vote could elect a leader without
// entries that are committed. But its leader remembers: with each message it names
// the newest entry that the receiver has acknowledged to it in this term. A server
// acknowledges what is on its disk, with the term, and within a term nothing that
// its leader has is ever truncated; so a log that lacks the entry was put in the
// place of the one that had it. Its server gives up its vote, on disk before
// anybody hears of it, and has it back once it has caught up.
//
// What only an earlier leader knew is not found out: see docs/raft.md.

// votelessState is kept by a server whose log may have lost entries that it had
// acknowledged. It neither votes nor stands, for its vote could elect a leader
// without them, until its commit index reaches target: the end of its leader's
// log as that answered a question asked after the start. Whatever this server
// acknowledged before the start lies at or below it.
type votelessState struct {
	on       bool
	unstored bool    // the disk doesn't say so yet: nothing leaves before it does
	target   uint64  // 0 until known
	fed      Instant // when its leader last sent it a piece of the log
}

func (c *Core) endVoteless() {
	v := &c.voteless
	if v.on && v.target > 0 && c.commit >= v.target && c.log.durable >= v.target {
		*v = votelessState{}
	}
}

// heedAcknowledged makes this server voteless if its log lacks what its leader
// says it has acknowledged.
func (c *Core) heedAcknowledged(m Message) {
	if c.voteless.on || m.AcknowledgedBy != c.incarnation || c.log.mayHold(m.Acknowledged) {
		return
	}
	c.voteless = votelessState{on: true, unstored: true}
	c.out.Forgotten = &Forgotten{Acknowledged: m.Acknowledged, Leader: m.From, Term: m.Term, Last: c.log.lastID()}
}

// sendReminded sends what a leader tells another member, with what that member
// has acknowledged.
func (c *Core) sendReminded(pr *progress, m Message) {
	m.To = pr.id
	if pr.match > 0 {
		term, _ := c.log.term(pr.match)
		m.Acknowledged, m.AcknowledgedBy = EntryID{Term: term, Index: pr.match}, pr.log
	}
	c.send(m)
}

// lostEntries is for the first word of a server that it has lost what it
// acknowledged. What it said before may still be under way, and must not count:
// only answers to what is sent from now on do.
func (c *Core) lostEntries(pr *progress) {
	pr.voteless = true
	pr.since = c.startRound()
}
