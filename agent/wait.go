package agent

import (
	"context"
	"time"
)

// waitFor returns when one of two channels is closed (nil never is), d has
// passed or ctx has ended, whichever is first.
func waitFor(ctx context.Context, d time.Duration, a, b <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-a:
	case <-b:
	case <-timer.C:
	}
}
