package dns

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"muster/catalog"
)

// item is one record of an answer with the records that are only of use beside
// it: the addresses and the metadata of an SRV record's target.
type item struct {
	rr    dns.RR
	extra []dns.RR
	size  int // bytes that both take, at most
	// chase is the name that the record points to, where its addresses have to be
	// found each time.
	chase string
}

// recordSet is the records for one question. It never changes.
type recordSet struct {
	items []*item
	// known says that there is something of the name, if not of the type.
	known bool
	// shared says that several items have the same extra records.
	shared bool
	// ordered says that the first items are the best, and not all the same.
	ordered bool
}

// renderer makes records of a service.
type renderer struct {
	*settings
	zone  zone
	owner string // the name as it was asked
	qtype uint16
	ttl   uint32
}

func (r *renderer) header(owner string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: owner, Rrtype: rrtype, Class: dns.ClassINET, Ttl: r.ttl}
}

// address makes the A or AAAA record of an address.
func (r *renderer) address(owner string, addr netip.Addr) dns.RR {
	if addr.Is4() {
		return &dns.A{Hdr: r.header(owner, dns.TypeA), A: addr.AsSlice()}
	}
	return &dns.AAAA{Hdr: r.header(owner, dns.TypeAAAA), AAAA: addr.AsSlice()}
}

// healthy gives the instances that match and are well enough to be shown.
func (r *renderer) healthy(instances []Instance, match func(*Instance) bool) (found []*Instance) {
	for i := range instances {
		in := &instances[i]
		health := in.health()
		if health == catalog.StatusPassing || health == catalog.StatusWarning && !r.OnlyPassing {
			if match(in) {
				found = append(found, in)
			}
		}
	}
	return found
}

// render makes the records of instances.
func (r *renderer) render(found []*Instance) *recordSet {
	set := &recordSet{known: len(found) > 0}
	switch r.qtype {
	case dns.TypeA, dns.TypeAAAA, dns.TypeANY, dns.TypeCNAME:
		set.items = r.addresses(found)
	case dns.TypeSRV:
		set.items, set.shared = r.servers(found)
	}
	return set
}

// addresses answers with where the instances are, each address once. A name with
// a CNAME record can have no other one (RFC 1034 §3.6.2), so names count only
// where there are no addresses; fit draws one of them.
func (r *renderer) addresses(found []*Instance) []*item {
	var items, aliases []*item
	seen := map[netip.Addr]bool{}
	names := map[string]bool{}
	for _, in := range found {
		p := r.place(in)
		for _, addr := range p.addrs {
			if wanted(addr, r.qtype) && !seen[addr] {
				seen[addr] = true
				items = append(items, r.item(r.address(r.owner, addr), nil))
			}
		}
		if p.name != "" && !names[p.name] {
			names[p.name] = true
			alias := r.item(&dns.CNAME{Hdr: r.header(r.owner, dns.TypeCNAME), Target: p.name}, nil)
			if r.qtype != dns.TypeCNAME {
				alias.chase = p.name
			}
			aliases = append(aliases, alias)
		}
	}
	if len(items) == 0 {
		return aliases
	}
	return items
}

// wanted says whether an address's record is of a type that was asked for.
func wanted(addr netip.Addr, qtype uint16) bool {
	switch qtype {
	case dns.TypeA:
		return addr.Is4()
	case dns.TypeAAAA:
		return addr.Is6()
	}
	return qtype == dns.TypeANY
}

// servers answers with targets, ports and weights (RFC 2782).
func (r *renderer) servers(found []*Instance) (items []*item, shared bool) {
	type target struct {
		name string
		port int
	}
	seen, targets := map[target]bool{}, map[string]bool{}
	for _, in := range found {
		p := r.place(in)
		name, extra := r.target(in, p)
		t := target{name, in.Service.Port}
		if name == "" || seen[t] {
			continue
		}
		seen[t] = true
		shared = shared || targets[name]
		targets[name] = true
		srv := &dns.SRV{
			Hdr: r.header(r.owner, dns.TypeSRV), Priority: 1, Weight: weight(in),
			Port: uint16(max(0, min(in.Service.Port, 1<<16-1))), Target: name,
		}
		it := r.item(srv, extra)
		if p.name != "" {
			it.chase = p.name
		}
		items = append(items, it)
	}
	return items, shared
}

