package config

import (
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"muster/agent/dns"
	"muster/agent/handlers"
	"muster/agent/local"
	"muster/catalog"
	"muster/catalog/ca"
	"muster/gossip"
)

// Config is what an agent was told, with all that was left out filled in. Load
// makes it; it isn't changed afterwards.
type Config struct {
	// NodeName is unique in the cluster; default is the host's name.
	NodeName string
	// NodeID is a lower-case UUID, or "" to keep the one in DataDir or draw one.
	NodeID            string
	NodeMeta          map[string]string
	Locality          *catalog.Locality // where the node runs; nil where no key says
	Datacenter        string            // lower case; default "dc1"
	PrimaryDatacenter string            // default is Datacenter

	// Server makes the agent vote and hold the catalog; else it is a client.
	Server bool
	// Dev is development mode: all in memory, a server of one.
	Dev bool
	// DataDir is absolute; "" keeps everything in memory (Dev only).
	DataDir string

	// Bootstrap lets a server form a cluster alone, whoever else is there.
	// BootstrapExpect is how many servers form the first cluster: 1 with
	// Bootstrap, 0 to wait for a cluster that is there.
	Bootstrap       bool
	BootstrapExpect int

	RetryJoin     []string
	RetryInterval time.Duration // default 30s
	RetryMax      int           // 0 tries for ever
	// RejoinAfterLeave joins the peers known from before, though the agent left.
	RejoinAfterLeave bool
	// LeaveOnTerminate leaves the cluster at SIGTERM; default true for clients.
	LeaveOnTerminate bool
	// SkipLeaveOnInterrupt ends without leaving at SIGINT; default true for servers.
	SkipLeaveOnInterrupt bool
	// ReconnectTimeout is when a failed member is forgotten; default 72h.
	ReconnectTimeout time.Duration

	// RetryJoinWAN and so on are the same for the pool of the servers of all
	// datacenters.
	RetryJoinWAN        []string
	RetryIntervalWAN    time.Duration
	RetryMaxWAN         int
	ReconnectTimeoutWAN time.Duration
	// GossipLAN and GossipWAN are the paces of the two pools; the zero value
	// stands for the built-in one.
	GossipLAN gossip.Timing
	GossipWAN gossip.Timing

	// DisableCoordinates keeps this node's network coordinate out of the catalog.
	// CoordinateInterval is the least pause between two updates of it, default
	// 15s; CoordinateRate how many the whole cluster may send in a second,
	// default 64.
	DisableCoordinates bool
	CoordinateInterval time.Duration
	CoordinateRate     float64

	// BindAddr is the IP for traffic between agents; SerfBindAddr and
	// SerfWANBindAddr, those of gossip, are the same unless given. They may be
	// 0.0.0.0.
	BindAddr        string
	SerfBindAddr    string
	SerfWANBindAddr string
	// AdvertiseAddr and AdvertiseAddrWAN are the IPs others are told; they are
	// never unspecified.
	AdvertiseAddr    string
	AdvertiseAddrWAN string
	// TaggedAddresses are further addresses of the node, by name. Those that the
	// advertised ones make (lan, wan and their families) win.
	TaggedAddresses map[string]string
	// ServerPort is the cluster port, default 8300; SerfLANPort 8301;
	// SerfWANPort 8302, or 0 to stay out of the WAN pool.
	ServerPort  int
	SerfLANPort int
	SerfWANPort int
	// HTTP is where the API is served; empty where it is off.
	HTTP       []Listener
	UnixSocket UnixSocket

	DNS DNS

	// Encrypt is the gossip key in base64; "" where gossip is in plain text and
	// no keyring is on disk.
	Encrypt               Secret
	EncryptVerifyIncoming bool // default true
	EncryptVerifyOutgoing bool // default true
	// AllowedLAN and AllowedWAN are the networks whose members gossip accepts;
	// empty: all.
	AllowedLAN []netip.Prefix
	AllowedWAN []netip.Prefix
	// DisableKeyringFile keeps gossip keys in memory only.
	DisableKeyringFile bool

	// RaftMultiplier, 1 to 10, scales election timeout and heartbeat; default 1.
	RaftMultiplier int
	// RaftSnapshotThreshold is how many entries are applied between snapshots.
	RaftSnapshotThreshold uint64 // default 16384
	// Autopilot is stored by a leader whose cluster has none yet; nil where no key
	// says other than catalog.DefaultAutopilot.
	Autopilot *catalog.Autopilot
	// Watches are followed by the agent, which runs their handlers.
	Watches []handlers.Watch
	// ConfigEntries are written by a leader whose cluster lacks them.
	ConfigEntries []*catalog.ConfigEntry
	// RPCHoldTimeout is how long a request waits for a leader; default 7s.
	RPCHoldTimeout time.Duration

	ClusterLimits ClusterLimits

	Connect Connect

	// SyncInterval is the pause between two full comparisons of this agent's
	// services and checks with the catalog; default 1m.
	SyncInterval time.Duration
	// CheckUpdateInterval is how long a check's output that changed without its
	// status waits before the catalog is told; default 5m.
	CheckUpdateInterval      time.Duration
	CheckOutputMaxSize       int  // bytes; default 4096
	DiscardCheckOutput       bool // keep no output of checks
	EnableLocalScriptChecks  bool // scripts from config files
	EnableRemoteScriptChecks bool // and from the API too
	// Definitions are the services and checks of the files.
	Definitions local.Definitions

	Log     Log
	PIDFile string

	// UI serves the web UI at /ui/; EnableDebug serves /debug/pprof/.
	UI          bool
	EnableDebug bool

	HTTPLimits HTTPLimits
	// ResponseHeaders are added to every answer of the API.
	ResponseHeaders map[string]string
	// BlockEndpoints are path prefixes that are answered with 403.
	BlockEndpoints []string
	// AllowWriteFrom are the networks that may call write endpoints; empty: all.
	AllowWriteFrom []netip.Prefix
	// DefaultQueryTime and MaxQueryTime bound blocking queries; 5m and 10m.
	DefaultQueryTime time.Duration
	MaxQueryTime     time.Duration
}

