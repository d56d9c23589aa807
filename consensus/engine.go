package consensus

import (
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"

	"muster/consensus/core"
	"muster/consensus/wal"
)

// Host is what an Engine needs of the process, or the simulation, it runs in.
// Both methods return at once and may be called from lane workers too.
type Host interface {
	// Send hands a message to the network, which may lose it.
	Send(m core.Message)
	// Wake says that work waits on lane: its worker is to call Engine.Work.
	Wake(lane Lane)
}

// Input is what happened since the last Turn. The zero value is a plain tick.
type Input struct {
	Done      []Done // finished work, in the order in which Work returned it
	Messages  []core.Message
	Proposals []Proposal
	Changes   []Change
	Transfers []Transfer
	Reads     []Waiter // on the leader's lease, if there is one
	Confirms  []Waiter // reads by round, whatever the lease
	Bootstrap []Bootstrap
	Promises  []PromiseRequest
}

// Engine drives one core: the whole of a Raft server except its goroutines, its
// clock and its network. Turn is called by one goroutine, Work for each lane by
// one; see the package's comment.
type Engine struct {
	cfg  Config
	log  *slog.Logger
	core *core.Core
	host Host

	lease atomic.Pointer[grant] // nil: none; read by any goroutine

	lanes   [numLanes]queue
	disk    disk
	machine machine

	now    core.Instant
	status core.Status // as of the last Changed
	ready  readiness
	failed error
	faults uint64 // messages that contradicted committed state
	late   uint64 // turns that began a heartbeat interval late or more

	commit  uint64 // highest index that may be applied
	handed  uint64 // highest index given to LaneApply
	applied uint64 // highest index whose task has finished
	// appliedTerm is the term of the entry at applied.
	appliedTerm uint64
	applying    bool         // an apply task is on its lane
	applyFrom   core.Instant // since then
	slowApply   bool         // it has taken so long that the log says so
	crowd       int          // how many proposals were answered together, the last time that any were

	tail    tail
	waiting waiting

	// Writing (see output.go).
	unwritten      int          // write tasks not finished
	unwrittenBytes int          // of entries in them
	progressed     core.Instant // when one of them finished, or the oldest was queued
	durable        uint64       // of the log as queued, what is on disk
	cuts           uint64       // how often queued writes shortened the log
	lastQueued     core.EntryID // last entry of the log once all queued writes are done

	// The disk's health (see stall.go and room.go).
	hung      bool         // no write ends
	relieveAt core.Instant // while hung and leading: when to hand over next
	room      room
	held      uint64 // appends from which commands were dropped for lack of room

	readWarnAt core.Instant // failed reads are logged again

	// Snapshots (see snapshot.go).
	snapshot      core.SnapshotMeta // newest on this disk
	snapshotting  bool              // one is being taken
	snapshotAfter core.Instant      // none is taken before
	sinceBytes    int64             // of commands applied since it was captured
	installing    bool              // one of the leader's is being installed
	transfers     transfers
	receiver      *receiver

	promise Promise // as it is to be
	kept    Promise // as it is on the disk

	// Observe, where set, is called in Turn for each own entry as it is
	// committed, with the time since it was proposed.
	Observe func(core.Duration)
}

// OpenEngine opens the log in cfg.Dir, restores fsm from the newest snapshot and
// makes a core of what was found. The log is replayed by the first Turns, as
// far as it is known to be committed.
func OpenEngine(cfg Config, fsm FSM, host Host, now core.Instant) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Log == 0 {
		cfg.Log = core.Incarnation(1 + cfg.Rand(1<<63))
	}
	l, restored, err := wal.Open(cfg.FS, cfg.Dir, wal.Config{
		SegmentBytes: cfg.SegmentBytes, RetainBytes: cfg.RetainBytes,
		Log: cfg.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("open the Raft log in %s: %w", cfg.Dir, err)
	}
	e, err := newEngine(cfg, fsm, host, l, restored, now)
	if err != nil {
		_ = l.Close() // the first error says more
		return nil, err
	}
	return e, nil
}

func newEngine(cfg Config, fsm FSM, host Host, l *wal.Log, r core.Restored, now core.Instant) (*Engine, error) {
	c, err := core.New(cfg.core(), r, now)
	if err != nil {
		return nil, fmt.Errorf("start from the Raft log in %s: %w", cfg.Dir, err)
	}
	e := &Engine{
		cfg:      cfg,
		log:      cfg.Logger.With("component", "raft"),
		core:     c,
		host:     host,
		disk:     disk{log: l, every: int(cfg.SegmentBytes / looksPerSegment)},
		ready:    newReadiness(r),
		durable:  r.LastIndex,
		snapshot: r.Snapshot,
		receiver: &receiver{snapshots: l.Snapshots()},
		waiting:  newWaiting(cfg.Rand),
		handed:   r.Snapshot.Index,
		applied:  r.Snapshot.Index,
	}
	e.disk.send = e.route
	e.machine.fsm, e.machine.log = fsm, l
	e.appliedTerm = r.Snapshot.Term
	e.tail.reset(r.LastIndex + 1)
	if err := e.machine.restore(r.Snapshot); err != nil {
		return nil, err
	}
	for _, repair := range l.Repairs() {
		e.log.Warn("raft log was repaired", "what", repair)
	}
	e.refresh()
	if err := e.recallPromise(); err != nil {
		return nil, err
	}
	e.ready.giveUp = now + e.readyPatience()
	e.commit = e.status.Commit
	e.lastQueued = core.EntryID{Index: e.status.LastIndex, Term: e.status.LastTerm}
	e.now, e.room.left = now, math.MaxInt64
	if found, ok := l.Room(); ok {
		e.looked(found)
	}
	return e, nil
}

