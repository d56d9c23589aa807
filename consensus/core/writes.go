package core

// write is what one Output asked of the disk, until Written confirms it.
type write struct {
	seq  uint64
	hard *HardState
	// first is the index the entries began at, replacing what stood from there
	// on; 0 where the write held none (or a snapshot has replaced them since).
	first uint64
	last  EntryID
	// voteless: it also says that this server may have lost entries.
	voteless bool
}

// Written tells the Core that writes are durable. Only now do its own vote and
// its own entries count.
func (c *Core) Written(now Instant, w Written) {
	c.advance(now)
	c.settle(w)
	if c.role == Candidate && c.durable.Term == c.hard.Term && c.durable.Vote == c.cfg.ID {
		c.countBallot(c.cfg.ID, true)
	}
	c.maybeCommit()
	c.endVoteless()
}

// settle works out how much of the log as it is now the confirmed writes left
// on disk. A later write may already have been asked for that replaces part of
// it: what that one overwrites does not count, even where the new entry has the
// very ID of the old one (the ID may have come back through a third leader
// while the disk, for a moment, holds neither).
func (c *Core) settle(w Written) {
	onDisk, done := c.log.durable, 0
	for _, p := range c.writes {
		if p.seq > w.Seq {
			break
		}
		done++
		if p.hard != nil {
			c.durable = *p.hard
		}
		if p.first != 0 {
			onDisk = p.last.Index
		}
		if p.voteless {
			c.voteless.unstored = false
		}
	}
	c.writes = c.writes[done:]
	if !c.log.matches(w.Last) {
		return // overwritten in the meantime
	}
	onDisk = min(onDisk, w.Last.Index, c.log.taken)
	for _, p := range c.writes {
		if p.first != 0 {
			onDisk = min(onDisk, p.first-1)
		}
	}
	c.log.durable = max(c.log.durable, onDisk)
}

// Output hands over everything that is to be done since the last call.
func (c *Core) Output() Output {
	c.flush()
	out := c.out
	c.out = Output{}

	hard := c.hardState()
	out.Entries = c.log.take()
	voteless := out.Forgotten != nil
	out.MustSync = len(out.Entries) > 0 || !sameVote(hard, c.emitted) || voteless
	if (out.MustSync && hard != c.emitted) || voteless || c.commitDue() {
		out.HardState = &hard
		c.emitted = hard
		c.commitDueAt = c.now.Add(c.timing().Heartbeat)
	}
	if out.HardState != nil || len(out.Entries) > 0 {
		c.seq++
		w := write{seq: c.seq, hard: out.HardState, voteless: voteless}
		if n := len(out.Entries); n > 0 {
			w.first = out.Entries[0].Index
			w.last = EntryID{Term: out.Entries[n-1].Term, Index: out.Entries[n-1].Index}
		}
		c.writes = append(c.writes, w)
	}
	out.Seq = c.seq
	out.Commit = c.commit
	out.Changed = c.face() != c.shown
	c.shown, c.shownCommit = c.face(), c.commit
	c.log.evict(c.cfg.CacheBytes, min(c.commit, c.log.durable))
	return out
}

// HasOutput says whether Output has anything to do.
func (c *Core) HasOutput() bool {
	c.flush()
	o := &c.out
	return len(o.Send) > 0 || len(o.SendAfter) > 0 || len(o.Outcomes) > 0 || len(o.Reads) > 0 ||
		o.Chunk != nil || o.Fault != nil || o.Forgotten != nil ||
		c.log.unwritten() || !sameVote(c.hard, c.emitted) || c.commitDue() ||
		c.commit != c.shownCommit || c.face() != c.shown
}

// hardState is what the disk should hold, with the commit index as advice.
func (c *Core) hardState() HardState {
	return HardState{Term: c.hard.Term, Vote: c.hard.Vote, Commit: c.commit}
}

// commitDue says whether the commit index alone is worth a write that nothing
// waits for: at most one per heartbeat.
func (c *Core) commitDue() bool {
	return c.commit > c.emitted.Commit && c.now >= c.commitDueAt
}

func sameVote(a, b HardState) bool { return a.Term == b.Term && a.Vote == b.Vote }

// send queues a message in this server's term (a message may carry another term
// only if it says so itself). Nothing may show a term that a crash could still
// take back, so it waits for the disk where that has not stored the term yet, nor
// that entries were lost before the disk says so: the leader forgets them then.
func (c *Core) send(m Message) {
	m.From, m.Log = c.cfg.ID, c.incarnation
	if m.Term == 0 {
		m.Term = c.hard.Term
	}
	if c.durable.Term < c.hard.Term || c.voteless.unstored {
		c.out.SendAfter = append(c.out.SendAfter, m)
		return
	}
	c.out.Send = append(c.out.Send, m)
}

// sendAfterWrites queues a message that speaks of something this server holds,
// to leave once all that it was asked to write until now is durable.
func (c *Core) sendAfterWrites(m Message) {
	m.From, m.Log, m.Term = c.cfg.ID, c.incarnation, c.hard.Term
	c.out.SendAfter = append(c.out.SendAfter, m)
}
