package checks

import (
	"context"
	"fmt"
	"sync"
	"time"

	"muster/catalog"
)

// ttl is a check whose service reports by itself. It turns critical when no
// report comes within the TTL.
type ttl struct {
	after time.Duration
	max   int // bytes of output

	mu       sync.Mutex // held while reporting: an expiry can't overtake a report
	deadline time.Time  // guarded by mu
	last     string     // last output; guarded by mu
}

func newTTL(d Definition, cfg Config, output string) *ttl {
	return &ttl{after: d.TTL, max: cfg.outputMaxSize(d.OutputMaxSize), last: output}
}

// heard takes a report of the service.
func (t *ttl) heard(status, output string, report func(status, output string)) {
	if n := len(output); n > t.max {
		output = fmt.Sprintf("%s ... (captured %d of %d bytes)", output[:t.max], t.max, n)
	}
	output = clean(output)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.deadline, t.last = time.Now().Add(t.after), output
	report(status, output)
}

// run waits for the service to fall silent, again and again, until ctx ends. The
// first TTL begins now.
func (t *ttl) run(ctx context.Context, report func(status, output string)) {
	t.mu.Lock()
	t.deadline = time.Now().Add(t.after)
	t.mu.Unlock()
	timer := time.NewTimer(t.after)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			timer.Reset(t.expire(report))
		}
	}
}

// expire turns the check critical if its time is over, and gives the time until
// it has to be looked at again.
func (t *ttl) expire(report func(status, output string)) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if left := time.Until(t.deadline); left > 0 {
		return left
	}
	output := "TTL expired"
	if t.last != "" {
		output = fmt.Sprintf("TTL expired (last output before timeout follows): %s", t.last)
	}
	report(catalog.StatusCritical, output)
	t.deadline = time.Now().Add(t.after)
	return t.after
}
