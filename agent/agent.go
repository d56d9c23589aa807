package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"muster/agent/config"
	"muster/agent/handlers"
	"muster/agent/local"
	"muster/catalog"
	"muster/consensus/core"
	"muster/consensus/wal"
	"muster/gossip"
)

// Agent is one running agent: the parts for its role, and their lifetimes.
type Agent struct {
	cfg    *config.Config
	opts   Options
	nodeID string
	logger *slog.Logger

	pool      *gossip.Pool
	wan       *wan // nil unless this is a server with a port for it
	state     *local.State
	events    *events
	syncer    *local.Syncer
	router    *router
	uplink    *uplink
	signing   *signing
	leaves    *leaves
	quorum    *quorum        // nil in client mode
	sessions  *sessionTimers // nil in client mode
	restorer  *restorer      // nil in client mode
	authority *authority     // nil in client mode
	bootstrap *bootstrapper
	listeners []listener
	dns       *dnsFront // nil where it is off
	// The one that finds names for DNS; the other is nil.
	catalogNames *catalogNames    // servers
	watches      *watches         // client agents
	handlers     *handlers.Runner // nil where no HTTP is served to ask
	// What leaders go by; see reconciler.
	reapAfter      time.Duration
	deadAfter      time.Duration
	doubtFor       time.Duration
	ask            func(context.Context, []gossip.Member) map[string]bool
	contradictions prometheus.Counter
	nudge          chan struct{}
	steady         steady   // of the servers, while this one leads
	undo           []func() // takes back what New did, last first

	// leaving is closed when this agent has left the cluster and is to end.
	leaving   chan struct{}
	leaveOnce sync.Once
	leaveErr  error
}

// Options are what an agent is given besides its configuration.
type Options struct {
	Logger *slog.Logger // nil: silent
	// Registry gathers the metrics that the agent serves; nil makes one.
	Registry *prometheus.Registry
	// Load reads the configuration again when a user asks for a reload over
	// HTTP; nil refuses that.
	Load func() (*config.Config, error)
	// Monitor gives the lines of the log from a level on, in JSON or as text,
	// until leave is called; nil refuses to.
	Monitor func(level slog.Level, json bool) (lines <-chan []byte, leave func())
}

// New takes the data directory and binds all ports, so that what can go wrong
// with them goes wrong before anything has started. Run does the rest; an Agent
// that is never run is to be closed.
func New(cfg *config.Config, opts Options) (_ *Agent, err error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Registry == nil {
		opts.Registry = prometheus.NewRegistry()
	}
	a := &Agent{cfg: cfg, opts: opts, logger: opts.Logger.With("component", "agent"), reapAfter: defaultReapAfter, deadAfter: defaultDeadAfter, doubtFor: defaultDoubtFor, nudge: make(chan struct{}, 1), leaving: make(chan struct{})}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	if cfg.DataDir != "" {
		release, err := wal.Lock(cfg.DataDir)
		if err != nil {
			return nil, err
		}
		a.undo = append(a.undo, release)
	}
	if err := registerProcessMetrics(opts.Registry); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	if a.nodeID, err = loadNodeID(cfg.DataDir, cfg.NodeID); err != nil {
		return nil, err
	}
	a.events = newEvents(cfg.NodeName, a.logger)
	if a.pool, err = gossip.New(a.gossipConfig()); err != nil {
		return nil, err
	}
	a.undo = append(a.undo, func() { _ = a.pool.Close() })
	a.ask = a.pool.Ask
	a.router = newRouter(a.nodeID, a.pool)
	a.uplink = &uplink{router: a.router, hold: cfg.RPCHoldTimeout}
	a.signing = &signing{enabled: cfg.Connect.Enabled, datacenter: cfg.Datacenter, uplink: a.uplink}
	a.leaves = newLeaves(cfg.Datacenter, a.signing, cfg.Connect.LeafSpread, cfg.RPCHoldTimeout, a.logger)
	if cfg.Server {
		if err := a.becomeServer(); err != nil {
			return nil, err
		}
		if cfg.SerfWANPort > 0 {
			if err := a.joinWAN(); err != nil {
				return nil, err
			}
		}
	}
	if err := a.openLocal(); err != nil {
		return nil, err
	}
	if err := a.openDNS(); err != nil {
		return nil, err
	}
	if len(cfg.HTTP) > 0 {
		a.handlers = handlers.NewRunner(ownAddress(cfg.HTTP), a.opts.Logger.With("component", "watch"))
		a.handlers.Set(cfg.Watches)
	}
	return a, a.openAPI()
}

