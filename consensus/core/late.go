package core

// A server that was given no processor heard nobody, and nobody heard it. Where
// all processors are busy that happens to several servers at once, and may last
// longer than an election timeout of 150 ms. If each took its own absence for the
// silence of the others, leadership would change hands for nothing, again and
// again, and elections are what such a machine can afford least.
//
// So a server whose turn comes a whole heartbeat interval or more after the
// Instant that it asked for allows the others time to be heard: whoever was about
// to stand first waits for a heartbeat, a leader asks its quorum once more before
// it gives up. Neither can weaken a promise, for nothing but candidacy and
// step-down is put off: a vote that isn't asked for elects nobody, followers keep
// their word by their own clocks, and a lease ends when it ends. Nor does it go
// on: it is allowed once, until the others give a sign of life.

// longestExcuse is for how many election timeouts a leader may have been away.
// After more the others have gone on for certain, unless they have been away for
// as long, and what it would still accept would come to nothing.
const longestExcuse = 4

// late says whether a turn that was asked for at due has come well after it.
func (c *Core) late(due Instant) bool {
	heartbeat, _ := c.span()
	return c.now.Sub(due) >= heartbeat
}

// waitOnceMore prolongs the election timeout, once, if this server was late to see
// it end, and reports whether that is so. A leader that lives sends something in a
// heartbeat interval; chance keeps two that were late from standing at once.
func (c *Core) waitOnceMore() bool {
	if c.waited || !c.late(c.electionDeadline) {
		return false
	}
	t := c.timing()
	c.electionDeadline = c.now.Add(t.Heartbeat + Duration(c.cfg.Rand(uint64(t.ElectionMax-t.ElectionMin))))
	c.waited = true
	return true
}

// excuseLateness lets a leader's patience begin anew if it has sent no heartbeats
// for lack of a turn, unless it did so since its quorum was last in contact.
func (c *Core) excuseLateness() {
	_, patience := c.span()
	away := c.now.Sub(c.lead.nextHeartbeat)
	if c.late(c.lead.nextHeartbeat) && away < longestExcuse*patience && c.quorumContact() >= c.lead.excused {
		c.lead.excused = c.now
	}
}

// quorumDeadline is when a leader steps down if it hears no more of its quorum.
func (c *Core) quorumDeadline() Instant {
	_, patience := c.span()
	return max(c.quorumContact(), c.lead.excused).Add(patience)
}
