package transport

import (
	"sync"
	"time"
)

// throttleEvery is how often a throttle lets something through.
const throttleEvery = 10 * time.Second

// throttle lets one event through per throttleEvery. Its zero value is ready.
type throttle struct {
	mu      sync.Mutex
	next    time.Time
	skipped int
}

// ok says whether the caller may log, and how many could not since the last.
func (t *throttle) ok() (skipped int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if now.Before(t.next) {
		t.skipped++
		return 0, false
	}
	skipped, t.skipped = t.skipped, 0
	t.next = now.Add(throttleEvery)
	return skipped, true
}