// becomeServer adds what servers have and client agents don't.
func (a *Agent) becomeServer() error {
	l, err := net.Listen("tcp", net.JoinHostPort(a.cfg.BindAddr, strconv.Itoa(a.cfg.ServerPort)))
	if err != nil {
		return fmt.Errorf("listen on the cluster port: %w", err)
	}
	a.undo = append(a.undo, func() { _ = l.Close() })
	if a.quorum, err = newQuorum(a, l); err != nil {
		return err
	}
	a.undo = append(a.undo, func() { _ = a.quorum.node.Close() })
	a.contradictions = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "muster_leader_contradicted_failures_total",
		Help: "Members that gossip took for failed and that answered this server, while it led.",
	})
	a.sessions = &sessionTimers{store: a.quorum.store, propose: a.quorum.Propose, confirm: a.quorum.ReadIndex, logger: a.logger}
	a.authority = &authority{
		cfg: a.cfg.Connect, clusterID: a.quorum.node.ClusterID,
		store: a.quorum.store, propose: a.quorum.Propose, confirm: a.quorum.ReadIndex, logger: a.logger,
	}
	a.restorer = newRestorer(a.quorum, a.lookAgain, a.logger)
	if err := errors.Join(a.opts.Registry.Register(newCatalogMetrics(a.quorum.store)), a.opts.Registry.Register(a.contradictions)); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	a.router.node = a.quorum.node
	a.uplink.quorum = a.quorum
	a.bootstrap = &bootstrapper{
		self: core.ServerID(a.nodeID), expect: a.cfg.BootstrapExpect, timing: core.DefaultTiming().Scaled(a.cfg.RaftMultiplier),
		node: a.quorum.node, pool: a.pool, roundTrip: a.router.RoundTrip, logger: a.logger,
	}
	return nil
}

func (a *Agent) openLocal() error {
	var err error
	cfg := local.DefaultConfig()
	cfg.Node = a.node()
	cfg.DataDir = a.cfg.DataDir
	cfg.CheckUpdateInterval = a.cfg.CheckUpdateInterval
	cfg.CheckOutputMaxSize, cfg.DiscardCheckOutput = a.cfg.CheckOutputMaxSize, a.cfg.DiscardCheckOutput
	cfg.EnableLocalScriptChecks = a.cfg.EnableLocalScriptChecks
	cfg.EnableRemoteScriptChecks = a.cfg.EnableRemoteScriptChecks
	cfg.UserAgent = "Consul Health Check"
	cfg.Watch = a.uplink.Watch
	cfg.Registerer, cfg.Logger = a.opts.Registry, a.opts.Logger.With("component", "local")
	if a.state, err = local.New(cfg); err != nil {
		return err
	}
	a.undo = append(a.undo, func() {
		if err := a.state.Close(); err != nil {
			a.opts.Logger.Error("close what is registered with this agent", "error", err)
		}
	})
	a.events.state = a.state // before Run, and so before any event comes
	if err := a.state.Load(a.cfg.Definitions); err != nil {
		return err
	}
	sync := local.DefaultSyncerConfig()
	sync.Interval = a.cfg.SyncInterval
	sync.ClusterSize = func() int { return len(a.pool.Members()) }
	sync.Logger = cfg.Logger
	a.syncer, err = local.NewSyncer(sync, a.state, a.uplink)
	return err
}

