package dns

import (
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Config is how questions are answered. The defaults are Consul's; see
// https://developer.hashicorp.com/consul/docs/reference/agent/configuration-file/dns.
type Config struct {
	Datacenter string
	// Domain and AltDomain are the zones that are answered for; AltDomain may be
	// "". An answer is in the zone that was asked.
	Domain    string // default "consul."
	AltDomain string

	// OnlyPassing leaves out instances with a warning; critical ones always are.
	OnlyPassing bool
	// NodeTTL and ServiceTTL are for how long answers may be kept; default 0. A
	// name in ServiceTTL may end in *, and the longest that fits wins.
	NodeTTL    time.Duration
	ServiceTTL map[string]time.Duration
	SOA        SOA

	// UDPAnswerLimit bounds the records of an answer over UDP to an asker without
	// EDNS; default 3. ARecordLimit bounds addresses in any answer; 0 is no bound.
	UDPAnswerLimit int
	ARecordLimit   int
	// EnableTruncate sets the TC bit where an answer over UDP was cut.
	EnableTruncate     bool
	DisableCompression bool
	// NodeMetaTXT adds nodes' metadata as TXT records; default true.
	NodeMetaTXT bool

	// Recursors are asked, each as host:port, for names outside of the zones.
	// Without them such questions are refused.
	Recursors        []string
	RecursorTimeout  time.Duration // for one recursor; default 2s
	RecursorStrategy string        // Sequential, the default, or Random
}

// SOA are the times of the zones' SOA record.
type SOA struct {
	Refresh uint32 // seconds; default 3600
	Retry   uint32 // seconds; default 600
	Expire  uint32 // seconds; default 86400
	MinTTL  uint32 // seconds for which a name may be believed missing; default 0
}

// The orders in which recursors are asked.
const (
	Sequential = "sequential"
	Random     = "random"
)

// DefaultConfig is Consul's, for datacenter dc1.
func DefaultConfig() Config {
	return Config{
		Datacenter: "dc1", Domain: "consul.",
		SOA:            SOA{Refresh: 3600, Retry: 600, Expire: 86400},
		UDPAnswerLimit: 3, NodeMetaTXT: true,
		RecursorTimeout: 2 * time.Second, RecursorStrategy: Sequential,
	}
}

// Validate says everything that is wrong with a Config.
func (c Config) Validate() error {
	var errs []error
	fault := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	fault(validDomain(c.Domain), "domain %q is no domain name", c.Domain)
	fault(c.AltDomain == "" || validDomain(c.AltDomain), "alt_domain %q is no domain name", c.AltDomain)
	fault(inTTL(c.NodeTTL), "dns_config.node_ttl cannot be %v; it must be from 0 to 68 years", c.NodeTTL)
	for name, ttl := range c.ServiceTTL {
		fault(inTTL(ttl), "dns_config.service_ttl for %q cannot be %v; it must be from 0 to 68 years", name, ttl)
		fault(strings.Count(name, "*") == 0 || strings.Index(name, "*") == len(name)-1,
			"dns_config.service_ttl %q: a * may stand only at the end of a name", name)
	}
	fault(c.UDPAnswerLimit > 0, "dns_config.udp_answer_limit cannot be %d. Must be greater than zero", c.UDPAnswerLimit)
	fault(c.ARecordLimit >= 0, "dns_config.a_record_limit cannot be %d. Must be greater than or equal to zero", c.ARecordLimit)
	fault(c.RecursorTimeout > 0, "dns_config.recursor_timeout cannot be %v; it must be positive", c.RecursorTimeout)
	fault(c.RecursorStrategy == Sequential || c.RecursorStrategy == Random,
		"dns_config.recursor_strategy %q is unknown; use sequential or random", c.RecursorStrategy)
	for _, r := range c.Recursors {
		_, _, err := net.SplitHostPort(r)
		fault(err == nil, "recursors: %q is not host:port", r)
	}
	return errors.Join(errs...)
}

func validDomain(name string) bool {
	return name != "" && name != "." && isName(name)
}

// inTTL: a TTL is 31 bits of seconds (RFC 2181 §8).
func inTTL(d time.Duration) bool { return d >= 0 && d <= (1<<31-1)*time.Second }

// settings are a Config made ready for answering.
type settings struct {
	Config
	zones    []zone
	nodeTTL  uint32
	exact    map[string]uint32 // by lower-case name
	prefixes map[string]uint32 // by what stands before the *
}

// zone is a domain, in lower case with its final dot, and that with a dot before.
type zone struct {
	domain string
	suffix string
}

func newSettings(c Config) *settings {
	s := &settings{Config: c, nodeTTL: seconds(c.NodeTTL), exact: map[string]uint32{}, prefixes: map[string]uint32{}}
	for _, d := range []string{c.Domain, c.AltDomain} {
		if d != "" {
			d = dns.CanonicalName(d)
			s.zones = append(s.zones, zone{d, "." + d})
		}
	}
	for name, ttl := range c.ServiceTTL {
		if prefix, ok := strings.CutSuffix(strings.ToLower(name), "*"); ok {
			s.prefixes[prefix] = seconds(ttl)
		} else {
			s.exact[prefix] = seconds(ttl)
		}
	}
	return s
}

// seconds is a time as records have it, at most what they can hold (RFC 2181 §8).
func seconds(d time.Duration) uint32 { return uint32(min(d/time.Second, math.MaxInt32)) }

// serviceTTL is for how many seconds answers about a service may be kept.
func (s *settings) serviceTTL(name string) uint32 {
	if ttl, ok := s.exact[name]; ok {
		return ttl
	}
	best, found := uint32(0), -1
	for prefix, ttl := range s.prefixes {
		if len(prefix) > found && strings.HasPrefix(name, prefix) {
			best, found = ttl, len(prefix)
		}
	}
	return best
}
