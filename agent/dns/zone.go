package dns

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"muster/catalog"
)

// answer is what there is to say to a question, before it is cut to size.
type answer struct {
	rcode int
	set   *recordSet
	// tail are records that follow those of the set, such as what a CNAME leads to.
	tail      []dns.RR
	authority []dns.RR
	extra     []dns.RR
}

// call is one question being answered.
type call struct {
	*settings
	server *Server
	ctx    context.Context
	tcp    bool
	from   netip.Addr // who asks, or for whom a resolver does; invalid if unknown
	scoped bool       // the answer may be another one for who asks from elsewhere
}

// maxDepth bounds how many names an answer may lead through.
const maxDepth = 3

// serversService is the service whose instances are the servers.
const serversService = "consul"

// inZone answers a question about a name in one of our zones.
func (c *call) inZone(q dns.Question, z zone, depth int) (*answer, error) {
	apex := z.domain
	if len(q.Name) == len(apex) {
		apex = q.Name // with its letters as they were asked
	}
	switch q.Qtype {
	case dns.TypeSOA:
		ns, extra, err := c.nameServers(z)
		return &answer{set: c.plain(c.soa(z, apex)), authority: ns, extra: extra}, err
	case dns.TypeNS:
		ns, extra, err := c.nameServers(z)
		for _, rr := range ns {
			rr.Header().Name = apex
		}
		return &answer{set: c.plain(ns...), extra: extra}, err
	}
	s := parseName(q.Name[:len(q.Name)-len(z.domain)], c.Datacenter)
	switch {
	case s.kind == kindAddr && s.name != "":
		return c.hexAddress(q, z, s)
	case s.kind == "" || !s.here:
		return c.missing(z), nil
	case s.name == "":
		return c.empty(z), nil // it is there, for what is below it (RFC 8020)
	}
	switch s.kind {
	case kindService:
		return c.service(q, z, s, c.server.lookup.Service, depth)
	case kindConnect:
		s.tag = "" // as Consul, which takes no tags here
		return c.service(q, z, s, c.server.lookup.Mesh, depth)
	case kindIngress:
		s.tag = ""
		return c.service(q, z, s, c.server.lookup.Ingress, depth)
	case kindNode:
		return c.node(q, z, s, depth)
	case kindVirtual:
		return c.empty(z), nil // no service has a virtual address yet
	case kindQuery:
		return c.query(q, z, s, depth)
	default:
		return c.missing(z), nil
	}
}

// plain makes a set of records that go with nothing.
func (c *call) plain(rrs ...dns.RR) *recordSet {
	set := &recordSet{known: true}
	for _, rr := range rrs {
		set.items = append(set.items, &item{rr: rr, size: dns.Len(rr)})
	}
	return set
}

// missing answers that there is no such name, empty that there is nothing of the
// type that was asked for (RFC 2308).
func (c *call) missing(z zone) *answer {
	return &answer{rcode: dns.RcodeNameError, authority: []dns.RR{c.soa(z, z.domain)}}
}

func (c *call) empty(z zone) *answer {
	return &answer{authority: []dns.RR{c.soa(z, z.domain)}}
}

func (c *call) soa(z zone, owner string) dns.RR {
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: c.SOA.MinTTL},
		Ns:  "ns." + z.domain, Mbox: "hostmaster." + z.domain, Serial: uint32(time.Now().Unix()),
		Refresh: c.SOA.Refresh, Retry: c.SOA.Retry, Expire: c.SOA.Expire, Minttl: c.SOA.MinTTL,
	}
}

// nameServers gives the NS records of a zone, which are the servers that are not
// critical, and their addresses.
func (c *call) nameServers(z zone) (ns, extra []dns.RR, err error) {
	svc, err := c.server.lookup.Service(c.ctx, serversService)
	if err != nil || svc == nil {
		return nil, nil, err
	}
	r := renderer{settings: c.settings, zone: z, ttl: c.nodeTTL}
	for i := range svc.Instances {
		in := &svc.Instances[i]
		name, valid := fqdn(in.Node.Node, ".node."+c.Datacenter+"."+z.domain)
		if h := in.health(); !valid || h != catalog.StatusPassing && h != catalog.StatusWarning {
			continue
		}
		ns = append(ns, &dns.NS{Hdr: r.header(z.domain, dns.TypeNS), Ns: name})
		for _, addr := range nodePlace(in.Node).addrs {
			extra = append(extra, r.address(name, addr))
		}
	}
	return ns, extra, nil
}

// service answers about a service's instances.
func (c *call) service(q dns.Question, z zone, s subject, find func(context.Context, string) (*Service, error), depth int) (*answer, error) {
	svc, err := find(c.ctx, s.name)
	if err != nil {
		return nil, err
	}
	if svc == nil {
		return c.missing(z), nil
	}
	set := svc.records(question{q.Name, q.Qtype, c.settings}, func() *recordSet {
		r := renderer{settings: c.settings, zone: z, owner: q.Name, qtype: q.Qtype, ttl: c.serviceTTL(s.name)}
		return r.render(r.healthy(svc.Instances, func(in *Instance) bool { return s.tag == "" || in.hasTag(s.tag) }))
	})
	if !set.known {
		return c.missing(z), nil
	}
	return c.chase(q, z, set, depth), nil
}

