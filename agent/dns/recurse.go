package dns

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/miekg/dns"
)

// recurse has the recursors answer a request. reply is what to answer with if
// none does.
func (c *call) recurse(req, reply *dns.Msg) *dns.Msg {
	resp, err := c.exchange(req)
	if err != nil {
		c.server.logger.Debug("no recursor answers", "name", req.Question[0].Name, "error", err)
		reply.Rcode = dns.RcodeServerFailure
		return reply
	}
	// The answer is the recursor's own, but for what is about this message.
	resp.Id, resp.Question = reply.Id, reply.Question
	resp.RecursionAvailable, resp.Compress = true, reply.Compress
	if req.IsEdns0() == nil {
		resp.Extra = slices.DeleteFunc(resp.Extra, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeOPT })
	}
	return resp
}

// followOutside gives the records that a name outside of our zones leads to.
func (c *call) followOutside(q dns.Question) []dns.RR {
	if len(c.Recursors) == 0 {
		return nil
	}
	req := new(dns.Msg)
	req.SetQuestion(q.Name, q.Qtype)
	req.SetEdns0(maxFollowed, false)
	resp, err := c.exchange(req)
	if err != nil {
		c.server.logger.Debug("a name could not be followed", "name", q.Name, "error", err)
		return nil
	}
	return slices.DeleteFunc(resp.Answer, func(rr dns.RR) bool {
		switch t := rr.Header().Rrtype; t {
		case dns.TypeCNAME, dns.TypeA, dns.TypeAAAA:
			return false
		default:
			return t != q.Qtype
		}
	})
}

// maxFollowed is the UDP size for our own questions: what passes everywhere
// without fragments (DNS flag day 2020).
const maxFollowed = 1232

// exchange asks recursors in turn until one gives an answer, be it that there is
// no such name.
func (c *call) exchange(req *dns.Msg) (*dns.Msg, error) {
	select {
	case c.server.asking <- struct{}{}:
		defer func() { <-c.server.asking }()
	default:
		return nil, fmt.Errorf("%d questions wait for recursors already", maxRecursions)
	}
	out := req.Copy()
	out.Id = dns.Id() // drawn anew: the asker's says nothing to someone who guesses (RFC 5452 §9.2)
	client := dns.Client{Net: "udp", Timeout: c.RecursorTimeout}
	if c.tcp {
		client.Net = "tcp"
	}
	order := slices.Clone(c.Recursors)
	if c.RecursorStrategy == Random {
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	var last error
	for _, recursor := range order {
		if c.ctx.Err() != nil {
			return nil, c.ctx.Err()
		}
		ctx, cancel := context.WithTimeout(c.ctx, c.RecursorTimeout)
		resp, _, err := client.ExchangeContext(ctx, out, recursor)
		cancel()
		if err == nil && (resp.Rcode == dns.RcodeSuccess || resp.Rcode == dns.RcodeNameError) {
			c.server.metrics.recursions.WithLabelValues("ok").Inc()
			return resp, nil
		}
		if err == nil {
			err = fmt.Errorf("it answers %s", dns.RcodeToString[resp.Rcode])
		}
		last = fmt.Errorf("recursor %s: %w", recursor, err)
		c.server.metrics.recursions.WithLabelValues("failed").Inc()
	}
	return nil, last
}

// limited cuts a message that is not ours to what its asker can take.
func limited(m *dns.Msg, l limits) *dns.Msg {
	compress := m.Compress
	m.Truncate(l.bytes)
	m.Compress = compress || m.Truncated
	return m
}
