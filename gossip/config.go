package gossip

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/go-sockaddr"
	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"
)

// Role says whether an agent is a server or a client.
type Role int

// The roles of an agent.
const (
	Client Role = iota
	Server
)

// Config describes one pool and what this agent says about itself in it. Start
// from DefaultConfig or DefaultWANConfig.
type Config struct {
	// NodeName is unique in the cluster; on the WAN it is "name.datacenter".
	NodeName string
	// NodeID is this agent's UUID, which stays when name or address change.
	NodeID     string
	Datacenter string
	Role       Role
	// WAN marks the pool of the servers of all datacenters.
	WAN bool

	// BindAddr and BindPort are where this agent listens, TCP and UDP. The
	// defaults are all addresses, and 8301 (LAN) or 8302 (WAN); port 0 lets the
	// system choose.
	BindAddr string
	BindPort int
	// AdvertiseAddr (an IP) and AdvertisePort are what others are told. Default
	// is what is bound, or a private address of this machine where that is all.
	AdvertiseAddr string
	AdvertisePort int

	// Allowed are the networks whose members are accepted; empty: all.
	Allowed []netip.Prefix

	// Build is the version shown to others, "1.2.3:revision".
	Build string
	// ClusterPort is a server's port for Raft and forwarded requests (tag port).
	ClusterPort int
	// Expect is a server's bootstrap-expect, 0 where it has none; Bootstrap, as
	// Expect 1, says that it forms a cluster alone.
	Expect    int
	Bootstrap bool
	// RaftMultiplier is what a server scales the times of consensus by; it is
	// announced (tag raft_mult) where it is above 1.
	RaftMultiplier int
	// ACLs says that a server enforces access control (tag acls).
	ACLs bool
	// WANJoinPort is a server's port in the WAN pool, 0 where it has none.
	WANJoinPort int
	// Tags are further tags, beside those that the fields above make.
	Tags map[string]string

	// EncryptKey is a base64 key of 16, 24 or 32 bytes. Without it and without a
	// keyring file, gossip is plain text.
	EncryptKey string
	// KeyringFile keeps the keys, mode 0600; where it exists it wins over
	// EncryptKey, else it is made from it. "" keeps keys in memory.
	KeyringFile string
	// VerifyIncoming refuses plain text where there are keys, VerifyOutgoing
	// sends none; both default to true. They are off while a running cluster is
	// moved to encryption.
	VerifyIncoming bool
	VerifyOutgoing bool

	// SnapshotPath is where known peers are kept for a rejoin; "" keeps none.
	SnapshotPath string
	// RejoinAfterLeave rejoins from the snapshot although this agent had left.
	RejoinAfterLeave bool

	ReconnectTimeout time.Duration // until a failed member is forgotten, default 72h
	TombstoneTimeout time.Duration // until a left member is forgotten, default 24h

	Timing Timing

	// OnEvent hears of each event that was fired, this agent's own among them,
	// one after the other. It must not block.
	OnEvent func(Event)

	Registerer prometheus.Registerer // nil keeps no metrics
	Logger     *slog.Logger          // nil discards
}

// Timing holds the intervals of the failure detector and of dissemination. A
// member that died is noticed after about ProbeInterval times SuspicionMult
// times the logarithm of the cluster's size.
type Timing struct {
	ProbeInterval    time.Duration // between probes of one member each
	ProbeTimeout     time.Duration // for the answer to a probe
	SuspicionMult    int
	GossipInterval   time.Duration // between messages to GossipNodes members each
	GossipNodes      int
	RetransmitMult   int           // how often a message is passed on, times the logarithm of the cluster's size
	PushPullInterval time.Duration // between full exchanges; grows with the cluster
	// LeaveTimeout bounds how long Leave and ForceLeave wait for their
	// broadcast, LeaveDelay is how long Leave stays up after it, so that nobody
	// takes the silence that follows for a failure.
	LeaveTimeout      time.Duration
	LeaveDelay        time.Duration
	ReapInterval      time.Duration // between looks for members to forget
	ReconnectInterval time.Duration // between attempts to reach a failed member, by all others together
}

// DefaultConfig suits the agents of one datacenter.
func DefaultConfig() Config {
	return Config{
		BindAddr: "0.0.0.0", BindPort: 8301,
		VerifyIncoming: true, VerifyOutgoing: true,
		ReconnectTimeout: 72 * time.Hour, TombstoneTimeout: 24 * time.Hour,
		Timing: Timing{
			ProbeInterval: time.Second, ProbeTimeout: 500 * time.Millisecond, SuspicionMult: 4,
			GossipInterval: 200 * time.Millisecond, GossipNodes: 3, RetransmitMult: 4, PushPullInterval: 30 * time.Second,
			LeaveTimeout: 5 * time.Second, LeaveDelay: 3 * time.Second,
			// The attempts also end a partition, once it is healed. Serf spreads
			// them over all members, though one alone may believe another dead: with
			// its own 30 s, four agents took more than a minute now and then.
			ReapInterval: 15 * time.Second, ReconnectInterval: time.Second,
		},
	}
}

// DefaultWANConfig suits the servers of all datacenters: slower, and patient
// with long ways.
func DefaultWANConfig() Config {
	c := DefaultConfig()
	c.WAN, c.BindPort = true, 8302
	c.Timing.ProbeInterval, c.Timing.ProbeTimeout, c.Timing.SuspicionMult = 5*time.Second, 3*time.Second, 6
	c.Timing.GossipInterval, c.Timing.GossipNodes, c.Timing.PushPullInterval = 500*time.Millisecond, 4, time.Minute
	c.Timing.ReconnectInterval = 5 * time.Second
	return c
}