// query answers with what a prepared query finds.
func (c *call) query(q dns.Question, z zone, s subject, depth int) (*answer, error) {
	found, err := c.server.lookup.Query(c.ctx, s.name, c.from)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return c.missing(z), nil
	}
	c.scoped = true
	r := renderer{settings: c.settings, zone: z, owner: q.Name, qtype: q.Qtype, ttl: c.serviceTTL(catalog.Fold(found.Service))}
	if ttl, ok := found.DNS.Lifetime(); ok {
		r.ttl = seconds(ttl)
	}
	instances := make([]*Instance, len(found.Instances))
	for i := range instances {
		instances[i] = &found.Instances[i]
	}
	set := r.render(instances)
	set.ordered = found.Nearest
	if !set.known {
		return c.missing(z), nil
	}
	return c.chase(q, z, set, depth), nil
}

// node answers about a node.
func (c *call) node(q dns.Question, z zone, s subject, depth int) (*answer, error) {
	n, err := c.server.lookup.Node(c.ctx, s.name)
	if err != nil {
		return nil, err
	}
	if n == nil {
		return c.missing(z), nil
	}
	r := renderer{settings: c.settings, zone: z, owner: q.Name, qtype: q.Qtype, ttl: c.nodeTTL}
	text := r.metadata(q.Name, n.Meta)
	var extra []dns.RR
	set := &recordSet{known: true}
	switch q.Qtype {
	case dns.TypeA, dns.TypeAAAA, dns.TypeANY, dns.TypeCNAME:
		set.items = r.addresses([]*Instance{{Node: n, Service: &catalog.Service{}}})
		if q.Qtype == dns.TypeANY {
			set.items = append(set.items, c.plain(text...).items...)
		} else if c.NodeMetaTXT && q.Qtype != dns.TypeCNAME {
			extra = text
		}
	case dns.TypeTXT:
		set = c.plain(text...)
	}
	a := c.chase(q, z, set, depth)
	a.extra = append(a.extra, extra...)
	return a, nil
}

// maxChased bounds how many names of one answer are looked up.
const maxChased = 4

// chase finds what the names in a set lead to, and finishes the answer.
func (c *call) chase(q dns.Question, z zone, set *recordSet, depth int) *answer {
	if len(set.items) == 0 {
		return c.empty(z)
	}
	a := &answer{set: set}
	if set.items[0].chase != "" && q.Qtype != dns.TypeSRV {
		// A name has one CNAME record at most.
		alias := set.items[0]
		if !set.ordered {
			alias = set.items[rand.IntN(len(set.items))]
		}
		a.set = &recordSet{items: []*item{alias}, known: true}
		a.tail = c.follow(alias.chase, q.Qtype, depth)
		return a
	}
	chased := map[string]bool{}
	for _, it := range set.items {
		if it.chase != "" && !chased[it.chase] && len(chased) < maxChased {
			chased[it.chase] = true
			a.extra = append(a.extra, c.follow(it.chase, dns.TypeA, depth)...)
		}
	}
	return a
}

// follow gives the records that a name leads to, in our zones or by way of the
// recursors, none where they can't be had: whoever asked can still ask himself.
func (c *call) follow(name string, qtype uint16, depth int) []dns.RR {
	if depth >= maxDepth {
		return nil
	}
	q := dns.Question{Name: name, Qtype: qtype, Qclass: dns.ClassINET}
	z, ok := c.zoneOf(strings.ToLower(name))
	if !ok {
		return c.followOutside(q)
	}
	a, err := c.inZone(q, z, depth+1)
	if err != nil || a.set == nil {
		return nil
	}
	var rrs []dns.RR
	for _, it := range a.set.items {
		rrs = append(rrs, it.rr)
	}
	rand.Shuffle(len(rrs), func(i, j int) { rrs[i], rrs[j] = rrs[j], rrs[i] })
	return append(rrs, a.tail...)
}

// hexAddress answers with the address that a name itself says. Where that is of
// the other family, it goes to the additional section, as Consul has it.
func (c *call) hexAddress(q dns.Question, z zone, s subject) (*answer, error) {
	addr, ok := parseHexAddr(s.name)
	if !ok {
		return c.missing(z), nil
	}
	r := renderer{settings: c.settings, ttl: c.nodeTTL}
	rr := r.address(q.Name, addr)
	if wanted(addr, q.Qtype) {
		return &answer{set: c.plain(rr)}, nil
	}
	a := c.empty(z)
	a.extra = []dns.RR{rr}
	return a, nil
}

// reverse answers which names an address has; nil where it has none.
func (c *call) reverse(q dns.Question, addr netip.Addr) (*answer, error) {
	if !addr.IsValid() {
		return nil, nil
	}
	names, err := c.server.lookup.Named(c.ctx, addr)
	if err != nil {
		return nil, err
	}
	var targets []string
	add := func(kind string, list []string) {
		for _, name := range list {
			if full, ok := fqdn(name, "."+kind+"."+c.Datacenter+"."+c.zones[0].domain); ok {
				targets = append(targets, full)
			}
		}
	}
	if add("node", names.Nodes); len(targets) == 0 {
		add("service", names.Services)
	}
	if len(targets) == 0 {
		return nil, nil
	}
	if q.Qtype != dns.TypePTR && q.Qtype != dns.TypeANY {
		return c.empty(c.zones[0]), nil
	}
	var rrs []dns.RR
	for _, t := range targets {
		rrs = append(rrs, &dns.PTR{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypePTR, Class: dns.ClassINET}, Ptr: t})
	}
	return &answer{set: c.plain(rrs...)}, nil
}

// zoneOf finds the zone that a name in lower case is in.
func (s *settings) zoneOf(name string) (zone, bool) {
	for _, z := range s.zones {
		if name == z.domain || strings.HasSuffix(name, z.suffix) {
			return z, true
		}
	}
	return zone{}, false
}
