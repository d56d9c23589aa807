package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/coordinate"
	"github.com/hashicorp/serf/serf"
)

// ErrUnknownMember is returned by ForceLeave for a name that nobody has.
var ErrUnknownMember = errors.New("no such member")

var errClosed = errors.New("gossip: the pool is closed")

// eventBuffer lets serf go on while Run is being scheduled.
const eventBuffer = 2048

// Pool is this agent's membership in one ring of agents.
type Pool struct {
	config  Config
	log     *slog.Logger
	serf    *serf.Serf
	conf    *serf.Config
	guard   *guard
	metrics *metrics
	events  chan serf.Event

	tagsMu sync.Mutex // serializes SetTags: serf keeps its tags without a lock

	mu      sync.Mutex
	changed chan struct{}  // closed and replaced at each change
	closing bool           // no goroutine may be started any more
	calls   sync.WaitGroup // calls into serf that outlive their caller; grows under mu

	leave     sync.Once
	leaveDone chan struct{} // closed once leaving has ended
	leaveErr  error         // set before leaveDone is closed
	close     sync.Once
	closeErr  error
}

// New binds the pool's port and starts gossiping. The caller must call Run, or
// Close where it never gets there.
func New(c Config) (*Pool, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if err := c.resolveAdvertise(); err != nil {
		return nil, err
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Pool{
		config: c, guard: newGuard(c),
		log:     c.Logger.With("component", "gossip"),
		events:  make(chan serf.Event, eventBuffer),
		changed: make(chan struct{}), leaveDone: make(chan struct{}),
	}
	if c.WAN {
		p.log = p.log.With("pool", "wan")
	}
	p.metrics = newMetrics(p, c)
	if err := p.start(); err != nil {
		return nil, err
	}
	local := p.serf.Memberlist().LocalNode()
	p.guard.setSelf(local.Addr, local.Port)
	if err := p.metrics.register(c.Registerer); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// start creates serf. The guard goes to memberlist directly: through serf's own
// hook it would not learn whether a member of a list is dead.
func (p *Pool) start() error {
	c := p.config
	bridge := newBridge(p.log)
	m := c.memberlistConfig()
	m.Logger, m.LogOutput = bridge, nil
	m.Merge, m.Alive = p.guard, p.guard
	ring, ignored, err := openKeyring(c)
	if err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	if ignored {
		p.log.Warn("the configured encryption key is not in the keyring file, which wins", "file", c.KeyringFile)
	}
	m.Keyring = ring

	conf := serf.DefaultConfig()
	conf.NodeName, conf.Tags = c.NodeName, c.tags()
	conf.MemberlistConfig, conf.EventCh = m, p.events
	conf.Logger, conf.LogOutput = bridge, nil
	conf.EnableNameConflictResolution = false // a vote could stop the wrong one of two
	conf.BroadcastTimeout, conf.LeavePropagateDelay = c.Timing.LeaveTimeout, c.Timing.LeaveDelay
	conf.ReapInterval, conf.ReconnectInterval = c.Timing.ReapInterval, c.Timing.ReconnectInterval
	conf.ReconnectTimeout, conf.TombstoneTimeout = c.ReconnectTimeout, c.TombstoneTimeout
	conf.RejoinAfterLeave, conf.SnapshotPath = c.RejoinAfterLeave, c.SnapshotPath
	conf.MinQueueDepth = 4096 // beyond it, and twice the cluster's size, broadcasts are dropped
	conf.QueueDepthWarning = 1_000_000
	if ring != nil {
		conf.KeyringFile = c.KeyringFile
	}
	if c.SnapshotPath != "" {
		if err := os.MkdirAll(filepath.Dir(c.SnapshotPath), 0o700); err != nil {
			return fmt.Errorf("gossip: make the snapshot's directory: %w", err)
		}
	}
	p.conf = conf
	// The port is bound first: serf would leave goroutines behind if it failed.
	port, err := listen(m)
	if err != nil {
		return fmt.Errorf("gossip: listen on %s: %w", net.JoinHostPort(c.BindAddr, strconv.Itoa(c.BindPort)), err)
	}
	if p.serf, err = serf.Create(conf); err != nil {
		return errors.Join(fmt.Errorf("gossip: start: %w", err), port.Shutdown())
	}
	return nil
}

// listen binds m's port for TCP and UDP, and fills in the one that the system
// chose. That may be taken for the other protocol, so it is tried a few times.
func listen(m *memberlist.Config) (port *memberlist.NetTransport, err error) {
	attempts := 1
	if m.BindPort == 0 {
		attempts = 10
	}
	for range attempts {
		port, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{
			BindAddrs: []string{m.BindAddr}, BindPort: m.BindPort, Logger: m.Logger,
		})
		if err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	if m.BindPort == 0 {
		m.BindPort = port.GetAutoBindPort()
	}
	if m.AdvertisePort == 0 {
		m.AdvertisePort = m.BindPort
	}
	m.Transport = port
	return port, nil
}

// Run drains the pool's events until ctx ends, then shuts the pool down. It
// does not leave the cluster: that is Leave, before.
func (p *Pool) Run(ctx context.Context) error {
	drained := make(chan struct{})
	stop := make(chan struct{})
	go func() { // serf may send until it has shut down
		defer close(drained)
		p.drain(stop)
	}()
	p.reannounce(ctx)
	err := p.Close()
	close(stop)
	<-drained
	return err
}

// drain takes each event at once: serf holds its member lock while it waits for
// room in the channel.
func (p *Pool) drain(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case e := <-p.events:
			switch e := e.(type) {
			case serf.MemberEvent:
				p.guard.observe(e)
				p.metrics.observe(e)
				p.wake()
			case serf.UserEvent:
				p.hear(e)
			}
		}
	}
}

