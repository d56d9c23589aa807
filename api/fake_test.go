package api_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/serf/coordinate"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"muster/api"
	"muster/api/agentapi"
	"muster/api/catalogapi"
	"muster/api/configapi"
	"muster/api/connectapi"
	"muster/api/kvapi"
	"muster/api/operatorapi"
	"muster/api/queryapi"
	"muster/api/sessionapi"
	"muster/api/snapshotapi"
	"muster/api/txnapi"
	"muster/catalog"
	"muster/catalog/acl"
	"muster/catalog/state"
)

// fakeReplica is a server's copy of the catalog with a log of its own.
type fakeReplica struct {
	store     *state.Store
	mu        sync.Mutex // one command after the other
	index     atomic.Uint64
	replaying atomic.Bool // still applies what it had committed before a restart
	leads     atomic.Bool
	age       time.Duration
	led       context.Context
	blocked   error
	reads     atomic.Int64 // calls of ReadIndex and Confirm
	confirms  atomic.Int64 // of these, of Confirm
	writes    atomic.Int64 // commands committed
	// propose, where it is set, answers instead of the log.
	propose func() error
	// lose has commands take effect without an answer.
	lose bool
	// ship, where it is set, is given what was committed, and catchUp runs before
	// a ReadIndex is answered.
	ship    func(state.Entry)
	catchUp func()
}

func newReplica() *fakeReplica {
	r := &fakeReplica{store: state.New(), led: context.Background()}
	r.index.Store(10) // a log begins with other things than commands
	r.leads.Store(true)
	return r
}

func (r *fakeReplica) Store() *state.Store { return r.store }

func (r *fakeReplica) Propose(_ context.Context, cmd catalog.Command) (catalog.Result, error) {
	if r.propose != nil {
		if err := r.propose(); err != nil {
			return catalog.Result{}, err
		}
	}
	data, err := catalog.EncodeCommand(cmd)
	if err != nil {
		return catalog.Result{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writes.Add(1)
	entry := state.Entry{Index: r.index.Add(1), Data: data}
	if r.ship != nil {
		r.ship(entry)
	}
	result := r.store.Apply([]state.Entry{entry})[0]
	if r.lose {
		return catalog.Result{}, lost
	}
	return result, nil
}

func (r *fakeReplica) ReadIndex(context.Context) error {
	r.reads.Add(1)
	if !r.leads.Load() {
		return errors.New("no leader is known")
	}
	if r.catchUp != nil {
		r.catchUp()
	}
	return nil
}

func (r *fakeReplica) Confirm(ctx context.Context) error {
	r.confirms.Add(1)
	return r.ReadIndex(ctx)
}

func (r *fakeReplica) Blocked() error             { return r.blocked }
func (r *fakeReplica) IsLeader() bool             { return r.leads.Load() }
func (r *fakeReplica) Term() uint64               { return 3 }
func (r *fakeReplica) Ready() bool                { return !r.replaying.Load() }
func (r *fakeReplica) KnownLeader() bool          { return r.leads.Load() }
func (r *fakeReplica) Led() context.Context       { return r.led }
func (r *fakeReplica) LastContact() time.Duration { return r.age }

// register commits a registration.
func (r *fakeReplica) register(t testing.TB, node, service, status string) {
	t.Helper()
	cmd := &catalog.Register{Node: catalog.Node{Node: node, Address: "192.0.2.1", Datacenter: "dc1"}}
	if service != "" {
		cmd.Service = &catalog.Service{Service: service, Port: 80}
		cmd.Checks = []catalog.Check{{CheckID: "c-" + service, Name: "c", Status: status, ServiceID: service}}
	}
	cmd.Normalize()
	if result, err := r.Propose(context.Background(), cmd); err != nil || result.Err != nil {
		t.Fatal(err, result.Err)
	}
}

// fakeCluster is the way to other servers.
type fakeCluster struct {
	mu      sync.Mutex
	leader  string
	servers []string
	failed  []string
	changed chan struct{}
	// direct, where it is set, is asked without a network.
	direct func(addr string, r *http.Request) (*http.Response, error)
}

func newCluster(servers ...string) *fakeCluster {
	return &fakeCluster{servers: servers, changed: make(chan struct{})}
}

func (c *fakeCluster) LeaderAddr() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leader
}

func (c *fakeCluster) Servers() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.servers
}

