package agent

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"muster/consensus"
	"muster/consensus/core"
	"muster/gossip"
)

const (
	// failedFor is how long a server that could not be reached is asked last.
	failedFor = 5 * time.Second
	// rebalanceAfter is how long a client agent keeps to one server.
	rebalanceAfter = 2 * time.Minute
	// dialTimeout bounds connecting to a server, so that one that is gone costs
	// a request little before the next is asked.
	dialTimeout = time.Second
)

// router knows the servers that requests can be passed on to: those that gossip
// says are alive in this datacenter. It implements api.Cluster.
type router struct {
	self string // node ID; never passed on to
	pool *gossip.Pool
	// node tells who leads; nil on client agents, which let any server find out.
	node      *consensus.Node
	transport *http.Transport

	mu       sync.Mutex
	failed   map[string]time.Time // by address: when it could not be reached
	order    uint64               // decides the order in which servers are tried
	reorder  time.Time            // when order is drawn anew
	numKnown int                  // servers when order was drawn
	changed  chan struct{}        // closed at the next change
}

func newRouter(self string, pool *gossip.Pool) *router {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	return &router{
		self:    self,
		pool:    pool,
		failed:  map[string]time.Time{},
		changed: make(chan struct{}),
		transport: &http.Transport{
			Protocols:          protocols,
			DialContext:        dialer.DialContext,
			DisableCompression: true, // bytes are passed on as they are
			IdleConnTimeout:    time.Minute,
			HTTP2: &http.HTTP2Config{
				SendPingTimeout: 5 * time.Second, // a peer that vanished is noticed
				PingTimeout:     3 * time.Second,
			},
		},
	}
}

// run tells those who wait when the leader or the servers change.
func (r *router) run(ctx context.Context) error {
	defer r.transport.CloseIdleConnections()
	for {
		members := r.pool.Changed()
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

// addrOf gives the cluster address that gossip has for a server.
func (r *router) addrOf(id core.ServerID) (addr string, ok bool) {
	for _, m := range r.pool.Members() {
		if m.Server && m.ID == string(id) && m.Status != gossip.StatusLeft {
			addr, ok = m.ClusterAddr, true
			if m.Status == gossip.StatusAlive {
				return addr, true
			}
		}
	}
	return addr, ok
}

// Servers gives the cluster addresses of the other servers, in the order in
// which to try them. The order is this agent's own, kept for a while so that
// connections are reused, and drawn anew now and then so that load evens out.
func (r *router) Servers() []string {
	var addrs []string
	for _, m := range r.pool.Members() {
		if m.Server && m.Status == gossip.StatusAlive && m.ID != r.self {
			addrs = append(addrs, m.ClusterAddr)
		}
	}
	slices.Sort(addrs)

	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if now.After(r.reorder) || r.numKnown != len(addrs) {
		r.order, r.numKnown = rand.Uint64(), len(addrs)
		r.reorder = now.Add(rebalanceAfter + rand.N(rebalanceAfter))
	}
	shuffle := rand.New(rand.NewPCG(r.order, 0))
	shuffle.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
	slices.SortStableFunc(addrs, func(a, b string) int { return r.failedLocked(a, now) - r.failedLocked(b, now) })
	return addrs
}

// failedLocked is 1 for a server that failed a short while ago, else 0.
func (r *router) failedLocked(addr string, now time.Time) int {
	at, ok := r.failed[addr]
	if !ok {
		return 0
	}
	if now.Sub(at) > failedFor {
		delete(r.failed, addr)
		return 0
	}
	return 1
}

// Failed notes that a server could not be reached.
func (r *router) Failed(addr string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed[addr] = time.Now()
}

// RoundTrip sends a request to a server's cluster port.
func (r *router) RoundTrip(addr string, req *http.Request) (*http.Response, error) {
	req.URL.Scheme, req.URL.Host = "http", addr
	return r.transport.RoundTrip(req)
}
