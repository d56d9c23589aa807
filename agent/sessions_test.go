package agent

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"muster/catalog"
	"muster/catalog/state"
)

// oneLog is a log that needs no quorum.
type oneLog struct {
	t     testing.TB
	store *state.Store

	mu    sync.Mutex
	index uint64
	full  bool          // guarded by mu; proposals fail
	held  chan struct{} // set before use; proposals wait for it
}

func newLog(t testing.TB) *oneLog {
	l := &oneLog{t: t, store: state.New()}
	l.must(&catalog.Register{Node: catalog.Node{Node: "n1", Address: "192.0.2.1"}})
	return l
}

func (l *oneLog) propose(_ context.Context, c catalog.Command) (catalog.Result, error) {
	if l.held != nil {
		<-l.held
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full {
		return catalog.Result{}, errors.New("the log is full")
	}
	data, err := catalog.EncodeCommand(c)
	if err != nil {
		return catalog.Result{}, err
	}
	l.index++
	return l.store.Apply([]state.Entry{{Index: l.index, Data: data}})[0], nil
}

func (l *oneLog) must(c catalog.Command) {
	l.t.Helper()
	if r, err := l.propose(l.t.Context(), c); err != nil || r.Err != nil || !r.Changed {
		l.t.Fatalf("%+v: %+v %v", c, r, err)
	}
}

// session makes a session that holds the entry k.
func (l *oneLog) session(id, ttl string, delay time.Duration) {
	l.t.Helper()
	l.must(&catalog.CreateSession{Session: catalog.Session{ID: id, Node: "n1", TTL: ttl, LockDelay: delay, Behavior: catalog.BehaviorRelease}})
	l.must(&catalog.KV{Verb: catalog.KVLock, Key: "k", Session: id})
}

func (l *oneLog) lives(id string) bool { return l.store.View().Session(id) != nil }

func (l *oneLog) timers() *sessionTimers {
	return &sessionTimers{store: l.store, propose: l.propose, logger: slog.New(slog.DiscardHandler),
		confirm: func(context.Context) error { return nil }}
}

// lead runs timers until the function that it gives is called.
func lead(t *testing.T, timers *sessionTimers) (depose func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		timers.run(ctx)
	}()
	synctest.Wait()
	return func() { cancel(); <-done }
}

// passes lets time pass, and all that it sets off end.
func passes(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestSessionTimers_EndASessionAfterTwiceItsTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t)
		timers := l.timers()
		defer lead(t, timers)()
		l.session("s", "10s", time.Second)
		l.must(&catalog.CreateSession{Session: catalog.Session{ID: "for ever", Node: "n1"}})
		synctest.Wait()
		passes(19 * time.Second)
		if s, err := timers.Renew(t.Context(), "s"); err != nil || s == nil || s.TTL != "10s" {
			t.Fatalf("renew: %+v %v", s, err)
		}
		passes(20*time.Second - 1)
		if !l.lives("s") {
			t.Fatal("a session ended before its time")
		}
		passes(1)
		if l.lives("s") || !l.lives("for ever") {
			t.Fatal("the wrong sessions live")
		}
		if len(l.store.View().LockDelays()) != 1 {
			t.Error("no lock-delay is on")
		}
		passes(time.Second)
		if len(l.store.View().LockDelays()) != 0 {
			t.Error("the lock-delay goes on")
		}
		if s, err := timers.Renew(t.Context(), "s"); s != nil || err != nil {
			t.Errorf("renewed what has ended: %+v %v", s, err)
		}
		if s, err := timers.Renew(t.Context(), "for ever"); s == nil || err != nil {
			t.Errorf("renew one without a TTL: %+v %v", s, err)
		}
	})
}

// A new leader can't know how much time is gone, and ends nothing early.
func TestSessionTimers_AreArmedInFullByANewLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t)
		l.session("s", "10s", time.Minute)
		first := l.timers()
		depose := lead(t, first)
		passes(15 * time.Second)
		depose()
		if _, err := first.Renew(t.Context(), "s"); catalog.KindOf(err) != catalog.Unavailable {
			t.Errorf("a deposed leader renewed: %v", err)
		}
		depose = lead(t, l.timers())
		passes(20*time.Second - 1)
		if !l.lives("s") {
			t.Fatal("a session ended before its time")
		}
		passes(1)
		if l.lives("s") {
			t.Fatal("a session outlived its time")
		}
		passes(30 * time.Second) // into the lock-delay
		depose()
		defer lead(t, l.timers())()
		passes(time.Minute - 1)
		if len(l.store.View().LockDelays()) != 1 {
			t.Fatal("a lock-delay ended before its time")
		}
		passes(1)
		if len(l.store.View().LockDelays()) != 0 {
			t.Error("a lock-delay goes on")
		}
	})
}

func TestSessionTimers_ARenewalWaitsBehindAProposedEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t)
		l.session("s", "10s", 0)
		timers := l.timers()
		l.held = make(chan struct{})
		defer lead(t, timers)()
		passes(20 * time.Second)
		answer := make(chan *catalog.Session)
		go func() {
			s, err := timers.Renew(t.Context(), "s")
			if err != nil {
				t.Error(err)
			}
			answer <- s
		}()
		synctest.Wait()
		select {
		case s := <-answer:
			t.Fatalf("renewed while the end was under way: %+v", s)
		default:
		}
		close(l.held)
		if s := <-answer; s != nil {
			t.Errorf("renewed what has ended: %+v", s)
		}
	})
}

func TestSessionTimers_TryAgainWhatCouldNotBeCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t)
		l.session("s", "10s", time.Second)
		l.full = true
		defer lead(t, l.timers())()
		passes(25 * time.Second)
		l.mu.Lock()
		l.full = false
		l.mu.Unlock()
		passes(2 * time.Second)
		if l.lives("s") || len(l.store.View().LockDelays()) != 0 {
			t.Error("what was due is still there")
		}
	})
}

func TestSessionTimers_RenewOnlyWhereTheyAreKnownToLead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t)
		l.session("s", "10s", 0)
		timers := l.timers()
		timers.confirm = func(context.Context) error { return errors.New("no lease") }
		defer lead(t, timers)()
		if _, err := timers.Renew(t.Context(), "s"); catalog.KindOf(err) != catalog.Unavailable {
			t.Errorf("got %v", err)
		}
	})
}