func (c *fakeCluster) Failed(addr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = append(c.failed, addr)
}

func (c *fakeCluster) RoundTrip(addr string, r *http.Request) (*http.Response, error) {
	r.URL.Scheme, r.URL.Host = "http", addr
	if c.direct != nil {
		return c.direct(addr, r)
	}
	return http.DefaultTransport.RoundTrip(r)
}

func (c *fakeCluster) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// set changes who leads and who is there, and wakes all.
func (c *fakeCluster) set(leader string, servers ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader, c.servers = leader, servers
	close(c.changed)
	c.changed = make(chan struct{})
}

// fakeAgent keeps services and checks in maps.
type fakeAgent struct {
	mu       sync.Mutex
	services map[string]*catalog.Service
	checks   map[string]*catalog.Check
	changed  chan struct{}
	lines    chan []byte // of the log
	sidecar  *agentapi.Sidecar
	calls    []string // of the cluster's and the process's methods
	events   []agentapi.Event
}

// Fire gives events IDs that count.
func (a *fakeAgent) Fire(e agentapi.Event) (agentapi.Event, error) {
	err := a.update(func() error {
		n := len(a.events) + 1
		e.ID, e.Version, e.LTime = fmt.Sprintf("00000000-0000-0000-0000-%012d", 10*n), 1, uint64(n)
		a.events = append(a.events, e)
		return nil
	})
	return e, err
}

func (a *fakeAgent) Events() []agentapi.Event {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.events
}

func (a *fakeAgent) MoreEvents() <-chan struct{} { return a.Changed() }

// Leaf gives each service the certificate of its name, or refuses.
func (a *fakeAgent) Leaf(_ context.Context, service string) (*agentapi.Leaf, <-chan struct{}, error) {
	if service == "busy" {
		return nil, nil, catalog.Errorf(catalog.TooMany, "operation rate limited by server")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	until := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return &agentapi.Leaf{
		SerialNumber: "0a:0b", CertPEM: "cert", PrivateKeyPEM: "key", Service: service, ServiceURI: "spiffe://c.consul/ns/default/dc/dc1/svc/" + service,
		ValidAfter: until.Add(-72 * time.Hour), ValidBefore: until, CreateIndex: uint64(7 + len(a.calls)), ModifyIndex: uint64(7 + len(a.calls)),
	}, a.changed, nil
}

func (a *fakeAgent) Leaves() <-chan struct{} { return a.Changed() }

func newAgent() *fakeAgent {
	return &fakeAgent{services: map[string]*catalog.Service{}, checks: map[string]*catalog.Check{}, changed: make(chan struct{}), lines: make(chan []byte)}
}

func (a *fakeAgent) update(change func() error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := change(); err != nil {
		return err
	}
	close(a.changed)
	a.changed = make(chan struct{})
	return nil
}

func (a *fakeAgent) Services() map[string]*catalog.Service { return a.services }
func (a *fakeAgent) Checks() map[string]*catalog.Check     { return a.checks }
func (a *fakeAgent) DataDir() string                       { return "" }

func (a *fakeAgent) Service(id string) (*catalog.Service, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, ok := a.services[catalog.Fold(id)]
	return s, ok
}

func (a *fakeAgent) Check(id string) (*catalog.Check, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, ok := a.checks[catalog.Fold(id)]
	return c, ok
}

func (a *fakeAgent) Changed() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changed
}

func (a *fakeAgent) AddService(s catalog.Service, checks []agentapi.Check, o agentapi.Options) error {
	s.Normalize()
	if err := s.Validate(); err != nil {
		return err
	}
	return a.update(func() error {
		if o.ReplaceChecks {
			clear(a.checks)
		}
		a.services[catalog.Fold(s.ID)] = &s
		a.sidecar = o.Sidecar
		for i, c := range checks {
			if c.CheckID == "" {
				c.CheckID = fmt.Sprintf("service:%s:%d", s.ID, i+1)
			}
			c.ServiceID = s.ID
			a.put(c)
		}
		return nil
	})
}

