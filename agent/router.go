package agent

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"muster/consensus"
	"muster/consensus/core"
	"muster/gossip"
)

// rebalanceAfter is how long a client agent keeps to one server.
const rebalanceAfter = 2 * time.Minute

// router knows the servers that requests can be passed on to: those of this
// datacenter that gossip knows and that have not left. It implements api.Cluster.
type router struct {
	self string // node ID; never passed on to
	pool *gossip.Pool
	// node tells who leads; nil on client agents, which let any server find out.
	node   *consensus.Node
	*peers // how they answer

	kept atomic.Pointer[keptServers]

	mu       sync.Mutex
	order    uint64        // decides the order in which servers are tried
	reorder  time.Time     // when order is drawn anew
	numKnown int           // servers when order was drawn
	changed  chan struct{} // closed at the next change
}

// keptServers are the servers that gossip knows, until it knows otherwise.
type keptServers struct {
	until   <-chan struct{}
	servers []gossip.Member
}

func newRouter(self string, pool *gossip.Pool) *router {
	return &router{self: self, pool: pool, peers: newPeers(), changed: make(chan struct{})}
}

// run tells those who wait when the leader or the servers change, and probes
// servers that don't answer.
func (r *router) run(ctx context.Context) error {
	var probing sync.WaitGroup
	probing.Go(func() { r.peers.run(ctx) })
	defer probing.Wait()
	for {
		members := r.pool.Changed()
		addrs, _ := r.known()
		r.keep(addrs)
		var leader <-chan struct{}
		if r.node != nil {
			leader = r.node.Changed()
		}
		r.mu.Lock()
		close(r.changed)
		r.changed = make(chan struct{})
		r.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-members:
		case <-leader:
		}
	}
}

// Changed gives a channel that is closed at the next change of the leader or the
// servers: take it before looking.
func (r *router) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// LeaderAddr is the leader's cluster address, "" where it is not known.
func (r *router) LeaderAddr() string {
	if r.node == nil {
		return ""
	}
	id := r.node.Leader()
	if id == "" {
		return ""
	}
	if addr, ok := r.addrOf(id); ok {
		return addr
	}
	addr, _ := r.node.Resolve(id) // gossip has not met it since a restart
	return addr
}

// servers are the servers that gossip knows and that have not left. Each request that
// is passed on and each Raft message asks for them, so they are picked from the
// members, of whom there may be thousands, when those change. It is not to be modified.
func (r *router) servers() []gossip.Member {
	until := r.pool.Changed() // before looking
	if kept := r.kept.Load(); kept != nil && kept.until == until {
		return kept.servers
	}
	servers := slices.DeleteFunc(r.pool.Members(), func(m gossip.Member) bool {
		return !m.Server || m.Status == gossip.StatusLeft
	})
	r.kept.Store(&keptServers{until, slices.Clip(servers)})
	return servers
}

// addrOf gives the cluster address that gossip has for a server.
func (r *router) addrOf(id core.ServerID) (addr string, ok bool) {
	for _, m := range r.servers() {
		if m.ID == string(id) {
			addr, ok = m.ClusterAddr, true
			if m.Status == gossip.StatusAlive {
				return addr, true
			}
		}
	}
	return addr, ok
}

// known gives the other servers' cluster addresses in their own order, and which
// of them gossip gave up.
func (r *router) known() (addrs []string, dead map[string]bool) {
	dead = map[string]bool{}
	for _, m := range r.servers() {
		if m.ID != r.self {
			addrs = append(addrs, m.ClusterAddr)
			dead[m.ClusterAddr] = m.Status != gossip.StatusAlive
		}
	}
	slices.Sort(addrs)
	return addrs, dead
}

// Servers gives the cluster addresses of the other servers, in the order in
// which to try them. The order is this agent's own, kept for a while so that
// connections are reused, and drawn anew now and then so that load evens out.
// Those that failed lately come after the others, the latest last, and after
// them those that gossip gave up: when this agent was cut off from all, they can
// be asked long before gossip has met them again.
func (r *router) Servers() []string {
	addrs, dead := r.known()
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if now.After(r.reorder) || r.numKnown != len(addrs) {
		r.order, r.numKnown = rand.Uint64(), len(addrs)
		r.reorder = now.Add(rebalanceAfter + rand.N(rebalanceAfter))
	}
	shuffle := rand.New(rand.NewPCG(r.order, 0))
	shuffle.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
	askedLast(addrs, dead, r.trouble(addrs))
	return addrs
}

// askedLast moves servers to the end that failed lately, the latest last, and
// behind them those that gossip gave up.
func askedLast(addrs []string, dead map[string]bool, trouble map[string]time.Time) {
	slices.SortStableFunc(addrs, func(a, b string) int {
		switch {
		case dead[a] == dead[b]:
			return trouble[a].Compare(trouble[b])
		case dead[a]:
			return 1
		}
		return -1
	})
}
