package sim

import (
	"container/heap"
	"fmt"
	"hash"
	"hash/fnv"
	"math/rand/v2"

	"muster/consensus/core"
)

// event is something that is going to happen.
type event struct {
	at  core.Instant
	seq uint64 // of two at one instant the one scheduled first comes first
	run func()
}

type events []event

func (h events) Len() int { return len(h) }
func (h events) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h events) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *events) Push(x any)   { *h = append(*h, x.(event)) }
func (h *events) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*h = old[:len(old)-1]
	return e
}

// clockwork is simulated time, chance and the trace.
type clockwork struct {
	now   core.Instant
	seq   uint64
	queue events
	rand  *rand.Rand

	hash   hash.Hash64
	printf func(format string, args ...any) // nil: the trace is only hashed
	line   []byte
}

func newClockwork(seed uint64) clockwork {
	return clockwork{rand: rand.New(rand.NewPCG(seed, 0x6d7573746572)), hash: fnv.New64a()}
}

// after schedules run in d from now.
func (c *clockwork) after(d core.Duration, run func()) {
	c.seq++
	heap.Push(&c.queue, event{at: c.now.Add(max(0, d)), seq: c.seq, run: run})
}

// step runs the next event, if there is one before end.
func (c *clockwork) step(end core.Instant) bool {
	if len(c.queue) == 0 || c.queue[0].at > end {
		c.now = max(c.now, end)
		return false
	}
	e := heap.Pop(&c.queue).(event)
	c.now = e.at
	e.run()
	return true
}

// trace adds a line to the run's trace.
func (c *clockwork) trace(format string, args ...any) {
	c.line = fmt.Appendf(c.line[:0], "%d ", c.now)
	c.line = fmt.Appendf(c.line, format, args...)
	_, _ = c.hash.Write(c.line) // a hash never fails
	if c.printf != nil {
		c.printf("%12.6f %s", float64(c.now)/1e9, c.line[indexAfterSpace(c.line):])
	}
}

func indexAfterSpace(b []byte) int {
	for i, ch := range b {
		if ch == ' ' {
			return i + 1
		}
	}
	return 0
}

// between draws a duration from [lo, hi].
func (c *clockwork) between(lo, hi core.Duration) core.Duration {
	if hi <= lo {
		return lo
	}
	return lo + core.Duration(c.rand.Int64N(int64(hi-lo)+1))
}

// around draws an exponentially distributed duration with a mean.
func (c *clockwork) around(mean core.Duration) core.Duration {
	return core.Duration(c.rand.ExpFloat64() * float64(mean))
}

func (c *clockwork) chance(p float64) bool { return p > 0 && c.rand.Float64() < p }
