package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"muster/catalog"
	"muster/catalog/acl"
	"muster/catalog/state"
)

// Replica is a server's own copy of the catalog with its way into the log.
type Replica interface {
	Store() *state.Store

	// Propose commits a command and gives what applying it gave. An error of
	// kind catalog.Unknown means that the command may yet take effect; kinds
	// catalog.Unavailable, catalog.Blocked and catalog.TooMany that it did not and won't.
	Propose(ctx context.Context, cmd catalog.Command) (catalog.Result, error)

	// ReadIndex returns once Store holds all that was committed anywhere when
	// it was called, and fails at once where no leader is known. It may rest on
	// the leader's lease, and so on clocks that run about equally fast.
	ReadIndex(ctx context.Context) error
	// Confirm does the same on the word of a majority of the servers, asked after
	// the call, and trusts no clock.
	Confirm(ctx context.Context) error

	// Ready says whether Store holds all that was known to be committed when
	// this server started. Until then even a stale read would go back in time.
	Ready() bool

	// Blocked says why no leader can come before somebody has seen to it, in an
	// error of kind catalog.Blocked; nil where one may come by itself.
	Blocked() error

	IsLeader() bool
	KnownLeader() bool
	// Led gives a context that is over once this server has known no leader for
	// longer than an election takes: the catalog may go on without it.
	Led() context.Context
	// LastContact is how long ago this server heard of its leader, 0 on the leader.
	LastContact() time.Duration
}

// Cluster is the way to the servers of this datacenter.
type Cluster interface {
	// LeaderAddr is the leader's cluster address, "" where none is known or
	// this agent does not keep track of it (client agents).
	LeaderAddr() string
	// Servers are the cluster addresses of the other servers, best first.
	Servers() []string
	// Failed notes that a server could not be reached, or can't reach a leader.
	Failed(addr string)
	// RoundTrip sends a request to a server's cluster port; it sets scheme and
	// host of its URL. Nothing is retried inside.
	RoundTrip(addr string, r *http.Request) (*http.Response, error)
	// Changed gives a channel that is closed at the next change of the leader
	// or of the servers: take it before looking.
	Changed() <-chan struct{}
}

// Deps are the parts of an agent that a Server stands on.
type Deps struct {
	// Replica is nil on client agents, which pass all but Local routes on.
	Replica Replica
	Cluster Cluster

	// Authorize turns a token, "" for none, into what it allows. Without it
	// everything is allowed.
	Authorize func(ctx context.Context, token string) (acl.Authorizer, error)

	// UI is served below /ui/. Without it there is no UI.
	UI http.Handler

	// Registerer takes this package's metrics, Gatherer gives those of the
	// whole agent for /metrics. Without them there are none.
	Registerer prometheus.Registerer
	Gatherer   prometheus.Gatherer

	Logger *slog.Logger
}
