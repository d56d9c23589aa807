package e2e

import (
	"errors"
	"fmt"
	"slices"
	"time"

	consul "github.com/hashicorp/consul/api"
)

// external is a node that no agent keeps; each kind of agent writes it anew.
var external = consul.CatalogRegistration{
	Node: "external", Address: "192.0.2.7", NodeMeta: map[string]string{"rack": "7"}, Locality: &consul.Locality{Region: "eu", Zone: "eu-7"},
	Service: &consul.AgentService{ID: "db-1", Service: "db", Port: 5432, Tags: []string{"v1", "primary"}, Connect: &consul.AgentServiceConnect{Native: true}},
	Check:   &consul.AgentCheck{CheckID: "db", Name: "db", ServiceID: "db-1", Status: consul.HealthWarning},
}

func queryOptions() *consul.QueryOptions { return &consul.QueryOptions{RequireConsistent: true} }

var catalogCalls = []call{
	{method: "Catalog.Register", check: func(c client) {
		_, err := c.Catalog().Register(&external, nil)
		c.want(err, true, "")
	}},
	{method: "Catalog.Datacenters", check: func(c client) {
		got, err := c.Catalog().Datacenters()
		c.want(err, slices.Equal(got, []string{"dc1"}), "%v", got)
	}},
	{method: "Catalog.Nodes", check: func(c client) {
		got, meta, err := c.Catalog().Nodes(&consul.QueryOptions{NodeMeta: map[string]string{"rack": "7"}})
		c.want(err, len(got) == 1 && got[0].Address == "192.0.2.7" && *got[0].Locality == *external.Locality && meta.LastIndex > 0 && meta.KnownLeader, "%v %+v", got, meta)
	}},
	{method: "Catalog.Services", check: func(c client) {
		got, _, err := c.Catalog().Services(queryOptions())
		c.want(err, len(got["db"]) == 2 && got["consul"] != nil, "%v", got)
	}},
	{method: "Catalog.Service", check: func(c client) {
		got, _, err := c.Catalog().Service("db", "v1", queryOptions())
		c.want(err, len(got) == 1 && got[0].ServiceID == "db-1" && got[0].ServicePort == 5432, "%v", got)
	}},
	{method: "Catalog.ServiceMultipleTags", check: func(c client) {
		got, _, err := c.Catalog().ServiceMultipleTags("db", []string{"v1", "replica"}, queryOptions())
		c.want(err, len(got) == 0, "%v", got)
	}},
	{method: "Catalog.Connect", check: func(c client) {
		got, _, err := c.Catalog().Connect("db", "", queryOptions())
		c.want(err, len(got) == 1, "%v", got)
	}},
	{method: "Catalog.ConnectMultipleTags", check: func(c client) {
		got, _, err := c.Catalog().ConnectMultipleTags("db", []string{"v1", "primary"}, queryOptions())
		c.want(err, len(got) == 1, "%v", got)
	}},
	{method: "Catalog.Node", check: func(c client) {
		got, _, err := c.Catalog().Node("external", queryOptions())
		c.want(err, got != nil && got.Services["db-1"] != nil, "%v", got)
	}},
	{method: "Catalog.NodeServiceList", check: func(c client) {
		got, _, err := c.Catalog().NodeServiceList("external", queryOptions())
		c.want(err, got != nil && len(got.Services) == 1, "%v", got)
	}},
	{method: "Catalog.GatewayServices", endpoint: "GET /v1/catalog/gateway-services/{gateway}", ask: func(c *consul.Client) error {
		_, _, err := c.Catalog().GatewayServices("gateway", nil)
		return err
	}},
	{method: "Health.Node", check: func(c client) {
		got, _, err := c.Health().Node("external", queryOptions())
		c.want(err, len(got) == 1 && got[0].CheckID == "db", "%v", got)
	}},
	{method: "Health.Checks", check: func(c client) {
		got, _, err := c.Health().Checks("db", queryOptions())
		c.want(err, len(got) == 1 && got[0].ServiceTags[0] == "v1", "%v", got)
	}},
	{method: "Health.Service", check: func(c client) {
		got, meta, err := c.Health().Service("db", "v1", false, queryOptions())
		c.want(err, len(got) == 1 && got[0].Node.Meta["rack"] == "7" && got[0].Checks.AggregatedStatus() == consul.HealthWarning, "%v", got)
		// The same as a blocking query, which the next write wakes.
		woken := make(chan error, 1)
		go func() {
			entries, _, err := c.Health().Service("db", "", false, &consul.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: 30 * time.Second})
			if err == nil && (len(entries) != 1 || entries[0].Checks.AggregatedStatus() != consul.HealthPassing) {
				err = fmt.Errorf("woken with %v", entries)
			}
			woken <- err
		}()
		passing := external
		check := *external.Check
		check.Status, passing.Check = consul.HealthPassing, &check
		_, err = c.Catalog().Register(&passing, nil)
		c.want(errors.Join(err, <-woken), true, "")
	}},
	{method: "Health.ServiceMultipleTags", check: func(c client) {
		got, _, err := c.Health().ServiceMultipleTags("db", []string{"v1", "primary"}, true, queryOptions())
		c.want(err, len(got) == 1, "%v", got)
	}},
	{method: "Health.Connect", check: func(c client) {
		got, _, err := c.Health().Connect("db", "", true, queryOptions())
		c.want(err, len(got) == 1, "%v", got)
	}},
	{method: "Health.ConnectMultipleTags", check: func(c client) {
		// As with Consul, where tags make no difference to the proxies of a service.
		got, _, err := c.Health().ConnectMultipleTags("db", []string{"other"}, true, queryOptions())
		c.want(err, len(got) == 1, "%v", got)
	}},
	{method: "Health.Ingress", endpoint: "GET /v1/health/ingress/{service}", ask: func(c *consul.Client) error {
		_, _, err := c.Health().Ingress("db", false, nil)
		return err
	}},
	{method: "Health.State", check: func(c client) {
		got, _, err := c.Health().State(consul.HealthPassing, queryOptions())
		c.want(err, slices.ContainsFunc(got, func(h *consul.HealthCheck) bool { return h.CheckID == "db" }), "%v", got)
	}},
	{method: "Catalog.Deregister", check: func(c client) {
		_, err := c.Catalog().Deregister(&consul.CatalogDeregistration{Node: "external"}, nil)
		c.want(err, true, "")
		node, _, err := c.Catalog().Node("external", queryOptions())
		c.want(err, node == nil, "%v", node)
	}},
}

