package agent

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"muster/agent/config"
	"muster/agent/dns"
	"muster/catalog"
	"muster/catalog/gateway"
	"muster/catalog/state"
)

// namedPath is the path on the cluster port by which client agents ask what has
// an address.
const namedPath = "/internal/named"

// queryPath is the path by which they ask what a prepared query finds.
const queryPath = "/internal/query"

// catalogNames finds for DNS what is in a server's own copy of the catalog: it
// implements dns.Lookup. A service that was looked up is kept until one of the
// topics moves that it was read from.
type catalogNames struct {
	replica *quorum
	agent   string        // the name of its node
	hold    time.Duration // how long to wait for a read index
	began   time.Time
	cfg     atomic.Pointer[config.DNS]

	making sync.Mutex // held by whoever reads a service anew
	mu     sync.RWMutex
	kept   map[string]*keptService // guarded by mu; only of services that exist

	addresses addressBook
}

// keptService is a service with what it was read from.
type keptService struct {
	*dns.Service
	guard
}

// guard is what a value was made of: topics, and the index they were at.
type guard struct {
	topics []state.Topic
	index  uint64
}

func guardOf(v *state.View) guard { return guard{v.Topics(), v.Index()} }

// holds says whether nothing has moved since.
func (g guard) holds(v *state.View) bool {
	for _, t := range g.topics {
		v.Read(t)
	}
	return v.Index() == g.index
}

// maxKept bounds how many services are kept: some may be gone that nobody asks
// for any more.
const maxKept = 1 << 16

func newCatalogNames(replica *quorum, agent string, hold time.Duration) *catalogNames {
	return &catalogNames{replica: replica, agent: agent, hold: hold, began: time.Now(), kept: map[string]*keptService{}}
}

func (n *catalogNames) configure(cfg config.DNS) { n.cfg.Store(&cfg) }

// current waits until this server's copy is as current as is wanted.
func (n *catalogNames) current(ctx context.Context) error {
	cfg := n.cfg.Load()
	// A copy can't be older than this process, which saves most the look at Raft.
	if cfg.AllowStale && n.replica.Ready() && (time.Since(n.began) < cfg.MaxStale || n.replica.KnownLeader() && n.replica.LastContact() <= cfg.MaxStale) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, n.hold)
	defer cancel()
	return n.replica.ReadIndex(ctx)
}

// Service implements dns.Lookup.
func (n *catalogNames) Service(ctx context.Context, name string) (*dns.Service, error) {
	return n.service(ctx, "service:"+name, func(v *state.View) ([]state.Instance, error) { return v.ServiceInstances(name), nil })
}

// Mesh implements dns.Lookup.
func (n *catalogNames) Mesh(ctx context.Context, name string) (*dns.Service, error) {
	return n.service(ctx, "mesh:"+name, func(v *state.View) ([]state.Instance, error) { return gateway.Mesh(v, name) })
}

// Ingress implements dns.Lookup.
func (n *catalogNames) Ingress(ctx context.Context, name string) (*dns.Service, error) {
	return n.service(ctx, "ingress:"+name, func(v *state.View) ([]state.Instance, error) { return gateway.Ingress(v, name) })
}

func (n *catalogNames) service(ctx context.Context, key string, find func(*state.View) ([]state.Instance, error)) (*dns.Service, error) {
	if err := n.current(ctx); err != nil {
		return nil, err
	}
	if svc := n.find(key); svc != nil {
		return svc, nil
	}
	n.making.Lock()
	defer n.making.Unlock()
	if svc := n.find(key); svc != nil {
		return svc, nil
	}
	v := n.replica.store.View()
	instances, err := find(v)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(instances) == 0 {
		delete(n.kept, key)
		return nil, nil
	}
	if len(n.kept) >= maxKept {
		clear(n.kept)
	}
	svc := &dns.Service{Instances: make([]dns.Instance, len(instances))}
	for i, in := range instances {
		svc.Instances[i] = dns.Instance(in)
	}
	n.kept[key] = &keptService{svc, guardOf(v)}
	return svc, nil
}

