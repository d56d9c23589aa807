package dns_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"muster/agent/dns"
)

// upstream is a recursor for tests: it answers each A question with one address.
func upstream(t *testing.T, address string) (addr string, asked *atomic.Int64) {
	asked = new(atomic.Int64)
	return serve(t, mdns.HandlerFunc(func(w mdns.ResponseWriter, req *mdns.Msg) {
		asked.Add(1)
		m := new(mdns.Msg).SetReply(req)
		m.RecursionAvailable = true
		name := req.Question[0].Name
		switch {
		case strings.HasPrefix(name, "nosuch."):
			m.Rcode = mdns.RcodeNameError
		case strings.HasPrefix(name, "refused."):
			m.Rcode = mdns.RcodeRefused
		case strings.HasPrefix(name, "large."):
			for i := range 100 {
				m.Answer = append(m.Answer, &mdns.A{Hdr: mdns.RR_Header{Name: name, Rrtype: mdns.TypeA, Class: mdns.ClassINET}, A: []byte{10, 0, 0, byte(i)}})
			}
			if w.LocalAddr().Network() == "udp" {
				m.Truncate(512)
			}
		case req.Question[0].Qtype == mdns.TypeA:
			rr, err := mdns.NewRR(fmt.Sprintf("%s 60 IN A %s", name, address))
			if err != nil {
				t.Error(err)
			}
			m.Answer = []mdns.RR{rr}
		}
		_ = w.WriteMsg(m) // the asker notices
	})), asked
}

func withRecursors(t *testing.T, s *store, recursors ...string) (addr string, handler *dns.Server) {
	t.Helper()
	cfg := dns.DefaultConfig()
	cfg.Recursors, cfg.RecursorTimeout = recursors, 5*time.Second
	handler, err := dns.New(cfg, s, dns.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(handler.Close)
	return serve(t, handler), handler
}

func wantAnswer(t *testing.T, addr, question string, want ...string) {
	t.Helper()
	got := strings.Split(strings.TrimSuffix(ask(t, addr, question), "\n"), "\n")
	for i := range got {
		got[i] = strings.TrimSpace(got[i])
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", question, got, want)
	}
}

func TestRecursors_AreAskedForOtherNames(t *testing.T) {
	up, asked := upstream(t, "192.0.2.1")
	s := newStore(t)
	s.register(`{"Node":"foo","Address":"10.0.0.1","Service":{"Service":"ext","ID":"ext","Port":443,"Address":"www.example.net"}}`)
	addr, _ := withRecursors(t, s, up)

	wantAnswer(t, addr, "example.com. A", "NOERROR rd ra", "example.com. 60 IN A 192.0.2.1")
	wantAnswer(t, addr, "example.com. A tcp", "NOERROR rd ra", "example.com. 60 IN A 192.0.2.1")
	wantAnswer(t, addr, "nosuch.example.com. A", "NXDOMAIN rd ra")
	wantAnswer(t, addr, "refused.example.com. A", "SERVFAIL rd ra")
	wantAnswer(t, addr, "large.example.com. A tcp count", "NOERROR tc=false map[A:100] map[] map[]")
	wantAnswer(t, addr, "2.0.0.10.in-addr.arpa. PTR", "NOERROR rd ra")
	// What an address that is a name leads to comes with it.
	wantAnswer(t, addr, "ext.service.consul. A", "NOERROR aa rd ra",
		"ext.service.consul. 0 IN CNAME www.example.net.", "www.example.net. 60 IN A 192.0.2.1")
	wantAnswer(t, addr, "ext.service.consul. SRV count", "NOERROR tc=false map[SRV:1] map[] map[A:1]")
	before := asked.Load()
	wantAnswer(t, addr, "nosuch.service.consul. A", "NXDOMAIN aa rd ra",
		"authority consul. 0 IN SOA ns.consul. hostmaster.consul. 0 3600 600 86400 0")
	if asked.Load() != before {
		t.Error("a recursor was asked about a name of ours")
	}
	resp, err := mdns.Exchange(new(mdns.Msg).SetQuestion("large.example.com.", mdns.TypeA), addr)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Compress = true; !resp.Truncated || resp.Len() > 512 {
		t.Errorf("an answer too large for UDP: %v", resp)
	}
}

func TestRecursors_TheNextIsAskedWhereOneFails(t *testing.T) {
	up, asked := upstream(t, "192.0.2.2")
	failing := serve(t, mdns.HandlerFunc(func(w mdns.ResponseWriter, req *mdns.Msg) {
		_ = w.WriteMsg(new(mdns.Msg).SetRcode(req, mdns.RcodeServerFailure)) // the asker notices
	}))
	addr, _ := withRecursors(t, newStore(t), failing, up)
	wantAnswer(t, addr, "example.com. A", "NOERROR rd ra", "example.com. 60 IN A 192.0.2.2")
	if asked.Load() != 1 {
		t.Errorf("the recursor that works was asked %d times", asked.Load())
	}
}

func TestRecursors_OneThatIsSilentCostsItsTimeout(t *testing.T) {
	up, _ := upstream(t, "192.0.2.3")
	silent := serve(t, mdns.HandlerFunc(func(mdns.ResponseWriter, *mdns.Msg) {}))
	cfg := dns.DefaultConfig()
	cfg.Recursors, cfg.RecursorTimeout = []string{silent, up}, 50*time.Millisecond
	handler, err := dns.New(cfg, newStore(t), dns.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(handler.Close)
	addr := serve(t, handler)
	wantAnswer(t, addr, "example.com. A", "NOERROR rd ra", "example.com. 60 IN A 192.0.2.3")
	cfg.Recursors = []string{silent}
	if err := handler.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	wantAnswer(t, addr, "example.com. A", "SERVFAIL rd ra")
}

func TestRecursors_RandomAsksAll(t *testing.T) {
	one, asked1 := upstream(t, "192.0.2.4")
	two, asked2 := upstream(t, "192.0.2.5")
	addr, handler := withRecursors(t, newStore(t), one, two)
	cfg := dns.DefaultConfig()
	cfg.Recursors, cfg.RecursorStrategy = []string{one, two}, dns.Random
	for range 20 {
		ask(t, addr, "example.com. A")
	}
	if asked2.Load() != 0 {
		t.Error("sequential asked the second recursor though the first answers")
	}
	if err := handler.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	first := asked1.Load()
	for range 64 { // all at one of them: once in 2^63
		ask(t, addr, "example.com. A")
	}
	if asked1.Load() == first || asked2.Load() == 0 {
		t.Errorf("random asked the first %d times and the second %d times", asked1.Load()-first, asked2.Load())
	}
}
