package agent

import (
	"context"
	"sync"
	"time"
)

// led tells those who wait on this server for a change of the catalog when the
// catalog may go on without it: it has known no leader for so long that it is cut
// off, or the cluster is broken. Elections don't take that long.
type led struct {
	patience time.Duration
	// known says whether a leader is known, changed gives a channel that is closed
	// when that may be different: take it before looking.
	known   func() bool
	changed func() <-chan struct{}

	mu  sync.Mutex
	ctx context.Context    // guarded by mu; over while there has been no leader for too long
	end context.CancelFunc // guarded by mu; of ctx
}

func newLed(patience time.Duration, known func() bool, changed func() <-chan struct{}) *led {
	l := &led{patience: patience, known: known, changed: changed}
	l.renew()
	return l
}

// current gives a context that is over once there has been no leader for too long.
func (l *led) current() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ctx
}

func (l *led) renew() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ctx, l.end = context.WithCancel(context.Background())
}

// run keeps watch until ctx ends.
func (l *led) run(ctx context.Context) error {
	defer func() { l.end() }()
	for ctx.Err() == nil {
		l.await(ctx, false)
		patient, cancel := context.WithTimeout(ctx, l.patience)
		found := l.await(patient, true)
		cancel()
		if found || ctx.Err() != nil {
			continue
		}
		l.end()
		if l.await(ctx, true) {
			l.renew()
		}
	}
	return nil
}

// await waits until a leader is known, or is not, and says whether that came
// before ctx ended.
func (l *led) await(ctx context.Context, known bool) bool {
	for {
		changed := l.changed()
		if l.known() == known {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}