// Close shuts the pool down without leaving, after a Leave under way has ended.
// It may be called twice.
func (p *Pool) Close() error {
	p.close.Do(func() {
		p.mu.Lock()
		p.closing = true
		p.mu.Unlock()
		p.leave.Do(func() { close(p.leaveDone) }) // nobody leaves after this
		<-p.leaveDone                             // memberlist panics if shut down while it leaves
		if err := p.serf.Shutdown(); err != nil {
			p.closeErr = fmt.Errorf("gossip: shut down: %w", err)
		}
		p.calls.Wait()
		if p.config.Registerer != nil {
			p.config.Registerer.Unregister(p.metrics)
		}
	})
	return p.closeErr
}

// call runs f, which can't be cancelled, in a goroutine that Close waits for.
func (p *Pool) call(f func()) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		return errClosed
	}
	p.calls.Go(f)
	return nil
}

// Leave tells the others that this agent goes on purpose, and waits until they
// have had the time to hear it. If ctx ends first, leaving goes on by itself.
func (p *Pool) Leave(ctx context.Context) error {
	p.leave.Do(func() {
		if !p.hasCompany() {
			p.conf.LeavePropagateDelay = 0 // only Leave reads it
		}
		leave := func() {
			defer close(p.leaveDone)
			if err := p.serf.Leave(); err != nil {
				p.leaveErr = fmt.Errorf("gossip: leave: %w", err)
			}
		}
		if err := p.call(leave); err != nil {
			p.leaveErr = err
			close(p.leaveDone)
		}
	})
	select {
	case <-p.leaveDone:
		return p.leaveErr
	case <-ctx.Done():
		return fmt.Errorf("gossip: leave: %w", ctx.Err())
	}
}

// ForceLeave turns a failed member into a left one; prune forgets it at once. A
// living member, this agent among them, contradicts and stays.
func (p *Pool) ForceLeave(name string, prune bool) error {
	known := slices.ContainsFunc(p.serf.Members(), func(m serf.Member) bool { return m.Name == name })
	if !known {
		return fmt.Errorf("gossip: force-leave %q: %w", name, ErrUnknownMember)
	}
	remove := p.serf.RemoveFailedNode
	if prune {
		remove = p.serf.RemoveFailedNodePrune
	}
	if err := remove(name); err != nil {
		return fmt.Errorf("gossip: force-leave %q: %w", name, err)
	}
	p.wake() // a pruned or leaving member comes with no event
	return nil
}

// wake closes what Changed handed out.
func (p *Pool) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.changed)
	p.changed = make(chan struct{})
}

// Members lists all known members, this agent among them, sorted by name. It
// copies the list: who needs it often keeps it until Changed.
func (p *Pool) Members() []Member {
	all := p.serf.Members()
	members := make([]Member, len(all))
	for i, m := range all {
		members[i] = newMember(m)
	}
	slices.SortFunc(members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return members
}

// Local is this agent as the others see it.
func (p *Pool) Local() Member { return newMember(p.serf.LocalMember()) }

// hasCompany says whether another member is alive.
func (p *Pool) hasCompany() bool {
	return slices.ContainsFunc(p.serf.Members(), func(m serf.Member) bool {
		return m.Name != p.config.NodeName && m.Status == serf.StatusAlive
	})
}

// SetTags replaces the further tags (Config.Tags) and tells the others.
func (p *Pool) SetTags(tags map[string]string) error {
	p.tagsMu.Lock()
	defer p.tagsMu.Unlock()
	c := p.config
	c.Tags = tags
	if err := c.Validate(); err != nil {
		return err
	}
	if err := p.serf.SetTags(c.tags()); err != nil {
		return fmt.Errorf("gossip: set tags: %w", err)
	}
	return nil
}

// Changed returns a channel that is closed at the next change of the members.
// It is level-triggered: take the channel, then look at Members, then wait.
func (p *Pool) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

// Coordinate is this agent's network coordinate.
func (p *Pool) Coordinate() (*coordinate.Coordinate, error) { return p.serf.GetCoordinate() }

// CachedCoordinate is the last heard coordinate of a member.
func (p *Pool) CachedCoordinate(name string) (*coordinate.Coordinate, bool) {
	return p.serf.GetCachedCoordinate(name)
}

// Encrypted says whether gossip is encrypted.
func (p *Pool) Encrypted() bool { return p.serf.EncryptionEnabled() }

// Stats are figures for people, as `muster info` prints them.
func (p *Pool) Stats() map[string]string { return p.serf.Stats() }
