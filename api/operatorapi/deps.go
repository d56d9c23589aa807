package operatorapi

import (
	"context"
	"time"
)

// Quorum is the server's view of Raft. It is nil on client agents, whose routes
// are passed on to a server. What only a leader can tell or do fails with
// catalog.Unavailable on a server that leads no longer.
type Quorum interface {
	// LeaderAddr is the leader's cluster address, "" where none is known.
	LeaderAddr() string
	// Peers are the voters' cluster addresses, sorted.
	Peers() []string
	// Configuration is the latest membership that this server knows, with the
	// log index that it stands at.
	Configuration() (servers []Server, index uint64)

	// Health judges each server of the configuration, on the leader.
	Health() ([]ServerHealth, error)
	// StopSafe says on the leader, of each server of the configuration, whether
	// the cluster can go on without it.
	StopSafe() ([]StopSafe, error)
	// TransferLeadership hands leadership to a voter, with "" to the one that has
	// caught up best.
	TransferLeadership(ctx context.Context, id string) error
	// RemovePeer takes a server out of the configuration.
	RemovePeer(ctx context.Context, id string) error
}

// Server is one server of the Raft configuration. Its JSON form is the API's.
type Server struct {
	ID              string
	Node            string // its node name, "(unknown)" where gossip has none
	Address         string
	Leader          bool
	ProtocolVersion string
	Voter           bool
	LastIndex       uint64
}

// ServerHealth is one server as the leader judges it.
type ServerHealth struct {
	ID          string
	Name        string
	Address     string
	SerfStatus  string
	Version     string
	Leader      bool
	LastContact time.Duration
	LastTerm    uint64
	LastIndex   uint64
	Voter       bool
	// Reason is why the server is not healthy, "" where it is.
	Reason string
	// StableSince is since when, under this leader, it has been as healthy as it is.
	StableSince time.Time
	Meta        map[string]string // of its node
}

// StopSafe says whether the cluster can go on committing while one server is
// stopped. Its JSON form is the API's.
type StopSafe struct {
	ID     string
	Node   string
	Safe   bool
	Reason string
}
