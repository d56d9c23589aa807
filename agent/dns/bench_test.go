package dns_test

import (
	"fmt"
	"net"
	"slices"
	"testing"

	mdns "github.com/miekg/dns"

	"muster/agent/dns"
	"muster/catalog"
)

// fill registers n instances of a service, each on a node of its own.
func (s *store) fill(service string, n int) {
	for i := range n {
		addr := fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)
		s.apply(&catalog.Register{
			Node:    catalog.Node{Node: fmt.Sprintf("node-%04d", i), Address: addr, Datacenter: "dc1"},
			Service: &catalog.Service{ID: service, Service: service, Port: 8080},
		})
	}
}

// BenchmarkAnswer measures questions over UDP on loopback, asker included, beside
// a bare miekg/dns server that has the same records ready.
func BenchmarkAnswer(b *testing.B) {
	for _, bc := range []struct {
		qtype     uint16
		instances int
	}{{mdns.TypeA, 1}, {mdns.TypeA, 100}, {mdns.TypeSRV, 100}} {
		s := newStore(b)
		s.fill("web", bc.instances)
		handler, err := dns.New(dns.DefaultConfig(), s, dns.Options{})
		if err != nil {
			b.Fatal(err)
		}
		defer handler.Close()
		req := new(mdns.Msg).SetQuestion("web.service.consul.", bc.qtype)
		req.SetEdns0(16384, false)
		ours := serve(b, handler)
		client := mdns.Client{UDPSize: 16384}
		ready, _, err := client.Exchange(req, ours)
		if err != nil || len(ready.Answer) != bc.instances {
			b.Fatal(err, ready)
		}
		bare := serve(b, mdns.HandlerFunc(func(w mdns.ResponseWriter, req *mdns.Msg) {
			m := new(mdns.Msg).SetReply(req)
			m.Authoritative, m.Compress = true, true
			m.Answer, m.Extra = ready.Answer, ready.Extra
			_ = w.WriteMsg(m) // the asker notices
		}))
		name := fmt.Sprintf("%s-%d", mdns.TypeToString[bc.qtype], bc.instances)
		b.Run(name+"/muster", func(b *testing.B) { askMany(b, ours, req) })
		b.Run(name+"/bare", func(b *testing.B) { askMany(b, bare, req) })
	}
}

func askMany(b *testing.B, addr string, req *mdns.Msg) {
	packed, err := req.Pack()
	if err != nil {
		b.Fatal(err)
	}
	b.SetParallelism(8)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.Dial("udp", addr)
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		question, answer := slices.Clone(packed), make([]byte, 16384)
		for pb.Next() {
			if _, err := conn.Write(question); err != nil {
				b.Error(err)
				return
			}
			if _, err := conn.Read(answer); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