// target names an instance in an SRV record: by its node where it has no address
// of its own, else by that address.
func (r *renderer) target(in *Instance, p place) (name string, extra []dns.RR) {
	node, valid := fqdn(in.Node.Node, ".node."+in.Node.Datacenter+"."+r.zone.domain)
	if in.Node.Datacenter == "" {
		node, valid = fqdn(in.Node.Node, ".node."+r.Datacenter+"."+r.zone.domain)
	}
	switch {
	case p.name != "":
		name = p.name
	case len(p.addrs) == 0:
		return "", nil
	case p.ofNode && valid:
		name = node
		for _, addr := range p.addrs {
			extra = append(extra, r.address(name, addr))
		}
	default:
		name = hexAddr(p.addrs[0]) + ".addr." + r.Datacenter + "." + r.zone.domain
		extra = append(extra, r.address(name, p.addrs[0]))
	}
	if r.NodeMetaTXT && valid {
		extra = append(extra, r.metadata(node, in.Node.Meta)...)
	}
	return name, extra
}

// place is where an instance or a node is.
type place struct {
	addrs  []netip.Addr // the one to prefer first
	name   string       // instead of addresses
	ofNode bool         // the instance has none of its own
}

// place finds out where an instance is: by its own address, else by its tagged
// ones, with the node's where it has none of a family. An address that is the
// very name that was asked for leads nowhere, and the node's is taken.
func (r *renderer) place(in *Instance) place {
	node := nodePlace(in.Node)
	tagged := func(name string) string { return in.Service.TaggedAddresses[name].Address }
	p, ok := placeOf(in.Service.Address, tagged("lan_ipv4"), tagged("lan_ipv6"))
	if !ok || strings.EqualFold(p.name, r.owner) {
		node.ofNode = true
		return node
	}
	if in.Service.Address == "" {
		for _, addr := range node.addrs {
			p.add(addr)
		}
	}
	return p
}

func nodePlace(n *catalog.Node) place {
	p, _ := placeOf(n.Address, n.TaggedAddresses["lan_ipv4"], n.TaggedAddresses["lan_ipv6"])
	return p
}

// placeOf reads an address and those that are tagged with a family, which add
// what the first doesn't have; ok is false where there is none.
func placeOf(address string, tagged ...string) (p place, ok bool) {
	if _, err := netip.ParseAddr(address); err != nil && address != "" {
		if name, ok := hostname(address); ok {
			return place{name: name}, true
		}
	}
	for _, text := range append([]string{address}, tagged...) {
		if addr, err := netip.ParseAddr(text); err == nil {
			p.add(addr.Unmap().WithZone(""))
		}
	}
	return p, len(p.addrs) > 0
}

// add takes an address unless there is one of its family.
func (p *place) add(addr netip.Addr) {
	if !slices.ContainsFunc(p.addrs, func(a netip.Addr) bool { return a.Is4() == addr.Is4() }) {
		p.addrs = append(p.addrs, addr)
	}
}

// weight is an instance's share by its health, within what the record can hold.
func weight(in *Instance) uint16 {
	w := in.Service.Weights.Passing
	if in.health() == catalog.StatusWarning {
		w = in.Service.Weights.Warning
	}
	return uint16(max(1, min(w, 1<<16-1)))
}

// maxText is the length of one string of a TXT record (RFC 1035 §3.3.14).
const maxText = 255

// metadata makes TXT records of a node's metadata, sorted by key: "key=value"
// (RFC 1464), or the value alone where the key begins with rfc1035-.
func (r *renderer) metadata(owner string, meta map[string]string) []dns.RR {
	var rrs []dns.RR
	for _, key := range slices.SortedFunc(maps.Keys(meta), cmp.Compare[string]) {
		text := meta[key]
		if !strings.HasPrefix(strings.ToLower(key), "rfc1035-") {
			text = key + "=" + text
		}
		var parts []string
		for len(text) > maxText {
			parts, text = append(parts, text[:maxText]), text[maxText:]
		}
		parts = append(parts, text)
		for i := range parts {
			parts[i] = strings.ReplaceAll(parts[i], `\`, `\\`)
		}
		rrs = append(rrs, &dns.TXT{Hdr: r.header(owner, dns.TypeTXT), Txt: parts})
	}
	return rrs
}

// item counts the bytes of records. With compression the owner of the first is
// the question's name and that of the others mostly its target: a pointer each.
func (r *renderer) item(rr dns.RR, extra []dns.RR) *item {
	it := &item{rr: rr, extra: extra, size: dns.Len(rr)}
	pointTo := func(owner, to string) {
		if !r.DisableCompression && owner == to {
			it.size -= len(owner) + 1 - 2
		}
	}
	pointTo(rr.Header().Name, r.owner)
	srv, _ := rr.(*dns.SRV)
	for _, e := range extra {
		it.size += dns.Len(e)
		if srv != nil {
			pointTo(e.Header().Name, srv.Target)
		}
	}
	return it
}
