package consensus

import "muster/consensus/core"

// stallTimeouts is how many election timeouts the disk may take over its oldest
// write before it counts as hung: 0.6 s by default. Each write that ends starts
// the time anew, so that a slow disk which works does not count, however much
// waits for it; and the hand-over takes some milliseconds, so that from the
// hang to the next leader's first commit less than a second passes.
//
// Elections, and commits through the disks of others, need not wait for the
// leader's. But a leader with a hung disk holds all that it has yet to write in
// memory, and is one failure away from a cluster that can't commit.
const stallTimeouts = 2

// hungAt is when the disk counts as hung if none of its writes ends before.
func (e *Engine) hungAt() core.Instant {
	if e.unwritten == 0 {
		return never
	}
	return e.progressed + core.Instant(stallTimeouts*e.status.Config.Timing.ElectionMax)
}

// stallDeadline is when watchDisk has something to do about a hung disk.
func (e *Engine) stallDeadline() core.Instant {
	switch at := e.hungAt(); {
	case at > e.now:
		return at
	case e.status.Role == core.Leader:
		return e.relieveAt
	}
	return never
}

// watchDisk tells the core how the disk is, and has the best other voter take
// over from a leader whose disk hangs, and again later if none did. A server
// whose disk hangs does not stand: its vote for itself has to be durable.
func (e *Engine) watchDisk() {
	hung := e.now >= e.hungAt()
	if hung && !e.hung {
		e.relieveAt = e.now
		e.log.Error("the disk has finished no write for two election timeouts; this server leads no more, and does not stand, until it does",
			"dir", e.cfg.Dir, "writes_waiting", e.unwritten)
	} else if e.hung && !hung {
		e.log.Info("the disk finishes writes again", "dir", e.cfg.Dir)
	}
	e.hung = hung
	if hung && e.status.Role == core.Leader && e.now >= e.relieveAt {
		e.relieveAt = e.now + core.Instant(stallTimeouts*e.status.Config.Timing.ElectionMax)
		e.handOver()
	}
	e.keepRoom()
	state := core.DiskGood
	switch {
	case hung:
		state = core.DiskHung
	case e.room.full:
		state = core.DiskFull
	}
	e.core.SetDisk(e.now, state)
}

// watchApply says in the log when the state machine takes as long over its
// entries as a disk may over a write. Nothing else shows it: what is committed
// is safe, heartbeats go on, and those who wait for a result give up not knowing.
func (e *Engine) watchApply() {
	if e.now < e.applyDeadline() {
		return
	}
	e.slowApply = true
	e.log.Warn("the state machine has been busy with the same entries for two election timeouts; writes and reads wait for it",
		"handed", e.handed, "committed", e.commit)
}

// applyDeadline is when watchApply has something to say.
func (e *Engine) applyDeadline() core.Instant {
	if !e.applying || e.slowApply {
		return never
	}
	return e.applyFrom + core.Instant(stallTimeouts*e.status.Config.Timing.ElectionMax)
}

// handOver has the best other voter stand.
func (e *Engine) handOver() {
	e.core.Transfer(e.now, e.waiting.token(asked{waiter: nobody{}, transfer: true}), "")
}

// nobody is the Waiter of a request that the engine made itself.
type nobody struct{}

func (nobody) Done(Result) {}
