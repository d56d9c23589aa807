package agent

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"
	mdns "github.com/miekg/dns"

	"muster/agent/config"
	"muster/agent/dns"
)

// withDNS turns DNS on, with Consul's defaults.
func withDNS(cfg *config.Config) *config.Config {
	cfg.DNS = config.DNS{
		Listen: []string{cfg.BindAddr + ":8600"}, Answers: dns.DefaultConfig(),
		AllowStale: true, MaxStale: 24 * time.Hour, UseCache: true,
	}
	return cfg
}

// resolve asks an agent, and gives the code and the records, sorted.
func (a *testAgent) resolve(name string, qtype uint16) string {
	req := new(mdns.Msg).SetQuestion(name, qtype)
	req.SetEdns0(4096, false)
	resp, err := mdns.Exchange(req, a.cfg.BindAddr+":8600")
	if err != nil {
		return err.Error()
	}
	var lines []string
	for _, rr := range resp.Answer {
		lines = append(lines, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	slices.Sort(lines)
	return mdns.RcodeToString[resp.Rcode] + " " + strings.Join(lines, ", ")
}

// answers waits until an agent answers as it should.
func (a *testAgent) answers(name string, qtype uint16, want string) {
	a.t.Helper()
	eventually(a.t, a.cfg.NodeName+" answers for "+name, func() error {
		if got := a.resolve(name, qtype); got != want {
			return fmt.Errorf("%q, want %q", got, want)
		}
		return nil
	})
}

func (a *testAgent) client() *consul.Client {
	a.t.Helper()
	c, err := consul.NewClient(&consul.Config{Address: a.cfg.HTTP[0].Address})
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// What is registered at any agent is answered by each of them, and what changes
// soon after too: a client agent watches what it is asked about.
func TestDNS_ServersAndClientsAnswerAlike(t *testing.T) {
	c := newTestCluster(t)
	server := c.start(withDNS(c.config(1)))
	oneCluster(t, server)
	client := c.start(withDNS(c.config(0)))
	both := []*testAgent{server, client}

	// Before it is there, so that the client agent watches what is missing.
	server.answers("web.service.consul.", mdns.TypeA, "NXDOMAIN ")
	client.answers("web.service.consul.", mdns.TypeA, "NXDOMAIN ")
	api := client.client().Agent()
	web := &consul.AgentServiceRegistration{Name: "web", Tags: []string{"v1"}, Port: 80, Address: "10.0.0.1", Check: &consul.AgentServiceCheck{TTL: "1h", Status: "passing"}}
	if err := api.ServiceRegister(web); err != nil {
		t.Fatal(err)
	}
	for _, a := range both {
		a.answers("web.service.consul.", mdns.TypeA, "NOERROR 10.0.0.1")
		a.answers("v1.web.service.dc1.consul.", mdns.TypeSRV, "NOERROR 1 1 80 0a000001.addr.dc1.consul.")
		a.answers(client.cfg.NodeName+".node.consul.", mdns.TypeA, "NOERROR "+client.cfg.BindAddr)
		a.answers("1.0.0.10.in-addr.arpa.", mdns.TypePTR, "NOERROR web.service.dc1.consul.")
		a.answers("nosuch.node.consul.", mdns.TypeA, "NXDOMAIN ")
		a.answers("consul.", mdns.TypeNS, "NOERROR "+server.cfg.NodeName+".node.dc1.consul.")
	}
	if _, _, err := client.client().PreparedQuery().Create(&consul.PreparedQueryDefinition{
		Name: "of-", Template: consul.QueryTemplate{Type: "name_prefix_match"},
		Service: consul.ServiceQuery{Service: "${name.suffix}", Near: "_agent", Tags: []string{"v1"}}}, nil); err != nil {
		t.Fatal(err)
	}
	for _, a := range both {
		a.answers("of-web.query.consul.", mdns.TypeA, "NOERROR 10.0.0.1")
		a.answers("_of-web._tcp.query.dc1.consul.", mdns.TypeSRV, "NOERROR 1 1 80 0a000001.addr.dc1.consul.")
		a.answers("of-db.query.consul.", mdns.TypeA, "NXDOMAIN ")
		a.answers("to-web.query.consul.", mdns.TypeA, "NXDOMAIN ")
	}
	for _, a := range both {
		a.answers("web.ingress.consul.", mdns.TypeA, "NXDOMAIN ")
		a.answers("web.connect.consul.", mdns.TypeA, "NXDOMAIN ")
	}
	for kind, address := range map[consul.ServiceKind]string{consul.ServiceKindIngressGateway: "10.0.0.7", consul.ServiceKindTerminatingGateway: "10.0.0.8"} {
		if err := api.ServiceRegister(&consul.AgentServiceRegistration{Kind: kind, Name: string(kind), Port: 443, Address: address}); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range []consul.ConfigEntry{
		&consul.IngressGatewayConfigEntry{Kind: consul.IngressGateway, Name: consul.IngressGateway, Listeners: []consul.IngressListener{
			{Port: 443, Protocol: "tcp", Services: []consul.IngressService{{Name: "web"}}}}},
		&consul.TerminatingGatewayConfigEntry{Kind: consul.TerminatingGateway, Name: consul.TerminatingGateway, Services: []consul.LinkedService{{Name: "web"}}},
	} {
		if ok, _, err := client.client().ConfigEntries().Set(e, nil); err != nil || !ok {
			t.Fatal(ok, err)
		}
	}
	for _, a := range both {
		a.answers("web.ingress.consul.", mdns.TypeA, "NOERROR 10.0.0.7")
		a.answers("web.connect.consul.", mdns.TypeA, "NOERROR 10.0.0.8")
	}
	if err := api.UpdateTTL("service:web", "", "critical"); err != nil {
		t.Fatal(err)
	}
	for _, a := range both {
		a.answers("web.service.consul.", mdns.TypeA, "NXDOMAIN ")
		a.answers("of-web.query.consul.", mdns.TypeA, "NXDOMAIN ")
	}
	if err := api.UpdateTTL("service:web", "", "passing"); err != nil {
		t.Fatal(err)
	}
	client.answers("web.service.consul.", mdns.TypeA, "NOERROR 10.0.0.1")

	// Questions cost the servers nothing: a watch asks once and waits.
	if n := len(client.watches.all); n != 6 {
		t.Errorf("%d watches, want those of web, its two kinds of gateways, a service of servers, and two nodes", n)
	}

	// With the servers gone, a client agent answers from what it has …
	server.end()
	eventually(t, "the watch notices", func() error {
		client.watches.mu.Lock()
		defer client.watches.mu.Unlock()
		if client.watches.all["/v1/health/service/web"].seen.Load().lost.IsZero() {
			return fmt.Errorf("it believes that it is in touch")
		}
		return nil
	})
	client.answers("web.service.consul.", mdns.TypeA, "NOERROR 10.0.0.1")
	// … for as long as it may, which a reload can change.
	changed := *client.cfg
	changed.DNS.CacheMaxAge = time.Nanosecond
	if err := client.Reload(&changed); err != nil {
		t.Fatal(err)
	}
	client.answers("web.service.consul.", mdns.TypeA, "SERVFAIL ")
}

// use_cache = false and allow_stale = false ask a server each time, and answer
// the same.
func TestDNS_WithoutCacheAndStaleness(t *testing.T) {
	c := newTestCluster(t)
	cfg := withDNS(c.config(1))
	cfg.DNS.AllowStale = false
	server := c.start(cfg)
	oneCluster(t, server)
	cfg = withDNS(c.config(0))
	cfg.DNS.UseCache = false
	client := c.start(cfg)
	if err := server.client().Agent().ServiceRegister(&consul.AgentServiceRegistration{Name: "db", Address: "10.0.0.2"}); err != nil {
		t.Fatal(err)
	}
	for _, a := range []*testAgent{server, client} {
		a.answers("db.service.consul.", mdns.TypeA, "NOERROR 10.0.0.2")
	}
	if n := len(client.watches.all); n != 0 {
		t.Errorf("%d watches although use_cache is off", n)
	}
}

func TestDNS_ReloadChangesAnswers(t *testing.T) {
	c := newTestCluster(t)
	server := c.start(withDNS(c.config(1)))
	oneCluster(t, server)
	server.answers("consul.service.consul.", mdns.TypeA, "NOERROR "+server.cfg.BindAddr)
	changed := *server.cfg
	changed.DNS.Answers.AltDomain = "other"
	if err := server.Reload(&changed); err != nil {
		t.Fatal(err)
	}
	server.answers("consul.service.other.", mdns.TypeA, "NOERROR "+server.cfg.BindAddr)
	changed.DNS.Answers.UDPAnswerLimit = 0
	if err := server.Reload(&changed); err == nil {
		t.Error("a configuration that is not valid was taken")
	}
}

// A watch ends when what was asked for longest ago has to make room.
func TestWatches_AreBounded(t *testing.T) {
	w := newWatches(nil, "agent", time.Second)
	for i := range maxWatches + 10 {
		one, isNew, err := w.watchOf(fmt.Sprintf("/%d", i), decodeNode)
		if err != nil || !isNew {
			t.Fatal(isNew, err)
		}
		one.used.Store(int64(i))
	}
	if len(w.all) != maxWatches || w.all["/9"] != nil || w.all["/10"] == nil {
		t.Errorf("%d watches are left, or the wrong ones", len(w.all))
	}
	for _, one := range w.all {
		one.cancel()
	}
}
