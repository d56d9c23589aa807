package local

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"muster/agent/checks"
	"muster/catalog"
	"muster/consensus/wal"
)

// Config says how an agent keeps its services and checks.
type Config struct {
	// Node is this agent's own node as the catalog shall know it.
	Node catalog.Node
	// DataDir is where registrations are kept; "" keeps them in memory only.
	DataDir string
	// FS is the file system that DataDir is in; nil is the host's.
	FS wal.FS
	// CheckUpdateInterval is how long an output that changed without the status
	// waits before it is sent to the catalog: 5 minutes by default, 0 sends it at once.
	CheckUpdateInterval time.Duration
	// CheckOutputMaxSize bounds the output of a check in bytes: 4096 by default. A
	// check's own bound can only be lower.
	CheckOutputMaxSize int
	// DiscardCheckOutput keeps no output of checks.
	DiscardCheckOutput bool
	// EnableLocalScriptChecks allows script checks from config files,
	// EnableRemoteScriptChecks those and also the ones registered over HTTP.
	EnableLocalScriptChecks  bool
	EnableRemoteScriptChecks bool
	// UserAgent is the header of that name in HTTP checks: "Consul Health Check".
	UserAgent string
	// Watch gives what the catalog has of another node; see checks.Config. Nil
	// refuses checks that are aliases of other nodes.
	Watch      func(ctx context.Context, node string, index uint64) (checks.Aliased, error)
	Registerer prometheus.Registerer // nil: no metrics
	Logger     *slog.Logger          // nil: silent
}

// DefaultConfig is what an agent uses unless it is told otherwise. Node must be
// filled in.
func DefaultConfig() Config {
	return Config{CheckUpdateInterval: 5 * time.Minute, CheckOutputMaxSize: checks.DefaultOutputMaxSize, UserAgent: "Consul Health Check"}
}

// Validate says what is wrong with a configuration, nil if nothing.
func (c Config) Validate() error {
	var faults []error
	if c.Node.Node == "" {
		faults = append(faults, errors.New("local state: the node needs a name"))
	}
	if c.CheckUpdateInterval < 0 {
		faults = append(faults, errors.New("check_update_interval can't be negative"))
	}
	if c.CheckOutputMaxSize <= 0 {
		faults = append(faults, errors.New("check_output_max_size must be positive"))
	}
	return errors.Join(faults...)
}

// Source says where a registration came from.
type Source string

// Registrations over HTTP are kept on disk; those from config files come and go
// with the files.
const (
	SourceAPI    Source = "api"
	SourceConfig Source = "config"
)

// Options go with one registration.
type Options struct {
	Source Source // "" is SourceAPI
	// Token is kept with the registration.
	Token string
	// ReplaceChecks removes the service's checks that the registration doesn't name.
	ReplaceChecks bool
	// Sidecar is registered together with the service.
	Sidecar *Sidecar

	sidecarOf string // ID of the service whose sidecar is registered
}

// ServiceDefinition is a service as a config file defines it.
type ServiceDefinition struct {
	Service catalog.Service
	Checks  []checks.Definition
	Token   string
	Sidecar *Sidecar
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
