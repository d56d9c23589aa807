package consensus

import (
	"fmt"
	"slices"

	"muster/consensus/core"
	"muster/consensus/wal"
)

// carryOut does what an Output asks, in the order that its comment demands:
// messages that promise nothing leave at once, beside the write; those that
// promise leave after it; what is committed is applied when Turn ends.
func (e *Engine) carryOut(o *core.Output) {
	if o.Forgotten != nil {
		e.giveUpVote(o.Forgotten)
	}
	e.grantLease()
	for _, m := range o.Send {
		e.send(m)
	}
	e.persist(o)
	if o.Changed {
		e.changed()
	}
	if o.Fault != nil {
		e.faults++
		e.log.Error("another server contradicts what is committed or elected; check its disk and identity", "error", o.Fault)
	}
	if o.Chunk != nil {
		e.receiveChunk(*o.Chunk)
	}
	e.commit = max(e.commit, o.Commit)
	for _, oc := range o.Outcomes {
		e.waiting.outcome(oc, e.commit, e.leads(oc.ID.Term), e.orphanUntil())
	}
	for _, r := range o.Reads {
		e.waiting.released(r, e.applied)
	}
}

// giveUpVote has the next write say that this server is to come back voteless.
func (e *Engine) giveUpVote(f *core.Forgotten) {
	e.disk.log.SetVoteless(true)
	e.log.Error(fmt.Sprintf("this server acknowledged index %d to leader %s in term %d, but its log ends at %d or holds another entry there: "+
		"this is an older copy of its disk; it gives up its vote until it has caught up", f.Acknowledged.Index, f.Leader, f.Term, f.Last.Index),
		"dir", e.cfg.Dir, "acknowledged_term", f.Acknowledged.Term, "last_term", f.Last.Term)
}

// regainVote has the disk say at once that this server comes back with its vote:
// in an idle cluster the next write may be long in coming.
func (e *Engine) regainVote() {
	e.disk.log.SetVoteless(false)
	e.queue(&write{marks: true})
}

// persist queues an Output's write, with its SendAfter behind it. Messages
// without a write of their own wait for the earlier writes, if there are any.
// (The log itself knows that a commit index that moved alone needs no fsync.)
func (e *Engine) persist(o *core.Output) {
	w := &write{
		batch: wal.Batch{HardState: o.HardState, Entries: o.Entries},
		after: o.SendAfter,
	}
	if w.empty() && e.unwritten == 0 {
		for _, m := range o.SendAfter {
			e.send(m)
		}
		return
	}
	if !w.empty() {
		w.seq = o.Seq
	}
	if len(o.Entries) > 0 {
		e.extend(o.Entries)
	}
	for _, entry := range o.Entries {
		w.bytes += cost(entry)
	}
	e.queue(w)
}

// queue hands w to the disk, behind the writes that are there.
func (e *Engine) queue(w *write) {
	w.disk, w.last, w.cuts = &e.disk, e.lastQueued, e.cuts
	if e.unwritten == 0 {
		e.progressed = e.now
	}
	e.unwritten++
	e.unwrittenBytes += w.bytes
	e.spend(w.bytes)
	e.submit(LaneDisk, w)
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

// send hands out a message of the core's.
func (e *Engine) send(m core.Message) {
	if m.Kind == core.MsgSnapshot && !e.transfers.note(m, e.now, e.cfg.chunkTime()) {
		return
	}
	e.route(m)
}

// route takes a message to the network, by way of LaneRead if the core left its
// payload to the driver. LaneDisk's worker calls it too.
func (e *Engine) route(m core.Message) {
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
		e.regainVote()
	}
	e.reportOtherLogs(was)
	if was.Role != e.status.Role || was.Term != e.status.Term || was.Leader != e.status.Leader {
		e.log.Info("raft state changed", "role", e.status.Role, "term", e.status.Term, "leader", e.status.Leader)
	}
}

// reportOtherLogs names the voters that were found without the log that their
// vote belongs to.
func (e *Engine) reportOtherLogs(was core.Status) {
	for _, p := range e.status.Progress {
		known := slices.ContainsFunc(was.Progress, func(q core.Progress) bool { return q.ID == p.ID && q.OtherLog == p.OtherLog })
		if p.OtherLog == 0 || known {
			continue
		}
		row, _ := e.status.Config.Find(p.ID)
		e.log.Error("a voter came back without its log: its disk was wiped, or is another server's; it counts as down until it was made a learner and has caught up",
			"server", p.ID, "log", fmt.Sprintf("%016x", uint64(p.OtherLog)), "vote_belongs_to", fmt.Sprintf("%016x", uint64(row.Log)))
	}
}

// orphanUntil is how long the next leader may take to tell what became of the
// entries of this server's lost leadership. It usually does within a round trip.
func (e *Engine) orphanUntil() core.Instant {
	return e.now + core.Instant(2*e.status.Config.Timing.ElectionMax)
}
