package local

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"muster/agent/checks"
	"muster/catalog"
	"muster/consensus/wal"
)

// State is this agent's services and checks. Its methods may be called from any
// goroutine.
type State struct {
	cfg      Config
	log      *slog.Logger
	runner   *checks.Runner
	journal  *journal
	sequence *sequence
	metrics  *metrics

	// changes makes registrations and TTL reports wait for each other. It is
	// held over calls of the runner, mu never is, and neither over disk writes.
	changes sync.Mutex
	// recalled are the TTL reports found on disk, by folded check ID, until
	// Load is done; guarded by changes.
	recalled map[string]ttlRecord

	mu       sync.RWMutex // guards all below, and what it points to
	node     catalog.Node
	nodeMark mark
	services map[string]*service // by folded ID
	checks   map[string]*check   // by folded ID
	// attached are the checks of services, by the folded IDs of both.
	attached map[string]map[string]*check
	aliases  map[string]*check   // those among them that followAliases keeps
	gone     map[item]*tombstone // what the catalog may still have
	version  uint64              // the last one given to a mark
	changed  chan struct{}       // closed and replaced at each change

	// wake tells the Syncer that there is something to write.
	wake chan struct{}
}

// service is a registered service.
type service struct {
	mark
	// registered is what was asked for; current differs from it in its tags
	// where EnableTagOverride let someone change them in the catalog. Both are
	// replaced as a whole, never changed.
	registered, current *catalog.Service
	// ownTags is the version in which this agent last set the tags. The catalog
	// must have had it before others' tags are taken over.
	ownTags uint64
	source  Source
	token   string
	// sidecarOf is the ID of the service that this one was registered with as its
	// sidecar, and goes with; "" for all others.
	sidecarOf string
}

// check is a registered check.
type check struct {
	mark
	def     checks.Definition
	current *catalog.Check // replaced as a whole, never changed
	source  Source
	token   string
	// runs says whether the runner has it. It hasn't a maintenance check, nor
	// one that is not allowed any more.
	runs bool
	// criticalSince is when the check became critical, zero while it isn't.
	criticalSince time.Time
	// outputDue is when an output that the catalog lacks shall be sent, if
	// nothing else sends the check before; zero if there is none.
	outputDue time.Time
	// kept is the last TTL report on disk.
	kept ttlRecord
}

// New makes an empty state, or says what is wrong with cfg. It opens the files
// below DataDir, which Close closes.
func New(cfg Config) (*State, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.FS == nil {
		cfg.FS = wal.OS()
	}
	s := &State{
		cfg:      cfg,
		log:      cfg.Logger,
		node:     cfg.Node,
		services: map[string]*service{},
		checks:   map[string]*check{},
		attached: map[string]map[string]*check{},
		aliases:  map[string]*check{},
		gone:     map[item]*tombstone{},
		changed:  make(chan struct{}),
		wake:     make(chan struct{}, 1),
	}
	s.runner = checks.NewRunner(checks.Config{
		UserAgent: cfg.UserAgent, OutputMaxSize: cfg.CheckOutputMaxSize, Report: s.observe, Watch: cfg.Watch, Logger: cfg.Logger,
	})
	var err error
	if s.sequence, err = openSequence(cfg.FS, cfg.DataDir, time.Now()); err != nil {
		return nil, err
	}
	if s.metrics, err = newMetrics(cfg.Registerer, s); err != nil {
		return nil, err
	}
	if s.journal, err = openJournal(cfg.FS, cfg.DataDir, cfg.Logger); err != nil {
		return nil, err
	}
	s.touch(&s.nodeMark)
	return s, nil
}

// Close writes what is not on disk yet, the last reports on TTL checks, and
// closes the files. Nothing may be registered after that.
func (s *State) Close() error { return s.journal.close() }

