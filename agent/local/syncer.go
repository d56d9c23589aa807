package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"time"

	"muster/catalog"
)

// Catalog is the cluster's catalog as a Syncer sees it. A server proposes, a
// client agent asks a server over HTTP.
//
// A write carries its agent's Source with a growing number; the catalog must drop
// one that comes after a higher number, and take note of the number even where
// the write changes nothing else.
//
// An error of a write that is (wraps) a *catalog.Error of kind Invalid, NotFound, Conflict,
// Denied, TooLarge or Internal is about what was written: the Syncer goes on with
// the next thing. Any other is about the way to the catalog: it pauses.
type Catalog interface {
	// Read gives what the catalog holds of a node, after all earlier writes of
	// this agent: Contents.Node is nil where the node is unknown.
	Read(ctx context.Context, node string) (Contents, error)
	// Write carries out *catalog.Register and *catalog.Deregister commands in their
	// order and says of each how it went.
	Write(ctx context.Context, cmds []catalog.Command) []error
}

// Contents is a node as the catalog has it.
type Contents struct {
	Node     *catalog.Node
	Services []*catalog.Service
	Checks   []*catalog.Check
}

// SyncerConfig says how often and how patiently a Syncer works.
type SyncerConfig struct {
	// Interval is the time between full syncs in a small cluster: 1 minute. It
	// grows with the logarithm of the cluster's size above 128.
	Interval time.Duration
	// Timeout bounds one request to the catalog: 10 seconds.
	Timeout time.Duration
	// RetryMin and RetryMax bound the pause after a failure: 250 ms, 15 s.
	RetryMin, RetryMax time.Duration
	// ClusterSize gives the number of members; nil is one.
	ClusterSize func() int
	// Jitter draws a duration below max; nil is a uniform random one.
	Jitter func(max time.Duration) time.Duration
	Logger *slog.Logger // nil: silent
}

// DefaultSyncerConfig is what an agent uses unless it is told otherwise.
func DefaultSyncerConfig() SyncerConfig {
	return SyncerConfig{Interval: time.Minute, Timeout: 10 * time.Second, RetryMin: 250 * time.Millisecond, RetryMax: 15 * time.Second}
}

// Validate says what is wrong with a configuration, nil if nothing.
func (c SyncerConfig) Validate() error {
	if c.Interval <= 0 || c.Timeout <= 0 || c.RetryMin <= 0 || c.RetryMax < c.RetryMin {
		return errors.New("syncer: Interval, Timeout and RetryMin must be above zero, RetryMax not below RetryMin")
	}
	return nil
}

// Syncer keeps the catalog equal to a State.
type Syncer struct {
	cfg     SyncerConfig
	log     *slog.Logger
	state   *State
	catalog Catalog
	trigger chan struct{}
	// unsure says that a write may be under way of which nothing was heard, from
	// this run or the one before. Only Run's goroutine uses it.
	unsure bool
}

