package dns

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"muster/catalog"
)

// Options are what a Server is given besides its Config.
type Options struct {
	Registerer prometheus.Registerer // nil: no metrics
	Logger     *slog.Logger          // nil: silent
}

// Server answers questions. It implements dns.Handler of miekg/dns.
type Server struct {
	lookup   Lookup
	settings atomic.Pointer[settings]
	ctx      context.Context // of all questions; ends with Close
	cancel   context.CancelFunc
	asking   chan struct{} // one place for each question at a recursor
	inFlight atomic.Int64  // questions being answered
	metrics  *metrics
	logger   *slog.Logger
	buffers  sync.Pool // *[]byte, for packing
}

const (
	// maxRecursions bounds how many questions may wait for recursors at one time.
	maxRecursions = 1024
	// maxInFlight bounds how many may be under way in all, each with a goroutine
	// of miekg/dns: where servers are slow to answer, those beyond fail at once.
	maxInFlight = 8192
)

// New makes a Server that answers from a Lookup.
func New(cfg Config, lookup Lookup, opts Options) (*Server, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{lookup: lookup, logger: opts.Logger, asking: make(chan struct{}, maxRecursions)}
	s.buffers.New = func() any { return new(make([]byte, 4096)) }
	var err error
	if s.metrics, err = newMetrics(opts.Registerer); err != nil {
		return nil, fmt.Errorf("register the metrics of DNS: %w", err)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, s.Reload(cfg)
}

// Reload answers by another Config from now on.
func (s *Server) Reload(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	s.settings.Store(newSettings(cfg))
	return nil
}

// Close ends questions that wait for the catalog or for a recursor.
func (s *Server) Close() { s.cancel() }

// ServeDNS implements dns.Handler.
func (s *Server) ServeDNS(w dns.ResponseWriter, req *dns.Msg) {
	start := time.Now()
	_, udp := w.LocalAddr().(*net.UDPAddr)
	c := &call{settings: s.settings.Load(), server: s, ctx: s.ctx, tcp: !udp, from: asker(w.RemoteAddr(), req)}
	buf := s.buffers.Get().(*[]byte)
	defer s.buffers.Put(buf)
	var out []byte
	kind, err := kindRefused, errOverloaded
	if s.inFlight.Add(1) <= maxInFlight {
		out, kind, err = c.respond(req, *buf)
	}
	s.inFlight.Add(-1)
	if err != nil {
		s.logger.Debug("an answer could not be made", "error", err)
		out, err = failure(req).PackBuffer(*buf)
	}
	if err == nil {
		if cap(out) > cap(*buf) {
			*buf = out[:cap(out)]
		}
		_, err = w.Write(out)
	}
	if err != nil {
		s.logger.Debug("an answer could not be sent", "to", w.RemoteAddr(), "error", err)
	}
	s.metrics.answered(kind, start)
}

var errOverloaded = fmt.Errorf("%d questions are being answered already", maxInFlight)

// failure answers a request that can't be answered otherwise.
func failure(req *dns.Msg) *dns.Msg {
	m := new(dns.Msg)
	m.SetRcode(req, dns.RcodeServerFailure)
	return m
}

// respond answers a request as bytes, and says what kind it was.
func (c *call) respond(req *dns.Msg, buf []byte) (out []byte, kind string, err error) {
	m := new(dns.Msg)
	m.SetReply(req)
	m.Compress = !c.DisableCompression
	m.RecursionAvailable = len(c.Recursors) > 0
	opt := req.IsEdns0()
	if opt != nil {
		m.Extra = []dns.RR{replyOPT(opt)}
	}
	if m.Rcode = refuse(req, opt); m.Rcode != dns.RcodeSuccess {
		out, err = m.PackBuffer(buf)
		return out, kindRefused, err
	}
	q := req.Question[0]
	l := c.limitsOf(opt)
	a, kind, err := c.ask(q)
	if opt != nil && c.scoped {
		narrow(m.IsEdns0())
	}
	switch {
	case err != nil:
		// Not a fault of the question: a server can't be reached, for one.
		c.server.logger.Debug("the catalog could not be asked", "name", q.Name, "error", err)
		m.Rcode = dns.RcodeServerFailure
		out, err = m.PackBuffer(buf)
	case a != nil:
		m.Authoritative, m.Rcode = true, a.rcode
		out, err = c.pack(m, a, l, buf)
	case len(c.Recursors) == 0:
		m.Rcode, kind = dns.RcodeRefused, kindRefused
		out, err = m.PackBuffer(buf)
	default:
		out, err = limited(c.recurse(req, m), l).PackBuffer(buf)
	}
	return out, kind, err
}

// asker is the address that a question comes from: the client's whose subnet a
// resolver tells (RFC 7871), else the sender's.
func asker(remote net.Addr, req *dns.Msg) netip.Addr {
	if opt := req.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if subnet, ok := o.(*dns.EDNS0_SUBNET); ok {
				// A resolver that wants its client hidden tells a subnet of no bits.
				if addr, ok := netip.AddrFromSlice(subnet.Address); ok && subnet.SourceNetmask > 0 {
					return addr.Unmap()
				}
			}
		}
	}
	from, _ := netip.ParseAddrPort(remote.String())
	return from.Addr().Unmap()
}

// refuse gives the code for a message that is no question we could answer.
func refuse(req *dns.Msg, opt *dns.OPT) int {
	switch {
	case req.Opcode != dns.OpcodeQuery:
		return dns.RcodeNotImplemented
	case len(req.Question) != 1:
		return dns.RcodeFormatError
	case opt != nil && opt.Version() != 0:
		return dns.RcodeBadVers // RFC 6891 §6.1.3
	}
	q := req.Question[0]
	switch {
	case q.Qtype == dns.TypeAXFR, q.Qtype == dns.TypeIXFR:
		return dns.RcodeNotImplemented
	case q.Qclass != dns.ClassINET && q.Qclass != dns.ClassANY:
		return dns.RcodeRefused
	}
	return dns.RcodeSuccess
}

// replyOPT answers an asker's EDNS: its own size back, and that the answer is
// good for every client subnet (RFC 7871 §7.2.1) unless narrow says otherwise.
func replyOPT(asked *dns.OPT) *dns.OPT {
	opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	opt.SetUDPSize(asked.UDPSize())
	for _, o := range asked.Option {
		if subnet, ok := o.(*dns.EDNS0_SUBNET); ok {
			echo := *subnet
			echo.SourceScope = 0
			opt.Option = append(opt.Option, &echo)
			break
		}
	}
	return opt
}

// narrow says that an answer is good for no more than the subnet that was told.
func narrow(opt *dns.OPT) {
	for _, o := range opt.Option {
		if subnet, ok := o.(*dns.EDNS0_SUBNET); ok {
			subnet.SourceScope = subnet.SourceNetmask
		}
	}
}

// ask answers from the catalog; nil where the name is none of ours.
func (c *call) ask(q dns.Question) (a *answer, kind string, err error) {
	name := catalog.Fold(q.Name)
	if z, ok := c.zoneOf(name); ok {
		a, err = c.inZone(q, z, 0)
		return a, kindDomain, err
	}
	addr, below := parseReverse(name)
	if !below {
		return nil, kindRecursive, nil
	}
	a, err = c.reverse(q, addr)
	if err == nil && a == nil && len(c.Recursors) == 0 {
		a = c.missing(c.zones[0])
	}
	return a, kindReverse, err
}