// change does what changes services or checks, after all changes before it. It
// returns when they are on disk. Who waits for the disk holds no lock, so that
// one write serves all who wait.
func (s *State) change(do func() error) error {
	s.changes.Lock()
	err := s.journal.ready()
	if err == nil {
		err = do()
	}
	ticket := s.journal.end()
	s.changes.Unlock()
	if lost := s.journal.wait(ticket); err == nil {
		err = lost
	}
	return err
}

// Run runs the checks, keeps the reports on them, and removes services that are
// critical for too long, until ctx ends.
func (s *State) Run(ctx context.Context) error {
	var helpers sync.WaitGroup
	helpers.Go(func() { s.reap(ctx) })
	helpers.Go(func() { s.journal.run(ctx) })
	defer helpers.Wait()
	return s.runner.Run(ctx)
}

// Service gives a service by its ID.
func (s *State) Service(id string) (*catalog.Service, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if svc := s.services[catalog.Fold(id)]; svc != nil {
		return svc.current, true
	}
	return nil, false
}

// Services gives all services by ID.
func (s *State) Services() map[string]*catalog.Service {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make(map[string]*catalog.Service, len(s.services))
	for _, svc := range s.services {
		all[svc.current.ID] = svc.current
	}
	return all
}

// Check gives a check by its ID.
func (s *State) Check(id string) (*catalog.Check, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if c := s.checks[catalog.Fold(id)]; c != nil {
		return s.view(c), true
	}
	return nil, false
}

// Checks gives all checks by ID.
func (s *State) Checks() map[string]*catalog.Check {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make(map[string]*catalog.Check, len(s.checks))
	for _, c := range s.checks {
		all[c.current.CheckID] = s.view(c)
	}
	return all
}

// Definition gives what a check was registered as.
func (s *State) Definition(checkID string) (checks.Definition, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if c := s.checks[catalog.Fold(checkID)]; c != nil {
		return c.def, true
	}
	return checks.Definition{}, false
}

// Token gives the token that a service was registered with.
func (s *State) Token(serviceID string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if svc := s.services[catalog.Fold(serviceID)]; svc != nil {
		return svc.token
	}
	return ""
}

// Node gives what the catalog shall know of this node.
func (s *State) Node() catalog.Node {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.node
}

// SetNode changes what the catalog shall know of this node. Its name stays.
func (s *State) SetNode(n catalog.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.Node = s.node.Node
	if !s.node.Same(&n) {
		s.node = n
		s.touch(&s.nodeMark)
	}
}

// Changed gives a channel that is closed at the next change of any service or
// check: take it before looking.
func (s *State) Changed() <-chan struct{} {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.changed
}

// view is a check with the ID, name and tags of its service. The caller holds mu.
func (s *State) view(c *check) *catalog.Check {
	v := *c.current
	if svc := s.services[catalog.Fold(v.ServiceID)]; svc != nil && v.ServiceID != "" {
		v.ServiceID, v.ServiceName, v.ServiceTags = svc.current.ID, svc.current.Service, svc.current.Tags
	}
	return &v
}

// touch gives a mark a new version, which the catalog doesn't have yet, and
// wakes the Syncer. The caller holds mu.
func (s *State) touch(m *mark) {
	s.version++
	m.version = s.version
	s.nudge()
}

// nudge wakes the Syncer.
func (s *State) nudge() {
	select {
	case s.wake <- struct{}{}:
	default: // it has been told already
	}
}

// announce tells who waits on Changed, once the aliases have followed. The
// caller holds mu.
func (s *State) announce() {
	s.followAliases()
	close(s.changed)
	s.changed = make(chan struct{})
}

func unknownService(id string) error {
	return catalog.Errorf(catalog.NotFound, "Unknown service ID %q. Ensure that the service ID is passed, not the service name.", id)
}

func unknownCheck(id string) error {
	return catalog.Errorf(catalog.NotFound, "Unknown check ID %q. Ensure that the check ID is passed, not the check name.", id)
}