// find gives a service that is kept, nil if it isn't or something has moved.
func (n *catalogNames) find(key string) *dns.Service {
	n.mu.RLock()
	kept := n.kept[key]
	n.mu.RUnlock()
	if kept == nil || !kept.holds(n.replica.store.View()) {
		return nil
	}
	return kept.Service
}

// Node implements dns.Lookup.
func (n *catalogNames) Node(ctx context.Context, name string) (*catalog.Node, error) {
	if err := n.current(ctx); err != nil {
		return nil, err
	}
	return n.replica.store.View().Node(name), nil
}

// Query implements dns.Lookup. Each question is evaluated anew.
func (n *catalogNames) Query(ctx context.Context, name string, from netip.Addr) (*dns.Query, error) {
	return n.query(ctx, name, state.Asker{Agent: n.agent, Addr: from})
}

func (n *catalogNames) query(ctx context.Context, name string, from state.Asker) (*dns.Query, error) {
	if err := n.current(ctx); err != nil {
		return nil, err
	}
	v := n.replica.store.View()
	q, err := v.FindQuery(name)
	if q == nil || err != nil {
		return nil, err
	}
	found := &dns.Query{Service: q.Service.Service, DNS: q.DNS}
	instances, nearest := v.Answer(q, from)
	for _, in := range instances {
		found.Instances = append(found.Instances, dns.Instance(in))
	}
	found.Nearest = nearest
	return found, nil
}

// Named implements dns.Lookup. It may be a second behind.
func (n *catalogNames) Named(ctx context.Context, addr netip.Addr) (dns.Names, error) {
	if err := n.current(ctx); err != nil {
		return dns.Names{}, err
	}
	return n.addresses.at(n.replica.store, time.Now(), addr), nil
}

// routes puts what client agents ask on the cluster port.
func (n *catalogNames) routes(mux *http.ServeMux) {
	mux.HandleFunc("GET "+queryPath, func(w http.ResponseWriter, r *http.Request) {
		about := r.URL.Query()
		from, _ := netip.ParseAddr(about.Get("from"))
		found, err := n.query(r.Context(), about.Get("name"), state.Asker{Agent: about.Get("agent"), Addr: from})
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		writeJSON(w, found)
	})
	mux.HandleFunc("GET "+namedPath, func(w http.ResponseWriter, r *http.Request) {
		addr, err := netip.ParseAddr(r.URL.Query().Get("addr"))
		if err != nil {
			http.Error(w, fmt.Sprintf("addr: %v", err), http.StatusBadRequest)
			return
		}
		names, err := n.Named(r.Context(), addr)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		writeJSON(w, names)
	})
}

// addressBook tells what has an address. It is made of the whole catalog, hence
// made anew only when it is asked, something has moved, and a second has passed.
type addressBook struct {
	mu     sync.Mutex
	guard  guard                    // guarded by mu
	made   time.Time                // guarded by mu
	byAddr map[netip.Addr]dns.Names // guarded by mu
}

// bookAge is how far an addressBook may be behind.
const bookAge = time.Second

func (b *addressBook) at(store *state.Store, now time.Time, addr netip.Addr) dns.Names {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byAddr == nil || now.Sub(b.made) >= bookAge && !b.guard.holds(store.View()) {
		b.fill(store.View())
		b.made = now
	}
	return b.byAddr[addr]
}

// fill reads the catalog. The caller holds mu.
func (b *addressBook) fill(v *state.View) {
	b.byAddr = map[netip.Addr]dns.Names{}
	add := func(text string, to func(*dns.Names)) {
		if addr, err := netip.ParseAddr(text); err == nil {
			names := b.byAddr[addr.Unmap()]
			to(&names)
			b.byAddr[addr.Unmap()] = names
		}
	}
	for _, n := range v.Nodes() {
		add(n.Address, func(names *dns.Names) { names.Nodes = append(names.Nodes, n.Node) })
	}
	for _, in := range v.AllInstances() {
		add(in.Service.Address, func(names *dns.Names) {
			if !slices.Contains(names.Services, in.Service.Service) {
				names.Services = append(names.Services, in.Service.Service)
			}
		})
	}
	b.guard = guardOf(v)
}
