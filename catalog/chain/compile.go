package chain

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"muster/catalog"
	"muster/catalog/configentry"
)

// Bounds on what entries may come to: splitters that lead to splitters multiply.
const (
	maxSplits = 1024
	maxNested = 64
)

// compiler compiles one chain.
type compiler struct {
	entries  Entries
	request  Request
	proxies  configentry.ProxyDefaults
	protocol string // of all services in the chain
	chain    *Chain
	within   []string // splitters that are being made
}

// Compile makes the chain of a service.
func Compile(entries Entries, r Request) (*Chain, error) {
	c := &compiler{entries: entries, request: r, chain: &Chain{
		ServiceName: r.Service, Namespace: namespace, Partition: partition, Datacenter: r.Datacenter,
		CustomizationHash: r.hash(), Nodes: map[string]*Node{}, Targets: map[string]*Target{},
	}}
	proxies, _, err := read[configentry.ProxyDefaults](c, configentry.KindProxyDefaults, configentry.ProxyDefaultsName)
	if err != nil {
		return nil, err
	}
	c.proxies = *proxies
	if c.protocol, err = c.protocolOf(r.Service); err != nil {
		return nil, err
	}
	c.chain.Protocol = c.protocol
	start, err := c.router()
	if err != nil {
		return nil, err
	}
	c.chain.StartNode = start
	c.keepReachable()
	// One that is led to by a redirect says nothing itself; the redirect does.
	n := c.chain.Nodes[start]
	c.chain.Default = n.Type == typeResolver && n.Resolver.Default && n.Name == c.here(r.Service, "").id()
	return c.chain, nil
}

// read gives an entry's fields, empty ones where there is none.
func read[T any](c *compiler, kind, name string) (fields *T, found bool, err error) {
	e := c.entries.ConfigEntry(kind, name)
	if e == nil {
		return new(T), false, nil
	}
	fields, err = configentry.Read[T](e)
	return fields, true, err
}

func fault(format string, args ...any) error {
	return catalog.Errorf(catalog.Invalid, format, args...)
}

// protocolOf is what a service speaks. One with service-defaults of its own that
// leave it out speaks tcp, whatever those of all say, as in Consul.
func (c *compiler) protocolOf(service string) (string, error) {
	defaults, found, err := read[configentry.ServiceDefaults](c, configentry.KindServiceDefaults, service)
	if err != nil {
		return "", err
	}
	all, _ := c.proxies.Config["protocol"].(string)
	if found {
		all = ""
	}
	return cmp.Or(c.request.OverrideProtocol, defaults.Protocol, strings.ToLower(all), "tcp"), nil
}

// Protocol is what a service speaks, by its service-defaults or those of all.
func Protocol(entries Entries, service string) (string, error) {
	c := &compiler{entries: entries}
	proxies, _, err := read[configentry.ProxyDefaults](c, configentry.KindProxyDefaults, configentry.ProxyDefaultsName)
	if err != nil {
		return "", err
	}
	c.proxies = *proxies
	return c.protocolOf(service)
}

// Routable says whether requests of a protocol can be told apart.
func Routable(protocol string) bool {
	return slices.Contains([]string{"http", "http2", "grpc"}, protocol)
}

// used says whether a router or a splitter that there is takes part. One that can't
// is a fault, unless an override is what keeps it out.
func (c *compiler) used(found bool) (bool, error) {
	if found && !Routable(c.protocol) && c.request.OverrideProtocol == "" {
		return false, fault("discovery chain %q uses a protocol %q that does not permit advanced routing or splitting behavior", c.request.Service, c.protocol)
	}
	return found && Routable(c.protocol), nil
}

// here is a service in the datacenter of the request.
func (c *compiler) here(service, subset string) place {
	return place{service: service, subset: subset, datacenter: c.request.Datacenter}
}

// router makes the first node: the service's router if it has one.
func (c *compiler) router() (string, error) {
	own := c.request.Service
	entry, found, err := read[configentry.ServiceRouter](c, configentry.KindServiceRouter, own)
	if err != nil {
		return "", err
	}
	used, err := c.used(found)
	if err != nil {
		return "", err
	}
	if !used {
		return c.splitter(c.here(own, ""))
	}
	node := &Node{Type: typeRouter, Name: serviceNode(own)}
	all := configentry.Route{
		Match:       &configentry.RouteMatch{HTTP: &configentry.HTTPMatch{PathPrefix: "/"}},
		Destination: &configentry.RouteDestination{Service: own, Namespace: namespace, Partition: partition},
	}
	for _, r := range append(slices.Clone(entry.Routes), all) {
		to := c.here(own, "")
		if d := r.Destination; d != nil {
			to = c.here(cmp.Or(d.Service, own), d.ServiceSubset)
		}
		next, err := c.splitter(to)
		if err != nil {
			return "", err
		}
		node.Routes = append(node.Routes, &Route{Definition: r, NextNode: next})
	}
	return c.add(node), nil
}

