package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"
)

// waitMemberHealth waits until the catalog has what gossip says of a node.
func waitMemberHealth(t testing.TB, via *agent, name string) {
	t.Helper()
	eventually(t, 10*time.Second, "the health of node "+name, func() error {
		checks, _, err := via.consul().Health().Node(name, nil)
		if err != nil {
			return err
		}
		for _, c := range checks {
			if c.CheckID == "serfHealth" {
				return nil
			}
		}
		return errors.New("not there")
	})
}

// waitNode waits until the catalog has a node as it should be.
func waitNode(t testing.TB, via *agent, name, what string, ok func(*consul.Node) bool) {
	t.Helper()
	eventually(t, 40*time.Second, fmt.Sprintf("node %s %s", name, what), func() error {
		node, _, err := via.consul().Catalog().Node(name, nil)
		switch {
		case err != nil:
			return err
		case node == nil && ok(nil):
			return nil
		case node == nil:
			return errors.New("not there")
		case !ok(node.Node):
			return fmt.Errorf("%+v", node.Node)
		}
		return nil
	})
}

// A container that is started again keeps its name, whatever else is new: the
// address, with the data directory; or all, once its former self is dead. The
// name of one that lives stays its own.
func TestUsers_10_ARestartedContainerKeepsItsName(t *testing.T) {
	c := newCluster(t)
	server := c.servers(1, "-hcl", quiet)[0].start()
	server.waitLeader()
	first := c.client("web-host", "-hcl", quiet).start()
	waitMembers(t, []*agent{server, first}, 2)
	register(t, first, "web", 0)
	waitInstances(t, server, "web", false, 1)

	first.kill()
	moved := c.client("web-host", "-hcl", quiet, "-data-dir", first.dir).start()
	waitNode(t, server, "web-host", "has its new address", func(n *consul.Node) bool { return n != nil && n.Address == moved.addr })
	waitInstances(t, server, "web", false, 1)

	rival := c.client("web-host", "-hcl", quiet, "-retry-max", "2").start()
	if code := rival.waitExit(20 * time.Second); code != 1 {
		t.Errorf("an agent with the name of a living one exits with %d, want 1", code)
	}
	for _, want := range []string{"web-host", "give one of the two another name, or stop it"} {
		if !strings.Contains(rival.log.String(), want) {
			t.Errorf("its error does not say %q:\n%s", want, rival.log.tail(4<<10))
		}
	}

	moved.kill()
	fresh := c.client("web-host", "-hcl", quiet).start() // nothing but the name is the same
	waitNode(t, server, "web-host", "is the new one", func(n *consul.Node) bool { return n != nil && n.Address == fresh.addr })
	waitInstances(t, server, "web", false, 0) // which never heard of it
	register(t, fresh, "api", 0)
	waitInstances(t, server, "api", false, 1)
}