// put keeps a check the way an agent shows it. The caller holds mu.
func (a *fakeAgent) put(c agentapi.Check) {
	check := &catalog.Check{Node: "n1", CheckID: c.CheckID, Name: c.Name, Notes: c.Notes, Status: c.Status, ServiceID: c.ServiceID, Type: "ttl"}
	if s := a.services[catalog.Fold(c.ServiceID)]; s != nil && c.ServiceID != "" {
		check.ServiceName, check.ServiceTags = s.Service, s.Tags
	}
	if c.Interval > 0 {
		check.Type, check.Interval = "http", c.Interval.String()
	}
	check.Normalize()
	a.checks[catalog.Fold(check.CheckID)] = check
}

func (a *fakeAgent) RemoveService(id string) error {
	return a.update(func() error { delete(a.services, catalog.Fold(id)); return nil })
}

func (a *fakeAgent) AddCheck(c agentapi.Check, _ agentapi.Options) error {
	if c.CheckID == "" {
		c.CheckID = c.Name
	}
	return a.update(func() error { a.put(c); return nil })
}

func (a *fakeAgent) RemoveCheck(id string) error {
	return a.update(func() error { delete(a.checks, catalog.Fold(id)); return nil })
}

func (a *fakeAgent) UpdateTTL(id, status, output string) error {
	return a.update(func() error {
		c := *a.checks[catalog.Fold(id)]
		c.Status, c.Output = status, output
		a.checks[catalog.Fold(id)] = &c
		return nil
	})
}

func (a *fakeAgent) MaintainService(id string, on bool, reason string) error {
	return a.maintain(catalog.ServiceMaintenancePrefix+id, id, on, reason)
}

func (a *fakeAgent) MaintainNode(on bool, reason string) error {
	return a.maintain(catalog.NodeMaintenance, "", on, reason)
}

func (a *fakeAgent) maintain(checkID, serviceID string, on bool, reason string) error {
	return a.update(func() error {
		delete(a.checks, checkID)
		if on {
			a.put(agentapi.Check{CheckID: checkID, Name: "maintenance", ServiceID: serviceID, Notes: reason})
			a.checks[checkID].Type = "maintenance"
		}
		return nil
	})
}

func (a *fakeAgent) called(format string, args ...any) error {
	a.calls = append(a.calls, fmt.Sprintf(format, args...))
	return nil
}

func (a *fakeAgent) Members(wan bool) []agentapi.Member {
	if wan {
		return nil
	}
	return []agentapi.Member{
		{Name: "n1", Addr: "192.0.2.1", Port: 8301, Tags: map[string]string{"dc": "dc1", "role": "consul"}, Status: 1},
		{Name: "n2", Addr: "192.0.2.2", Port: 8301, Tags: map[string]string{"dc": "dc1", "role": "node"}, Status: 4},
	}
}

func (a *fakeAgent) Join(_ context.Context, address string, wan bool) error {
	return a.called("join %s %v", address, wan)
}
func (a *fakeAgent) Leave(context.Context) error { return a.called("leave") }
func (a *fakeAgent) ForceLeave(node string, prune, wan bool) error {
	return a.called("force-leave %s %v %v", node, prune, wan)
}
func (a *fakeAgent) Reload(context.Context) error { return a.called("reload") }

func (a *fakeAgent) Monitor(level slog.Level, json bool) (<-chan []byte, func(), error) {
	return a.lines, func() { _ = a.called("left the log at %v %v", level, json) }, nil
}

func (a *fakeAgent) Version() agentapi.Version { return agentapi.Version{HumanVersion: "1.21.4"} }

func (a *fakeAgent) Self() agentapi.Self {
	return agentapi.Self{
		Config:      agentapi.SelfConfig{Datacenter: "dc1", NodeName: "n1", Server: true, Version: "1.21.4"},
		DebugConfig: map[string]any{"SerfAdvertiseAddrLAN": "tcp://192.0.2.1:8301"},
		Member:      a.Members(false)[0],
		Stats:       map[string]map[string]string{"agent": {"services": "0"}},
		Meta:        map[string]string{},
	}
}

