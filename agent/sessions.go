package agent

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"muster/catalog"
	"muster/catalog/state"
)

const (
	// graceFactor is how many TTLs a session lives without being renewed: as in
	// Consul, twice what it asked for, so that a slow renewal is no lost lock.
	graceFactor = 2
	// sessionRetry is the pause after an end that could not be committed.
	sessionRetry = 200 * time.Millisecond
)

// sessionTimers is what a leader does about sessions and lock-delays: it ends each
// by a command when its time is over. The clock is this server's own, monotonic; a
// new leader gives everything its time in full, as it can't know how much is gone.
// So nothing ends early, and nothing of a timer needs to be replicated.
type sessionTimers struct {
	store   *state.Store
	propose func(context.Context, catalog.Command) (catalog.Result, error)
	// confirm returns once this server is known to lead and has applied all that
	// was committed.
	confirm func(context.Context) error
	logger  *slog.Logger

	mu       sync.Mutex
	leading  bool                 // guarded by mu
	sessions map[string]*deadline // guarded by mu; of sessions with a TTL
	delays   map[string]*deadline // guarded by mu; of lock-delays, by key
}

// deadline is when something ends.
type deadline struct {
	at     time.Time
	index  uint64        // at which it began
	ending chan struct{} // closed once the proposal of its end is over; nil if there is none
}

// run ends what is due until ctx ends, as it does when this server leads no longer.
func (t *sessionTimers) run(ctx context.Context) {
	t.mu.Lock()
	t.leading = true
	t.sessions, t.delays = map[string]*deadline{}, map[string]*deadline{}
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		t.leading = false
		t.mu.Unlock()
	}()
	if t.confirm(ctx) != nil && ctx.Err() == nil {
		t.logger.Debug("a new leader's state is not confirmed yet") // arming later than need be is no harm
	}
	topics := []state.Topic{{Kind: state.TopicSessions}, {Kind: state.TopicLockDelays}}
	for ctx.Err() == nil {
		view := t.store.View()
		index := t.arm(view)
		wait, retry := t.endDue(ctx), false
		if wait < 0 {
			wait, retry = sessionRetry, true
		}
		pause, cancel := context.WithTimeout(ctx, wait)
		if retry {
			<-pause.Done()
		} else {
			// A renewal only moves an end away: what is woken too early looks again.
			_ = t.store.Wait(pause, topics, index)
		}
		cancel()
	}
}

// arm gives a deadline to each session and delay that has none yet, and forgets
// those that are gone. It returns the index that it has seen.
func (t *sessionTimers) arm(view *state.View) uint64 {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	there := make(map[string]bool)
	for _, s := range view.Sessions() {
		ttl, err := s.Lifetime()
		if err != nil || ttl <= 0 {
			continue
		}
		there[s.ID] = true
		if d := t.sessions[s.ID]; d == nil || d.index != s.CreateIndex {
			t.sessions[s.ID] = &deadline{at: now.Add(graceFactor * ttl), index: s.CreateIndex}
		}
	}
	forget(t.sessions, there)
	clear(there)
	for _, l := range view.LockDelays() {
		there[l.Key] = true
		if d := t.delays[l.Key]; d == nil || d.index != l.Index {
			t.delays[l.Key] = &deadline{at: now.Add(l.Delay), index: l.Index}
		}
	}
	forget(t.delays, there)
	return view.Index()
}

func forget(all map[string]*deadline, there map[string]bool) {
	for name := range all {
		if !there[name] {
			delete(all, name)
		}
	}
}

// endDue proposes the ends of what is due. It returns how long it is until
// something else is, below 0 if a proposal failed.
func (t *sessionTimers) endDue(ctx context.Context) (next time.Duration) {
	now := time.Now()
	next = time.Hour
	var due []string
	delays := &catalog.EndLockDelays{}
	t.mu.Lock()
	over := make(chan struct{})
	defer close(over)
	for id, d := range t.sessions {
		if left := d.at.Sub(now); left > 0 {
			next = min(next, left)
			continue
		}
		d.ending = over
		due = append(due, id)
	}
	for key, d := range t.delays {
		if left := d.at.Sub(now); left > 0 {
			next = min(next, left)
			continue
		}
		if len(delays.Delays) < maxEnded {
			delays.Delays = append(delays.Delays, catalog.LockDelay{Key: key, Index: d.index})
		}
	}
	t.mu.Unlock()
	for _, id := range due {
		if _, err := t.propose(ctx, &catalog.DestroySession{ID: id}); err != nil {
			t.failed(ctx, fmt.Errorf("end session %s: %w", id, err))
			next = -1
			break
		}
		t.logger.Info("a session was not renewed in time and has ended", "session", id)
	}
	if len(delays.Delays) > 0 {
		if _, err := t.propose(ctx, delays); err != nil {
			t.failed(ctx, fmt.Errorf("end %d lock-delays: %w", len(delays.Delays), err))
			next = -1
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range due {
		if d := t.sessions[id]; d != nil {
			d.ending = nil // gone, or tried again in a moment
		}
	}
	return next
}

// maxEnded bounds the lock-delays that one command ends.
const maxEnded = 128

func (t *sessionTimers) failed(ctx context.Context, err error) {
	if ctx.Err() == nil {
		t.logger.Warn("sessions whose time is over stay for now", "error", err)
	}
}

// Renew implements sessionapi.Timers. That this server leads is confirmed after
// the renewal has its place: a leader that comes later gives the session its time
// in full, and one that was deposed before can't confirm.
func (t *sessionTimers) Renew(ctx context.Context, id string) (*catalog.Session, error) {
	for {
		if err := t.confirm(ctx); err != nil {
			return nil, fmt.Errorf("%w: %w", catalog.Errorf(catalog.Unavailable, "No cluster leader"), err)
		}
		s := t.store.View().Session(id)
		if s == nil {
			return nil, nil
		}
		ending, err := t.prolong(s)
		if ending == nil {
			if err == nil {
				err = t.confirm(ctx)
			}
			return s, err
		}
		select {
		case <-ending:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// prolong moves a session's end away, unless that is proposed already.
func (t *sessionTimers) prolong(s *catalog.Session) (ending <-chan struct{}, err error) {
	ttl, err := s.Lifetime()
	if err != nil || ttl <= 0 {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.leading {
		return nil, catalog.Errorf(catalog.Unavailable, "this server does not lead, or not yet")
	}
	d := t.sessions[s.ID]
	switch {
	case d == nil:
		t.sessions[s.ID] = &deadline{at: time.Now().Add(graceFactor * ttl), index: s.CreateIndex}
	case d.ending != nil:
		return d.ending, nil
	default:
		d.at = time.Now().Add(graceFactor * ttl)
	}
	return nil, nil
}
