package catalogapi

import (
	"net/http"

	"muster/api"
	"muster/catalog"
	"muster/catalog/gateway"
)

// handlers are what the routes that need the datacenter's name hang on.
type handlers struct{ datacenter string }

var (
	filter   = api.Param{Name: "filter", Doc: "an expression that entries must match"}
	nodeMeta = api.Param{Name: "node-meta", Doc: "key:value of the node's metadata; repeatable, all must match", Repeats: true}
	near     = api.Param{Name: "near", Doc: "sort by the estimated round trip from this node, nearest first; _agent is the agent that is asked"}
	segment  = api.Param{Name: "segment", Doc: "a network segment; only the one without a name is known"}
	tag      = api.Param{Name: "tag", Doc: "a tag of the instance; repeatable, all must match", Repeats: true}
	peer     = api.Param{Name: "peer", Doc: "a cluster to import from; there are none, so that nothing is found"}
	passing  = api.Param{Name: "passing", Doc: "only instances whose checks all pass"}
)

// Datacenters is what a server knows of all datacenters.
type Datacenters interface {
	// Names lists the known ones, nearest first.
	Names() []string
	// Coordinates are those of the servers in the pool of all datacenters.
	Coordinates() []Distant
}

// Routes are the routes below /v1/catalog, /v1/health and /v1/coordinate, and what
// else is made of the catalog.
func Routes(datacenter string, far Datacenters) []api.Route {
	h := handlers{datacenter}
	rows := []api.Route{
		prometheusRoute(),
		{
			Method: http.MethodPut, Path: "/v1/catalog/register", Kind: api.Write,
			Doc:     "Registers a node, and with it a service and checks.",
			Command: h.register, Body: registration{},
		},
		{
			Method: http.MethodPut, Path: "/v1/catalog/deregister", Kind: api.Write,
			Doc:     "Removes a service, a check or a whole node.",
			Command: h.deregister, Body: deregistration{},
		},
		{
			Method: http.MethodGet, Path: "/v1/catalog/datacenters", Kind: api.Read, Scope: api.Undivided,
			Doc: "Lists the known datacenters, the nearest first.",
			Ask: func(*api.Request) (any, error) { return far.Names(), nil },
		},
		{
			Method: http.MethodGet, Path: "/v1/coordinate/datacenters", Kind: api.Read, Scope: api.Undivided,
			Doc:    "Lists the network coordinates of the servers of all datacenters.",
			Answer: []Distant{},
			Ask:    func(*api.Request) (any, error) { return far.Coordinates(), nil },
		},
		{
			Method: http.MethodGet, Path: "/v1/coordinate/nodes", Kind: api.Read, Plain: true, Scope: api.Partitioned,
			Doc:    "Lists the network coordinates of the nodes.",
			Params: []api.Param{segment}, Answer: []*catalog.NodeCoordinate{},
			View: listCoordinates, Visible: visibleCoordinates,
		},
		{
			Method: http.MethodGet, Path: "/v1/coordinate/node/{node}", Kind: api.Read, Plain: true, Scope: api.Partitioned,
			Doc:    "Reads the network coordinate of a node.",
			Params: []api.Param{segment}, Answer: []*catalog.NodeCoordinate{},
			View: readCoordinate, Visible: visibleCoordinates,
		},
		{
			Method: http.MethodPut, Path: "/v1/coordinate/update", Kind: api.Write, Scope: api.Partitioned,
			Doc:     "Sets the network coordinate of a node.",
			Body:    catalog.NodeCoordinate{},
			Command: h.updateCoordinate,
		},
		{
			Method: http.MethodGet, Path: "/v1/catalog/nodes", Kind: api.Read, Scope: api.Partitioned,
			Doc:    "Lists the nodes.",
			Params: []api.Param{filter, nodeMeta, near}, Filter: &catalog.Node{},
			Answer: []*catalog.Node{},
			View:   listNodes, Visible: visibleNodes,
		},
		{
			Method: http.MethodGet, Path: "/v1/catalog/services", Kind: api.Read,
			Doc:    "Lists the names of services with their tags.",
			Params: []api.Param{filter, nodeMeta}, Filter: serviceNode{},
			Answer: map[string][]string{},
			View:   listServices, Visible: visibleServiceTags,
		},
		{
			Method: http.MethodGet, Path: "/v1/catalog/service/{service}", Kind: api.Read,
			Doc:    "Lists the instances of a service.",
			Params: []api.Param{filter, nodeMeta, near, tag, peer, mergeCentral}, Filter: serviceNode{},
			Answer: []serviceNode{},
			View:   catalogInstances(byName), Visible: visibleServiceNodes,
		},
		{
			Method: http.MethodGet, Path: "/v1/catalog/connect/{service}", Kind: api.Read,
			Doc:    "Lists the instances that give mesh access to a service.",
			Params: []api.Param{filter, nodeMeta, near, peer, mergeCentral}, Filter: serviceNode{},
			Answer: []serviceNode{},
			View:   catalogInstances(byMesh), Visible: visibleServiceNodes,
		},
		{
			Method: http.MethodGet, Path: "/v1/catalog/node/{node}", Kind: api.Read,
			Doc:    "Reads a node, by name or ID, with its services by ID.",
			Params: []api.Param{filter}, Filter: &catalog.Service{},
			Answer: (*nodeServices)(nil),
			View:   readNode, Visible: visibleNodeServices,
		},
		{
			Method: http.MethodGet, Path: "/v1/catalog/node-services/{node}", Kind: api.Read,
			Doc:    "Reads a node, by name or ID, with a list of its services.",
			Params: []api.Param{filter, mergeCentral}, Filter: &catalog.Service{},
			Answer: nodeServiceList{},
			View:   readNodeServices, Visible: visibleNodeServiceList,
		},
		{
			Method: http.MethodGet, Path: "/v1/health/node/{node}", Kind: api.Read,
			Doc:    "Lists the checks on a node.",
			Params: []api.Param{filter}, Filter: &catalog.Check{},
			Answer: []*catalog.Check{},
			View:   nodeChecks, Visible: visibleChecks,
		},
		{
			Method: http.MethodGet, Path: "/v1/health/checks/{service}", Kind: api.Read,
			Doc:    "Lists the checks of a service's instances.",
			Params: []api.Param{filter, nodeMeta, near}, Filter: &catalog.Check{},
			Answer: []*catalog.Check{},
			View:   serviceChecks, Visible: visibleChecks,
		},
		{
			Method: http.MethodGet, Path: "/v1/health/service/{service}", Kind: api.Read,
			Doc:    "Lists the instances of a service with their nodes and checks.",
			Params: []api.Param{filter, nodeMeta, near, passing, tag, peer, mergeCentral}, Filter: instance{},
			Answer: []instance{},
			View:   healthInstances(byName), Visible: visibleInstances,
		},
		{
			Method: http.MethodGet, Path: "/v1/health/connect/{service}", Kind: api.Read,
			Doc:    "Lists the instances that give mesh access to a service, with their nodes and checks.",
			Params: []api.Param{filter, nodeMeta, near, passing, peer, mergeCentral}, Filter: instance{},
			Answer: []instance{},
			View:   healthInstances(byMesh), Visible: visibleInstances,
		},
		{
			Method: http.MethodGet, Path: "/v1/health/ingress/{service}", Kind: api.Read,
			Doc:    "Lists the instances of the ingress gateways that let a service in, with their nodes and checks.",
			Params: []api.Param{filter, nodeMeta, near, passing, mergeCentral}, Filter: instance{},
			Answer: []instance{},
			View:   healthInstances(byIngress), Visible: visibleInstances,
		},
		{
			Method: http.MethodGet, Path: "/v1/catalog/gateway-services/{gateway}", Kind: api.Read,
			Doc:    "Lists the services behind an ingress or terminating gateway.",
			Answer: []gateway.Service{},
			View:   listGatewayServices, Visible: visibleGatewayServices,
		},
		{
			Method: http.MethodGet, Path: "/v1/health/state/{state}", Kind: api.Read,
			Doc:    "Lists the checks in a state: passing, warning, critical or any.",
			Params: []api.Param{filter, nodeMeta, near}, Filter: &catalog.Check{},
			Answer: []*catalog.Check{},
			View:   checksInState, Visible: visibleChecks,
		},
	}
	return append(rows, h.uiRoutes()...)
}