// fakeTimers renew every session that is there.
type fakeTimers struct{ replica *fakeReplica }

func (f fakeTimers) Renew(_ context.Context, id string) (*catalog.Session, error) {
	return f.replica.store.View().Session(id), nil
}

// fakeQuorum is a quorum of two servers, of which the second is down.
type fakeQuorum struct{ calls *[]string }

func (fakeQuorum) LeaderAddr() string { return "192.0.2.1:8300" }
func (fakeQuorum) Peers() []string    { return []string{"192.0.2.1:8300"} }
func (fakeQuorum) Configuration() ([]operatorapi.Server, uint64) {
	return []operatorapi.Server{
		{ID: "id-1", Node: "n1", Address: "192.0.2.1:8300", Leader: true, ProtocolVersion: "3", Voter: true, LastIndex: 7},
		{ID: "id-2", Node: "n2", Address: "192.0.2.2:8300", ProtocolVersion: "3", LastIndex: 5},
	}, 1
}

func (fakeQuorum) Health() ([]operatorapi.ServerHealth, error) {
	since := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	return []operatorapi.ServerHealth{
		{ID: "id-1", Name: "n1", Address: "192.0.2.1:8300", SerfStatus: "alive", Version: "1.21.4", Leader: true, LastTerm: 2, LastIndex: 7,
			Voter: true, StableSince: since, Meta: map[string]string{"k": "v"}},
		{ID: "id-2", Name: "n2", Address: "192.0.2.2:8300", SerfStatus: "failed", Version: "1.21.4", LastContact: 1500 * time.Millisecond,
			LastTerm: 2, LastIndex: 5, Reason: "it has not answered for 1.5s", StableSince: since, Meta: map[string]string{}},
	}, nil
}

func (fakeQuorum) StopSafe() ([]operatorapi.StopSafe, error) {
	return []operatorapi.StopSafe{{ID: "id-1", Node: "n1", Reason: "it is needed"}, {ID: "id-2", Node: "n2", Safe: true, Reason: "it has no vote"}}, nil
}

func (q fakeQuorum) TransferLeadership(_ context.Context, id string) error {
	*q.calls = append(*q.calls, "transfer "+id)
	return nil
}

func (q fakeQuorum) RemovePeer(_ context.Context, id string) error {
	if id == "id-1" {
		return catalog.Errorf(catalog.Conflict, "server n1 stays")
	}
	*q.calls = append(*q.calls, "remove "+id)
	return nil
}

// fakeKeyring is two pools that have two keys.
type fakeKeyring struct{ calls *[]string }

func (k fakeKeyring) Keys(_ context.Context, op operatorapi.KeyOperation) []operatorapi.KeyReport {
	lan := operatorapi.KeyReport{Datacenter: "dc1", NumNodes: 2}
	wan := operatorapi.KeyReport{Datacenter: "dc1", NumNodes: 1, WAN: true}
	switch {
	case op.Action != operatorapi.ListKeys && op.Key != "b3RoZXI=":
		lan.Err, lan.Messages = errors.New("1/2 nodes reported failure"), map[string]string{"n2": "it can't be done with this key"}
	case op.Action == operatorapi.ListKeys:
		for _, r := range []*operatorapi.KeyReport{&lan, &wan} {
			r.Keys, r.PrimaryKeys = map[string]int{"b3RoZXI=": 1, "cHJpbWFyeQ==": r.NumNodes}, map[string]int{"cHJpbWFyeQ==": r.NumNodes}
		}
	}
	*k.calls = append(*k.calls, fmt.Sprintf("keys %+v", op))
	if op.LocalOnly {
		return []operatorapi.KeyReport{lan}
	}
	return []operatorapi.KeyReport{wan, lan}
}

// rig is an agent's API with the fakes that it stands on.
type rig struct {
	t       testing.TB
	replica *fakeReplica
	cluster *fakeCluster
	agent   *fakeAgent
	server  *api.Server
	users   http.Handler
}

