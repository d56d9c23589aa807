package consensus

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"muster/consensus/core"
	"muster/consensus/wal"
)

// publishEvery is how often figures that change with each message (lag of
// followers, last contact) are copied for Status.
const publishEvery = core.Instant(20 * time.Millisecond)

// Status says how a server stands.
type Status struct {
	core.Status
	// LastContact is how long ago this server heard of its leader or, being the
	// leader, of a quorum; negative where it never did.
	LastContact time.Duration
	// Applied is the last index that the state machine has taken in, and
	// AppliedTerm its term. Pending is how many committed entries it has yet to.
	Applied     uint64
	AppliedTerm uint64
	Pending     uint64
	// Ready: this server's state has all that it had shown before it last
	// stopped. Until then even a stale read would go back in time.
	Ready bool
	// Snapshot is the newest on this server's disk, or zero.
	Snapshot core.SnapshotMeta
	Log      wal.Stats
	// Standing is where this server is on the way into its first cluster, and
	// Empty says that it has never been in one.
	Standing Standing
	Empty    bool
	// Dropped counts received messages beyond the bounds of the inbox.
	Dropped uint64
	// Faults counts messages of other servers that contradicted what is committed
	// or elected: some disk or identity in the cluster is not what it claims.
	Faults uint64
	// LateTurns counts how often this server had its turn a heartbeat interval
	// late or more: it got no processor, or its machine slept.
	LateTurns uint64
	Disk      DiskStatus
}

// DiskStatus says how a server's disk is.
type DiskStatus struct {
	// Room as last looked at, zero if never. Full: there is less than the reserve,
	// so this server takes no new commands.
	Room wal.Room
	Full bool
	// Held counts appends of the leader's from which commands were left out
	// because not even half of the reserve was there.
	Held uint64
	// Hung: no write has ended for two election timeouts.
	Hung bool
}

// Leading says whether this server leads and has applied an entry of its own
// term: only then does its state machine hold all that was ever committed.
func (s Status) Leading() bool {
	return s.Role == core.Leader && s.AppliedTerm == s.Term
}

// page is what the loop publishes for others to read.
type page struct {
	core        core.Status
	at          core.Instant
	applied     uint64
	appliedTerm uint64
	ready       bool
	snapshot    core.SnapshotMeta
	standing    Standing
	empty       bool
	faults      uint64
	late        uint64
	disk        DiskStatus
}

// board shows the loop's latest page and wakes those who wait for a change.
type board struct {
	page atomic.Pointer[page]

	mu      sync.Mutex
	changed chan struct{} // guarded by mu; closed at the next change
	lead    *leadership   // guarded by mu; while this server leads
	stopped bool          // guarded by mu
}

// leadership is one term in which this server leads.
type leadership struct {
	term uint64
	ctx  context.Context
	end  context.CancelCauseFunc
}

func (b *board) init() { b.changed = make(chan struct{}) }

// publish copies the engine's state for other goroutines: after each change and
// else every so often. It is called by the loop.
func (n *Node) publish(now core.Instant) {
	e := n.engine
	old := n.board.page.Load()
	if old != nil && !e.differs(old) && now < old.at+publishEvery {
		return
	}
	p := &page{
		core:        e.core.Status(),
		at:          now,
		applied:     e.applied,
		appliedTerm: e.appliedTerm,
		ready:       e.ready.done,
		snapshot:    e.snapshot,
		standing:    e.standing(),
		empty:       e.empty(),
		faults:      e.faults,
		late:        e.late,
		disk:        DiskStatus{Room: e.room.Room, Full: e.room.full, Held: e.held, Hung: e.hung},
	}
	n.board.page.Store(p)
	if old == nil || e.differs(old) {
		n.board.turn(p)
		n.metrics.changed(old, p)
	}
}

// differs says whether p no longer tells what those who wait for a change want
// to know.
func (e *Engine) differs(p *page) bool {
	s := &e.status
	return s.Role != p.core.Role || s.Term != p.core.Term || s.Leader != p.core.Leader ||
		s.ConfigIndex != p.core.ConfigIndex || s.OtherLogs() != p.core.OtherLogs() || s.Voteless != p.core.Voteless ||
		e.standing() != p.standing ||
		e.snapshot.Index != p.snapshot.Index ||
		e.hung != p.disk.Hung || e.room.full != p.disk.Full ||
		e.ready.done != p.ready ||
		(e.appliedTerm == s.Term) != (p.appliedTerm == p.core.Term)
}

