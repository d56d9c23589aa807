package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"
)

// drift is a client agent that is told things, a catalog that is meddled with and
// servers that come and go.
type drift struct {
	*scene
	dice   *rand.Rand
	told   map[string]int // service ID → the port that it was registered with last
	checks map[string]bool
	downs  []*agent
	steps  []string
}

// TestSync_ConvergesThroughRealServers does at random what users, vandals and
// power cuts do, in any order: what the agent is told it takes at any time, and
// in the end the catalog says the same and stays so. The seed of a failing run is
// printed; MUSTER_SEED plays it again.
func TestSync_ConvergesThroughRealServers(t *testing.T) {
	seed := rand.Uint64()
	if text := os.Getenv("MUSTER_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("MUSTER_SEED: %v", err)
		}
	}
	c := newCluster(t)
	conf := quiet + ` check_update_interval = "0s"`
	s := &scene{cluster: c, servers: c.servers(3, "-hcl", conf), client: c.client("client", "-hcl", conf)}
	d := &drift{scene: s, dice: rand.New(rand.NewPCG(seed, 0)), told: map[string]int{}, checks: map[string]bool{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("MUSTER_SEED=%d: %s", seed, strings.Join(d.steps, ", "))
		}
	})
	for _, a := range s.agents {
		a.start()
	}
	waitMembers(t, s.agents, 4)
	s.leaderAmong(s.servers)
	s.waitVoters(3)
	for range 400 {
		d.step()
	}
	for _, a := range d.downs {
		a.start()
	}
	waitMembers(t, s.agents, 4)
	leader := s.leaderAmong(s.servers)
	eventually(t, 30*time.Second, "the agent and the catalog are the same", func() error { return d.same(leader) })
	d.keptAll()

	index := appliedIndex(t, leader)
	awaitFullSyncs(t, 5, d.client)
	if err := d.same(leader); err != nil {
		t.Errorf("a moment later: %v", err)
	}
	if now := appliedIndex(t, leader); now != index {
		t.Errorf("in sync, and still the log went from %d to %d", index, now)
	}
	t.Logf("seed %d: %d services, %d checks alone, %d steps", seed, len(d.told), len(d.checks), len(d.steps))
}

// step does one thing. Whatever the agent itself is told must succeed; what is
// done to the catalog may fail for want of servers.
func (d *drift) step() {
	id := fmt.Sprintf("s%d", d.dice.IntN(5))
	port := 1000 + d.dice.IntN(3)
	status := []string{"pass", "warn", "fail"}[d.dice.IntN(3)]
	agent := d.client.consul().Agent()
	note := func(format string, args ...any) { d.steps = append(d.steps, fmt.Sprintf(format, args...)) }
	must := func(what string, err error) {
		d.t.Helper()
		note("%s", what)
		if err != nil {
			d.t.Fatalf("%s: %v", what, err)
		}
	}
	_, there := d.told[id]
	switch n := d.dice.IntN(100); {
	case n < 25:
		must("register "+id, agent.ServiceRegister(&consul.AgentServiceRegistration{
			Name: id, Port: port, Tags: []string{status}, Check: &consul.AgentServiceCheck{CheckID: "of-" + id, TTL: "10m"},
		}))
		d.told[id] = port
	case n < 35 && there:
		must("deregister "+id, agent.ServiceDeregister(id))
		delete(d.told, id)
	case n < 60 && there:
		must(status+" "+id, agent.UpdateTTL("of-"+id, strconv.Itoa(port), status))
	case n < 65:
		must("check "+id, agent.CheckRegister(&consul.AgentCheckRegistration{ID: "alone-" + id, Name: "alone", AgentServiceCheck: consul.AgentServiceCheck{TTL: "10m"}}))
		d.checks["alone-"+id] = true
	case n < 70 && d.checks["alone-"+id]:
		must("uncheck "+id, agent.CheckDeregister("alone-"+id))
		delete(d.checks, "alone-"+id)
	case n < 86:
		body := []string{
			fmt.Sprintf(`{"Node":"client","ServiceID":%q}`, id),
			fmt.Sprintf(`{"Node":"client","CheckID":"of-%s"}`, id),
			`{"Node":"client"}`,
		}[d.dice.IntN(3)]
		note("deregister in the catalog %s: %v", body, d.meddle("deregister", body))
	case n < 93:
		body := fmt.Sprintf(`{"Node":"client","Address":%q,"SkipNodeUpdate":true,"Service":{"Service":%q,"Port":6666,"Tags":["evil"]}}`,
			d.client.addr, []string{id, "stranger-" + id}[d.dice.IntN(2)])
		note("register in the catalog %s: %v", body, d.meddle("register", body))
	case n < 95:
		note("the agent is killed and started")
		d.client.kill()
		d.client.start()
		eventually(d.t, 20*time.Second, "the agent answers", func() error { _, err := agent.Services(); return err })
	case len(d.downs) > 0 && d.dice.IntN(3) > 0:
		up := d.downs[0]
		d.downs = d.downs[1:]
		up.start()
		note("start %s", up.name)
	case len(d.downs) < 2:
		down := d.servers[d.dice.IntN(3)]
		if !slices.Contains(d.downs, down) {
			down.kill()
			d.downs = append(d.downs, down)
			note("kill %s", down.name)
		}
	}
}

