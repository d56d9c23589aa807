package consensus

import (
	"time"

	"muster/consensus/core"
	"muster/consensus/wal"
)

// holdCommit is how long a commit index that moved alone waits for another
// write to carry it before it is written by itself.
const holdCommit = core.Instant(time.Second)

// carryOut does what an Output asks, in the order that its comment demands:
// messages that promise nothing leave at once, beside the write; those that
// promise leave after it; what is committed is applied when Turn ends.
func (e *Engine) carryOut(o *core.Output) {
	for _, m := range o.Send {
		e.send(m)
	}
	e.persist(o)
	if o.Changed {
		e.changed()
	}
	if o.Chunk != nil {
		e.receiveChunk(*o.Chunk)
	}
	e.commit = max(e.commit, o.Commit)
	for _, oc := range o.Outcomes {
		e.waiting.outcome(oc, e.leads(oc.ID.Term), e.orphanUntil())
	}
	for _, r := range o.Reads {
		e.waiting.released(r, e.applied)
	}
}

// persist queues an Output's write, and its SendAfter behind it. A hard state in
// which only the commit index moved is advice: it waits for the next write.
func (e *Engine) persist(o *core.Output) {
	if o.HardState != nil && !o.MustSync {
		if e.held == nil {
			e.heldSince = e.now
		}
		e.held, e.heldSeq = o.HardState, o.Seq
	}
	if !o.MustSync {
		if len(o.SendAfter) == 0 {
			return
		}
		if e.unwritten == 0 {
			for _, m := range o.SendAfter {
				e.send(m)
			}
			return
		}
		e.write(&write{after: o.SendAfter})
		return
	}
	w := &write{
		batch: wal.Batch{HardState: o.HardState, Entries: o.Entries},
		seq:   o.Seq,
		after: o.SendAfter,
	}
	if w.batch.HardState == nil {
		w.batch.HardState = e.held
	}
	e.held = nil
	if len(o.Entries) > 0 {
		e.extend(o.Entries)
	}
	e.write(w)
}

// extend notes entries that are about to be written, perhaps over others.
func (e *Engine) extend(es []core.Entry) {
	if at := es[0].Index; at <= e.lastQueued.Index {
		e.cut(at - 1)
	}
	e.tail.append(es)
	last := es[len(es)-1]
	e.lastQueued = core.EntryID{Index: last.Index, Term: last.Term}
}

// cut notes that the log is about to end at index. Writes that are under way
// say nothing about what will be on disk beyond it.
func (e *Engine) cut(index uint64) {
	e.cuts++
	e.durable = min(e.durable, index)
}

func (e *Engine) write(w *write) {
	w.disk = &e.disk
	w.last = e.lastQueued
	w.cuts = e.cuts
	e.unwritten++
	e.submit(LaneDisk, w)
}

// flushHeld writes a commit index that found no write to travel with.
func (e *Engine) flushHeld() {
	if e.held == nil || e.unwritten > 0 || e.now < e.heldSince+holdCommit {
		return
	}
	hs := e.held
	e.held = nil
	e.write(&write{batch: wal.Batch{HardState: hs}, seq: e.heldSeq})
}

// send hands a message to the network, by way of LaneRead if the core left it
// to the driver to fill it from the disk.
func (e *Engine) send(m core.Message) {
	if needsFill(m) {
		e.submit(LaneRead, &fill{disk: &e.disk, msg: m, cfg: &e.cfg})
		return
	}
	e.host.Send(m)
}

// changed notes a new role, term, leader or configuration.
func (e *Engine) changed() {
	was := e.status
	e.refresh()
	if was.Role == core.Leader && !e.leads(was.Term) {
		e.waiting.orphan(e.orphanUntil())
	}
	if was.Voteless && !e.status.Voteless {
		e.disk.log.SetVoteless(false)
	}
	if was.Role != e.status.Role || was.Term != e.status.Term || was.Leader != e.status.Leader {
		e.log.Info("raft state changed", "role", e.status.Role, "term", e.status.Term, "leader", e.status.Leader)
	}
}

// orphanUntil is how long the next leader may take to tell what became of the
// entries of this server's lost leadership. It usually does within a round trip.
func (e *Engine) orphanUntil() core.Instant {
	return e.now + core.Instant(2*e.cfg.ElectionTimeoutMax)
}

// expire does what time alone brings.
func (e *Engine) expire() {
	e.waiting.expire(e.now)
	e.flushHeld()
}