// node is this agent's own node as its catalog entry shall be.
func (a *Agent) node() catalog.Node {
	meta := map[string]string{"consul-network-segment": "", "consul-version": config.CompatVersion}
	for k, v := range a.cfg.NodeMeta {
		meta[k] = v
	}
	addresses := maps.Clone(a.cfg.TaggedAddresses)
	if addresses == nil {
		addresses = map[string]string{}
	}
	maps.Copy(addresses, taggedAddresses(a.cfg.AdvertiseAddr, a.cfg.AdvertiseAddrWAN))
	return catalog.Node{
		ID: a.nodeID, Node: a.cfg.NodeName, Address: a.cfg.AdvertiseAddr, Datacenter: a.cfg.Datacenter,
		TaggedAddresses: addresses,
		Meta:            meta,
		Locality:        a.cfg.Locality,
	}
}

// taggedAddresses names a node's addresses as Consul does: by network, and by
// network and family.
func taggedAddresses(lan, wan string) map[string]string {
	out := map[string]string{"lan": lan, "wan": wan}
	for network, addr := range map[string]string{"lan": lan, "wan": wan} {
		ip := net.ParseIP(addr)
		switch {
		case ip == nil:
		case ip.To4() != nil:
			out[network+"_ipv4"] = addr
		default:
			out[network+"_ipv6"] = addr
		}
	}
	return out
}

func (a *Agent) gossipConfig() gossip.Config {
	c := gossip.DefaultConfig()
	c.NodeName, c.NodeID, c.Datacenter = a.cfg.NodeName, a.nodeID, a.cfg.Datacenter
	c.BindAddr, c.BindPort = a.cfg.SerfBindAddr, a.cfg.SerfLANPort
	c.AdvertiseAddr, c.AdvertisePort = a.cfg.AdvertiseAddr, a.cfg.SerfLANPort
	c.ReconnectTimeout, c.Allowed = a.cfg.ReconnectTimeout, a.cfg.AllowedLAN
	if a.cfg.GossipLAN != (gossip.Timing{}) {
		c.Timing = a.cfg.GossipLAN
	}
	if a.cfg.Server {
		c.WANJoinPort = a.cfg.SerfWANPort
	}
	a.gossipIdentity(&c, "local")
	c.OnEvent = a.hear
	return c
}

// Run runs the agent until ctx ends, it has left the cluster, or a part fails
// beyond repair. It returns when all parts have stopped. With ctx ended it does
// not leave the cluster: that is Leave, before. But a leader hands leadership
// over, for handOverWait at most, and requests under way are answered while the
// rest still runs.
func (a *Agent) Run(ctx context.Context) error {
	defer a.close()
	g, parts := errgroup.WithContext(context.WithoutCancel(ctx))
	parts, stop := context.WithCancel(parts)
	defer stop()
	run := func(part func(context.Context) error) { g.Go(func() error { return part(parts) }) }
	serving, stopServing := context.WithCancel(parts)
	defer stopServing()
	var served sync.WaitGroup

	run(a.pool.Run)
	run(a.router.run)
	if a.quorum != nil {
		run(a.quorum.run)
		run(a.leadWhileElected)
		run(a.bootstrap.run)
	}
	if a.wan != nil {
		run(a.wan.run)
	}
	run(a.state.Run)
	run(a.leaves.run)
	run(a.syncer.Run)
	if !a.cfg.DisableCoordinates {
		run(a.keepPlace)
	}
	run(a.syncWhenServersCome)
	if len(a.cfg.RetryJoin) > 0 {
		run(a.retryJoin)
	}
	for _, l := range a.listeners {
		served.Add(1)
		g.Go(func() error {
			defer served.Done()
			return l.run(serving)
		})
	}
	if a.handlers != nil {
		g.Go(func() error { return a.handlers.Run(serving) })
	}
	if a.watches != nil {
		run(a.watches.run)
	}
	if a.dns != nil {
		for _, server := range a.dns.servers {
			run(func(ctx context.Context) error { return a.dns.serve(ctx, server) })
		}
	}
	g.Go(func() error {
		defer stop()
		select {
		case <-parts.Done():
			return nil
		case <-a.leaving:
		case <-ctx.Done():
			if a.quorum != nil {
				a.giveLeadershipAway(parts)
			}
		}
		stopServing()
		served.Wait()
		return nil
	})
	err := g.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return err
}

