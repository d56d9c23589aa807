package api_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"

	"muster/api"
)

// official gives Consul's own Go client of an agent: directly of a server, and
// through a client agent.
func official(t *testing.T, test func(t *testing.T, c *consul.Client)) {
	serve := func(r *rig) *consul.Client {
		s := httptest.NewServer(r.users)
		t.Cleanup(s.Close)
		c, err := consul.NewClient(&consul.Config{Address: s.Listener.Addr().String()})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	t.Run("directly", func(t *testing.T) { test(t, serve(newRig(t))) })
	t.Run("through a client agent", func(t *testing.T) { test(t, serve(newRig(t, asClient(newRig(t).listen())))) })
	t.Run("without kept answers", func(t *testing.T) {
		test(t, serve(newRig(t, func(c *api.Config, _ *api.Deps) { c.CacheBytes = 0 })))
	})
}

func TestOfficialClient_CatalogAndHealth(t *testing.T) {
	official(t, func(t *testing.T, c *consul.Client) {
		for _, status := range []string{"passing", "critical"} {
			node := "node-" + status
			if _, err := c.Catalog().Register(&consul.CatalogRegistration{
				Node: node, Address: "192.0.2.1", NodeMeta: map[string]string{"env": "prod"},
				TaggedAddresses: map[string]string{"wan": "198.51.100.1"},
				Service: &consul.AgentService{Service: "web", ID: "web-1", Port: 80, Tags: []string{"v1", status},
					Meta: map[string]string{"k": "v"}, Weights: consul.AgentWeights{Passing: 5, Warning: 2}},
				Check: &consul.AgentCheck{Node: node, CheckID: "web", Name: "web", Status: status, ServiceID: "web-1",
					Definition: consul.HealthCheckDefinition{TCP: "192.0.2.1:80", IntervalDuration: 10 * time.Second, TimeoutDuration: time.Second}},
			}, nil); err != nil {
				t.Fatal(err)
			}
		}
		nodes, meta, err := c.Catalog().Nodes(&consul.QueryOptions{NodeMeta: map[string]string{"env": "prod"}})
		if err != nil || len(nodes) != 2 || meta.LastIndex == 0 || !meta.KnownLeader || nodes[0].TaggedAddresses["wan"] != "198.51.100.1" {
			t.Fatalf("nodes %v, %+v, %v", nodes, meta, err)
		}
		services, _, err := c.Catalog().Services(nil)
		if err != nil || len(services["web"]) != 3 {
			t.Errorf("services %v, %v", services, err)
		}
		list, _, err := c.Catalog().ServiceMultipleTags("web", []string{"v1", "passing"}, nil)
		if err != nil || len(list) != 1 || list[0].ServicePort != 80 || list[0].ServiceWeights.Passing != 5 {
			t.Errorf("instances %v, %v", list, err)
		}
		entries, _, err := c.Health().Service("web", "", true, &consul.QueryOptions{Filter: "Service.Meta.k == v"})
		if err != nil || len(entries) != 1 || entries[0].Node.Node != "node-passing" || entries[0].Checks.AggregatedStatus() != "passing" {
			t.Errorf("entries %v, %v", entries, err)
		}
		if d := entries[0].Checks[0].Definition; d.IntervalDuration != 10*time.Second || d.TimeoutDuration != time.Second || d.TCP != "192.0.2.1:80" {
			t.Errorf("definition %+v", d)
		}
		checks, _, err := c.Health().State("critical", nil)
		if err != nil || len(checks) != 1 || checks[0].ServiceName != "web" || checks[0].Type != "tcp" {
			t.Errorf("critical %v, %v", checks, err)
		}
		node, _, err := c.Catalog().Node("node-passing", nil)
		if err != nil || node.Services["web-1"] == nil {
			t.Errorf("node %v, %v", node, err)
		}
		if node, _, err := c.Catalog().Node("nobody", nil); err != nil || node != nil {
			t.Errorf("a node that is not there: %v, %v", node, err)
		}
		if _, _, err := c.Catalog().Nodes(&consul.QueryOptions{Datacenter: "mars"}); err == nil || !strings.Contains(err.Error(), "No path to datacenter") {
			t.Errorf("another datacenter: %v", err)
		}
		woken := make(chan error, 1)
		go func() {
			_, _, err := c.Health().Service("web", "", false, &consul.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: 20 * time.Second})
			woken <- err
		}()
		if _, err := c.Catalog().Deregister(&consul.CatalogDeregistration{Node: "node-passing"}, nil); err != nil {
			t.Fatal(err)
		}
		if err := <-woken; err != nil {
			t.Error(err)
		}
		if entries, _, err := c.Health().Service("web", "", false, nil); err != nil || len(entries) != 1 {
			t.Errorf("after deregistering %v, %v", entries, err)
		}
		if leader, err := c.Status().Leader(); err != nil || leader != "192.0.2.1:8300" {
			t.Errorf("leader %q, %v", leader, err)
		}
		if raft, err := c.Operator().RaftGetConfiguration(nil); err != nil || len(raft.Servers) != 2 || !raft.Servers[0].Leader {
			t.Errorf("raft %v, %v", raft, err)
		}
		if dcs, err := c.Catalog().Datacenters(); err != nil || len(dcs) != 1 {
			t.Errorf("datacenters %v, %v", dcs, err)
		}
	})
}

