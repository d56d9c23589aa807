package sim

import (
	"fmt"

	"muster/consensus/core"
)

// event is something that is going to happen.
type event struct {
	at  core.Instant
	seq uint64 // of two at one instant the one scheduled first comes first
	run func()
}

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

// events is a heap with four children a node.
type events []event

func (h *events) push(e event) {
	q := append(*h, e)
	i := len(q) - 1
	for i > 0 {
		parent := (i - 1) / 4
		if !e.before(&q[parent]) {
			break
		}
		q[i] = q[parent]
		i = parent
	}
	q[i] = e
	*h = q
}

func (h *events) pop() event {
	q := *h
	first := q[0]
	n := len(q) - 1
	last := q[n]
	q[n] = event{}
	q = q[:n]
	for i := 0; n > 0; {
		least := -1
		for c := 4*i + 1; c <= min(4*i+4, n-1); c++ {
			if least < 0 || q[c].before(&q[least]) {
				least = c
			}
		}
		if least < 0 || !q[least].before(&last) {
			q[i] = last
			break
		}
		q[i] = q[least]
		i = least
	}
	*h = q
	return first
}

// clockwork is simulated time and the trace.
type clockwork struct {
	now   core.Instant
	seq   uint64
	queue events

	hash   digest
	printf func(format string, args ...any) // nil: the trace is only hashed
	line   []byte
}

func newClockwork() clockwork { return clockwork{hash: newDigest()} }

// after schedules run in d from now.
func (c *clockwork) after(d core.Duration, run func()) {
	c.seq++
	c.queue.push(event{at: c.now.Add(max(0, d)), seq: c.seq, run: run})
}

// step runs the next event, if there is one before end.
func (c *clockwork) step(end core.Instant) bool {
	if len(c.queue) == 0 || c.queue[0].at > end {
		c.now = max(c.now, end)
		return false
	}
	e := c.queue.pop()
	c.now = e.at
	e.run()
	return true
}

// trace adds a line to the run's trace.
func (c *clockwork) trace(format string, args ...any) {
	c.line = fmt.Appendf(c.line[:0], format, args...)
	c.hash.add(uint64(c.now))
	c.hash.bytes(c.line)
	if c.printf != nil {
		c.printf("%12.6f %s", float64(c.now)/1e9, c.line)
	}
}

// mark adds what happens all the time to the hash of the trace, as numbers. It
// says whether the caller is to print it too.
func (c *clockwork) mark(words ...uint64) (printed bool) {
	c.hash.add(uint64(c.now))
	c.hash.add(words...)
	return c.printf != nil
}

// print adds a line to what is printed, not to the hash.
func (c *clockwork) print(format string, args ...any) {
	c.printf("%12.6f %s", float64(c.now)/1e9, fmt.Sprintf(format, args...))
}
