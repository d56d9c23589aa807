package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"muster/consensus"
	"muster/consensus/core"
	"muster/consensus/transport"
)

const servers = 3

// musterCluster is three of our servers, with the defaults of
// consensus.DefaultConfig.
type musterCluster struct {
	nodes  []*consensus.Node
	leader *consensus.Node
	stop   context.CancelFunc
	group  *errgroup.Group
}

func startMuster(ctx context.Context, dir string) (cluster, error) {
	running, stop := context.WithCancel(ctx)
	group, running := errgroup.WithContext(running)
	c := &musterCluster{stop: stop, group: group}
	listeners, cfg, err := listen()
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	for i, l := range listeners {
		if err := c.add(running, cfg, i, l, dir); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	if err := c.elect(ctx, cfg); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// listen gives each server its address.
func listen() (ls []net.Listener, cfg core.Configuration, err error) {
	cfg.ClusterID = "bench"
	for i := range servers {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, cfg, err
		}
		ls = append(ls, l)
		cfg.Servers = append(cfg.Servers, core.Server{
			ID: core.ServerID(fmt.Sprintf("n%d", i)), Addr: l.Addr().String(), Suffrage: core.Voter,
		})
	}
	return ls, cfg, nil
}

// add starts the server of cfg that listens on l.
func (c *musterCluster) add(ctx context.Context, servers core.Configuration, i int, l net.Listener, dir string) error {
	cfg := consensus.DefaultConfig()
	cfg.ID, cfg.Addr = servers.Servers[i].ID, servers.Servers[i].Addr
	cfg.Dir = filepath.Join(dir, string(cfg.ID))
	node, tr, err := consensus.Connect(cfg, noState{}, transport.Config{
		// Gossip tells servers of each other before there is a configuration.
		Resolve: func(id core.ServerID) (string, bool) {
			for _, s := range servers.Servers {
				if s.ID == id {
					return s.Addr, true
				}
			}
			return "", false
		},
	})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	mux := transport.NewMux(l, tr.Accept, transport.MuxConfig{})
	c.nodes = append(c.nodes, node)
	c.group.Go(func() error { return node.Run(ctx) })
	c.group.Go(func() error { return tr.Run(ctx) })
	c.group.Go(func() error { return mux.Run(ctx) })
	return nil
}

// elect makes a cluster of the servers and waits for its leader.
func (c *musterCluster) elect(ctx context.Context, cfg core.Configuration) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := c.nodes[0].Bootstrap(ctx, cfg); err != nil {
		return err
	}
	if _, _, err := c.nodes[0].LeaderContext(ctx); err != nil { // no other knows the configuration yet
		return fmt.Errorf("wait for a leader: %w", err)
	}
	c.leader = c.nodes[0]
	return nil
}

func (c *musterCluster) propose(ctx context.Context, data []byte) error {
	_, _, err := c.leader.Propose(ctx, data)
	return err
}

func (c *musterCluster) close() error {
	c.stop()
	return c.group.Wait()
}

// noState is a state machine that does nothing.
type noState struct{}

func (noState) Apply(es []core.Entry) ([]any, error)  { return make([]any, len(es)), nil }
func (noState) Snapshot() (consensus.Snapshot, error) { return noState{}, nil }
func (noState) Restore(io.Reader) error               { return nil }
func (noState) WriteTo(io.Writer) (int64, error)      { return 0, nil }
func (noState) Close()                                {}
