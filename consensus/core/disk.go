package core

// DiskState is what the driver has found out about its server's disk.
type DiskState uint8

// The states of a disk. Whatever it is, a server votes: terms and votes take
// next to no room, and a vote leaves only once it is durable.
const (
	DiskGood DiskState = iota
	// DiskFull: there is room for terms, votes and what was accepted, not for
	// more commands. The leader is told, sends nothing more until that is over,
	// and won't make this server its successor. In elections this server lets
	// the others go first; if they are all full, one of them still leads.
	DiskFull
	// DiskHung: writes don't come back. This server doesn't stand: it would enter
	// term after term that it can tell nobody of, and depose a leader with the
	// last of them once its disk works again.
	DiskHung
)

// SetDisk tells the Core how its disk is.
func (c *Core) SetDisk(now Instant, d DiskState) {
	c.advance(now)
	if c.disk == d {
		return
	}
	c.disk = d
	if c.lead == nil {
		c.resetElectionTimer()
	}
}

// roomForCommands says whether a majority has room to store a command. With less
// it would be neither committed nor known to have failed.
func (c *Core) roomForCommands() bool {
	if c.lead == nil {
		return false
	}
	return quorum(c, truth(c.disk != DiskFull), func(p *progress) int { return truth(!p.full) }) == 1
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}
