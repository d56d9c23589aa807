package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"muster/catalog"
	"muster/catalog/state"
	"muster/consensus"
	"muster/consensus/core"
	"muster/consensus/transport"
	"muster/consensus/wal/memfs"
)

// quorum is what makes an agent a server: its copy of the catalog, its place in
// the Raft quorum, and the cluster port on which servers speak to each other.
// It implements api.Replica.
type quorum struct {
	store     *state.Store
	node      *consensus.Node
	transport *transport.Transport
	mux       *transport.Mux
	net       lateNet
	router    *router
}

// lateNet lets a Node and its Transport be made one after the other though each
// needs the other.
type lateNet struct {
	to atomic.Pointer[transport.Transport]
}

// Send implements consensus.Net.
func (l *lateNet) Send(m core.Message) {
	if t := l.to.Load(); t != nil {
		t.Send(m)
	}
}

// newQuorum opens the log and restores the catalog from it. listener is the
// cluster port.
func newQuorum(a *Agent, listener net.Listener) (*quorum, error) {
	q := &quorum{store: state.New(), router: a.router}
	cfg := consensus.DefaultConfig()
	cfg.ID = core.ServerID(a.nodeID)
	cfg.Addr = net.JoinHostPort(a.cfg.AdvertiseAddr, strconv.Itoa(a.cfg.ServerPort))
	cfg.Dir = filepath.Join(a.cfg.DataDir, "raft")
	if a.cfg.DataDir == "" {
		cfg.FS, cfg.Dir = memfs.New(), "/raft"
	}
	cfg.Net = &q.net
	multiplier := time.Duration(a.cfg.RaftMultiplier)
	cfg.ElectionTimeoutMin *= multiplier
	cfg.ElectionTimeoutMax *= multiplier
	cfg.Heartbeat *= multiplier
	cfg.SnapshotEntries = a.cfg.RaftSnapshotThreshold
	cfg.Registerer = a.opts.Registry
	cfg.Logger = a.opts.Logger
	node, err := consensus.New(cfg, stateMachine{q.store})
	if err != nil {
		return nil, err
	}
	q.node = node
	q.transport, err = transport.New(transport.Config{
		ID:         cfg.ID,
		ClusterID:  q.clusterID,
		Resolve:    q.resolver(a.router.addrOf),
		Dial:       transport.DialTCP,
		Handler:    node.Receive,
		Registerer: a.opts.Registry,
		Logger:     a.opts.Logger,
	})
	if err != nil {
		return nil, errors.Join(err, node.Close())
	}
	q.net.to.Store(q.transport)
	q.mux = transport.NewMux(listener, q.transport.Accept, transport.MuxConfig{Logger: a.opts.Logger})
	return q, nil
}

// clusterID is the cluster this server belongs to or has promised itself to.
func (q *quorum) clusterID() string {
	s := q.node.Status()
	if s.Config.ClusterID != "" {
		return s.Config.ClusterID
	}
	return s.Promise.ClusterID
}

// resolver finds a server's address: what gossip says now, else what the
// configuration says, as for one that gossip has not met since a restart.
func (q *quorum) resolver(gossip func(id string) (string, bool)) func(core.ServerID) (string, bool) {
	return func(id core.ServerID) (string, bool) {
		if addr, ok := gossip(string(id)); ok {
			return addr, true
		}
		for _, s := range q.node.Status().Config.Servers {
			if s.ID == id {
				return s.Addr, true
			}
		}
		return "", false
	}
}

// run runs consensus and the cluster port until ctx ends or the disk fails.
func (q *quorum) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return q.node.Run(ctx) })
	g.Go(func() error { return q.transport.Run(ctx) })
	g.Go(func() error { return q.mux.Run(ctx) })
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
		return catalog.Result{}, proposeError(err)
	}
	return resultOf(value), nil
}

// proposeError gives an error of consensus its kind for people and status codes.
func proposeError(err error) error {
	switch {
	case errors.Is(err, consensus.ErrUnknown):
		return fmt.Errorf("%w (%w)", catalog.Errorf(catalog.Unknown, "%v", err), err)
	case errors.Is(err, core.ErrOverloaded):
		return fmt.Errorf("%w (%w)", catalog.Errorf(catalog.TooMany, "%v", err), err)
	default:
		return fmt.Errorf("%w (%w)", catalog.Errorf(catalog.Unavailable, "%v", err), err)
	}
}

// ReadIndex implements api.Replica. Without leases every read takes a quorum
// round.
func (q *quorum) ReadIndex(ctx context.Context) error {
	_, err := q.node.ReadIndex(ctx)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w (%w)", catalog.Errorf(catalog.Unavailable, "%v", err), err)
	}
	return err
}

// IsLeader implements api.Replica.
func (q *quorum) IsLeader() bool { return q.node.IsLeader() }

// KnownLeader implements api.Replica.
func (q *quorum) KnownLeader() bool { return q.node.Leader() != "" }

// LastContact implements api.Replica: zero on the leader.
func (q *quorum) LastContact() time.Duration {
	if q.node.IsLeader() {
		return 0
	}
	return max(0, q.node.Status().LastContact)
}

// LeaderAddr is the leader's cluster address, "" where none is known.
func (q *quorum) LeaderAddr() string { return q.router.LeaderAddr() }
