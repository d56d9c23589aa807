package dns

import (
	"encoding/hex"
	"net/netip"
	"strings"

	"github.com/miekg/dns"

	"muster/catalog"
)

// kind is what a name in a zone is about: the label that says so.
type kind string

const (
	kindService kind = "service"
	kindConnect kind = "connect"
	kindIngress kind = "ingress"
	kindVirtual kind = "virtual"
	kindNode    kind = "node"
	kindQuery   kind = "query"
	kindAddr    kind = "addr"
)

// subject is what a name asks about.
type subject struct {
	kind kind // "" where the name means nothing
	// name is that of the service, node or query, "" for the label above them
	// all, and tag that of the instances; both in lower case.
	name string
	tag  string
	// here says that the name is in this agent's datacenter.
	here bool
}

// parseName reads a name, given without its zone. The last label that names a
// kind counts, as a node's own name may hold dots.
//
//	[tag.]service.service[.dc[.dc]]    _service._tag[.service][.dc[.dc]]
//	node.node[.dc[.dc]]                hex.addr[.dc]
//	query.query[.dc[.dc]]              _query._proto.query[.dc[.dc]]
func parseName(name, datacenter string) subject {
	labels := dns.SplitDomainName(name)
	for i, l := range labels {
		labels[i] = catalog.Fold(unescape(l))
	}
	for i := len(labels) - 1; i >= 0; i-- {
		switch k := kind(labels[i]); k {
		case kindService, kindConnect, kindIngress, kindVirtual, kindNode, kindQuery, kindAddr:
			s := subject{kind: k, here: inDatacenter(labels[i+1:], datacenter)}
			s.split(labels[:i])
			return s
		}
	}
	if len(labels) >= 2 && rfc2782(labels[0]) && rfc2782(labels[1]) {
		s := subject{kind: kindService, here: inDatacenter(labels[2:], datacenter)}
		s.split(labels[:2])
		return s
	}
	// A datacenter alone has names below it, as has the zone itself.
	if inDatacenter(labels, datacenter) || len(labels) == 1 && labels[0] == "dc" {
		return subject{kind: kindNode, here: true}
	}
	return subject{}
}

// inDatacenter reads what stands between kind and zone.
func inDatacenter(labels []string, datacenter string) bool {
	if len(labels) == 2 && labels[1] == "dc" {
		labels = labels[:1]
	}
	return len(labels) == 0 || len(labels) == 1 && labels[0] == datacenter
}

// split takes the labels before the kind.
func (s *subject) split(labels []string) {
	n := len(labels)
	switch {
	case n == 0:
	case s.kind == kindQuery && n >= 2 && rfc2782(labels[0]) && rfc2782(labels[n-1]):
		s.name = strings.Join(labels[:n-1], ".")[1:]
	case s.kind == kindNode, s.kind == kindQuery, s.kind == kindAddr:
		s.name = strings.Join(labels, ".")
	case s.kind == kindService && n == 2 && rfc2782(labels[0]) && rfc2782(labels[1]):
		s.name, s.tag = labels[0][1:], labels[1][1:]
		if s.tag == "tcp" { // a protocol, not a tag
			s.tag = ""
		}
	default:
		// Tags may hold dots, services can't.
		s.name, s.tag = labels[n-1], strings.Join(labels[:n-1], ".")
	}
}

// rfc2782 says whether a label is of the form _name.
func rfc2782(label string) bool { return len(label) > 1 && label[0] == '_' }

// unescape undoes the presentation format of a label: \DDD and \X.
func unescape(label string) string {
	if !strings.Contains(label, `\`) {
		return label
	}
	var b strings.Builder
	for i := 0; i < len(label); i++ {
		c := label[i]
		if c == '\\' && i+1 < len(label) {
			if isDigit(label[i+1]) && i+3 < len(label) {
				c = (label[i+1]-'0')*100 + (label[i+2]-'0')*10 + label[i+3] - '0'
				i += 3
			} else {
				c = label[i+1]
				i++
			}
		}
		b.WriteByte(c)
	}
	return b.String()
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// escaper makes a name of the catalog one in presentation format. Dots stay, as
// node names may span labels.
var escaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `(`, `\(`, `)`, `\)`, `;`, `\;`, `@`, `\@`, `$`, `\$`)

// fqdn puts a name into a zone; ok is false where that isn't valid in DNS.
func fqdn(name, in string) (full string, ok bool) {
	full = escaper.Replace(name) + in
	return full, name != "" && isName(full)
}

// isName says whether a name can be written in a message (RFC 1035 §2.3.4).
// dns.IsDomainName takes some that are a little longer than the 255 octets.
func isName(name string) bool {
	if _, ok := dns.IsDomainName(name); !ok {
		return false
	}
	size := 1
	for _, label := range dns.SplitDomainName(name) {
		size += len(unescape(label)) + 1
	}
	return size <= 255
}

// hostname reads an address that is no IP as a name.
func hostname(address string) (name string, ok bool) {
	name = dns.Fqdn(address)
	return name, isName(name) && address != "" && name != "." && !strings.ContainsAny(address, " /:")
}

// hexAddr is an address as the first label of a name below "addr".
func hexAddr(addr netip.Addr) string { return hex.EncodeToString(addr.AsSlice()) }

// parseHexAddr undoes hexAddr.
func parseHexAddr(label string) (netip.Addr, bool) {
	raw, err := hex.DecodeString(label)
	if err != nil {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(raw)
}

const (
	reverse4 = ".in-addr.arpa."
	reverse6 = ".ip6.arpa."
)

// parseReverse reads the address of a name in lower case below in-addr.arpa or
// ip6.arpa (RFC 1035 §3.5, RFC 3596 §2.5); below says whether it is one.
func parseReverse(name string) (addr netip.Addr, below bool) {
	if digits, ok := strings.CutSuffix(name, reverse4); ok {
		parts := strings.Split(digits, ".")
		if len(parts) != 4 {
			return addr, true
		}
		parts[0], parts[1], parts[2], parts[3] = parts[3], parts[2], parts[1], parts[0]
		addr, _ = netip.ParseAddr(strings.Join(parts, "."))
		return addr, true
	}
	digits, ok := strings.CutSuffix(name, reverse6)
	if !ok {
		return addr, false
	}
	if len(digits) != 63 {
		return addr, true
	}
	var nibbles [32]byte
	for i := range nibbles {
		if i > 0 && digits[2*i-1] != '.' {
			return addr, true
		}
		nibbles[31-i] = digits[2*i]
	}
	addr, _ = parseHexAddr(string(nibbles[:]))
	return addr, true
}