var otherCalls = []call{
	{method: "Status.Leader", check: func(c client) {
		got, err := c.Status().Leader()
		c.want(err, got == c.agent.server(c.other).addr+":8300", "%s", got)
	}},
	{method: "Status.LeaderWithQueryOptions", check: func(c client) {
		got, err := c.Status().LeaderWithQueryOptions(&consul.QueryOptions{Datacenter: "dc1"})
		c.want(err, got != "", "%s", got)
	}},
	{method: "Status.Peers", check: func(c client) {
		got, err := c.Status().Peers()
		c.want(err, len(got) == 1, "%v", got)
	}},
	{method: "Status.PeersWithQueryOptions", check: func(c client) {
		got, err := c.Status().PeersWithQueryOptions(&consul.QueryOptions{Datacenter: "dc1"})
		c.want(err, len(got) == 1, "%v", got)
	}},
	{method: "Event.Fire", check: func(c client) {
		id, _, err := c.Event().Fire(&consul.UserEvent{Name: "deploy-by-" + c.agent.name, Payload: []byte("now")}, nil)
		c.want(err, id != "", "%s", id)
	}},
	{method: "Event.List", check: func(c client) {
		eventually(c.t, 20*time.Second, "the event has come to the other agent", func() error {
			got, _, err := c.other.consul().Event().List("deploy-by-"+c.agent.name, nil)
			if err == nil && (len(got) != 1 || string(got[0].Payload) != "now") {
				err = fmt.Errorf("%v", got)
			}
			return err
		})
	}},
	{method: "Event.IDToIndex", check: func(c client) {
		got, meta, err := c.Event().List("deploy-by-"+c.agent.name, nil)
		c.want(err, len(got) == 1 && c.Event().IDToIndex(got[0].ID) == meta.LastIndex, "%v %+v", got, meta)
	}},
	{method: "Coordinate.Update", check: func(c client) {
		node, _, err := c.Catalog().Node(c.guest.name, nil)
		c.want(err, node != nil, "%v", node)
		self, _, err := c.Coordinate().Nodes(queryOptions())
		c.want(err, true, "%v", self)
		entry := &consul.CoordinateEntry{Node: c.guest.name, Coord: someCoordinate()}
		_, err = c.Coordinate().Update(entry, nil)
		c.want(err, true, "")
	}},
	{method: "Coordinate.Node", check: func(c client) {
		got, _, err := c.Coordinate().Node(c.guest.name, queryOptions())
		c.want(err, len(got) == 1 && got[0].Coord.Vec[0] == someCoordinate().Vec[0], "%v", got)
	}},
	{method: "Coordinate.Nodes", check: func(c client) {
		got, _, err := c.Coordinate().Nodes(queryOptions())
		c.want(err, slices.ContainsFunc(got, func(e *consul.CoordinateEntry) bool { return e.Node == c.guest.name }), "%v", got)
	}},
	{method: "Coordinate.Datacenters", check: func(c client) {
		got, err := c.Coordinate().Datacenters()
		c.want(err, len(got) == 1 && got[0].Datacenter == "dc1", "%v", got)
	}},
}
