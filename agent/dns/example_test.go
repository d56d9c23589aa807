package dns_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	mdns "github.com/miekg/dns"

	"muster/agent/dns"
	"muster/catalog"
)

// one is a catalog of one instance.
type one struct{}

func (one) Service(_ context.Context, name string) (*dns.Service, error) {
	if name != "web" {
		return nil, nil
	}
	return &dns.Service{Instances: []dns.Instance{{
		Node:    &catalog.Node{Node: "n1", Address: "10.0.0.1", Datacenter: "dc1"},
		Service: &catalog.Service{Service: "web", Port: 80},
	}}}, nil
}

func (one) Mesh(context.Context, string) (*dns.Service, error)            { return nil, nil }
func (one) Ingress(context.Context, string) (*dns.Service, error)         { return nil, nil }
func (one) Node(context.Context, string) (*catalog.Node, error)           { return nil, nil }
func (one) Query(context.Context, string, netip.Addr) (*dns.Query, error) { return nil, nil }
func (one) Named(context.Context, netip.Addr) (names dns.Names, _ error)  { return names, nil }

func Example() {
	server, err := dns.New(dns.DefaultConfig(), one{}, dns.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	w := &recorder{addr: &net.UDPAddr{}} // miekg/dns makes one for each message
	server.ServeDNS(w, new(mdns.Msg).SetQuestion("web.service.consul.", mdns.TypeA))
	answer := new(mdns.Msg)
	if err := answer.Unpack(w.out[0]); err != nil {
		fmt.Println(err)
	}
	fmt.Println(answer.Answer[0].(*mdns.A).A)
	// Output: 10.0.0.1
}
