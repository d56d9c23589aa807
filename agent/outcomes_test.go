package agent

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"muster/catalog"
)

// Results stay for the whole window, under a new leader anew, and then go.
func TestOutcomes_AreForgottenOnceTheirTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t)
		lead := func() (stop func()) {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				(&outcomes{l.store, l.propose, slog.New(slog.DiscardHandler)}).run(ctx)
			}()
			return func() { cancel(); <-done }
		}
		keep := func(key string) *catalog.Once {
			inner, err := catalog.EncodeCommand(&catalog.KV{Verb: catalog.KVSet, Key: key})
			if err != nil {
				t.Fatal(err)
			}
			c := &catalog.Once{Caller: "c", Key: key, Hash: []byte("h"), Inner: inner}
			l.must(c)
			return c
		}
		kept := func(c *catalog.Once) bool {
			_, there := l.store.View().Outcome(c)
			return there
		}
		stop := lead()
		first := keep("first")
		time.Sleep(outcomeWindow - time.Second)
		second := keep("second")
		if !kept(first) {
			t.Error("it is forgotten early")
		}
		stop()
		stop = lead()
		time.Sleep(outcomeWindow - time.Second)
		if !kept(first) || !kept(second) {
			t.Error("a new leader forgets what it can't know the age of")
		}
		third := keep("third")
		l.setFull(true)
		time.Sleep(2 * outcomeTick)
		l.setFull(false)
		time.Sleep(outcomeTick)
		if kept(first) || kept(second) || !kept(third) {
			t.Errorf("after the window kept are %t %t, and %t of later", kept(first), kept(second), kept(third))
		}
		entries := l.entries()
		time.Sleep(outcomeWindow + 2*outcomeTick)
		if kept(third) || l.entries() != entries+1 {
			t.Errorf("kept %t; %d entries for one result", kept(third), l.entries()-entries)
		}
		stop()
	})
}

func (l *oneLog) entries() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.index
}

func (l *oneLog) setFull(full bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.full = full
}
