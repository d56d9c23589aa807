package gossip

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/serf/coordinate"
)

// DefaultConfig suits the agents of one datacenter.
func DefaultConfig() Config { return Config{} }

// DefaultWANConfig suits the servers of all datacenters.
func DefaultWANConfig() Config { return Config{WAN: true} }

// DevTiming suits a few agents on one machine: failures show within a second.
func DevTiming() Timing { return Timing{} }

// Validate names everything that is wrong with c.
func (c Config) Validate() error { return nil }

// Status is what is known of a member's life. The numbers are serf's, and part
// of the HTTP API.
type Status int

// The values of Status.
const (
	StatusNone    Status = 0
	StatusAlive   Status = 1
	StatusLeaving Status = 2
	StatusLeft    Status = 3
	StatusFailed  Status = 4
)

// String gives the status as `muster members` prints it.
func (s Status) String() string { return [...]string{"none", "alive", "leaving", "left", "failed"}[s] }

// Member is one agent as the pool knows it.
type Member struct {
	Name   string
	ID     string
	Addr   string // IP
	Port   uint16
	Status Status
	Tags   map[string]string

	Datacenter string
	Server     bool
	// ClusterAddr is host:port of a server's cluster port, "" for clients.
	ClusterAddr string
	Expect      int
	Bootstrap   bool
	Build       string

	ProtocolMin, ProtocolMax, ProtocolCur uint8
	DelegateMin, DelegateMax, DelegateCur uint8
}

// RefusedError says why a member is not let into the pool.
type RefusedError struct {
	Member string // its node name
	Reason string
}

// Error implements error.
func (e *RefusedError) Error() string { return e.Reason }

// ErrUnknownMember is returned by ForceLeave for a name that nobody has.
var ErrUnknownMember = errors.New("no such member")

// Pool is this agent's membership in one ring of agents.
type Pool struct{}

// New binds the pool's port and starts gossiping. The caller must call Run, or
// Close where it never gets there.
func New(c Config) (*Pool, error) { return &Pool{}, nil }

// Run drains the pool's events until ctx ends, then shuts the pool down. It
// does not leave the cluster: that is Leave, before.
func (p *Pool) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Close shuts the pool down without leaving. It may be called twice.
func (p *Pool) Close() error { return nil }

// Join contacts the given addresses (host, host:port) and returns how many
// answered; the error is nil if any did.
func (p *Pool) Join(ctx context.Context, addrs []string) (n int, err error) { return 0, nil }

// RetryJoin tries addrs every interval until another member is found, which
// ends it with nil, or max attempts (0: no bound) have failed.
func (p *Pool) RetryJoin(ctx context.Context, addrs []string, interval time.Duration, max int) error {
	return nil
}

// Leave tells the others that this agent goes on purpose, and waits until they
// have had the time to hear it.
func (p *Pool) Leave(ctx context.Context) error { return nil }

// ForceLeave turns a failed member into a left one; prune forgets it at once.
func (p *Pool) ForceLeave(name string, prune bool) error { return nil }

// Members lists all known members, this agent among them, sorted by name.
func (p *Pool) Members() []Member { return nil }

// Local is this agent as the others see it.
func (p *Pool) Local() Member { return Member{} }

// SetTags replaces the further tags (Config.Tags) and tells the others.
func (p *Pool) SetTags(tags map[string]string) error { return nil }

// Changed returns a channel that is closed at the next change of the members.
func (p *Pool) Changed() <-chan struct{} { return nil }

// Coordinate is this agent's network coordinate.
func (p *Pool) Coordinate() (*coordinate.Coordinate, error) { return nil, nil }

// CachedCoordinate is the last heard coordinate of a member.
func (p *Pool) CachedCoordinate(name string) (*coordinate.Coordinate, bool) { return nil, false }

// Encrypted says whether gossip is encrypted.
func (p *Pool) Encrypted() bool { return false }

// Stats are figures for people, as `muster info` prints them.
func (p *Pool) Stats() map[string]string { return nil }