// turn ends the leadership that is over, begins the one that starts, and wakes
// all.
func (b *board) turn(p *page) {
	b.mu.Lock()
	defer b.mu.Unlock()
	leading := p.core.Role == core.Leader && p.appliedTerm == p.core.Term
	if b.lead != nil && (!leading || b.lead.term != p.core.Term) {
		b.lead.end(core.ErrLeadershipLost)
		b.lead = nil
	}
	if leading && b.lead == nil {
		ctx, end := context.WithCancelCause(context.Background())
		b.lead = &leadership{term: p.core.Term, ctx: ctx, end: end}
	}
	close(b.changed)
	b.changed = make(chan struct{})
}

// stop ends leadership and all waiting for it.
func (b *board) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = true
	if b.lead != nil {
		b.lead.end(ErrStopped)
		b.lead = nil
	}
	close(b.changed)
	b.changed = make(chan struct{})
}

// Status gives a copy of the server's state, at most 20 ms old. Applied is of
// this moment.
func (n *Node) Status() Status {
	p := n.board.page.Load()
	s := Status{
		Status:      p.core,
		LastContact: -1,
		Applied:     n.engine.machine.applied.Load(),
		AppliedTerm: p.appliedTerm,
		Ready:       p.ready,
		Snapshot:    p.snapshot,
		Log:         n.engine.disk.log.Stats(),
		Standing:    p.standing,
		Empty:       p.empty,
		Dropped:     n.dropped.Load(),
		Faults:      p.faults,
		LateTurns:   p.late,
		Disk:        p.disk,
	}
	s.Commit = max(s.Commit, s.Applied) // the page may be older
	s.Pending = s.Commit - s.Applied
	if p.core.LastContact > 0 {
		s.LastContact = time.Duration(max(0, clock()-p.core.LastContact))
	}
	return s
}

// Applied is the last index that the state machine has taken in.
func (n *Node) Applied() uint64 { return n.engine.machine.applied.Load() }

// Leader gives the leader's ID, "" where none is known.
func (n *Node) Leader() core.ServerID { return n.board.page.Load().core.Leader }

// IsLeader says whether this server leads, as Status.Leading, without a copy.
func (n *Node) IsLeader() bool {
	p := n.board.page.Load()
	return p.core.Role == core.Leader && p.appliedTerm == p.core.Term
}

// Ready is Status.Ready, without a copy.
func (n *Node) Ready() bool { return n.board.page.Load().ready }

// Changed returns a channel that is closed at the next change of role, term,
// leader, configuration, promise or readiness. Call it before looking at
// Status, and again after each change.
func (n *Node) Changed() <-chan struct{} {
	n.board.mu.Lock()
	defer n.board.mu.Unlock()
	return n.board.changed
}

// LeaderContext waits until this server leads and has applied an entry of its
// own term. The context it returns, derived from ctx, ends with that leadership
// (its cause is core.ErrLeadershipLost or ErrStopped) or with ctx. An error
// means that ctx ended or the node stopped first.
func (n *Node) LeaderContext(ctx context.Context) (lead context.Context, term uint64, err error) {
	for {
		l, changed, stopped := n.board.look()
		if stopped {
			return nil, 0, ErrStopped
		}
		if l != nil {
			return follow(ctx, l), l.term, nil
		}
		select {
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		case <-changed:
		}
	}
}

func (b *board) look() (*leadership, <-chan struct{}, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lead, b.changed, b.stopped
}

// follow derives a context from parent that ends with a leadership too. Nothing
// is left behind when either ends.
func follow(parent context.Context, l *leadership) context.Context {
	ctx, cancel := context.WithCancelCause(parent)
	stop := context.AfterFunc(l.ctx, func() { cancel(context.Cause(l.ctx)) })
	context.AfterFunc(ctx, func() { stop() })
	return ctx
}