// NewSyncer makes a syncer; Run makes it work. A State has one Syncer.
func NewSyncer(cfg SyncerConfig, s *State, c Catalog) (*Syncer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.ClusterSize == nil {
		cfg.ClusterSize = func() int { return 1 }
	}
	if cfg.Jitter == nil {
		cfg.Jitter = func(max time.Duration) time.Duration { return rand.N(max) }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Syncer{cfg: cfg, log: cfg.Logger, state: s, catalog: c, trigger: make(chan struct{}, 1), unsure: true}, nil
}

// Trigger asks for a full sync soon, as when a server has come (back). Any
// goroutine may call it; it never blocks.
func (y *Syncer) Trigger() {
	select {
	case y.trigger <- struct{}{}:
	default: // it has been told already
	}
}

// schedule is when the Syncer works next.
type schedule struct {
	full time.Time // of the next full sync
	// paused is set after a failure to reach the catalog: changes wait for full.
	paused   bool
	failures int // passes in a row with an error
}

// Run syncs until ctx ends.
func (y *Syncer) Run(ctx context.Context) error {
	var plan schedule // its zero time is long ago: begin with a full sync
	for {
		now := time.Now()
		full := !now.Before(plan.full)
		refusals, err := y.pass(ctx, full)
		if ctx.Err() != nil {
			return nil
		}
		y.replan(&plan, full, refusals, err)
		if !y.wait(ctx, &plan) {
			return nil
		}
	}
}

// replan sets the schedule by how a pass went.
func (y *Syncer) replan(plan *schedule, full bool, refusals int, err error) {
	now := time.Now()
	switch {
	case err != nil:
		plan.failures++
		plan.paused, plan.full = true, now.Add(y.pause(plan.failures, y.cfg.RetryMax))
		y.log.Warn("syncing with the catalog failed", "error", err, "retry_in", plan.full.Sub(now))
	case refusals > 0:
		// What the catalog refused may be mended by what it lacks, so look
		// again soon; if not, ever less often.
		plan.failures++
		plan.paused = false
		if again := now.Add(y.pause(plan.failures, max(y.cfg.RetryMax, y.cfg.Interval))); full || again.Before(plan.full) {
			plan.full = again
		}
	case full:
		if plan.failures > 0 {
			y.log.Info("in sync with the catalog again")
		}
		plan.failures, plan.paused = 0, false
		every := y.cfg.Interval * time.Duration(scale(y.cfg.ClusterSize()))
		plan.full = now.Add(every + y.cfg.Jitter(max(1, every/4)))
	}
}

// wait waits until there is something to do; false means that ctx has ended.
func (y *Syncer) wait(ctx context.Context, plan *schedule) bool {
	until, wake := plan.full, y.state.wake
	if plan.paused {
		wake = nil
	} else if due := y.state.releaseOutputs(time.Now()); !due.IsZero() && due.Before(until) {
		until = due
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		y.state.releaseOutputs(time.Now())
	case <-wake:
	case <-y.trigger:
		// A whole cluster hears of a new server at once: spread the syncs.
		spread := min(3*time.Second, time.Duration(y.cfg.ClusterSize())*2*time.Millisecond)
		plan.full, plan.paused = time.Now().Add(y.cfg.Jitter(max(1, spread))), false
	}
	return true
}

// pause is how long to wait after a number of failures in a row, limit at most.
func (y *Syncer) pause(failures int, limit time.Duration) time.Duration {
	d := limit
	if shift := failures - 1; shift < 16 {
		d = min(d, y.cfg.RetryMin<<shift)
	}
	return d/2 + y.cfg.Jitter(max(1, d/2))
}

// scale is by how much rarer full syncs are in a cluster of a size.
func scale(size int) int {
	const small = 128
	if size <= small {
		return 1
	}
	return 1 + int(math.Ceil(math.Log2(float64(size))-math.Log2(small)))
}

// pass writes what differs, after it has looked for differences if it is a full
// one. It gives how many writes the catalog refused; its error is about the way
// to the catalog.
func (y *Syncer) pass(ctx context.Context, full bool) (refusals int, err error) {
	if full {
		err = y.look(ctx)
	}
	if err == nil {
		refusals, err = y.push(ctx)
	}
	if ctx.Err() == nil {
		y.state.metrics.passed(full, refusals, err)
	}
	return refusals, err
}

// look sets all marks by what the catalog holds. What it holds must not change
// afterwards by a late write of our own, so that is ruled out first.
func (y *Syncer) look(ctx context.Context) error {
	if y.unsure && y.state.Node().ID != "" {
		if _, err := y.send(ctx, []*write{y.state.fence()}); err != nil {
			return err
		}
	}
	var there Contents
	err := y.request(ctx, func(ctx context.Context) (err error) {
		there, err = y.catalog.Read(ctx, y.state.cfg.Node.Node)
		return err
	})
	if err != nil {
		return fmt.Errorf("read the catalog: %w", err)
	}
	y.state.compare(there)
	return nil
}

// push writes all that is pending, some at a time.
func (y *Syncer) push(ctx context.Context) (refusals int, err error) {
	for items := y.state.pending(); len(items) > 0 && err == nil; {
		var writes []*write
		writes, items = y.state.writesFor(items)
		if len(writes) == 0 {
			continue // all has been done by now
		}
		var n int
		n, err = y.send(ctx, writes)
		refusals += n
	}
	return refusals, err
}

// send makes writes and notes how they went. It gives how many the catalog
// refused; its error is about the way to the catalog.
func (y *Syncer) send(ctx context.Context, writes []*write) (refusals int, err error) {
	cmds := make([]catalog.Command, len(writes))
	for i, w := range writes {
		source, err := y.state.source()
		if err != nil {
			return 0, err
		}
		cmds[i] = w.command(source)
	}
	var errs []error
	_ = y.request(ctx, func(ctx context.Context) error {
		errs = y.catalog.Write(ctx, cmds)
		return nil
	})
	for i, w := range writes {
		switch failed := errs[i]; {
		case failed == nil:
			y.unsure = false
			y.state.done(w)
			y.log.Debug("synced", "what", w.what, "removed", w.deregister != nil)
		case refused(failed):
			refusals++
			y.state.refuse(w)
			y.log.Warn("the catalog refuses a registration of this agent", "what", w.what, "error", failed)
		default:
			y.unsure = y.unsure || !notDone(failed)
			if err == nil {
				err = fmt.Errorf("write %s: %w", w.what, failed)
			}
		}
	}
	return refusals, err
}

func (y *Syncer) request(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, y.cfg.Timeout)
	defer cancel()
	return do(ctx)
}

// refused says whether an error is the catalog's answer to what was written.
func refused(err error) bool {
	var e *catalog.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Kind {
	case catalog.TooMany, catalog.Unavailable, catalog.Blocked, catalog.Unknown:
		return false
	}
	return true
}

// notDone says whether an error means that a write has not and will not take effect.
func notDone(err error) bool {
	k := catalog.KindOf(err)
	return k == catalog.Unavailable || k == catalog.Blocked || k == catalog.TooMany
}

// source marks a write with this agent's node ID and the next number.
func (s *State) source() (catalog.Source, error) {
	id := s.Node().ID
	if id == "" {
		return catalog.Source{}, nil
	}
	seq, err := s.sequence.next()
	return catalog.Source{NodeID: id, Seq: seq}, err
}
