package dns_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"

	mdns "github.com/miekg/dns"

	"muster/agent/dns"
)

// A service of very many instances is answered with as many as fit, an SRV
// record always with its target's address (Consul#1931, #3850: empty answers,
// and ones too large for a TCP message).
func TestLimits_VeryManyInstances(t *testing.T) {
	s := newStore(t)
	s.fill("web", 4500)
	for _, compress := range []bool{true, false} {
		cfg := dns.DefaultConfig()
		cfg.EnableTruncate, cfg.DisableCompression = true, !compress
		handler, err := dns.New(cfg, s, dns.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer handler.Close()
		addr := serve(t, handler)
		for _, tc := range []struct {
			qtype   uint16
			network string
			edns    uint16 // 0 for none
			most    int    // bytes
			atLeast int    // records
		}{
			{mdns.TypeA, "udp", 0, 512, 3},
			{mdns.TypeSRV, "udp", 0, 512, 3},
			{mdns.TypeA, "udp", 100, 512, 10},
			{mdns.TypeA, "udp", 1232, 1232, 30},
			{mdns.TypeSRV, "udp", 1232, 1232, 10},
			{mdns.TypeSRV, "udp", 65535, 65507, 500},
			{mdns.TypeA, "udp", 65535, 65507, 1500},
			{mdns.TypeA, "tcp", 0, 65535, 1500},
			{mdns.TypeSRV, "tcp", 0, 65535, 500},
			{mdns.TypeAAAA, "udp", 0, 512, 0},
		} {
			name := fmt.Sprintf("%s over %s, EDNS %d, compression %t", mdns.TypeToString[tc.qtype], tc.network, tc.edns, compress)
			req := new(mdns.Msg).SetQuestion("web.service.consul.", tc.qtype)
			if tc.edns > 0 {
				req.SetEdns0(tc.edns, false)
			}
			client := mdns.Client{Net: tc.network, UDPSize: 65535}
			resp, _, err := client.Exchange(req, addr)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			resp.Compress = compress
			if got := resp.Len(); got > tc.most || len(resp.Answer) < tc.atLeast {
				t.Errorf("%s: %d records in %d bytes", name, len(resp.Answer), got)
			}
			if cut := len(resp.Answer) > 0 && tc.network == "udp"; resp.Truncated != cut {
				t.Errorf("%s: TC is %t", name, resp.Truncated)
			}
			complete(t, name, resp)
		}
	}
}

// complete checks that an answer has no record twice, and the address of each
// SRV target and of nothing else.
func complete(t *testing.T, name string, m *mdns.Msg) {
	t.Helper()
	targets, seen := map[string]bool{}, map[string]bool{}
	for _, rr := range m.Answer {
		if seen[rr.String()] {
			t.Errorf("%s: %s is there twice", name, rr)
		}
		seen[rr.String()] = true
		if srv, ok := rr.(*mdns.SRV); ok {
			targets[srv.Target] = true
		}
	}
	for _, rr := range m.Extra {
		if _, ok := rr.(*mdns.OPT); ok {
			continue
		}
		if !targets[rr.Header().Name] {
			t.Errorf("%s: %s goes with nothing", name, rr)
		}
		delete(targets, rr.Header().Name)
	}
	if len(targets) > 0 {
		t.Errorf("%s: %d targets have no address", name, len(targets))
	}
}

// Answers come in another order each time, over all instances.
func TestOrder_IsRandom(t *testing.T) {
	s := newStore(t)
	s.fill("web", 20)
	handler, err := dns.New(dns.DefaultConfig(), s, dns.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer handler.Close()
	addr := serve(t, handler)
	first := map[string]bool{}
	// 400 answers of 3 leave one of 20 out with a probability of 20·(17/20)^400.
	for range 400 {
		resp, err := mdns.Exchange(new(mdns.Msg).SetQuestion("web.service.consul.", mdns.TypeA), addr)
		if err != nil {
			t.Fatal(err)
		}
		for _, rr := range resp.Answer {
			first[rr.String()] = true
		}
	}
	if len(first) != 20 {
		t.Errorf("only %d of 20 instances were ever answered", len(first))
	}
}

// What is nearest comes first, for who asks as for whom a resolver asks.
func TestOrder_TheNearestFirst(t *testing.T) {
	s := newStore(t)
	s.fill("web", 20)
	s.register(`{"Node":"home","Address":"127.0.0.1","Service":{"Service":"web","ID":"web","Address":"10.1.1.1"}}`)
	s.register(`{"Node":"away","Address":"192.0.2.9","Service":{"Service":"web","ID":"web","Address":"10.1.1.2"}}`)
	s.query(`{"Name":"near","Service":{"Service":"web","Near":"_ip"}}`)
	handler, err := dns.New(dns.DefaultConfig(), s, dns.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer handler.Close()
	addr := serve(t, handler)
	for option, want := range map[string]string{"": "10.1.1.1", " subnet=192.0.2.9/32": "10.1.1.2", " subnet=0.0.0.0/0": "10.1.1.1"} {
		for range 20 {
			req, _, _ := question(t, "near.query.consul. A"+option)
			resp, err := mdns.Exchange(req, addr)
			if err != nil {
				t.Fatal(err)
			}
			if first := resp.Answer[0].(*mdns.A).A.String(); first != want {
				t.Fatalf("%q is answered with %s first, want %s", option, first, want)
			}
		}
	}
}

// stuck is a Lookup whose catalog doesn't answer until the question ends.
type stuck struct {
	*store
	waiting chan struct{}
}

func (s stuck) Service(ctx context.Context, _ string) (*dns.Service, error) {
	s.waiting <- struct{}{}
	<-ctx.Done()
	return nil, ctx.Err()
}

// Questions beyond a bound fail at once instead of piling up behind a catalog
// that does not answer.
func TestOverload_FailsAtOnce(t *testing.T) {
	lookup := stuck{newStore(t), make(chan struct{})}
	handler, err := dns.New(dns.DefaultConfig(), lookup, dns.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ask := func() *mdns.Msg {
		w := &recorder{addr: &net.UDPAddr{}}
		handler.ServeDNS(w, new(mdns.Msg).SetQuestion("web.service.consul.", mdns.TypeA))
		resp := new(mdns.Msg)
		if err := resp.Unpack(w.out[0]); err != nil {
			t.Error(err)
		}
		return resp
	}
	var asking sync.WaitGroup
	for range 8192 {
		asking.Go(func() { ask() })
		<-lookup.waiting
	}
	if resp := ask(); resp.Rcode != mdns.RcodeServerFailure {
		t.Errorf("one too many is answered %v", resp)
	}
	handler.Close() // ends those that wait
	asking.Wait()
}
