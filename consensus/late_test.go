package consensus

import (
	"testing"
	"time"

	"muster/consensus/core"
)

// Turns count as late from a heartbeat interval, 50 ms, after the Deadline on.
func TestTurn_CountsLateOnes(t *testing.T) {
	e, _ := leading(t, nil)
	before := e.late
	for _, tt := range []struct {
		by    time.Duration
		count uint64
	}{{0, 0}, {49 * time.Millisecond, 0}, {50 * time.Millisecond, 1}, {time.Second, 2}, {0, 2}} {
		turn(t, e, e.core.Deadline()+core.Instant(tt.by), &Input{})
		if got := e.late - before; got != tt.count {
			t.Errorf("after a turn %v late: %d, want %d", tt.by, got, tt.count)
		}
	}
}
