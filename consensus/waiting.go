package consensus

import (
	"math"

	"muster/consensus/core"
)

// never is a deadline that does not come.
const never core.Instant = math.MaxInt64

// Result is how a request ended. Err tells done (nil), known not done, and
// ErrUnknown apart.
type Result struct {
	Value any          // what FSM.Apply returned for the command
	ID    core.EntryID // of the entry; for a read, Index is what has been applied
	Err   error
}

// Waiter is told the end of a request, exactly once while the engine runs, by
// the loop or by LaneApply's worker. Done must not block.
type Waiter interface {
	Done(r Result)
}

// Proposal asks to replicate one command and apply it.
type Proposal struct {
	Data   []byte
	Waiter Waiter
}

// Change asks for one step of membership.
type Change struct {
	core.Change
	Waiter Waiter
}

// Transfer asks to hand leadership to another server, or with To empty to the
// one that has caught up best.
type Transfer struct {
	To     core.ServerID
	Waiter Waiter
}

// Bootstrap asks to write the first configuration of a new cluster.
type Bootstrap struct {
	Config core.Configuration
	Waiter Waiter
}

// asked is a request that the core has not answered yet.
type asked struct {
	waiter   Waiter
	at       core.Instant
	transfer bool // its outcome is its end: there is no entry to wait for
}

// placement is a request whose entry stands in this server's log.
type placement struct {
	id     core.EntryID
	waiter Waiter
	at     core.Instant // when it was proposed
}

// waiting keeps those who wait for the engine, from asking to the end.
type waiting struct {
	next  uint64 // last token given out
	asked map[uint64]asked
	// placed holds the entries of this leadership, ascending by index.
	placed []placement
	// orphans are entries of a leadership that was lost: they may still be
	// committed. Until their time is up the next leader's commits tell.
	orphans []placement
	until   core.Instant

	asking map[uint64][]Waiter // reads without an index yet, by token
	reads  []read              // reads that wait for their index to be applied
	first  []Waiter            // bootstraps that wait for their entry's fsync

	scratch []core.Proposal
}

type read struct {
	index   uint64
	waiters []Waiter
}

// newWaiting starts tokens at a random number: a late answer to a read of this
// server's previous life must not be taken for the answer to a new one.
func newWaiting(rand func(uint64) uint64) waiting {
	return waiting{
		next:   rand(1 << 62),
		asked:  make(map[uint64]asked),
		asking: make(map[uint64][]Waiter),
	}
}

func (w *waiting) token(a asked) uint64 {
	w.next++
	w.asked[w.next] = a
	return w.next
}

// ask gives each proposal a token. The slice is good until the next call.
func (w *waiting) ask(ps []Proposal, now core.Instant) []core.Proposal {
	w.scratch = w.scratch[:0]
	for _, p := range ps {
		w.scratch = append(w.scratch, core.Proposal{Token: w.token(asked{waiter: p.Waiter, at: now}), Data: p.Data})
	}
	return w.scratch
}

// read makes one read of many: they share a token and a round.
func (w *waiting) read(waiters []Waiter) uint64 {
	w.next++
	w.asking[w.next] = append([]Waiter(nil), waiters...)
	return w.next
}

// outcome takes the core's answer. commit is the commit index, which no entry
// just appended is within: what is asked for there is so already. leading says
// whether the entry's leadership still holds.
func (w *waiting) outcome(oc core.Outcome, commit uint64, leading bool, until core.Instant) {
	a, ok := w.asked[oc.Token]
	if !ok {
		return
	}
	delete(w.asked, oc.Token)
	p := placement{id: oc.ID, waiter: a.waiter, at: a.at}
	switch {
	case oc.Err != nil || a.transfer || oc.ID.Index <= commit:
		a.waiter.Done(Result{ID: oc.ID, Err: oc.Err})
	case leading:
		w.placed = append(w.placed, p)
	default:
		w.orphans, w.until = append(w.orphans, p), until
	}
}

// orphan makes all placed entries orphans, to be told by until.
func (w *waiting) orphan(until core.Instant) {
	if len(w.placed) > 0 {
		w.orphans, w.until = append(w.orphans, w.placed...), until
		w.placed = nil
	}
}

// upTo takes out the placements up to index hi, whose entries are committed.
// The slice is the caller's.
func (w *waiting) upTo(hi uint64) []placement {
	n := 0
	for n < len(w.placed) && w.placed[n].id.Index <= hi {
		n++
	}
	out := w.placed[:n:n]
	if w.placed = w.placed[n:]; len(w.placed) == 0 {
		w.placed = nil
	}
	if len(w.orphans) == 0 {
		return out
	}
	left := w.orphans[:0]
	for _, p := range w.orphans {
		if p.id.Index <= hi {
			out = append(out, p)
		} else {
			left = append(left, p)
		}
	}
	clear(w.orphans[len(left):])
	w.orphans = left
	return out
}

// skipped tells those whose entries a snapshot jumped over.
func (w *waiting) skipped(index uint64) {
	for _, p := range w.upTo(index) {
		p.waiter.Done(Result{ID: p.id, Err: ErrUnknown})
	}
}

// deadline is when expire has something to do.
func (w *waiting) deadline() core.Instant {
	if len(w.orphans) == 0 {
		return never
	}
	return w.until
}

func (w *waiting) expire(now core.Instant) {
	if now < w.deadline() {
		return
	}
	for _, p := range w.orphans {
		p.waiter.Done(Result{ID: p.id, Err: ErrUnknown})
	}
	w.orphans = nil
}

// released takes the core's answer to a read.
func (w *waiting) released(r core.ReadReady, applied uint64) {
	waiters := w.asking[r.Token]
	delete(w.asking, r.Token)
	if r.Err == nil && r.Index > applied {
		w.reads = append(w.reads, read{index: r.Index, waiters: waiters})
		return
	}
	for _, wt := range waiters {
		wt.Done(Result{ID: core.EntryID{Index: r.Index}, Err: r.Err})
	}
}

// applied lets go of reads that waited for index.
func (w *waiting) applied(index uint64) {
	left := w.reads[:0]
	for _, r := range w.reads {
		if r.index > index {
			left = append(left, r)
			continue
		}
		for _, wt := range r.waiters {
			wt.Done(Result{ID: core.EntryID{Index: r.index}})
		}
	}
	clear(w.reads[len(left):])
	w.reads = left
}

// begun lets go of bootstraps: their entry is on disk.
func (w *waiting) begun() {
	for _, wt := range w.first {
		wt.Done(Result{ID: core.EntryID{Term: 1, Index: 1}})
	}
	w.first = nil
}

// stop ends all that still wait: entries in the log may yet be committed by
// others, anything else was not done.
func (w *waiting) stop() {
	for _, p := range append(w.placed, w.orphans...) {
		p.waiter.Done(Result{ID: p.id, Err: ErrUnknown})
	}
	stopped := Result{Err: ErrStopped}
	for _, a := range w.asked {
		a.waiter.Done(stopped)
	}
	for _, ws := range w.asking {
		for _, wt := range ws {
			wt.Done(stopped)
		}
	}
	for _, r := range w.reads {
		for _, wt := range r.waiters {
			wt.Done(stopped)
		}
	}
	for _, wt := range w.first {
		wt.Done(Result{Err: ErrUnknown})
	}
	*w = waiting{}
}
