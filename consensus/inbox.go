package consensus

import (
	"sync"

	"muster/consensus/core"
)

// maxInboxBytes bounds the payload of queued messages and of queued proposals.
const maxInboxBytes = 64 << 20

// inbox gathers what happens until the loop takes all of it for one Turn.
type inbox struct {
	wake chan struct{} // holds one token while something waits
	max  int           // messages, and requests

	mu       sync.Mutex
	in       *Input // guarded by mu, as is all below
	spare    *Input
	requests int
	bytes    int // of messages
	proposed int // bytes of proposals
	closed   bool
}

func newInbox(limit int) *inbox {
	return &inbox{wake: make(chan struct{}, 1), max: limit, in: new(Input), spare: new(Input)}
}

// take exchanges what waits for an empty Input. What it gave before is reused.
func (b *inbox) take() *Input {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.in
	b.in, b.spare = b.spare, out
	b.in.clear()
	b.requests, b.bytes, b.proposed = 0, 0, 0
	return out
}

// close refuses all further input and gives what is left.
func (b *inbox) close() *Input {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	out := b.in
	b.in = new(Input)
	return out
}

func (b *inbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// message queues a message; beyond the bounds it is dropped, as the network
// might have done.
func (b *inbox) message(m core.Message) bool {
	size := len(m.Data)
	for _, e := range m.Entries {
		size += cost(e)
	}
	b.mu.Lock()
	ok := !b.closed && len(b.in.Messages) < b.max && (b.bytes == 0 || b.bytes+size <= maxInboxBytes)
	if ok {
		b.in.Messages = append(b.in.Messages, m)
		b.bytes += size
	}
	b.mu.Unlock()
	if ok {
		b.signal()
	}
	return ok
}

// finished queues what a lane has done. It is never refused.
func (b *inbox) finished(done []Done) {
	b.mu.Lock()
	b.in.Done = append(b.in.Done, done...)
	b.mu.Unlock()
	b.signal()
}

// request lets add put size bytes of requests into the Input, or says why not.
func (b *inbox) request(size int, add func(in *Input)) error {
	if err := b.tryRequest(size, add); err != nil {
		return err
	}
	b.signal()
	return nil
}

func (b *inbox) tryRequest(size int, add func(in *Input)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return ErrStopped
	case b.requests >= b.max || b.proposed > 0 && b.proposed+size > maxInboxBytes:
		return core.ErrOverloaded
	}
	b.requests++
	b.proposed += size
	add(b.in)
	return nil
}

// clear empties in, keeping its slices, and nothing alive through them.
func (in *Input) clear() {
	empty(&in.Done)
	empty(&in.Messages)
	empty(&in.Proposals)
	empty(&in.Changes)
	empty(&in.Transfers)
	empty(&in.Reads)
	empty(&in.Confirms)
	empty(&in.Bootstrap)
	empty(&in.Promises)
}

func empty[T any](s *[]T) {
	clear(*s)
	*s = (*s)[:0]
}

// refuse tells everyone in an Input that no Turn will take: not done.
func (in *Input) refuse(err error) {
	r := Result{Err: err}
	for _, p := range in.Proposals {
		p.Waiter.Done(r)
	}
	for _, c := range in.Changes {
		c.Waiter.Done(r)
	}
	for _, t := range in.Transfers {
		t.Waiter.Done(r)
	}
	for _, w := range in.Reads {
		w.Done(r)
	}
	for _, w := range in.Confirms {
		w.Done(r)
	}
	for _, b := range in.Bootstrap {
		b.Waiter.Done(r)
	}
	for _, p := range in.Promises {
		p.Waiter.Done(r)
	}
}
