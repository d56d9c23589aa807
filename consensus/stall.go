package consensus

import "muster/consensus/core"

// stallTimeouts is how many election timeouts a leader's disk may take over its
// oldest write. Elections, and commits through the disks of others, need not
// wait for it; but such a leader holds all that it has yet to write in memory,
// and refuses proposals in the end.
const stallTimeouts = 10

// stallDeadline is when a leader whose disk makes no progress gives way.
func (e *Engine) stallDeadline() core.Instant {
	if e.unwritten == 0 || e.status.Role != core.Leader {
		return never
	}
	return e.progressed + core.Instant(stallTimeouts*e.status.Config.Timing.ElectionMax)
}

// yieldIfStalled asks the best other voter to take over from a leader whose disk
// hangs, and again later if none did. This server can't win the next election
// before its disk works: its vote for itself has to be durable.
func (e *Engine) yieldIfStalled() {
	if e.now < e.stallDeadline() {
		return
	}
	e.log.Warn("the disk of this leader has finished no write for ten election timeouts; handing leadership over",
		"dir", e.cfg.Dir, "writes_waiting", e.unwritten)
	e.progressed = e.now
	e.core.Transfer(e.now, e.waiting.token(asked{waiter: nobody{}, transfer: true}), "")
}

// nobody is the Waiter of a request that the engine made itself.
type nobody struct{}

func (nobody) Done(Result) {}