func TestOfficialClient_Agent(t *testing.T) {
	official(t, func(t *testing.T, c *consul.Client) {
		agent := c.Agent()
		if err := agent.ServiceRegisterOpts(&consul.AgentServiceRegistration{
			Name: "web", Port: 80, Tags: []string{"a"}, EnableTagOverride: true,
			TaggedAddresses: map[string]consul.ServiceAddress{"lan": {Address: "192.0.2.1", Port: 81}},
			Checks: consul.AgentServiceChecks{
				{TTL: "15s", CheckID: "ttl"},
				{HTTP: "http://192.0.2.1/", Interval: "10s", Header: map[string][]string{"X": {"y"}}, DeregisterCriticalServiceAfter: "2m"},
			},
			Locality: &consul.Locality{Region: "r", Zone: "z"},
		}, consul.ServiceRegisterOpts{ReplaceExistingChecks: true}); err != nil {
			t.Fatal(err)
		}
		services, err := agent.ServicesWithFilter("Service == web")
		if err != nil || services["web"] == nil || services["web"].Weights.Passing != 1 || services["web"].TaggedAddresses["lan"].Port != 81 {
			t.Fatalf("services %v, %v", services, err)
		}
		one, _, err := agent.Service("web", nil)
		if err != nil || one.ContentHash == "" || one.Locality.Zone != "z" {
			t.Errorf("service %+v, %v", one, err)
		}
		for _, step := range []struct {
			do   func() error
			want string
		}{
			{func() error { return agent.FailTTL("ttl", "down") }, "critical"},
			{func() error { return agent.UpdateTTL("ttl", "so so", "warn") }, "warning"},
			{func() error { return agent.PassTTL("ttl", "up") }, "passing"},
		} {
			if err := step.do(); err != nil {
				t.Fatal(err)
			}
			if checks, err := agent.Checks(); err != nil || checks["ttl"].Status != step.want {
				t.Errorf("checks %v, %v; want %s", checks["ttl"], err, step.want)
			}
		}
		if status, info, err := agent.AgentHealthServiceByID("web"); err != nil || status != "critical" || info.Service.ID != "web" {
			t.Errorf("health %s, %v, %v", status, info, err)
		}
		if err := agent.EnableServiceMaintenance("web", "why"); err != nil {
			t.Error(err)
		}
		if status, _, err := agent.AgentHealthServiceByName("web"); err != nil || status != "maintenance" && status != "critical" {
			t.Errorf("in maintenance: %s, %v", status, err)
		}
		if err := agent.DisableServiceMaintenance("web"); err != nil {
			t.Error(err)
		}
		if err := agent.CheckRegister(&consul.AgentCheckRegistration{ID: "own", Name: "own", AgentServiceCheck: consul.AgentServiceCheck{TTL: "1m"}}); err != nil {
			t.Error(err)
		}
		if err := agent.CheckDeregister("own"); err != nil {
			t.Error(err)
		}
		if members, err := agent.Members(false); err != nil || len(members) != 2 || members[1].Status != 4 {
			t.Errorf("members %v, %v", members, err)
		}
		if self, err := agent.Self(); err != nil || self["Config"]["NodeName"] != "n1" {
			t.Errorf("self %v, %v", self, err)
		}
		if m, err := agent.Metrics(); err != nil || len(m.Gauges) == 0 {
			t.Errorf("metrics %v, %v", m, err)
		}
		if h, err := agent.Host(); err != nil || h["CollectionTime"] == nil {
			t.Errorf("host %v, %v", h, err)
		}
		if err := agent.Reload(); err != nil {
			t.Error(err)
		}
		if err := agent.ForceLeavePrune("n2"); err != nil {
			t.Error(err)
		}
		if err := agent.ServiceDeregister("web"); err != nil {
			t.Error(err)
		}
		if err := agent.ServiceDeregister("web"); err == nil || !strings.Contains(err.Error(), `Unknown service ID "web"`) {
			t.Errorf("twice: %v", err)
		}
	})
}

func TestOfficialClient_Operator(t *testing.T) {
	official(t, func(t *testing.T, c *consul.Client) {
		health, err := c.Operator().AutopilotServerHealth(nil)
		if err != nil || health.Healthy || len(health.Servers) != 2 || !health.Servers[0].Healthy || health.Servers[1].LastContact.Duration() != 1500*time.Millisecond {
			t.Errorf("health %+v, %v", health, err)
		}
		state, err := c.Operator().AutopilotState(nil)
		if err != nil || state.Leader != "id-1" || state.Servers["id-2"].Status != consul.AutopilotServerNonVoter || state.Servers["id-1"].Meta["k"] != "v" {
			t.Errorf("state %+v, %v", state, err)
		}
		if moved, err := c.Operator().RaftLeaderTransfer("id-2", nil); err != nil || !moved.Success {
			t.Errorf("transfer %+v, %v", moved, err)
		}
		if err := c.Operator().RaftRemovePeerByID("id-2", nil); err != nil {
			t.Error(err)
		}
		if err := c.Operator().RaftRemovePeerByAddress("192.0.2.9:1", nil); err == nil || !strings.Contains(err.Error(), "was not found in the Raft configuration") {
			t.Errorf("removing a stranger: %v", err)
		}
	})
}
