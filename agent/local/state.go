package local

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"muster/agent/checks"
	"muster/catalog"
)

// Config says how an agent keeps its services and checks.
type Config struct {
	// Node is this agent's own node as the catalog shall know it.
	Node catalog.Node
	// DataDir is where registrations are kept; "" keeps them in memory only.
	DataDir string
	// CheckUpdateInterval is how long an output that changed without the status
	// waits before it is sent to the catalog: 5 minutes by default, 0 sends it at once.
	CheckUpdateInterval time.Duration
	// EnableLocalScriptChecks allows script checks from config files,
	// EnableRemoteScriptChecks also those registered over HTTP.
	EnableLocalScriptChecks  bool
	EnableRemoteScriptChecks bool
	// UserAgent is the header of that name in HTTP checks.
	UserAgent  string
	Registerer prometheus.Registerer // nil: no metrics
	Logger     *slog.Logger          // nil: silent
}

// DefaultConfig is what an agent uses unless it is told otherwise. Node must be filled in.
func DefaultConfig() Config { return Config{CheckUpdateInterval: 5 * time.Minute} }

// Source says where a registration came from.
type Source string

// Registrations over HTTP are kept on disk; those from config files come and go with them.
const (
	SourceAPI    Source = "api"
	SourceConfig Source = "config"
)

// Options go with one registration.
type Options struct {
	Source Source // "" is SourceAPI
	Token  string
	// ReplaceChecks removes the service's checks that the registration doesn't name.
	ReplaceChecks bool
}

// ServiceDefinition is a service as a config file defines it.
type ServiceDefinition struct {
	Service catalog.Service
	Checks  []checks.Definition
	Token   string
}

// CheckDefinition is a check that a config file defines outside a service.
type CheckDefinition struct {
	Check checks.Definition
	Token string
}

// Definitions are all services and checks of an agent's config files.
type Definitions struct {
	Services []ServiceDefinition
	Checks   []CheckDefinition
}

// State is this agent's services and checks.
type State struct{ cfg Config }

// New makes an empty state, or says what is wrong with cfg. It makes the
// directories below DataDir.
func New(cfg Config) (*State, error) { return &State{cfg: cfg}, nil }

// Load fills the state from disk and config files, once, before Run. A kept
// registration that config files now define is dropped.
func (s *State) Load(defs Definitions) error { return nil }

// Reload takes the services and checks of the config files as they are now:
// those no longer there are removed, those unchanged are left to run.
func (s *State) Reload(defs Definitions) error { return nil }

// Run runs the checks, and removes services that are critical for too long,
// until ctx ends.
func (s *State) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// AddService registers or replaces a service and its checks.
func (s *State) AddService(svc catalog.Service, defs []checks.Definition, o Options) error {
	return nil
}

// RemoveService removes a service with its checks.
func (s *State) RemoveService(id string) error { return nil }

// AddCheck registers or replaces a check of the node, or of the service that it names.
func (s *State) AddCheck(d checks.Definition, o Options) error { return nil }

// RemoveCheck removes a check.
func (s *State) RemoveCheck(id string) error { return nil }

// UpdateTTL is a service's report on its TTL check.
func (s *State) UpdateTTL(id, status, output string) error { return nil }

// MaintainService puts a service into maintenance mode or ends it.
func (s *State) MaintainService(id string, on bool, reason string) error { return nil }

// MaintainNode puts the whole node into maintenance mode or ends it.
func (s *State) MaintainNode(on bool, reason string) error { return nil }

// Service gives a copy of a service.
func (s *State) Service(id string) (*catalog.Service, bool) { return nil, false }

// Services gives copies of all services by ID.
func (s *State) Services() map[string]*catalog.Service { return nil }

// Check gives a copy of a check.
func (s *State) Check(id string) (*catalog.Check, bool) { return nil, false }

// Checks gives copies of all checks by ID.
func (s *State) Checks() map[string]*catalog.Check { return nil }

// Health is a service with all checks that count for it: the node's and its own.
type Health struct {
	Service *catalog.Service
	Checks  []*catalog.Check
	// Status is the worst of them, or maintenance.
	Status string
}

// ServiceHealth gives the health of the service with an ID, nil if there is none.
func (s *State) ServiceHealth(id string) *Health { return nil }

// ServiceHealthByName gives the health of all instances of a service, by ID.
func (s *State) ServiceHealthByName(name string) []Health { return nil }

// SetNode changes what the catalog shall know of this node.
func (s *State) SetNode(n catalog.Node) {}

// Changed gives a channel that is closed at the next change of any service or check.
func (s *State) Changed() <-chan struct{} { return nil }
