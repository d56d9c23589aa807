package dns

import (
	"math/rand/v2"
	"slices"

	"github.com/miekg/dns"
)

const (
	// minUDP is what every asker takes (RFC 1035 §2.3.4), maxUDP what fits into
	// one datagram.
	minUDP = 512
	maxUDP = 65507
	maxTCP = dns.MaxMsgSize - 1

	headerSize = 12
)

// limits are how much of an answer the asker can take.
type limits struct {
	bytes   int
	records int // of the answer section; 0 is no bound
	udp     bool
}

// limitsOf reads what a request says about it (RFC 6891 §6.2.3).
func (c *call) limitsOf(opt *dns.OPT) limits {
	l := limits{bytes: maxTCP}
	if !c.tcp {
		l = limits{bytes: minUDP, udp: true}
		if opt == nil {
			l.records = c.UDPAnswerLimit
		} else {
			l.bytes = min(max(minUDP, int(opt.UDPSize())), maxUDP)
		}
	}
	return l
}

// pack makes the message of an answer: records in random order, unless theirs says
// which is best, as many as the asker can take. buf is used if it is large enough.
func (c *call) pack(m *dns.Msg, a *answer, l limits, buf []byte) ([]byte, error) {
	var items []*item
	ordered := false
	if a.set != nil {
		items, ordered = a.set.items, a.set.ordered
	}
	all := len(items)
	// An address limit is a choice and not a cut: it sets no TC bit.
	switch m.Question[0].Qtype {
	case dns.TypeA, dns.TypeAAAA, dns.TypeANY:
		if c.ARecordLimit > 0 {
			all = min(all, c.ARecordLimit)
		}
	}
	most := all
	if l.records > 0 {
		most = min(most, l.records)
	}
	opt := m.IsEdns0()
	fixed := headerSize + len(m.Question[0].Name) + 5
	for _, rrs := range [][]dns.RR{a.authority, a.extra, a.tail} {
		for _, rr := range rrs {
			fixed += dns.Len(rr)
		}
	}
	if opt != nil {
		fixed += dns.Len(opt)
	}
	chosen := choose(items, most, l.bytes-fixed, ordered)
	for {
		c.assemble(m, a, chosen, opt)
		cut := len(chosen) < all
		m.Truncated = cut && l.udp && (c.EnableTruncate || len(chosen) == 0)
		out, err := m.PackBuffer(buf)
		if err != nil || len(out) <= l.bytes {
			return out, err
		}
		// Names that are far into a message, or of other owners, pack worse than
		// they were counted.
		if over := len(out) - l.bytes; len(chosen) > 0 {
			for over > 0 && len(chosen) > 0 {
				over -= chosen[len(chosen)-1].size
				chosen = chosen[:len(chosen)-1]
			}
		} else if !a.shorten() {
			m.Answer, m.Ns, m.Extra, m.Truncated = nil, nil, nil, true
			return m.PackBuffer(buf)
		}
	}
}

// shorten leaves out what an answer is of use without; it says whether there
// was any.
func (a *answer) shorten() bool {
	switch {
	case len(a.extra) > 0:
		a.extra = a.extra[:len(a.extra)/2]
	case len(a.tail) > 0:
		a.tail = a.tail[:len(a.tail)/2]
	default:
		return false
	}
	return true
}

// choose draws items in random order, or takes the first where they are ordered, at
// most so many, while there is room.
func choose(items []*item, most, room int, ordered bool) []*item {
	chosen := slices.Clone(items)
	for i := range min(most, len(chosen)) {
		if !ordered {
			j := i + rand.IntN(len(chosen)-i)
			chosen[i], chosen[j] = chosen[j], chosen[i]
		}
		if room -= chosen[i].size; room < 0 {
			return chosen[:i]
		}
	}
	return chosen[:min(most, len(chosen))]
}

// assemble puts the chosen items and what goes with them into a message.
func (c *call) assemble(m *dns.Msg, a *answer, chosen []*item, opt *dns.OPT) {
	m.Answer = make([]dns.RR, 0, len(chosen)+len(a.tail))
	m.Ns = a.authority
	m.Extra = make([]dns.RR, 0, len(chosen)+len(a.extra)+1)
	var seen map[dns.RR]bool
	if a.set != nil && a.set.shared {
		seen = make(map[dns.RR]bool, len(chosen))
	}
	for _, it := range chosen {
		m.Answer = append(m.Answer, it.rr)
		for _, rr := range it.extra {
			if seen == nil {
				m.Extra = append(m.Extra, rr)
			} else if !seen[rr] {
				seen[rr] = true
				m.Extra = append(m.Extra, rr)
			}
		}
	}
	m.Answer = append(m.Answer, a.tail...)
	m.Extra = append(m.Extra, a.extra...)
	if opt != nil {
		m.Extra = append(m.Extra, opt)
	}
}
