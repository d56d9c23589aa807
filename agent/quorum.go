package agent

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"muster/catalog"
	"muster/catalog/state"
	"muster/consensus"
	"muster/consensus/core"
	"muster/consensus/transport"
	"muster/consensus/wal/memfs"
)

// raftDir is where in its data-dir a server keeps log and snapshots.
const raftDir = "raft"

// quorum is what makes an agent a server: its copy of the catalog, its place in
// the Raft quorum, and the cluster port on which servers speak to each other.
// It implements api.Replica.
type quorum struct {
	store     *state.Store
	node      *consensus.Node
	transport *transport.Transport
	mux       *transport.Mux
	router    *router
	led       *led
	name      string // this server's node name
	dataDir   string
}

// newQuorum opens the log and restores the catalog from it. listener is the
// cluster port.
func newQuorum(a *Agent, listener net.Listener) (*quorum, error) {
	q := &quorum{store: state.New(), router: a.router, name: a.cfg.NodeName, dataDir: a.cfg.DataDir}
	cfg := consensus.DefaultConfig()
	cfg.ID = core.ServerID(a.nodeID)
	cfg.Addr = net.JoinHostPort(a.cfg.AdvertiseAddr, strconv.Itoa(a.cfg.ServerPort))
	cfg.Dir = filepath.Join(a.cfg.DataDir, raftDir)
	if a.cfg.DataDir == "" {
		cfg.FS, cfg.Dir = memfs.New(), "/raft"
	} else if err := refusePeersFile(cfg.Dir); err != nil {
		return nil, err
	}
	cfg.Timing = core.DefaultTiming().Scaled(a.cfg.RaftMultiplier)
	cfg.SnapshotEntries = a.cfg.RaftSnapshotThreshold
	cfg.Registerer = a.opts.Registry
	cfg.Logger = a.opts.Logger
	var err error
	q.node, q.transport, err = consensus.Connect(cfg, stateMachine{q.store}, transport.Config{
		Resolve:    a.router.addrOf, // what gossip says now, before what the configuration says
		Dial:       transport.DialTCP,
		Registerer: a.opts.Registry,
		Logger:     a.opts.Logger,
	})
	if err != nil {
		return nil, err
	}
	if err := q.Blocked(); err != nil {
		a.opts.Logger.Error("this cluster can't be led", "reason", err)
	}
	q.led = newLed(a.cfg.RPCHoldTimeout, q.KnownLeader, q.node.Changed)
	limits := transport.MuxConfig{SniffTimeout: a.cfg.ClusterLimits.HandshakeTimeout, MaxPerHost: a.cfg.ClusterLimits.MaxConnsPerClient, Logger: a.opts.Logger}
	if limits.MaxPerHost == 0 {
		limits.MaxPerHost = math.MaxInt
	}
	q.mux = transport.NewMux(listener, q.transport.Accept, limits)
	return q, nil
}

// run runs consensus and the cluster port until ctx ends or the disk fails.
func (q *quorum) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return q.node.Run(ctx) })
	g.Go(func() error { return q.transport.Run(ctx) })
	g.Go(func() error { return q.mux.Run(ctx) })
	g.Go(func() error { return q.led.run(ctx) })
	return g.Wait()
}

// Store implements api.Replica.
func (q *quorum) Store() *state.Store { return q.store }

// Propose implements api.Replica.
func (q *quorum) Propose(ctx context.Context, cmd catalog.Command) (catalog.Result, error) {
	data, err := catalog.EncodeCommand(cmd)
	if err != nil {
		return catalog.Result{}, err
	}
	return q.propose(ctx, data)
}

// propose has an encoded command committed.
func (q *quorum) propose(ctx context.Context, data []byte) (catalog.Result, error) {
	value, _, err := q.node.Propose(ctx, data)
	if err != nil {
		return catalog.Result{}, q.proposeError(err)
	}
	return resultOf(value), nil
}

// proposeError gives an error of consensus its kind for people and status codes.
func (q *quorum) proposeError(err error) error {
	switch {
	case errors.Is(err, core.ErrDiskFull):
		return catalog.Wrap(catalog.Blocked, fmt.Errorf("%w%s", err, q.troubles()))
	case errors.Is(err, consensus.ErrUnknown):
		return catalog.Wrap(catalog.Unknown, err)
	case errors.Is(err, core.ErrOverloaded):
		return catalog.Wrap(catalog.TooMany, err)
	default:
		return catalog.Wrap(catalog.Unavailable, err)
	}
}

// troubles lists what is wrong with the voters, as their leader sees it, "" where
// this server does not lead.
func (q *quorum) troubles() string {
	health, leads := q.node.Health()
	if !leads {
		return ""
	}
	view := q.store.View()
	return health.Troubles(func(id core.ServerID) string {
		if n := view.NodeByID(string(id)); n != nil {
			return n.Node
		}
		return string(id)
	})
}

// ReadIndex implements api.Replica.
func (q *quorum) ReadIndex(ctx context.Context) error { return q.readIndex(ctx, core.ReadUnderLease) }

// Confirm implements api.Replica.
func (q *quorum) Confirm(ctx context.Context) error { return q.readIndex(ctx, core.ReadByRound) }

func (q *quorum) readIndex(ctx context.Context, kind core.ReadKind) error {
	full := q.node.Status().Disk.Full
	if full { // what it lacks it won't get, and others have it
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, passedHold)
		defer cancel()
	}
	_, err := q.node.ReadIndex(ctx, kind)
	switch blocked := q.Blocked(); {
	case err == nil:
		return nil
	case blocked != nil:
		return blocked
	case full:
		return catalog.Errorf(catalog.Blocked, "server %s can't tell what is current, for its disk is full and it lacks what is new: free some space, or ask another server", q.name)
	case ctx.Err() == nil:
		err = catalog.Wrap(catalog.Unavailable, err)
	}
	return err
}

// Ready implements api.Replica.
func (q *quorum) Ready() bool { return q.node.Ready() }

// Blocked implements api.Replica: the only voter gave up its vote, and there is
// nobody who could catch it up.
func (q *quorum) Blocked() error {
	s := q.node.Status()
	own, _ := s.Config.Find(s.ID)
	if !s.Voteless || own.Suffrage != core.Voter || s.Config.Voters() != 1 {
		return nil
	}
	return catalog.Errorf(catalog.Blocked, "No cluster leader: the log of server %s has lost its end, where acknowledged writes may have been, so it casts no vote, and it is the only voter. "+
		"Put a whole copy of its data directory in place; or, if what it still has is to do, stop it, run `muster operator raft recover -yes %s`, and start it again", q.name, q.dataDir)
}

// IsLeader implements api.Replica.
func (q *quorum) IsLeader() bool { return q.node.IsLeader() }

// Term implements snapshotapi.Replica.
func (q *quorum) Term() uint64 { return q.node.Status().Term }

// KnownLeader implements api.Replica.
func (q *quorum) KnownLeader() bool { return q.node.Leader() != "" }

// Led implements api.Replica.
func (q *quorum) Led() context.Context { return q.led.current() }

// LastContact implements api.Replica: zero on the leader.
func (q *quorum) LastContact() time.Duration {
	if q.node.IsLeader() {
		return 0
	}
	return max(0, q.node.Status().LastContact)
}

// LeaderAddr is the leader's cluster address, "" where none is known.
func (q *quorum) LeaderAddr() string { return q.router.LeaderAddr() }
