package transport

import (
	"sync"

	"muster/consensus/core"
)

// queue is a bounded first-in first-out queue of messages.
type queue struct {
	ready chan struct{} // holds a token when there may be something to take

	maxItems int
	maxBytes int

	mu    sync.Mutex // guards what follows
	items []core.Message
	bytes int // sizeOf all items
}

func newQueue(maxItems, maxBytes int) *queue {
	return &queue{ready: make(chan struct{}, 1), maxItems: maxItems, maxBytes: maxBytes}
}

// push appends m unless the bounds forbid; a single message always fits an
// empty queue.
func (q *queue) push(m core.Message) bool {
	size := sizeOf(&m)
	q.mu.Lock()
	full := len(q.items) >= q.maxItems || len(q.items) > 0 && q.bytes+size > q.maxBytes
	if !full {
		q.items = append(q.items, m)
		q.bytes += size
	}
	q.mu.Unlock()
	if !full {
		q.nudge()
	}
	return !full
}

// take removes messages from the front, at least one if there is any and then
// no more than about maxBytes.
func (q *queue) take(maxBytes int) []core.Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, bytes := 0, 0
	for n < len(q.items) && (n == 0 || bytes < maxBytes) {
		bytes += sizeOf(&q.items[n])
		n++
	}
	batch := q.items[:n:n]
	q.items = q.items[n:]
	if len(q.items) == 0 {
		q.items = nil
	}
	q.bytes -= bytes
	return batch
}

func (q *queue) clear() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(q.items)
	q.items, q.bytes = nil, 0
	return n
}

func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items) == 0
}

// nudge wakes the lane; one that has nothing to do goes back to waiting.
func (q *queue) nudge() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// sizeOf estimates the bytes that a message holds in memory.
func sizeOf(m *core.Message) int {
	const fixed, perEntry = 256, 48
	n := fixed + len(m.Data) + perEntry*len(m.Entries)
	for i := range m.Entries {
		n += len(m.Entries[i].Data)
	}
	return n
}
