package agent

import (
	"fmt"
	"testing"
	"time"

	"muster/agent/checks"
	"muster/agent/local"
	"muster/catalog"
)

// An alias of a service on another node follows it, on a client agent and on a
// server.
func TestAlias_FollowsAServiceOnAnotherNode(t *testing.T) {
	c := newTestCluster(t)
	server, client := c.start(c.config(1)), c.start(c.config(0))
	oneCluster(t, server)
	on := func(a *testAgent, name string) {
		t.Helper()
		check := checks.Definition{CheckID: name + "-alive", Name: name + " alive", TTL: time.Hour}
		if err := a.state.AddService(catalog.Service{Service: name}, []checks.Definition{check}, local.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	follow := func(a *testAgent, of *testAgent, service string) {
		t.Helper()
		// It belongs to a service of its own, so as not to be a check of the
		// node, which the other node's alias would stand for.
		check := checks.Definition{CheckID: "needs", Name: "needs " + service, AliasNode: of.cfg.NodeName, AliasService: service}
		if err := a.state.AddService(catalog.Service{Service: "app"}, []checks.Definition{check}, local.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	is := func(a *testAgent, status string) {
		t.Helper()
		eventually(t, "alias on "+a.cfg.NodeName+" "+status, func() error {
			if c, _ := a.state.Check("needs"); c.Status != status {
				return fmt.Errorf("%s %q", c.Status, c.Output)
			}
			return nil
		})
	}
	on(server, "db")
	on(client, "web")
	follow(client, server, "db")
	follow(server, client, "web")
	for _, status := range []string{catalog.StatusPassing, catalog.StatusWarning, catalog.StatusCritical} {
		for a, check := range map[*testAgent]string{server: "db-alive", client: "web-alive"} {
			if err := a.state.UpdateTTL(check, status, ""); err != nil {
				t.Fatal(err)
			}
		}
		is(client, status)
		is(server, status)
	}
}