// Connect is the service mesh.
type Connect struct {
	// Enabled has the cluster keep a certificate authority; default true.
	Enabled bool
	// CA is what a leader makes the authority with whose cluster has none yet; Shown
	// is what is told of it, see ca.Parse.
	CA    ca.Config
	Shown []byte
	// LeafSpread is within how long after a change of the root an agent renews the
	// certificates of its services, each at a moment of its own; default 30s.
	LeafSpread time.Duration
	// IntentionPolicy is for connections that no intention is about: "allow" or
	// "deny"; "" where no key says, which allows.
	IntentionPolicy string
}

// Listener is an address to serve on: Network is "tcp" or "unix", as for net.Listen.
type Listener struct {
	Network string
	Address string
}

// String gives the address as a flag would: host:port or unix://path.
func (l Listener) String() string {
	if l.Network == "unix" {
		return "unix://" + l.Address
	}
	return l.Address
}

// DNS is how questions over DNS are answered.
type DNS struct {
	// Listen is where it is served, as host:port, over UDP and TCP; empty where
	// it is off.
	Listen  []string
	Answers dns.Config
	// AllowStale answers from any server's own copy of the catalog unless that is
	// older than MaxStale; defaults true and 87600h.
	AllowStale bool
	MaxStale   time.Duration
	// UseCache has a client agent answer from what it keeps of the catalog, for
	// CacheMaxAge after it has lost the servers (0: MaxStale); defaults true and 0.
	UseCache    bool
	CacheMaxAge time.Duration
}

// UnixSocket says to whom the sockets among the Listeners belong.
type UnixSocket struct {
	User  string // name or number; "" leaves it
	Group string
	Mode  string // octal; "" leaves it
}

// Log says what is logged and where to.
type Log struct {
	Level slog.Level // default info; trace is LevelTrace
	JSON  bool
	// File is written beside stdout; "" for none. It is rotated after
	// RotateBytes (0: no bound) or RotateDuration (default 24h), and
	// RotateMaxFiles old ones are kept (0: all, -1: none).
	File           string
	RotateBytes    int
	RotateDuration time.Duration
	RotateMaxFiles int
}

// LevelTrace is below slog.LevelDebug.
const LevelTrace = slog.LevelDebug - 4

// HTTPLimits bound what one client of the API may ask of an agent.
type HTTPLimits struct {
	MaxConnsPerClient int // default 200; 0 is no bound
	MaxHeaderBytes    int // 0 is net/http's default, 1 MiB
	MaxValueBytes     int // limits.kv_max_value_size; default 512 KiB
	MaxTxnBytes       int // limits.txn_max_req_len; default 512 KiB; MaxValueBytes counts where it is larger
}

// ClusterLimits bound what one host may ask of a server's cluster port.
type ClusterLimits struct {
	HandshakeTimeout  time.Duration // default 5s
	MaxConnsPerClient int           // default 100; 0 is no bound
}

// Secret is text that must not be shown. It prints as "hidden".
type Secret string

// String implements fmt.Stringer.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "hidden"
}

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return fmt.Sprintf("%q", s.String()) }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText implements encoding.TextMarshaler.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
