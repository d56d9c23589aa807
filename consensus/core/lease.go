package core

// A leader that a majority has promised not to vote against may answer reads
// alone, for as long as the promise holds (dissertation §6.4.1). docs/raft.md
// has the whole argument; the rules are these:
//
//   - A server that hears its leader votes for no other for ElectionMin, and says
//     so in its answer by naming the Configuration that this time is from
//     (Message.Config): one that it knows to be committed and that is on its
//     disk, so that a restart can't make it less patient.
//   - The leader counts an answer only if that is its own newest Configuration,
//     from the moment at which it *sent* the round that is answered.
//   - Its lease is shorter than the promise by what clocks may drift apart.
//   - It holds none before an entry of its term is committed, while a transfer of
//     leadership is under way, or where it has no vote itself.
//   - Whoever was told to stand at once needs no patience of others. The message
//     may arrive at any later time, and nothing that the leader hears disproves
//     that: once it has left, there is no lease any more in this term.

// DriftShare bounds how far clocks may drift apart: while one server's clock
// advances by a second, another's may advance by up to DriftShare-th of a second
// less. Beyond it reads under a lease may be stale; reads by round never are.
const DriftShare = 10

// lease is how long a leader may count on a promise to be patient for t.
func (t Timing) lease() Duration { return t.ElectionMin - t.ElectionMin/DriftShare }

// stayLoyal binds this server's vote, and its own candidacy, to the leader it has
// just heard.
func (c *Core) stayLoyal() {
	c.loyalUntil = max(c.loyalUntil, c.now.Add(c.timing().ElectionMin))
	c.electionDeadline = max(c.electionDeadline, c.loyalUntil)
}

// pledge does so once more, in case the message has brought a Configuration, and
// gives what the answer is to say: the index of the one that tells for how long,
// or 0 where a crash or a truncation could still put another in its place.
func (c *Core) pledge() (config uint64) {
	c.stayLoyal()
	if config = c.configIndex(); config > min(c.commit, c.log.durable) {
		return 0
	}
	return config
}

// countPledge notes the promise in a reply of another server.
func (c *Core) countPledge(pr *progress, m Message) {
	if m.Config == 0 || m.Config != c.configIndex() {
		return
	}
	if at, ok := c.lead.rounds.sentAt(m.Round); ok {
		pr.pledged = max(pr.pledged, at)
	}
}

// voidPledges goes with a new Configuration: promises speak of the one before.
func (l *leadership) voidPledges() {
	for _, pr := range l.progress {
		pr.pledged = 0
	}
}

// Lease says until when this server may answer reads without asking anyone, and
// the index that a state must have reached to be read: what was acknowledged or
// shown to anybody before this call lies at or below it. The end may have passed;
// it is 0 where there is no lease. It holds until the next input.
func (c *Core) Lease() (end Instant, index uint64) {
	l := c.lead
	switch {
	case l == nil, c.commit < l.first, l.transfer != nil, l.toldOther, !c.config().IsVoter(c.cfg.ID):
		return 0, 0
	}
	pledged := quorum(c, c.now, func(p *progress) Instant { return p.pledged })
	if pledged == 0 {
		return 0, 0
	}
	return pledged.Add(c.timing().lease()), c.commit
}

// leased says whether the lease holds now.
func (c *Core) leased() bool {
	end, _ := c.Lease()
	return c.now < end
}