// newRig makes the API of a server that leads, as change has it.
func newRig(t testing.TB, change ...func(*api.Config, *api.Deps)) *rig {
	t.Helper()
	r := &rig{t: t, replica: newReplica(), cluster: newCluster(), agent: newAgent()}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector())
	cfg := api.DefaultConfig()
	deps := api.Deps{Replica: r.replica, Cluster: r.cluster, Registerer: registry, Gatherer: registry}
	for _, f := range change {
		f(&cfg, &deps)
	}
	if replica, ok := deps.Replica.(*fakeReplica); ok {
		r.replica = replica
	}
	if cluster, ok := deps.Cluster.(*fakeCluster); ok {
		r.cluster = cluster
	}
	var err error
	r.server, err = api.New(cfg, deps,
		agentapi.Routes(r.agent, agentapi.RouteOptions{Gatherer: registry, Hostname: "host"}),
		catalogapi.Routes(cfg.Datacenter, fakeDatacenters{cfg.Datacenter}), configapi.Routes(cfg.Datacenter, ""), connectapi.Routes(true), kvapi.Routes(), sessionapi.Routes(fakeTimers{r.replica}), txnapi.Routes(txnapi.Limits{Datacenter: cfg.Datacenter, MaxValueBytes: cfg.MaxValueBytes}), operatorapi.Routes(cfg.Datacenter, fakeQuorum{&r.agent.calls}, fakeKeyring{&r.agent.calls}), snapshotapi.Routes(r.replica), queryapi.Routes(cfg.Datacenter, r.replica.store), extraRoutes())
	if err != nil {
		t.Fatal(err)
	}
	r.users = r.server.Handler()
	return r
}

// asClient makes an agent in client mode, which knows these servers.
func asClient(servers ...string) func(*api.Config, *api.Deps) {
	return func(_ *api.Config, d *api.Deps) {
		d.Replica, d.Cluster = nil, newCluster(servers...)
	}
}

// extraRoutes are routes that only tests have.
func extraRoutes() []api.Route {
	return []api.Route{{
		Method: http.MethodGet, Path: "/v1/test/panic", Kind: api.Local, Doc: "Panics.",
		Do: func(*api.Request) (any, error) { panic("on purpose") },
	}}
}

// do has a request answered without a network.
func (r *rig) do(method, target, body string, header ...string) *httptest.ResponseRecorder {
	r.t.Helper()
	return do(r.t, r.users, method, target, body, header...)
}

func do(t testing.TB, h http.Handler, method, target, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

// metric is the sum of a metric over all its labels.
func (r *rig) metric(name string) (sum float64) {
	r.t.Helper()
	for _, l := range strings.Split(r.do("GET", "/metrics", "").Body.String(), "\n") {
		family, _, _ := strings.Cut(strings.Fields(l + " -")[0], "{")
		if family == name {
			v, err := strconv.ParseFloat(l[strings.LastIndexByte(l, ' ')+1:], 64)
			if err != nil {
				r.t.Fatal(err)
			}
			sum += v
		}
	}
	return sum
}

type authorize = func(context.Context, string) (acl.Authorizer, error)

func authorizeAs(az acl.Authorizer) authorize {
	return func(context.Context, string) (acl.Authorizer, error) { return az, nil }
}

// authorizeWhile allows everything while allowed is true, and then nothing.
func authorizeWhile(allowed *bool) authorize {
	return func(context.Context, string) (acl.Authorizer, error) {
		if *allowed {
			return acl.AllowAll{}, nil
		}
		return deny{}, nil
	}
}

func authorizeByToken(_ context.Context, token string) (acl.Authorizer, error) {
	switch token {
	case "all":
		return acl.AllowAll{}, nil
	case "none":
		return deny{}, nil
	}
	return nil, catalog.Errorf(catalog.Denied, "ACL not found")
}

// fakeDatacenters is one datacenter with one server.
type fakeDatacenters struct{ own string }

func (d fakeDatacenters) Names() []string { return []string{d.own} }

func (d fakeDatacenters) Coordinates() []catalogapi.Distant {
	at := &coordinate.Coordinate{Vec: make([]float64, 8), Error: 1.5, Height: 1e-05}
	return []catalogapi.Distant{{Datacenter: d.own, AreaID: "wan", Coordinates: []*catalog.NodeCoordinate{{Node: "s1", Coord: at}}}}
}
