package child

import (
	"fmt"
	"sync"
)

// Tail is a writer that keeps the last bytes written to it. The end of a
// program's output is where the reason stands.
type Tail struct {
	Max int // how many bytes; set before the first Write

	mu    sync.Mutex
	buf   []byte // ring of fixed size once full; guarded by mu
	next  int    // where the next byte goes once full; guarded by mu
	total int64  // guarded by mu
}

// Write implements io.Writer; it never fails.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(p)
	t.total += int64(n)
	if len(p) > t.Max {
		p = p[len(p)-t.Max:]
	}
	if room := t.Max - len(t.buf); room > 0 {
		k := min(room, len(p))
		t.buf = append(t.buf, p[:k]...)
		p = p[k:]
	}
	for len(p) > 0 {
		k := copy(t.buf[t.next:], p)
		t.next = (t.next + k) % t.Max
		p = p[k:]
	}
	return n, nil
}

// String gives the kept bytes, headed by how many there were where some are gone.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := string(t.buf[t.next:]) + string(t.buf[:t.next])
	if t.total > int64(len(kept)) {
		return fmt.Sprintf("Captured %d of %d bytes\n...\n%s", len(kept), t.total, kept)
	}
	return kept
}