// meddle writes to the catalog past the agent, through a server that is up. It
// gives the status, 0 where nothing was heard within a moment.
func (d *drift) meddle(what, body string) int {
	for _, s := range d.servers {
		if !slices.Contains(d.downs, s) {
			status, _, _, err := fetch(d.t.Context(), http.DefaultClient, 300*time.Millisecond, s, http.MethodPut, "/v1/catalog/"+what, body)
			if err != nil {
				return 0
			}
			return status
		}
	}
	return 0
}

// same compares what the agent has with what the catalog has of its node.
func (d *drift) same(via *agent) error {
	services, err := d.client.consul().Agent().Services()
	if err != nil {
		return err
	}
	checks, err := d.client.consul().Agent().Checks()
	if err != nil {
		return err
	}
	var own, there []string
	for _, s := range services {
		own = append(own, fmt.Sprintf("service %s %d %v", s.ID, s.Port, s.Tags))
	}
	for _, c := range checks {
		own = append(own, fmt.Sprintf("check %s of %q %s %q", c.CheckID, c.ServiceID, c.Status, c.Output))
	}
	node, _, err := via.consul().Catalog().NodeServiceList("client", nil)
	if err != nil {
		return err
	}
	all, _, err := via.consul().Health().Node("client", nil)
	if err != nil {
		return err
	}
	if node != nil {
		for _, s := range node.Services {
			there = append(there, fmt.Sprintf("service %s %d %v", s.ID, s.Port, s.Tags))
		}
	}
	own = append(own, "the node is alive") // which the leader says
	for _, c := range all {
		if c.CheckID == "serfHealth" && c.Status == consul.HealthPassing {
			there = append(there, "the node is alive")
		} else {
			there = append(there, fmt.Sprintf("check %s of %q %s %q", c.CheckID, c.ServiceID, c.Status, c.Output))
		}
	}
	slices.Sort(own)
	slices.Sort(there)
	if !slices.Equal(own, there) {
		return fmt.Errorf("the agent has\n%s\nthe catalog\n%s", strings.Join(own, "\n"), strings.Join(there, "\n"))
	}
	return nil
}

// keptAll holds the agent against what it was told.
func (d *drift) keptAll() {
	d.t.Helper()
	services, err := d.client.consul().Agent().Services()
	if err != nil {
		d.t.Fatal(err)
	}
	ports := map[string]int{}
	for id, s := range services {
		ports[id] = s.Port
	}
	if !maps.Equal(ports, d.told) {
		d.t.Errorf("the agent was told %v and has %v", d.told, ports)
	}
	checks, err := d.client.consul().Agent().Checks()
	if err != nil {
		d.t.Fatal(err)
	}
	for id := range d.checks {
		if checks[id] == nil {
			d.t.Errorf("the agent has lost check %s", id)
		}
	}
	if want := len(d.told) + len(d.checks); len(checks) != want {
		d.t.Errorf("the agent has %d checks, of %d that it was told", len(checks), want)
	}
}

