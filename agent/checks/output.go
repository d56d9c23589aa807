package checks

import (
	"fmt"
	"strings"
	"sync"
)

// DefaultOutputMaxSize bounds a check's output in bytes.
const DefaultOutputMaxSize = 4096

// outputMaxSize is the bound of a check whose own is given: the lower one, where
// it has one.
func (c Config) outputMaxSize(own int) int {
	if own > 0 {
		return min(own, c.OutputMaxSize)
	}
	return c.OutputMaxSize
}

// clean makes output fit for JSON, so that what an agent holds and what comes
// back from the catalog are the same bytes.
func clean(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// tail is a writer that keeps the last bytes written to it. The end of a
// script's output is where the reason stands.
type tail struct {
	mu    sync.Mutex
	buf   []byte // ring of fixed size once full; guarded by mu
	next  int    // where the next byte goes once full; guarded by mu
	total int64  // guarded by mu
	max   int
}

// Write implements io.Writer; it never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(p)
	t.total += int64(n)
	if len(p) > t.max {
		p = p[len(p)-t.max:]
	}
	if room := t.max - len(t.buf); room > 0 {
		k := min(room, len(p))
		t.buf = append(t.buf, p[:k]...)
		p = p[k:]
	}
	for len(p) > 0 {
		k := copy(t.buf[t.next:], p)
		t.next = (t.next + k) % t.max
		p = p[k:]
	}
	return n, nil
}

// String gives the kept bytes, headed by how many there were where some are gone.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := string(t.buf[t.next:]) + string(t.buf[:t.next])
	if t.total > int64(len(kept)) {
		return fmt.Sprintf("Captured %d of %d bytes\n...\n%s", len(kept), t.total, kept)
	}
	return kept
}
