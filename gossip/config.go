package gossip

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Role says whether an agent is a server or a client.
type Role int

// The roles of an agent.
const (
	Client Role = iota
	Server
)

// Config describes one pool and what this agent says about itself in it.
type Config struct {
	// NodeName is unique in the cluster; on the WAN it is "name.datacenter".
	NodeName string
	// NodeID is this agent's UUID, which stays when name or address change.
	NodeID     string
	Datacenter string
	Role       Role
	// WAN marks the pool of the servers of all datacenters.
	WAN bool

	// BindAddr and BindPort are where this agent listens, TCP and UDP. Port 0
	// lets the system choose.
	BindAddr string
	BindPort int
	// AdvertiseAddr and AdvertisePort are what others are told; default is what
	// is bound, or a private address of this machine where that is 0.0.0.0.
	AdvertiseAddr string
	AdvertisePort int

	// Build is the version shown to others, "1.2.3:revision".
	Build string
	// ClusterPort is a server's port for Raft and forwarded requests (tag port).
	ClusterPort int
	// Expect is a server's bootstrap-expect; 0 or 1 with Bootstrap for one alone.
	Expect    int
	Bootstrap bool
	// WANJoinPort is a server's port in the WAN pool, 0 where it has none.
	WANJoinPort int
	// Tags are further tags, beside those that the fields above make.
	Tags map[string]string

	// EncryptKey is a base64 key of 16, 24 or 32 bytes; "" with no keyring file
	// sends plain text.
	EncryptKey string
	// KeyringFile keeps the keys; where it exists it wins over EncryptKey.
	// "" keeps them in memory.
	KeyringFile    string
	VerifyIncoming bool // default true; refuse plain text where keys are set
	VerifyOutgoing bool // default true; send no plain text where keys are set

	// SnapshotPath is where known peers are kept for a rejoin; "" keeps none.
	SnapshotPath string
	// RejoinAfterLeave rejoins from the snapshot although this agent had left.
	RejoinAfterLeave bool

	ReconnectTimeout time.Duration // until a failed member is forgotten, default 72h
	TombstoneTimeout time.Duration // until a left member is forgotten, default 24h

	Timing Timing

	Registerer prometheus.Registerer // nil keeps no metrics
	Logger     *slog.Logger          // nil discards
}

// Timing holds the intervals of the failure detector and of dissemination.
type Timing struct {
	ProbeInterval    time.Duration
	ProbeTimeout     time.Duration
	SuspicionMult    int
	GossipInterval   time.Duration
	PushPullInterval time.Duration
	// LeaveTimeout bounds how long Leave waits for its broadcast, LeaveDelay is
	// how long it stays up after it, so that others learn of it.
	LeaveTimeout      time.Duration
	LeaveDelay        time.Duration
	ReapInterval      time.Duration
	ReconnectInterval time.Duration
}
