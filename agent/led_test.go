package agent

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeLeader is what a server knows of its leader.
type fakeLeader struct {
	mu      sync.Mutex
	there   bool
	changes chan struct{}
}

func (f *fakeLeader) known() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.there
}

func (f *fakeLeader) changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changes
}

func (f *fakeLeader) set(there bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.there = there
	close(f.changes)
	f.changes = make(chan struct{})
}

func TestLed_EndsOnceThereHasBeenNoLeaderForTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leader := &fakeLeader{there: true, changes: make(chan struct{})}
		l := newLed(7*time.Second, leader.known, leader.changed)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = l.run(ctx) }()

		first := l.current()
		for range 3 { // elections
			leader.set(false)
			time.Sleep(6 * time.Second)
			leader.set(true)
			synctest.Wait()
		}
		if first.Err() != nil || l.current() != first {
			t.Fatal("elections ended what waits")
		}
		leader.set(false)
		lost := time.Now()
		<-first.Done()
		if took := time.Since(lost); took != 7*time.Second {
			t.Errorf("ended after %v, want 7 s", took)
		}
		time.Sleep(time.Minute)
		if l.current().Err() == nil {
			t.Error("without a leader something new can be waited for")
		}
		leader.set(true)
		synctest.Wait()
		if l.current().Err() != nil {
			t.Error("with a leader nothing can be waited for")
		}
		stop()
		<-done
	})
}
