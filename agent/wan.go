package agent

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"muster/agent/config"
	"muster/api/catalogapi"
	"muster/catalog"
	"muster/gossip"
)

// wan is a server's membership in the pool of the servers of all datacenters. It
// tells which datacenters there are and how far away; requests are not passed on
// to them yet.
type wan struct {
	pool *gossip.Pool
	lan  *gossip.Pool
	cfg  *config.Config
}

// joinWAN binds the WAN pool's port.
func (a *Agent) joinWAN() error {
	pool, err := gossip.New(a.wanConfig())
	if err != nil {
		return err
	}
	a.undo = append(a.undo, func() { _ = pool.Close() })
	a.wan = &wan{pool: pool, lan: a.pool, cfg: a.cfg}
	return nil
}

func (a *Agent) wanConfig() gossip.Config {
	c := gossip.DefaultWANConfig()
	c.NodeName, c.NodeID, c.Datacenter = wanName(a.cfg.NodeName, a.cfg.Datacenter), a.nodeID, a.cfg.Datacenter
	c.BindAddr, c.BindPort = a.cfg.SerfWANBindAddr, a.cfg.SerfWANPort
	c.AdvertiseAddr, c.AdvertisePort = a.cfg.AdvertiseAddrWAN, a.cfg.SerfWANPort
	c.ReconnectTimeout, c.Allowed = a.cfg.ReconnectTimeoutWAN, a.cfg.AllowedWAN
	if a.cfg.GossipWAN != (gossip.Timing{}) {
		c.Timing = a.cfg.GossipWAN
	}
	a.gossipIdentity(&c, "remote")
	return c
}

// wanName is a server's name in the WAN pool.
func wanName(node, datacenter string) string { return node + "." + datacenter }

// run gossips, joins what it was told to join, and brings in the servers of this
// datacenter: whoever has joined one of them has joined all.
func (w *wan) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.pool.Run(ctx) })
	g.Go(func() error { w.flood(ctx); return nil })
	g.Go(func() error {
		err := w.pool.RetryJoin(ctx, w.cfg.RetryJoinWAN, w.cfg.RetryIntervalWAN, w.cfg.RetryMaxWAN)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("join the WAN pool: %w", err)
		}
		return nil
	})
	return g.Wait()
}

// flood joins the servers of this datacenter that the WAN pool lacks.
func (w *wan) flood(ctx context.Context) {
	for ctx.Err() == nil {
		changed := w.lan.Changed()
		known := map[string]bool{}
		for _, m := range w.pool.Members() {
			known[m.Name] = m.Status == gossip.StatusAlive
		}
		missing := false
		for _, m := range w.lan.Members() {
			if m.WANAddr == "" || m.Status != gossip.StatusAlive || known[wanName(m.Name, m.Datacenter)] {
				continue
			}
			if _, err := w.pool.Join(ctx, []string{m.WANAddr}); err != nil {
				missing = true // it may only just be starting
			}
		}
		wait := reconcileInterval
		if missing {
			wait = bootstrapRetry
		}
		waitFor(ctx, wait, changed, nil)
	}
}

// datacenters is what this server knows of all datacenters: it implements
// catalogapi.Datacenters.
type datacenters struct{ agent *Agent }

// Names implements catalogapi.Datacenters: by the median of the estimated round
// trips to a datacenter's servers, and by name where there is none.
func (d datacenters) Names() []string {
	own := d.agent.cfg.Datacenter
	if d.agent.wan == nil {
		return []string{own}
	}
	far := d.agent.wan.distances()
	far[own] = append(far[own], 0) // this server itself
	names := make([]string, 0, len(far))
	for name, ds := range far {
		slices.Sort(ds)
		names = append(names, name)
	}
	slices.SortFunc(names, func(x, y string) int {
		if d := far[x][len(far[x])/2] - far[y][len(far[y])/2]; d != 0 && !math.IsNaN(d) {
			return int(math.Copysign(1, d))
		}
		return strings.Compare(x, y)
	})
	return names
}

// Coordinates implements catalogapi.Datacenters.
func (d datacenters) Coordinates() []catalogapi.Distant {
	out := []catalogapi.Distant{}
	if d.agent.wan == nil {
		return out
	}
	pool := d.agent.wan.pool
	for _, m := range pool.Members() { // sorted by name, not by datacenter
		c, ok := pool.CachedCoordinate(m.Name)
		if !ok {
			continue
		}
		i := slices.IndexFunc(out, func(o catalogapi.Distant) bool { return o.Datacenter == m.Datacenter })
		if i < 0 {
			i = len(out)
			out = append(out, catalogapi.Distant{Datacenter: m.Datacenter, AreaID: "wan"})
		}
		node := strings.TrimSuffix(m.Name, "."+m.Datacenter)
		out[i].Coordinates = append(out[i].Coordinates, &catalog.NodeCoordinate{Node: node, Coord: c})
	}
	return out
}

// distances gives the estimated round trips, in seconds, from this server to the
// others by datacenter; infinite where nothing was measured.
func (w *wan) distances() map[string][]float64 {
	far := map[string][]float64{}
	self, err := w.pool.Coordinate()
	own := w.pool.Local().Name
	for _, m := range w.pool.Members() {
		if m.Name == own || m.Status == gossip.StatusLeft {
			continue
		}
		distance := math.Inf(1)
		if c, ok := w.pool.CachedCoordinate(m.Name); ok && err == nil && self.IsCompatibleWith(c) {
			distance = self.DistanceTo(c).Seconds()
		}
		far[m.Datacenter] = append(far[m.Datacenter], distance)
	}
	return far
}

// gossipIdentity gives a pool's configuration what both pools have in common;
// prefix begins the names of its files.
func (a *Agent) gossipIdentity(c *gossip.Config, prefix string) {
	c.Build = config.CompatVersion + ":"
	c.EncryptKey, c.VerifyIncoming, c.VerifyOutgoing = string(a.cfg.Encrypt), a.cfg.EncryptVerifyIncoming, a.cfg.EncryptVerifyOutgoing
	c.RejoinAfterLeave = a.cfg.RejoinAfterLeave
	if a.cfg.DataDir != "" {
		c.SnapshotPath = filepath.Join(a.cfg.DataDir, "serf", prefix+".snapshot")
		if !a.cfg.DisableKeyringFile {
			c.KeyringFile = filepath.Join(a.cfg.DataDir, "serf", prefix+".keyring")
		}
	}
	if a.cfg.Server {
		c.Role, c.ClusterPort, c.Expect, c.Bootstrap = gossip.Server, a.cfg.ServerPort, a.cfg.BootstrapExpect, a.cfg.Bootstrap
		c.RaftMultiplier = a.cfg.RaftMultiplier
	}
	c.Registerer, c.Logger = a.opts.Registry, a.opts.Logger
}

// poolOf is the LAN pool or the WAN pool.
func (a *Agent) poolOf(wan bool) (*gossip.Pool, error) {
	switch {
	case !wan:
		return a.pool, nil
	case a.wan == nil:
		return nil, errors.New("this agent is not in the WAN pool: only servers are, and only with a port for it (ports.serf_wan)")
	}
	return a.wan.pool, nil
}
