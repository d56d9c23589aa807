package agent

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"muster/consensus"
	"muster/consensus/core"
	"muster/consensus/transport"
	"muster/gossip"
)

const (
	// failedFor is how long a server that could not be reached, or could not
	// reach a leader, is asked last.
	failedFor = 5 * time.Second
	// silentFor is how long a server that has a request to answer may say
	// nothing before later requests go to others first. Most elections are
	// shorter, and where one isn't all servers are as good.
	silentFor = 300 * time.Millisecond
	// rebalanceAfter is how long a client agent keeps to one server.
	rebalanceAfter = 2 * time.Minute
	// dialTimeout bounds connecting to a server, so that one that is gone costs
	// a request little before the next is asked.
	dialTimeout = time.Second
	// pingAfter and pingTimeout bound how long a connection may be silent before
	// it is given up, and with it what waits for an answer on it. A machine that
	// is cut off is noticed earlier, by what it does not acknowledge (see
	// transport.LimitSilence); this is for a process that stands still.
	pingAfter   = time.Second
	pingTimeout = time.Second
)

// router knows the servers that requests can be passed on to: those of this
// datacenter that gossip knows and that have not left. It implements api.Cluster.
type router struct {
	self string // node ID; never passed on to
	pool *gossip.Pool
	// node tells who leads; nil on client agents, which let any server find out.
	node    *consensus.Node
	forward *http.Transport

	mu       sync.Mutex
	failed   map[string]time.Time // by address: when it last failed
	heard    map[string]time.Time // by address: when it last answered anything
	order    uint64               // decides the order in which servers are tried
	reorder  time.Time            // when order is drawn anew
	numKnown int                  // servers when order was drawn
	changed  chan struct{}        // closed at the next change
}

func newRouter(self string, pool *gossip.Pool) *router {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second, Control: transport.LimitSilence}
	return &router{
		self:    self,
		pool:    pool,
		failed:  map[string]time.Time{},
		heard:   map[string]time.Time{},
		changed: make(chan struct{}),
		forward: &http.Transport{
			Protocols:          protocols,
			DialContext:        dialer.DialContext,
			DisableCompression: true, // bytes are passed on as they are
			IdleConnTimeout:    time.Minute,
			HTTP2: &http.HTTP2Config{
				SendPingTimeout: pingAfter,
				PingTimeout:     pingTimeout,
			},
		},
	}
}

// run tells those who wait when the leader or the servers change.
func (r *router) run(ctx context.Context) error {
	defer r.forward.CloseIdleConnections()
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
// Those that gossip gave up come last: after this agent was cut off from all,
// they can be asked long before gossip has met them again.
func (r *router) Servers() []string {
	var addrs []string
	dead := map[string]bool{}
	for _, m := range r.pool.Members() {
		if m.Server && m.Status != gossip.StatusLeft && m.ID != r.self {
			addrs = append(addrs, m.ClusterAddr)
			dead[m.ClusterAddr] = m.Status != gossip.StatusAlive
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
	rank := func(addr string) int {
		switch {
		case dead[addr]:
			return 2
		case now.Sub(r.failed[addr]) < failedFor:
			return 1
		}
		return 0
	}
	slices.SortStableFunc(addrs, func(a, b string) int { return rank(a) - rank(b) })
	return addrs
}

// Failed notes that a server could not be reached, or can't reach a leader.
func (r *router) Failed(addr string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed[addr] = time.Now()
}

// RoundTrip sends a request to a server's cluster port. A server that is silent
// for a while counts as failed before the request has: those that come after it
// need not wait too.
func (r *router) RoundTrip(addr string, req *http.Request) (*http.Response, error) {
	req.URL.Scheme, req.URL.Host = "http", addr
	if !blocks(req) {
		began := time.Now()
		silence := time.AfterFunc(silentFor, func() { r.silentSince(addr, began) })
		defer silence.Stop()
	}
	resp, err := r.forward.RoundTrip(req)
	if err == nil {
		r.mu.Lock()
		r.heard[addr] = time.Now()
		r.mu.Unlock()
	}
	return resp, err
}

// blocks says whether a request may rightly be answered late.
func blocks(req *http.Request) bool { return strings.Contains(req.URL.RawQuery, "index=") }

// silentSince takes note of a server that has not answered a request of then.
func (r *router) silentSince(addr string, then time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.heard[addr].Before(then) {
		r.failed[addr] = time.Now()
	}
}