// close releases what New took; what runs has stopped.
func (a *Agent) close() {
	for i := len(a.undo) - 1; i >= 0; i-- {
		a.undo[i]()
	}
	a.undo = nil
}

// leadWhileElected does a leader's duties whenever this server is one.
func (a *Agent) leadWhileElected(ctx context.Context) error {
	for {
		lead, term, err := a.quorum.node.LeaderContext(ctx)
		if err != nil || ctx.Err() != nil {
			return nil
		}
		a.logger.Info("this server leads the cluster", "term", term)
		r := &reconciler{
			self: core.ServerID(a.nodeID), pool: a.pool, node: a.quorum.node,
			store: a.quorum.store, propose: a.quorum.Propose, reapAfter: a.reapAfter,
			deadAfter: a.deadAfter, healthySince: a.steady.healthySince, autopilot: a.cfg.Autopilot, entries: a.cfg.ConfigEntries,
			ask: a.ask, doubtFor: a.doubtFor, contradictions: a.contradictions, nudge: a.nudge, logger: a.logger,
		}
		duties := sync.WaitGroup{}
		duties.Go(func() { a.sessions.run(lead) })
		duties.Go(func() { a.restorer.run(lead) })
		duties.Go(func() { (&outcomes{a.quorum.store, a.quorum.Propose, a.logger}).run(lead) })
		if a.cfg.Connect.Enabled {
			duties.Go(func() { a.authority.run(lead) })
		}
		duties.Go(func() { a.keepSteady(lead) })
		r.run(lead)
		duties.Wait()
		if ctx.Err() == nil {
			a.logger.Info("this server no longer leads", "term", term)
		}
	}
}

// restoredEvent is the event that tells all agents that the catalog was replaced. No
// user's event has this name: theirs begin with a prefix.
const restoredEvent = "restored"

// lookAgain has the leader compare gossip with a catalog that is another one now,
// and all agents their own services. One that doesn't hear of it does so with its
// next full sync.
func (a *Agent) lookAgain() {
	select {
	case a.nudge <- struct{}{}:
	default: // it has been told already
	}
	a.syncer.Trigger()
	if err := a.pool.Fire(restoredEvent, nil); err != nil {
		a.logger.Warn("the other agents are not told that the catalog was restored", "error", err)
	}
}

// hear takes an event of gossip in.
func (a *Agent) hear(e gossip.Event) {
	if e.Name == restoredEvent {
		a.syncer.Trigger()
		return
	}
	a.events.hear(e)
}

// retryJoin joins the cluster; it ends the agent if it must not try any more.
func (a *Agent) retryJoin(ctx context.Context) error {
	err := a.pool.RetryJoin(ctx, a.cfg.RetryJoin, a.cfg.RetryInterval, a.cfg.RetryMax)
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("join the cluster: %w", err)
	}
	return nil
}

