package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	boltdb "github.com/hashicorp/raft-boltdb/v2"
	wal "github.com/hashicorp/raft-wal"
)

// store keeps the log and the votes of one of hashicorp/raft's servers.
type store interface {
	raft.LogStore
	raft.StableStore
	io.Closer
}

// The stores that hashicorp/raft is run with.
func openWAL(dir string) (store, error) { return wal.Open(dir) }

func openBolt(dir string) (store, error) {
	return boltdb.New(boltdb.Options{Path: filepath.Join(dir, "raft.db")})
}

// hashicorp gives what starts servers of hashicorp/raft on a store, with
// maxAppend entries in a message at most.
func hashicorp(open func(dir string) (store, error), maxAppend int) func(context.Context, string) (cluster, error) {
	cfg := raft.DefaultConfig()
	cfg.BatchApplyCh = true
	cfg.MaxAppendEntries = maxAppend
	cfg.Logger = hclog.NewNullLogger()
	return func(ctx context.Context, dir string) (cluster, error) {
		return startHashicorp(ctx, *cfg, dir, open)
	}
}

// hashicorpCluster is three servers of hashicorp/raft.
type hashicorpCluster struct {
	nodes  []*raft.Raft
	stores []io.Closer
	leader *raft.Raft
}

func startHashicorp(ctx context.Context, tuned raft.Config, dir string, open func(dir string) (store, error)) (cluster, error) {
	c := &hashicorpCluster{}
	var members raft.Configuration
	for i := range servers {
		s, err := c.add(tuned, i, dir, open)
		if err != nil {
			return nil, errors.Join(err, c.close())
		}
		members.Servers = append(members.Servers, s)
	}
	if err := c.nodes[0].BootstrapCluster(members).Error(); err != nil {
		return nil, errors.Join(err, c.close())
	}
	if err := c.elect(ctx); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func (c *hashicorpCluster) add(cfg raft.Config, i int, dir string, open func(dir string) (store, error)) (raft.Server, error) {
	cfg.LocalID = raft.ServerID(fmt.Sprintf("n%d", i))
	dir = filepath.Join(dir, string(cfg.LocalID))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return raft.Server{}, err
	}
	st, err := open(dir)
	if err != nil {
		return raft.Server{}, err
	}
	c.stores = append(c.stores, st)
	cache, err := raft.NewLogCache(4*cfg.MaxAppendEntries, st)
	if err != nil {
		return raft.Server{}, err
	}
	snaps, err := raft.NewFileSnapshotStoreWithLogger(dir, 2, cfg.Logger)
	if err != nil {
		return raft.Server{}, err
	}
	tr, err := raft.NewTCPTransportWithLogger("127.0.0.1:0", nil, 3, 10*time.Second, cfg.Logger)
	if err != nil {
		return raft.Server{}, err
	}
	c.stores = append(c.stores, tr)
	node, err := raft.NewRaft(&cfg, noFSM{}, cache, st, snaps, tr)
	if err != nil {
		return raft.Server{}, err
	}
	c.nodes = append(c.nodes, node)
	return raft.Server{ID: cfg.LocalID, Address: tr.LocalAddr()}, nil
}

// elect waits for a leader that can commit.
func (c *hashicorpCluster) elect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	c.leader = c.nodes[0] // no other knows the configuration yet
	select {
	case <-c.leader.LeaderCh():
	case <-ctx.Done():
		return fmt.Errorf("wait for a leader: %w", ctx.Err())
	}
	return c.leader.Barrier(10 * time.Second).Error()
}

func (c *hashicorpCluster) propose(_ context.Context, data []byte) error {
	return c.leader.Apply(data, 0).Error()
}

func (c *hashicorpCluster) close() error {
	var errs []error
	for _, n := range c.nodes {
		errs = append(errs, n.Shutdown().Error())
	}
	for _, s := range c.stores {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// noFSM is a state machine that does nothing, and takes batches.
type noFSM struct{}

func (noFSM) Apply(*raft.Log) any                  { return nil }
func (noFSM) ApplyBatch(ls []*raft.Log) []any      { return make([]any, len(ls)) }
func (noFSM) Snapshot() (raft.FSMSnapshot, error)  { return noFSM{}, nil }
func (noFSM) Restore(r io.ReadCloser) error        { return r.Close() }
func (noFSM) Persist(sink raft.SnapshotSink) error { return sink.Close() }
func (noFSM) Release()                             {}
