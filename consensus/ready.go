package consensus

import "muster/consensus/core"

// readiness keeps a server that starts again from showing less than it had shown
// before it stopped, so that an index which its clients have seen never goes
// back (docs/testing.md, property 33).
//
// The commit index that it kept with its hard state is not enough: it goes to
// the disk with the next write, and a server that was idle when it was killed
// has shown more. So it asks its leader for a read index, once, and is ready
// when that is applied: all that it ever applied was committed, and so is within.
// A server that finds no leader for readyTimeouts gives up asking, as stale reads
// are there for a cluster without one; it is then ready at what its disk tells,
// and only there an index may go back, by what was committed since its last write.
// One that has nothing on its disk is no exception: its disk may have been wiped.
type readiness struct {
	done   bool
	disk   uint64 // commit index that the disk told
	asking bool
	asked  bool         // the leader's answer is applied
	next   core.Instant // when to ask again
	giveUp core.Instant // when to go by the disk alone; moves on while there is a leader
}

// readyTimeouts is how many election timeouts a server that starts looks for a
// leader before it answers stale reads without.
const readyTimeouts = 20

func newReadiness(r core.Restored) readiness {
	return readiness{disk: max(r.Snapshot.Index, min(r.HardState.Commit, r.LastIndex))}
}

// Ready says whether this server may answer stale reads; see readiness.
func (e *Engine) Ready() bool { return e.ready.done }

// askReady puts the question to the leader, once there is one.
func (e *Engine) askReady() {
	r := &e.ready
	if r.done || e.status.Leader == "" {
		return
	}
	r.giveUp = e.now + e.readyPatience()
	if !r.asking && !r.asked && e.now >= r.next {
		r.asking = true
		e.core.ReadIndex(e.now, e.waiting.read([]Waiter{readyWaiter{e}}), core.ReadByRound)
	}
}

// becomeReady ends each Turn.
func (e *Engine) becomeReady() {
	if r := &e.ready; !r.done {
		r.done = e.applied >= r.disk && (r.asked || e.now >= r.giveUp)
	}
}

func (e *Engine) readyPatience() core.Instant {
	return core.Instant(readyTimeouts * e.status.Config.Timing.ElectionMax)
}

// readyDeadline is when there is something to do for readiness. Where an index is
// only to be applied, the work that does so wakes the loop.
func (e *Engine) readyDeadline() core.Instant {
	switch r := &e.ready; {
	case r.done || r.asked || r.asking:
		return never
	case e.status.Leader != "":
		return r.next
	case e.now < r.giveUp:
		return r.giveUp
	default:
		return never
	}
}

// readyWaiter takes the answer to askReady's question.
type readyWaiter struct{ e *Engine }

// Done implements Waiter.
func (w readyWaiter) Done(res Result) {
	r := &w.e.ready
	r.asking = false
	if res.Err != nil {
		r.next = w.e.now + core.Instant(w.e.status.Config.Timing.Heartbeat)
		return
	}
	r.asked = true
}