// DevTiming suits a few agents on one machine: a failure shows within a second
// or two, and leaving takes no time to speak of.
func DevTiming() Timing {
	return Timing{
		ProbeInterval: 200 * time.Millisecond, ProbeTimeout: 100 * time.Millisecond, SuspicionMult: 3,
		GossipInterval: 20 * time.Millisecond, GossipNodes: 3, RetransmitMult: 4, PushPullInterval: 5 * time.Second,
		LeaveTimeout: time.Second, LeaveDelay: 100 * time.Millisecond,
		ReapInterval: time.Second, ReconnectInterval: 2 * time.Second,
	}
}

// maxNodeName bounds a node name, in bytes.
const maxNodeName = 256

// Validate names everything that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("gossip: "+format, args...))
		}
	}
	if err := checkNodeName(c.NodeName); err != nil {
		errs = append(errs, fmt.Errorf("gossip: %w", err))
	}
	check(c.NodeID != "", "node ID is missing")
	check(c.Datacenter != "", "datacenter is missing")
	check(c.Role == Client || c.Role == Server, "unknown role %d", c.Role)
	check(!c.WAN || c.Role == Server, "only servers join the WAN pool")
	for name, port := range map[string]int{
		"bind port": c.BindPort, "advertise port": c.AdvertisePort,
		"cluster port": c.ClusterPort, "WAN join port": c.WANJoinPort,
	} {
		check(port >= 0 && port <= 65535, "%s %d is not between 0 and 65535", name, port)
	}
	check(c.Role != Server || c.ClusterPort > 0, "a server needs its cluster port")
	check(c.BindAddr == "" || net.ParseIP(c.BindAddr) != nil, "bind address %q is not an IP address", c.BindAddr)
	check(c.AdvertiseAddr == "" || net.ParseIP(c.AdvertiseAddr) != nil, "advertise address %q is not an IP address", c.AdvertiseAddr)
	check(c.Expect >= 0, "bootstrap-expect %d is negative", c.Expect)
	if _, err := decodeKey(c.EncryptKey); c.EncryptKey != "" && err != nil {
		errs = append(errs, fmt.Errorf("gossip: encrypt: %w", err))
	}
	if n := len(encodeTags(c.tags())); n > memberlist.MetaMaxSize {
		errs = append(errs, fmt.Errorf("gossip: tags take %d bytes, and at most %d fit a message: shorten datacenter, version or further tags", n, memberlist.MetaMaxSize))
	}
	return errors.Join(errs...)
}

func checkNodeName(name string) error {
	switch {
	case name == "":
		return errors.New("node name is empty")
	case len(name) > maxNodeName:
		return fmt.Errorf("node name has %d bytes, at most %d are allowed", len(name), maxNodeName)
	case !utf8.ValidString(name):
		return fmt.Errorf("node name %q is not valid UTF-8", name)
	}
	for _, r := range name {
		if r == '/' || !unicode.IsPrint(r) {
			return fmt.Errorf("node name %q contains %q", name, r)
		}
	}
	return nil
}

// resolveAdvertise fills in what others are to be told.
func (c *Config) resolveAdvertise() error {
	if c.BindAddr == "" {
		c.BindAddr = "0.0.0.0"
	}
	if c.AdvertiseAddr != "" {
		return nil
	}
	c.AdvertiseAddr = c.BindAddr
	if !net.ParseIP(c.BindAddr).IsUnspecified() {
		return nil
	}
	private, err := sockaddr.GetPrivateIP()
	if err != nil {
		return fmt.Errorf("gossip: find an address to advertise: %w", err)
	}
	if private == "" {
		return fmt.Errorf("gossip: this machine has no private IP address to advertise for bind address %s: set the bind or the advertise address", c.BindAddr)
	}
	c.AdvertiseAddr = private
	return nil
}

// memberlistConfig is the pool's address, keys' use and timing in memberlist's
// terms.
func (c Config) memberlistConfig() *memberlist.Config {
	m := memberlist.DefaultLANConfig()
	if c.WAN {
		m = memberlist.DefaultWANConfig()
	}
	m.TCPTimeout = min(m.TCPTimeout, 5*time.Second)
	m.BindAddr, m.BindPort = c.BindAddr, c.BindPort
	m.AdvertiseAddr, m.AdvertisePort = c.AdvertiseAddr, c.AdvertisePort
	m.ProbeInterval, m.ProbeTimeout, m.SuspicionMult = c.Timing.ProbeInterval, c.Timing.ProbeTimeout, c.Timing.SuspicionMult
	m.GossipInterval, m.PushPullInterval = c.Timing.GossipInterval, c.Timing.PushPullInterval
	m.GossipNodes, m.RetransmitMult = c.Timing.GossipNodes, c.Timing.RetransmitMult
	m.GossipVerifyIncoming, m.GossipVerifyOutgoing = c.VerifyIncoming, c.VerifyOutgoing
	for _, n := range c.Allowed {
		m.CIDRsAllowed = append(m.CIDRsAllowed, net.IPNet{IP: n.Addr().AsSlice(), Mask: net.CIDRMask(n.Bits(), n.Addr().BitLen())})
	}
	// A name moves as soon as its holder has failed; who may take it is for the
	// guard to say.
	m.DeadNodeReclaimTime = time.Millisecond
	return m
}