// add puts a node into the chain and gives its ID.
func (c *compiler) add(n *Node) string {
	id := n.Type + ":" + n.Name
	c.chain.Nodes[id] = n
	return id
}

// splitter makes the node that shares out what goes to a place: a splitter, or where
// there is none or a subset is meant, a resolver.
func (c *compiler) splitter(at place) (string, error) {
	if at.subset != "" {
		return c.resolver(at)
	}
	entry, found, err := read[configentry.ServiceSplitter](c, configentry.KindServiceSplitter, at.service)
	if err != nil {
		return "", err
	}
	used, err := c.used(found)
	if err != nil {
		return "", err
	}
	if !used {
		return c.resolver(at)
	}
	if err := c.consistent(at.service); err != nil {
		return "", err
	}
	node := &Node{Type: typeSplitter, Name: serviceNode(at.service)}
	id := node.Type + ":" + node.Name
	if slices.Contains(c.within, id) {
		return "", fault("detected circular reference: [%s]", strings.Join(append(c.within, id), " -> "))
	}
	if c.chain.Nodes[id] != nil {
		return id, nil
	}
	if c.within = append(c.within, id); len(c.within) > maxNested {
		return "", fault("discovery chain %q: more than %d splitters follow each other", c.request.Service, maxNested)
	}
	for _, s := range entry.Splits {
		if err := c.split(node, at.service, s); err != nil {
			return "", err
		}
	}
	c.within = c.within[:len(c.within)-1]
	return c.add(node), nil
}

// split adds a share to a splitter. One that leads to another splitter is taken apart
// into the shares of that.
func (c *compiler) split(node *Node, own string, s configentry.Split) error {
	to := c.here(cmp.Or(s.Service, own), s.ServiceSubset)
	make := c.splitter
	if to.service == own {
		make = c.resolver
	}
	next, err := make(to)
	if err != nil {
		return err
	}
	inner := c.chain.Nodes[next]
	if inner.Type != typeSplitter {
		if node.LoadBalancer == nil && inner.LoadBalancer.Hashes() {
			node.LoadBalancer = inner.LoadBalancer // one for all shares, as in Consul
		}
		node.Splits = append(node.Splits, &Split{Definition: s, Weight: s.Weight, NextNode: next})
		return nil
	}
	if len(node.Splits)+len(inner.Splits) > maxSplits {
		return fault("discovery chain %q: splitter %q comes to more than %d shares", c.request.Service, node.Name, maxSplits)
	}
	for _, share := range inner.Splits {
		joined := share.Definition
		joined.RequestHeaders = join(s.RequestHeaders, joined.RequestHeaders)
		joined.ResponseHeaders = join(s.ResponseHeaders, joined.ResponseHeaders)
		node.Splits = append(node.Splits, &Split{Definition: joined, Weight: percentage(s.Weight, share.Weight), NextNode: share.NextNode})
	}
	return nil
}

// percentage is a share of a share, with two decimals.
func percentage(of, share float32) float32 {
	return float32(math.Round(float64(of)*float64(share)) / 100)
}

// join joins what two splitters in a row do to headers; the second counts more.
func join(first, second *configentry.HeaderModifiers) *configentry.HeaderModifiers {
	if first == nil {
		return second
	}
	if second == nil {
		return first
	}
	merged := func(a, b map[string]string) map[string]string {
		if len(a)+len(b) == 0 {
			return nil
		}
		m := maps.Clone(a)
		if m == nil {
			m = map[string]string{}
		}
		maps.Copy(m, b)
		return m
	}
	return &configentry.HeaderModifiers{
		Add: merged(first.Add, second.Add), Set: merged(first.Set, second.Set),
		Remove: slices.Concat(first.Remove, second.Remove),
	}
}

// consistent says that a service speaks another protocol than the chain.
func (c *compiler) consistent(service string) error {
	p, err := c.protocolOf(service)
	if err == nil && p != c.protocol {
		err = fault("discovery chain %q uses inconsistent protocols; service %q has %q which is not %q", c.request.Service, service, p, c.protocol)
	}
	return err
}

// resolved follows redirects and default subsets from a place to where they end.
func (c *compiler) resolved(at place) (place, *configentry.ServiceResolver, error) {
	history := []string{at.id()}
	for {
		if err := c.consistent(at.service); at.peer == "" && err != nil {
			return at, nil, err
		}
		entry, _, err := read[configentry.ServiceResolver](c, configentry.KindServiceResolver, at.service)
		if err != nil || at.peer != "" {
			return at, entry, err
		}
		next := at
		if r := entry.Redirect; r != nil {
			next = place{cmp.Or(r.Service, at.service), r.ServiceSubset, cmp.Or(r.Datacenter, at.datacenter), r.Peer}
			if next.service == at.service {
				next.subset = cmp.Or(r.ServiceSubset, at.subset)
			}
			if r.Peer != "" {
				next.datacenter = ""
			}
		}
		if next == at && at.subset == "" {
			next.subset = entry.DefaultSubset
		}
		if next == at {
			if _, known := entry.Subsets[at.subset]; at.subset != "" && !known {
				return at, nil, fault("service %q does not have a subset named %q", at.service, at.subset)
			}
			return at, entry, nil
		}
		at = next
		circular := slices.Contains(history, at.id())
		history = append(history, at.id())
		if circular {
			return at, nil, fault("detected circular resolver redirect: [%s]", strings.Join(history, " -> "))
		}
	}
}

