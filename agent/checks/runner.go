package checks

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"muster/catalog"
)

const (
	// minInterval is the shortest time between two questions of one check.
	minInterval = time.Second
	// defaultTimeout bounds an answer where the definition doesn't.
	defaultTimeout = 10 * time.Second
	// defaultScriptTimeout is longer: scripts do more than connect.
	defaultScriptTimeout = 30 * time.Second
)

// Config is what all checks of an agent share.
type Config struct {
	// UserAgent is the header of that name in HTTP checks.
	UserAgent string
	// OutputMaxSize bounds the output of any check in bytes; 0 stands for
	// DefaultOutputMaxSize. A check's own bound can only be lower.
	OutputMaxSize int
	// Report hears of every state that an answer brings about, whether or not
	// it is another one than before. It must not call the Runner.
	Report func(checkID, status, output string)
	// Watch gives what the catalog has of a node, as soon as its index is
	// beyond the one given, or after a few minutes at the latest. Aliases of
	// other nodes need it.
	Watch func(ctx context.Context, node string, index uint64) (Aliased, error)
	// Jitter draws the time before a check is first asked, below max; nil is a
	// uniform random one. It keeps an agent's checks from running in step.
	Jitter func(max time.Duration) time.Duration
	Logger *slog.Logger // nil: silent
}

// Runner runs checks.
type Runner struct {
	cfg Config

	// changes makes Add and Remove wait for each other. No report takes it.
	changes sync.Mutex

	mu     sync.Mutex
	ctx    context.Context     // of Run; nil before and after; guarded by mu
	checks map[string]*running // guarded by mu
	loops  sync.WaitGroup      // grows under mu, and only while ctx is set
}

// running is one check of a Runner: an interval check has a probe, a TTL check a ttl.
type running struct {
	def    Definition
	probe  probe
	ttl    *ttl
	cancel context.CancelFunc // nil before it is started
	done   chan struct{}
}

// NewRunner makes a runner; its checks begin with Run.
func NewRunner(cfg Config) *Runner {
	if cfg.Jitter == nil {
		cfg.Jitter = func(max time.Duration) time.Duration { return rand.N(max) }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.OutputMaxSize == 0 {
		cfg.OutputMaxSize = DefaultOutputMaxSize
	}
	return &Runner{cfg: cfg, checks: map[string]*running{}}
}

// Run runs the checks until ctx ends and returns when all have stopped.
func (r *Runner) Run(ctx context.Context) error {
	r.mu.Lock()
	r.ctx = ctx
	for _, c := range r.checks {
		r.start(c)
	}
	r.mu.Unlock()

	<-ctx.Done()
	r.mu.Lock()
	r.ctx = nil // no loop is begun any more
	r.mu.Unlock()
	r.loops.Wait()
	return nil
}

// Add begins to run a check, in the place of one that has the same ID. output is
// what the check shows now; a TTL check repeats it when it expires.
func (r *Runner) Add(d Definition, output string) error {
	if err := d.Validate(); err != nil {
		return err
	}
	c := &running{def: d, done: make(chan struct{})}
	if k := d.described(); len(k) == 0 {
		c.ttl = newTTL(d, r.cfg, output)
	} else {
		c.probe = k[0].build(d, r.cfg)
	}
	r.changes.Lock()
	defer r.changes.Unlock()
	r.remove(d.CheckID)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checks[d.CheckID] = c
	r.start(c)
	return nil
}

// Remove stops a check and returns when it has stopped. It is no error if there
// is none.
func (r *Runner) Remove(checkID string) {
	r.changes.Lock()
	defer r.changes.Unlock()
	r.remove(checkID)
}

func (r *Runner) remove(checkID string) {
	r.mu.Lock()
	c := r.checks[checkID]
	delete(r.checks, checkID)
	started := c != nil && c.cancel != nil
	r.mu.Unlock()
	if started {
		c.cancel()
		<-c.done
	}
}

// SetTTL is a service's own report on its TTL check: it starts the check's time
// anew and passes the report on, its output cut to size.
func (r *Runner) SetTTL(checkID, status, output string) error {
	if !validStatus(status) {
		return invalid("Invalid check status: '%s'", status)
	}
	r.mu.Lock()
	c := r.checks[checkID]
	r.mu.Unlock()
	if c == nil || c.ttl == nil {
		return catalog.Errorf(catalog.Internal, "CheckID %q does not have associated TTL", checkID)
	}
	c.ttl.heard(status, output, func(status, output string) { r.cfg.Report(checkID, status, output) })
	return nil
}

// start starts a check's loop if the runner runs. The caller holds mu.
func (r *Runner) start(c *running) {
	if r.ctx == nil {
		return
	}
	var ctx context.Context
	ctx, c.cancel = context.WithCancel(r.ctx)
	r.loops.Add(1)
	go func() {
		defer r.loops.Done()
		defer close(c.done)
		defer c.cancel()
		report := func(status, output string) { r.cfg.Report(c.def.CheckID, status, clean(output)) }
		if c.ttl != nil {
			c.ttl.run(ctx, report)
			return
		}
		c.poll(ctx, r.cfg.Jitter, report)
	}()
}

// poll asks a check on its interval until ctx ends.
func (c *running) poll(ctx context.Context, jitter func(time.Duration) time.Duration, report func(status, output string)) {
	interval := max(c.def.Interval, minInterval)
	limits := newThresholds(c.def)
	timer := time.NewTimer(jitter(interval))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		status, output := c.probe(ctx)
		if ctx.Err() != nil {
			return // the answer speaks of our own stopping
		}
		if status, settled := limits.observe(status); settled {
			report(status, output)
		}
		timer.Reset(interval)
	}
}

// timeout is how long one answer of a check may take.
func (d *Definition) timeout(otherwise time.Duration) time.Duration {
	if d.Timeout > 0 {
		return d.Timeout
	}
	return otherwise
}
