package local

import (
	"context"
	"log/slog"
	"time"

	"muster/catalog"
)

// Catalog is the cluster's catalog as a Syncer sees it. A server proposes, a
// client agent asks a server over HTTP.
type Catalog interface {
	// Read gives what the catalog holds of a node, after all earlier writes of
	// this agent: Contents.Node is nil where the node is unknown.
	Read(ctx context.Context, node string) (Contents, error)
	Register(ctx context.Context, r *catalog.Register) error
	Deregister(ctx context.Context, d *catalog.Deregister) error
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
	Logger      *slog.Logger // nil: silent
}

// DefaultSyncerConfig is what an agent uses unless it is told otherwise.
func DefaultSyncerConfig() SyncerConfig {
	return SyncerConfig{Interval: time.Minute, Timeout: 10 * time.Second, RetryMin: 250 * time.Millisecond, RetryMax: 15 * time.Second}
}

// Syncer keeps the catalog equal to a State.
type Syncer struct {
	cfg     SyncerConfig
	state   *State
	catalog Catalog
}

// NewSyncer makes a syncer; Run makes it work.
func NewSyncer(cfg SyncerConfig, s *State, c Catalog) (*Syncer, error) {
	return &Syncer{cfg: cfg, state: s, catalog: c}, nil
}

// Run syncs until ctx ends.
func (y *Syncer) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Trigger asks for a full sync soon, as when a server has come (back).
func (y *Syncer) Trigger() {}
