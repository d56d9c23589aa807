package agent

import (
	"context"
	"log/slog"
	"time"

	"muster/catalog"
	"muster/catalog/state"
)

const (
	// outcomeWindow is for how long, at least, results are kept for idempotency keys.
	outcomeWindow = 10 * time.Minute
	// outcomeTick is how often a leader looks which are older.
	outcomeTick = 30 * time.Second
)

// outcomes is what a leader does about the results that are kept for idempotency
// keys: it has those forgotten whose time is over, by a command. It notes now and
// then where the catalog is, by its own monotonic clock; what is not above a note
// is older than that. A new leader begins anew, so nothing is forgotten early.
type outcomes struct {
	store   *state.Store
	propose func(context.Context, catalog.Command) (catalog.Result, error)
	logger  *slog.Logger
}

// run has results forgotten until ctx ends, as it does when this server leads no longer.
func (o *outcomes) run(ctx context.Context) {
	type note struct {
		at    time.Time
		index uint64
	}
	var notes []note
	through := uint64(0)
	tick := time.NewTicker(outcomeTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		for len(notes) > 0 && now.Sub(notes[0].at) >= outcomeWindow {
			through, notes = notes[0].index, notes[1:]
		}
		notes = append(notes, note{now, o.store.Index()})
		o.forget(ctx, through)
	}
}

// forget has all results up to an index forgotten. What fails is tried again at the
// next tick.
func (o *outcomes) forget(ctx context.Context, through uint64) {
	cmd := &catalog.ForgetOutcomes{Through: through}
	for ctx.Err() == nil && o.store.Preview(cmd).Changed {
		if _, err := o.propose(ctx, cmd); err != nil {
			if ctx.Err() == nil {
				o.logger.Warn("results that were kept for idempotency keys stay for now", "error", err)
			}
			return
		}
	}
}