// Turn takes in what happened and carries out what follows from it. now must
// have been read off the clock after in was gathered: what a lease answers holds
// at that moment. It does not block. Its error is fatal: a disk or a state machine failed, the process must
// stop, and no further Turn does anything.
func (e *Engine) Turn(now core.Instant, in *Input) error {
	if e.failed != nil {
		return e.failed
	}
	e.now = now
	if now-e.core.Deadline() >= core.Instant(e.status.Config.Timing.Heartbeat) {
		e.late++
	}
	for _, d := range in.Done {
		if d.err != nil {
			e.failed = d.err
			return e.failed
		}
		d.task.finish(e)
	}
	e.take(in)
	if now >= e.core.Deadline() {
		e.core.Tick(now)
	}
	e.watchDisk()
	e.watchApply()
	e.askReady()
	for e.core.HasOutput() {
		o := e.core.Output()
		e.carryOut(&o)
	}
	e.grantLease() // what was heard may have prolonged it
	e.applyCommitted()
	for _, m := range e.transfers.due(now, e.cfg.chunkTime()) {
		e.route(m)
	}
	e.waiting.expire(now)
	e.becomeReady()
	return nil
}

// take feeds the core with messages and requests, in a fixed order.
func (e *Engine) take(in *Input) {
	for _, m := range in.Messages {
		if e.foreign(m) || e.hold(&m) {
			continue
		}
		e.core.Receive(e.now, m)
	}
	for _, b := range in.Bootstrap {
		e.bootstrap(b)
	}
	for _, p := range in.Promises {
		e.consider(p)
	}
	e.propose(in.Proposals)
	for _, c := range in.Changes {
		e.core.Change(e.now, e.waiting.token(asked{waiter: c.Waiter}), c.Change)
	}
	for _, t := range in.Transfers {
		e.core.Transfer(e.now, e.waiting.token(asked{waiter: t.Waiter, transfer: true}), t.To)
	}
	if len(in.Reads) > 0 {
		e.core.ReadIndex(e.now, e.waiting.read(in.Reads), core.ReadUnderLease)
	}
	if len(in.Confirms) > 0 {
		e.core.ReadIndex(e.now, e.waiting.read(in.Confirms), core.ReadByRound)
	}
}

// propose passes proposals on, unless the disk is so far behind that what waits
// for it would not fit in memory: a majority of others may well be faster.
func (e *Engine) propose(ps []Proposal) {
	switch {
	case len(ps) == 0:
	case e.unwrittenBytes > e.cfg.MaxUnwrittenBytes:
		for _, p := range ps {
			p.Waiter.Done(Result{Err: core.ErrOverloaded})
		}
	default:
		n := len(ps)
		if e.status.Role == core.Leader {
			n = e.room.takes(ps)
		}
		if n < len(ps) {
			e.mark(true)
		}
		for _, p := range ps[n:] {
			p.Waiter.Done(Result{Err: e.room.err(e.cfg.Dir)})
		}
		e.core.Propose(e.now, e.waiting.ask(ps[:n], e.now))
	}
}

// Deadline is when the next Turn is wanted at the latest.
func (e *Engine) Deadline() core.Instant {
	return min(e.core.Deadline(), e.waiting.deadline(), e.transfers.deadline(), e.stallDeadline(), e.applyDeadline(), e.readyDeadline(), e.room.deadline(e.status.Role == core.Leader))
}

// crowded says that several propose at the same time.
func (e *Engine) crowded() bool { return e.crowd > 1 }

// refresh copies what the rest of the engine asks of the core's state.
func (e *Engine) refresh() { e.status = e.core.Status() }

// leads says whether this server is the leader in term.
func (e *Engine) leads(term uint64) bool {
	return e.status.Role == core.Leader && e.status.Term == term
}

// Close closes the log. No Turn or Work may run any more, nor after it.
func (e *Engine) Close() error {
	e.lease.Store(nil)
	e.receiver.close()
	return e.disk.log.Close()
}

// Status gives a fresh copy of the core's state. Like all methods but Work it is
// for the goroutine that calls Turn.
func (e *Engine) Status() core.Status { return e.core.Status() }

// Leads says whether this server is the leader, and the term it is in.
func (e *Engine) Leads() (leads bool, term uint64) {
	return e.status.Role == core.Leader, e.status.Term
}

// Commit is the highest index known to be committed, Applied the highest that
// the state machine is known to have taken in.
func (e *Engine) Commit() uint64 { return e.commit }

// Applied says how far the state machine is.
func (e *Engine) Applied() uint64 { return e.applied }

// Term gives the term of a log entry, if the log or a snapshot still tells.
func (e *Engine) Term(index uint64) (term uint64, ok bool) { return e.core.Term(index) }

// Voteless says whether this server casts no vote, as its log may have lost what it
// acknowledged.
func (e *Engine) Voteless() bool { return e.status.Voteless }

// Faults counts messages that contradicted what is committed or elected.
func (e *Engine) Faults() uint64 { return e.faults }

// Cuts counts how often the log was shortened: a conflict truncated it or a
// snapshot replaced it.
func (e *Engine) Cuts() uint64 { return e.cuts }
