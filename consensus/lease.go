package consensus

import "muster/consensus/core"

// grant is a leader's lease as readers see it: until end any of them may read
// the local state without asking the loop, once it has reached index.
type grant struct {
	end   core.Instant
	index uint64
}

// grantLease publishes the core's lease, or withdraws it.
//
// carryOut calls it before anything else. So the index is published before any
// message or result can show somebody what was committed at it, and a lease that
// ended is withdrawn before a message leaves that could help another server to
// lead (a vote, or TimeoutNow).
func (e *Engine) grantLease() {
	end, index := e.core.Lease()
	if end <= e.now {
		e.lease.Store(nil)
		return
	}
	if g := e.lease.Load(); g == nil || g.end != end || g.index != index {
		e.lease.Store(&grant{end: end, index: index})
	}
}

// Leased says whether readers may count on a lease at now. It may be called from
// any goroutine.
func (e *Engine) Leased(now core.Instant) bool {
	g := e.lease.Load()
	return g != nil && now < g.end
}

// ReadNow gives the index at which the local state may be read at this moment,
// if this server leads under a lease and has applied all that is committed. It
// may be called from any goroutine, costs no Turn, and takes effect when it
// loads the grant: clock is read after that and before the caller is told.
func (e *Engine) ReadNow(clock func() core.Instant) (index uint64, ok bool) {
	g := e.lease.Load()
	if g == nil || e.machine.applied.Load() < g.index {
		return 0, false
	}
	return g.index, clock() < g.end
}
