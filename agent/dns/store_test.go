package dns_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	mdns "github.com/miekg/dns"

	"muster/agent/dns"
	"muster/catalog"
	"muster/catalog/configentry"
	"muster/catalog/gateway"
	"muster/catalog/state"
)

// store is a Lookup of what a test registers.
type store struct {
	t testing.TB
	*state.Store

	mu       sync.Mutex
	services map[string]*dns.Service // by what they are and their name; dropped by register
}

func newStore(t testing.TB) *store { return &store{t: t, Store: state.New()} }

// register takes what PUT /v1/catalog/register takes.
func (s *store) register(body string) {
	s.t.Helper()
	var in struct {
		catalog.Node
		NodeMeta map[string]string
		Service  *catalog.Service
		Check    *catalog.Check
	}
	if err := json.Unmarshal([]byte(body), &in); err != nil {
		s.t.Fatalf("%s: %v", body, err)
	}
	in.Node.Datacenter, in.Node.Meta = "dc1", in.NodeMeta
	cmd := &catalog.Register{Node: in.Node, Service: in.Service}
	if in.Check != nil {
		cmd.Checks = []catalog.Check{*in.Check}
	}
	s.put(cmd)
}

// query takes what POST /v1/query takes.
func (s *store) query(body string) {
	s.t.Helper()
	cmd := &catalog.ChangeQuery{Verb: catalog.QueryCreate}
	if err := json.Unmarshal([]byte(body), &cmd.Query); err != nil {
		s.t.Fatalf("%s: %v", body, err)
	}
	if err := cmd.Query.Validate(); err != nil {
		s.t.Fatalf("%s: %v", body, err)
	}
	cmd.Query.ID = fmt.Sprintf("00000000-0000-0000-0000-%012d", s.Index())
	s.apply(cmd)
}

// entry takes what PUT /v1/config takes.
func (s *store) entry(body string) {
	s.t.Helper()
	e, err := configentry.Decode([]byte(body))
	if err != nil {
		s.t.Fatalf("%s: %v", body, err)
	}
	s.apply(&catalog.SetConfig{Verb: catalog.ConfigSet, Kind: e.Kind, Name: e.Name, Body: e.Body})
}

func (s *store) put(cmd *catalog.Register) {
	s.t.Helper()
	if old := s.View().Node(cmd.Node.Node); old != nil && len(cmd.Node.Meta) == 0 {
		cmd.Node = *old
	}
	if cmd.Service != nil && cmd.Service.Weights == (catalog.Weights{}) {
		cmd.Service.Weights = catalog.Weights{Passing: 1, Warning: 1}
	}
	s.apply(cmd)
}

func (s *store) apply(cmd catalog.Command) {
	s.t.Helper()
	data, err := catalog.EncodeCommand(cmd)
	if err != nil {
		s.t.Fatal(err)
	}
	if r := s.Apply([]state.Entry{{Index: s.Index() + 1, Data: data}}); r[0].Err != nil {
		s.t.Fatal(r[0].Err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.services = nil
}

func (s *store) kept(key string, find func(*state.View, string) ([]state.Instance, error), name string) (*dns.Service, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if svc, ok := s.services[key+name]; ok {
		return svc, nil
	}
	var svc *dns.Service
	instances, err := find(s.View(), name)
	if err != nil {
		return nil, err
	}
	for _, in := range instances {
		if svc == nil {
			svc = &dns.Service{}
		}
		svc.Instances = append(svc.Instances, dns.Instance(in))
	}
	if s.services == nil {
		s.services = map[string]*dns.Service{}
	}
	s.services[key+name] = svc
	return svc, nil
}

func (s *store) Service(_ context.Context, name string) (*dns.Service, error) {
	return s.kept("service ", func(v *state.View, name string) ([]state.Instance, error) { return v.ServiceInstances(name), nil }, name)
}

func (s *store) Mesh(_ context.Context, name string) (*dns.Service, error) {
	return s.kept("mesh ", gateway.Mesh, name)
}

func (s *store) Ingress(_ context.Context, name string) (*dns.Service, error) {
	return s.kept("ingress ", gateway.Ingress, name)
}

func (s *store) Node(_ context.Context, name string) (*catalog.Node, error) {
	return s.View().Node(name), nil
}

func (s *store) Query(_ context.Context, name string, from netip.Addr) (*dns.Query, error) {
	v := s.View()
	q, err := v.FindQuery(name)
	if q == nil || err != nil {
		return nil, err
	}
	found := &dns.Query{Service: q.Service.Service, DNS: q.DNS}
	instances, nearest := v.Answer(q, state.Asker{Agent: "agent", Addr: from})
	for _, in := range instances {
		found.Instances = append(found.Instances, dns.Instance(in))
	}
	found.Nearest = nearest
	return found, nil
}

func (s *store) Named(_ context.Context, addr netip.Addr) (names dns.Names, err error) {
	is := func(text string) bool {
		a, err := netip.ParseAddr(text)
		return err == nil && a == addr
	}
	for _, n := range s.View().Nodes() {
		if is(n.Address) {
			names.Nodes = append(names.Nodes, n.Node)
		}
	}
	for _, in := range s.View().AllInstances() {
		if is(in.Service.Address) {
			names.Services = append(names.Services, in.Service.Service)
		}
	}
	slices.Sort(names.Services)
	names.Services = slices.Compact(names.Services)
	return names, nil
}

// serve serves a handler on one loopback port over UDP and TCP until the test ends.
func serve(t testing.TB, h mdns.Handler) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pc, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(running.Wait)
	for _, srv := range []*mdns.Server{{Listener: l, Handler: h}, {PacketConn: pc, Handler: h}} {
		started := make(chan struct{})
		srv.NotifyStartedFunc = func() { close(started) }
		running.Go(func() {
			if err := srv.ActivateAndServe(); err != nil && !strings.Contains(err.Error(), "closed") {
				t.Errorf("serve: %v", err)
			}
		})
		<-started
		t.Cleanup(func() {
			if err := srv.Shutdown(); err != nil {
				t.Errorf("shutdown: %v", err)
			}
		})
	}
	return l.Addr().String()
}