// What an agent keeps comes back when someone takes it out of the catalog, with a
// word on whose it is; what is deregistered at its agent, and what gossip was
// told to forget, stays away. No check is left without its service.
func TestUsers_11_GhostsStayAwayAndOwnersAreNamed(t *testing.T) {
	c := newCluster(t)
	server := c.servers(1, "-hcl", quiet)[0].start()
	server.waitLeader()
	client := c.client("owner", "-hcl", quiet).start()
	waitMembers(t, []*agent{server, client}, 2)
	register(t, client, "web", 0)
	if err := client.consul().Agent().CheckRegister(&consul.AgentCheckRegistration{
		ID: "disk", Name: "disk", AgentServiceCheck: consul.AgentServiceCheck{TTL: "10m"},
	}); err != nil {
		t.Fatal(err)
	}
	waitInstances(t, server, "web", false, 1)
	checks := func() map[string]bool {
		t.Helper()
		all, _, err := server.consul().Health().Node("owner", nil)
		if err != nil {
			t.Fatal(err)
		}
		ids := map[string]bool{}
		for _, c := range all {
			ids[c.CheckID] = true
		}
		return ids
	}
	waitCheck := func(id string, there bool) {
		t.Helper()
		eventually(t, 15*time.Second, fmt.Sprintf("check %s there: %v", id, there), func() error {
			if checks()[id] != there {
				return fmt.Errorf("checks %v", checks())
			}
			return nil
		})
	}
	waitCheck("disk", true)

	catalog := server.consul().Catalog()
	for _, taken := range []consul.CatalogDeregistration{
		{Node: "owner", ServiceID: "web-0"},
		{Node: "owner", CheckID: "disk"},
		{Node: "owner"},
	} {
		if _, err := catalog.Deregister(&taken, nil); err != nil {
			t.Fatal(err)
		}
		waitInstances(t, server, "web", false, 1)
		waitCheck("service:web-0", true)
		waitCheck("disk", true)
		waitCheck("serfHealth", true)
	}
	if n := strings.Count(server.log.String(), "living agent keeps"); n != 3 {
		t.Errorf("%d of 3 deregistrations were remarked on", n)
	}
	if !strings.Contains(server.log.String(), "agent="+client.addr) {
		t.Errorf("the log does not name the agent at %s", client.addr)
	}

	if err := client.consul().Agent().ServiceDeregister("web-0"); err != nil {
		t.Fatal(err)
	}
	if err := client.consul().Agent().CheckDeregister("disk"); err != nil {
		t.Fatal(err)
	}
	waitInstances(t, server, "web", false, 0)
	waitCheck("service:web-0", false) // not orphaned
	waitCheck("disk", false)
	awaitFullSyncs(t, 5, client)
	if got := checks(); got["disk"] || got["service:web-0"] {
		t.Errorf("back again: %v", got)
	}
	if _, err := catalog.Register(&consul.CatalogRegistration{
		Node: "owner", Address: client.addr, SkipNodeUpdate: true,
		Check: &consul.AgentCheck{CheckID: "orphan", Name: "orphan", ServiceID: "web-0", Status: consul.HealthCritical},
	}, nil); err == nil {
		t.Error("a check of a service that isn't there is taken")
	}

	client.kill()
	if err := forceLeave(server, "owner"); err != nil {
		t.Fatal(err)
	}
	waitNode(t, server, "owner", "is gone", func(n *consul.Node) bool { return n == nil })
	eventually(t, 15*time.Second, "forgotten by gossip", func() error {
		members, err := server.consul().Agent().Members(false)
		if err == nil && len(members) != 1 {
			err = fmt.Errorf("%d members", len(members))
		}
		return err
	})
	waitNode(t, server, "owner", "stays away", func(n *consul.Node) bool { return n == nil })
}

// forceLeave has a dead member forgotten, as soon as it is seen to be dead.
func forceLeave(via *agent, name string) error {
	deadline := time.After(40 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		members, err := via.consul().Agent().Members(false)
		if err != nil {
			return err
		}
		for _, m := range members {
			if m.Name == name && m.Status == 4 { // serf's number of failed
				return via.consul().Agent().ForceLeavePrune(name)
			}
		}
		select {
		case <-deadline:
			return fmt.Errorf("%s was not seen to fail", name)
		case <-tick.C:
		}
	}
}