// TestSync_TwoHundredNodesThroughOneAgent registers what 200 agents would, half
// of it as one agent's own services and half as nodes of the catalog, through one
// client process: all arrives, with one log entry for each thing and none after,
// and goes when it is deregistered.
func TestSync_TwoHundredNodesThroughOneAgent(t *testing.T) {
	const nodes = 200
	c := newCluster(t)
	server := c.servers(1, "-hcl", quiet, "-log-level", "info")[0].start()
	client := c.client("client", "-hcl", quiet, "-log-level", "info").start()
	server.waitLeader()
	waitMembers(t, []*agent{server, client}, 2)
	waitNode(t, server, "client", "is there", func(n *consul.Node) bool { return n != nil && n.Meta["consul-version"] != "" })
	awaitFullSyncs(t, 2, client)
	// spent is how many entries the log has grown by since the last look.
	last := appliedIndex(t, server)
	spent := func() int {
		before := last
		last = appliedIndex(t, server)
		return last - before
	}
	each := func(from, to int, do func(i int) error) {
		t.Helper()
		var workers sync.WaitGroup
		for w := range 8 {
			workers.Go(func() {
				for i := from + w; i < to; i += 8 {
					if err := do(i); err != nil {
						t.Errorf("node %d: %v", i, err)
					}
				}
			})
		}
		workers.Wait()
	}
	arrived := func(n int) {
		t.Helper()
		waitInstances(t, server, "app", true, n)
		eventually(t, 20*time.Second, "the agent's own", func() error {
			list, _, err := server.consul().Catalog().NodeServiceList("client", nil)
			if err == nil && len(list.Services) != n {
				err = fmt.Errorf("%d of %d", len(list.Services), n)
			}
			return err
		})
		eventually(t, 20*time.Second, "nothing is pending", func() error {
			if n := metric(t, client, "muster_local_pending"); n > 0 {
				return fmt.Errorf("%v things", n)
			}
			return nil
		})
	}
	each(0, nodes, func(i int) error {
		name := fmt.Sprintf("own-%d", i)
		return client.consul().Agent().ServiceRegister(&consul.AgentServiceRegistration{Name: name, Port: 80, Checks: consul.AgentServiceChecks{
			{CheckID: name + "-a", TTL: "10m", Status: "passing"}, {CheckID: name + "-b", TTL: "10m", Status: "passing"},
		}})
	})
	each(0, nodes, func(i int) error {
		_, err := client.consul().Catalog().Register(&consul.CatalogRegistration{
			Node: fmt.Sprintf("virtual-%d", i), Address: "192.0.2.1", Service: &consul.AgentService{Service: "app", Port: 8000 + i},
			Check: &consul.AgentCheck{CheckID: "app", Name: "app", ServiceID: "app", Status: "passing"},
		}, nil)
		return err
	})
	arrived(nodes)
	n := spent()
	if n > 2*nodes+5 {
		t.Errorf("%d things cost %d log entries", 2*nodes, n)
	}
	t.Logf("%d nodes, services and checks: %d log entries", 2*nodes, n)
	awaitFullSyncs(t, 5, client)
	if n := spent(); n != 0 {
		t.Errorf("%d log entries without a change", n)
	}
	each(0, nodes/2, func(i int) error { return client.consul().Agent().ServiceDeregister(fmt.Sprintf("own-%d", i)) })
	each(0, nodes/2, func(i int) error {
		_, err := client.consul().Catalog().Deregister(&consul.CatalogDeregistration{Node: fmt.Sprintf("virtual-%d", i)}, nil)
		return err
	})
	arrived(nodes / 2)
	if n := spent(); n > nodes+5 {
		t.Errorf("%d removals cost %d log entries", nodes, n)
	}
	if _, _, body := server.get("/v1/health/node/client"); strings.Count(body, `"CheckID"`) != nodes+1 {
		t.Errorf("checks of services that are gone: %d, want %d", strings.Count(body, `"CheckID"`), nodes+1)
	}
	client.kill()
	client.start()
	eventually(t, 20*time.Second, "the agent is back", func() error { _, err := client.consul().Agent().Services(); return err })
	awaitFullSyncs(t, 3, client)
	arrived(nodes / 2)
	if n := spent(); n > 5 {
		t.Errorf("a restart without a change cost %d log entries", n)
	}
}