// syncWhenServersCome has everything synced as soon as a server appears.
func (a *Agent) syncWhenServersCome(ctx context.Context) error {
	known := 0
	for {
		changed := a.pool.Changed()
		n := 0
		for _, m := range a.pool.Members() {
			if m.Server && m.Status == gossip.StatusAlive {
				n++
			}
		}
		if n > known {
			a.syncer.Trigger()
		}
		known = n
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// Reload takes a changed configuration: its services, checks and watches, and how
// DNS is answered, but for where. All else needs a restart.
func (a *Agent) Reload(cfg *config.Config) error {
	if a.dns != nil {
		if err := a.dns.reload(cfg.DNS); err != nil {
			return err
		}
	}
	if err := a.state.Reload(cfg.Definitions); err != nil {
		return err
	}
	if a.handlers != nil {
		a.handlers.Set(cfg.Watches)
	}
	return nil
}

const (
	// leaveTimeout bounds leaving both pools. Serf alone takes up to 11 s for one
	// in which much is being told; mostly it is a second or two.
	leaveTimeout = 20 * time.Second
	// handOverWait bounds giving leadership away. Mostly it is a few round trips.
	handOverWait = 2 * time.Second
)

// Leave takes this agent out of the cluster for good: others see it as left, not
// failed, and its node goes from the catalog; a server gives leadership away
// first and is no voter any more. That takes leaveTimeout and handOverWait at
// most, and goes on where ctx ends, as when the user who asked for it hangs up.
// Run then ends, also after an error: others have heard of it by then.
func (a *Agent) Leave(ctx context.Context) error {
	a.leaveOnce.Do(func() {
		a.leaveErr = a.leave(context.WithoutCancel(ctx))
		close(a.leaving)
	})
	return a.leaveErr
}

func (a *Agent) leave(ctx context.Context) error {
	a.logger.Info("leaving the cluster")
	if a.quorum != nil {
		a.giveLeadershipAway(ctx)
	}
	leaveCtx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	// Both at once: each stays up for a while after it has said goodbye.
	var farewell sync.WaitGroup
	if a.wan != nil {
		farewell.Go(func() {
			if err := a.wan.pool.Leave(leaveCtx); err != nil {
				a.logger.Warn("leave the WAN pool", "error", err)
			}
		})
	}
	err := a.pool.Leave(leaveCtx)
	farewell.Wait()
	if err != nil {
		return fmt.Errorf("leave the cluster: %w", err)
	}
	if a.quorum != nil {
		a.awaitRemoval(leaveCtx)
	}
	return nil
}

// giveLeadershipAway hands leadership to another voter, so that those who write
// meanwhile hardly wait, and stays until that one leads: what is written here
// meanwhile is passed on to it, and this server learns from it what became of
// what it had not committed itself.
func (a *Agent) giveLeadershipAway(ctx context.Context) {
	if s := a.quorum.node.Status(); s.Role != core.Leader || s.Config.Voters() < 2 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, handOverWait)
	defer cancel()
	err := a.quorum.node.TransferLeadership(ctx, "")
	if err == nil {
		err = a.awaitSuccessor(ctx)
	}
	if err != nil {
		a.logger.Warn("leadership was not handed over; an election will decide", "error", err)
	}
}

// awaitSuccessor waits until this server follows another leader.
func (a *Agent) awaitSuccessor(ctx context.Context) error {
	for {
		changed := a.quorum.node.Changed()
		if leader := a.quorum.node.Leader(); leader != "" && leader != core.ServerID(a.nodeID) {
			a.logger.Info("leadership was handed over", "leader", leader)
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the successor: %w", ctx.Err())
		case <-changed:
		}
	}
}

// awaitRemoval waits until the leader has taken this server out of the quorum,
// so that it does not count as a voter that is missing.
func (a *Agent) awaitRemoval(ctx context.Context) {
	self := core.ServerID(a.nodeID)
	for {
		changed := a.quorum.node.Changed()
		s := a.quorum.node.Status()
		// A leader that has removed this server may never tell it so: it falls
		// silent, and soon this server knows no leader.
		if _, in := s.Config.Find(self); !in || s.Leader == "" || len(s.Config.Servers) < 2 {
			return
		}
		select {
		case <-ctx.Done():
			a.logger.Warn("still a voter of the quorum after leaving; remove it with `operator raft remove-peer` if it does not come back")
			return
		case <-changed:
		}
	}
}