// resolver makes the node that leads to a place.
func (c *compiler) resolver(at place) (string, error) {
	at, entry, err := c.resolved(at)
	if err != nil {
		return "", err
	}
	node := &Node{Type: typeResolver, Name: at.id(), LoadBalancer: entry.LoadBalancer}
	if id := node.Type + ":" + node.Name; c.chain.Nodes[id] != nil {
		return id, nil
	}
	target, err := c.target(at, entry)
	if err != nil {
		return "", err
	}
	node.Resolver = &Resolver{
		ConnectTimeout: target.ConnectTimeout, RequestTimeout: time.Duration(entry.RequestTimeout),
		Default: entry.SaysNothing(), Target: target.ID,
	}
	f, ok := entry.Failover[at.subset]
	if !ok {
		f, ok = entry.Failover[configentry.Wildcard]
	}
	if ok && at.peer == "" {
		if node.Resolver.Failover, err = c.failover(at, f); err != nil {
			return "", err
		}
	}
	return c.add(node), nil
}

// failover lists where to go on from a place.
func (c *compiler) failover(at place, f configentry.Failover) (*Failover, error) {
	var to []place
	with := func(service, subset, datacenter, peer string) {
		next := place{cmp.Or(service, at.service), subset, cmp.Or(datacenter, at.datacenter), peer}
		if peer != "" {
			next.datacenter = ""
		} else if subset == "" && next.service == at.service {
			next.subset = at.subset
		}
		to = append(to, next)
	}
	switch {
	case len(f.Targets) > 0:
		for _, t := range f.Targets {
			with(t.Service, t.ServiceSubset, t.Datacenter, t.Peer)
		}
	case len(f.Datacenters) > 0:
		for _, dc := range f.Datacenters {
			with(f.Service, f.ServiceSubset, dc, "")
		}
	default:
		with(f.Service, f.ServiceSubset, "", "")
	}
	over := &Failover{}
	for _, next := range to {
		next, entry, err := c.resolved(next)
		if err != nil {
			return nil, err
		}
		target, err := c.target(next, entry)
		if err != nil {
			return nil, err
		}
		if next != at && !slices.Contains(over.Targets, target.ID) {
			over.Targets = append(over.Targets, target.ID)
		}
	}
	if len(over.Targets) == 0 {
		return nil, nil
	}
	return over, nil
}

// target notes a place in the chain.
func (c *compiler) target(at place, entry *configentry.ServiceResolver) (*Target, error) {
	if known := c.chain.Targets[at.id()]; known != nil {
		return known, nil
	}
	defaults, _, err := read[configentry.ServiceDefaults](c, configentry.KindServiceDefaults, at.service)
	if err != nil {
		return nil, err
	}
	t := &Target{
		ID: at.id(), Service: at.service, ServiceSubset: at.subset, Namespace: namespace, Partition: partition,
		Datacenter: at.datacenter, Peer: at.peer, Subset: entry.Subsets[at.subset],
		ConnectTimeout: configentry.Duration(cmp.Or(c.request.OverrideConnectTimeout, time.Duration(entry.ConnectTimeout), defaultConnectTimeout)),
		SNI:            at.sni(c.request.TrustDomain), Name: at.sni(c.request.TrustDomain),
	}
	if defaults.ExternalSNI != "" && at.peer == "" {
		t.External, t.SNI = true, defaults.ExternalSNI
	} else {
		t.MeshGateway.Mode = cmp.Or(c.request.OverrideMeshGateway, defaults.MeshGateway.Mode, c.proxies.MeshGateway.Mode)
		t.TransparentProxy.DialedDirectly = defaults.TransparentProxy.DialedDirectly
	}
	c.chain.Targets[t.ID] = t
	return t, nil
}

// keepReachable drops the nodes that nothing leads to any more: splitters that were
// taken apart.
func (c *compiler) keepReachable() {
	nodes := map[string]*Node{}
	var visit func(id string)
	visit = func(id string) {
		n := c.chain.Nodes[id]
		if nodes[id] != nil {
			return
		}
		nodes[id] = n
		for _, r := range n.Routes {
			visit(r.NextNode)
		}
		for _, s := range n.Splits {
			visit(s.NextNode)
		}
	}
	visit(c.chain.StartNode)
	targets := map[string]*Target{}
	for _, n := range nodes {
		if n.Resolver == nil {
			continue
		}
		targets[n.Resolver.Target] = c.chain.Targets[n.Resolver.Target]
		if n.Resolver.Failover != nil {
			for _, id := range n.Resolver.Failover.Targets {
				targets[id] = c.chain.Targets[id]
			}
		}
	}
	c.chain.Nodes, c.chain.Targets = nodes, targets
}