// What changes nothing writes nothing: registrations that say the same, TTL
// reports, outputs, and a dozen comparisons with the catalog take no log entry,
// move no index, and wake nobody.
func TestUsers_13_WhatChangesNothingWritesNothing(t *testing.T) {
	c := newCluster(t)
	server := c.servers(1, "-hcl", quiet)[0].start()
	client := c.client("client", "-hcl", quiet).start()
	server.waitLeader()
	waitMembers(t, []*agent{server, client}, 2)
	agents := []*agent{server, client}
	for i, a := range agents {
		register(t, a, "web", i)
		if err := a.consul().Agent().PassTTL("service:web-"+strconv.Itoa(i), "well"); err != nil {
			t.Fatal(err)
		}
	}
	external := &consul.CatalogRegistration{
		Node: "external", Address: "192.0.2.1", Service: &consul.AgentService{Service: "db", Port: 5432},
		Check: &consul.AgentCheck{CheckID: "db", Name: "db", ServiceID: "db", Status: consul.HealthPassing, Output: "ok"},
	}
	if _, err := server.consul().Catalog().Register(external, nil); err != nil {
		t.Fatal(err)
	}
	waitInstances(t, server, "web", true, 2)
	eventually(t, 10*time.Second, "the leader has met all", func() error {
		_, _, body := server.get("/v1/health/state/any")
		if n := strings.Count(body, `"serfHealth"`); n != 2 {
			return fmt.Errorf("%d checks of nodes: %s", n, body)
		}
		return nil
	})
	awaitFullSyncs(t, 2, agents...) // what was begun is settled
	paths := []string{
		"/v1/catalog/nodes", "/v1/catalog/services", "/v1/catalog/node/client", "/v1/health/service/web", "/v1/health/node/client",
		"/v1/health/service/db", "/v1/health/state/any", "/v1/health/checks/web",
	}
	state := func() (all []string) {
		for _, path := range paths {
			_, h, body := server.get(path)
			all = append(all, h.Get("X-Consul-Index")+" "+body)
		}
		return all
	}
	before, index := state(), appliedIndex(t, server)
	for round := range 100 {
		for i, a := range agents {
			register(t, a, "web", i)
			if err := a.consul().Agent().PassTTL("service:web-"+strconv.Itoa(i), "round "+strconv.Itoa(round)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := client.consul().Catalog().Register(external, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := client.consul().Catalog().Deregister(&consul.CatalogDeregistration{Node: "nobody", ServiceID: "nothing"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	awaitFullSyncs(t, 12, agents...)
	if now := appliedIndex(t, server); now != index {
		t.Errorf("the log went from %d to %d", index, now)
	}
	for i, now := range state() {
		if now != before[i] {
			t.Errorf("%s was\n%.600s\nand is\n%.600s", paths[i], before[i], now)
		}
	}
	// The agent itself shows the last word all the same.
	if _, _, body := client.get("/v1/agent/checks"); !strings.Contains(body, "round 99") {
		t.Errorf("the agent shows %s", body)
	}
}

// An agent that stands still and comes back costs one flap, which the metrics
// show, and its services come back without anybody's help.
func TestUsers_14_AFlapIsSeenAndHeals(t *testing.T) {
	c := newCluster(t)
	servers := c.servers(3, "-hcl", quiet)
	client := c.client("sick", "-hcl", quiet)
	all := append(append([]*agent(nil), servers...), client)
	for _, a := range all {
		a.start()
	}
	waitMembers(t, all, 4)
	register(t, client, "web", 0)
	flip(t, client, consul.HealthPassing)
	leader := leaderOf(servers, servers[0])
	waitInstances(t, leader, "web", true, 1)
	client.signal(syscall.SIGSTOP)
	eventually(t, 40*time.Second, "out of the passing instances", func() error {
		entries, _, err := leader.consul().Health().Service("web", "", true, nil)
		if err == nil && len(entries) != 0 {
			err = errors.New("still passing")
		}
		return err
	})
	client.signal(syscall.SIGCONT)
	waitMembers(t, servers, 4)
	waitInstances(t, leader, "web", true, 1)
	for _, s := range servers {
		eventually(t, 10*time.Second, s.name+" has counted the flap", func() error {
			if n := metric(t, s, "muster_gossip_flaps_total"); n < 1 {
				return fmt.Errorf("%v flaps", n)
			}
			return nil
		})
		metric(t, s, "muster_gossip_health_score") // Lifeguard's own doubt is on show
		if status, _, body := s.get("/v1/status/leader"); status != http.StatusOK || len(body) < 5 {
			t.Errorf("%s: %d %s", s.name, status, body)
		}
	}
}
