package catalogapi

import (
	"slices"
	"strings"

	"muster/api"
	"muster/catalog"
	"muster/catalog/gateway"
	"muster/catalog/state"
)

func listNodes(v *state.View, r *api.Request) (any, error) {
	nodes := slices.DeleteFunc(v.Nodes(), func(n *catalog.Node) bool { return !r.Options.MatchMeta(n.Meta) })
	return sortNear(v, r, nodes, func(n *catalog.Node) string { return n.Node }), nil
}

func listServices(v *state.View, r *api.Request) (any, error) {
	onMatching := func(n *catalog.Node) bool { return r.Options.MatchMeta(n.Meta) }
	if r.Options.Filter != "" {
		list := serviceTags{}
		for _, in := range v.AllInstances() {
			if onMatching(in.Node) {
				list = append(list, newServiceNode(in))
			}
		}
		return list, nil
	}
	if len(r.Options.NodeMeta) > 0 {
		return v.ServicesOn(onMatching), nil
	}
	return v.Services(), nil
}

// finder finds the instances that a request is about.
type finder func(v *state.View, r *api.Request, name string) ([]state.Instance, error)

// merged finds instances and, where the request wants that, merges what config entries
// say into them.
func (find finder) merged(v *state.View, r *api.Request, name string) ([]state.Instance, error) {
	found, err := find(v, r, name)
	if err != nil {
		return nil, err
	}
	merge, err := newCentral(v, r)
	if err != nil || merge == nil {
		return found, err
	}
	for i := range found {
		if found[i].Service, err = merge.service(found[i].Service); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func byName(v *state.View, r *api.Request, name string) ([]state.Instance, error) {
	return slices.DeleteFunc(v.ServiceInstances(name), func(in state.Instance) bool { return !hasTags(in.Service, r) }), nil
}

// byMesh finds proxies, native instances and terminating gateways. It passes over
// tags, as Consul does: proxies often lack those of their service.
func byMesh(v *state.View, _ *api.Request, name string) ([]state.Instance, error) {
	return gateway.Mesh(v, name)
}

// byIngress finds the gateways that let a service in.
func byIngress(v *state.View, _ *api.Request, name string) ([]state.Instance, error) {
	return gateway.Ingress(v, name)
}

// listGatewayServices lists the services behind a gateway.
func listGatewayServices(v *state.View, r *api.Request) (any, error) {
	name, err := needed(r, "gateway", "Missing gateway name")
	if err != nil {
		return nil, err
	}
	return gateway.Services(v, name)
}

// catalogInstances answers with a service's instances, of the name or of the mesh.
func catalogInstances(find finder) func(*state.View, *api.Request) (any, error) {
	return func(v *state.View, r *api.Request) (any, error) {
		name, err := needed(r, "service", "Missing service name")
		if err != nil {
			return nil, err
		}
		list := []serviceNode{}
		if r.Query.Get("peer") != "" {
			return list, nil // nothing is imported from other clusters
		}
		found, err := find.merged(v, r, name)
		if err != nil {
			return nil, err
		}
		for _, in := range found {
			if r.Options.MatchMeta(in.Node.Meta) {
				list = append(list, newServiceNode(in))
			}
		}
		return sortNear(v, r, list, func(s serviceNode) string { return s.Node }), nil
	}
}

// healthInstances answers with a service's instances and their checks.
func healthInstances(find finder) func(*state.View, *api.Request) (any, error) {
	return func(v *state.View, r *api.Request) (any, error) {
		name, err := needed(r, "service", "Missing service name")
		if err != nil {
			return nil, err
		}
		passing, err := r.Bool("passing")
		if err != nil {
			return nil, err
		}
		list := []instance{}
		if r.Query.Get("peer") != "" {
			return list, nil // nothing is imported from other clusters
		}
		found, err := find.merged(v, r, name)
		if err != nil {
			return nil, err
		}
		for _, in := range found {
			if r.Options.MatchMeta(in.Node.Meta) && (!passing || allPass(in.Checks)) {
				list = append(list, instance(in))
			}
		}
		return sortNear(v, r, list, func(in instance) string { return in.Node.Node }), nil
	}
}

func allPass(checks []*catalog.Check) bool {
	return !slices.ContainsFunc(checks, func(c *catalog.Check) bool { return c.Status != catalog.StatusPassing })
}

// hasTags says whether a service has all tags that were asked for. The case of
// letters makes no difference.
func hasTags(s *catalog.Service, r *api.Request) bool {
	for _, want := range r.Query["tag"] {
		if !slices.ContainsFunc(s.Tags, func(tag string) bool { return strings.EqualFold(tag, want) }) {
			return false
		}
	}
	return true
}

// findNode finds a node by name, else by ID.
func findNode(v *state.View, r *api.Request) (*catalog.Node, error) {
	name, err := needed(r, "node", "Missing node name")
	if err != nil {
		return nil, err
	}
	n := v.Node(name)
	if n == nil && len(name) == uuidLen {
		n = v.NodeByID(name)
	}
	return n, nil
}

const uuidLen = 36

func readNode(v *state.View, r *api.Request) (any, error) {
	n, err := findNode(v, r)
	if n == nil {
		return (*nodeServices)(nil), err
	}
	services := map[string]*catalog.Service{}
	for _, s := range v.NodeServices(n.Node) {
		services[s.ID] = s
	}
	return &nodeServices{n, services}, nil
}

func readNodeServices(v *state.View, r *api.Request) (any, error) {
	n, err := findNode(v, r)
	if n == nil {
		return &nodeServiceList{}, err
	}
	services := v.NodeServices(n.Node)
	merge, err := newCentral(v, r)
	for i := 0; err == nil && merge != nil && i < len(services); i++ {
		services[i], err = merge.service(services[i])
	}
	return &nodeServiceList{n, services}, err
}

func nodeChecks(v *state.View, r *api.Request) (any, error) {
	name, err := needed(r, "node", "Missing node name")
	if err != nil {
		return nil, err
	}
	return v.NodeChecks(name), nil
}

func serviceChecks(v *state.View, r *api.Request) (any, error) {
	name, err := needed(r, "service", "Missing service name")
	if err != nil {
		return nil, err
	}
	return checksNear(v, r, v.ServiceChecks(name)), nil
}

func checksInState(v *state.View, r *api.Request) (any, error) {
	status, err := needed(r, "state", "Missing check state")
	if err != nil {
		return nil, err
	}
	return checksNear(v, r, v.ChecksInState(status)), nil
}

// checksNear keeps the checks of nodes with the metadata asked for, and sorts
// them by distance where that was asked for.
func checksNear(v *state.View, r *api.Request, checks []*catalog.Check) []*catalog.Check {
	if len(r.Options.NodeMeta) > 0 {
		checks = slices.DeleteFunc(checks, func(c *catalog.Check) bool {
			n := v.Node(c.Node)
			return n == nil || !r.Options.MatchMeta(n.Meta)
		})
	}
	return sortNear(v, r, checks, func(c *catalog.Check) string { return c.Node })
}

// needed is a variable of the path that must not be empty.
func needed(r *api.Request, name, fault string) (string, error) {
	if v := r.Var(name); v != "" {
		return v, nil
	}
	return "", catalog.Errorf(catalog.Invalid, "%s", fault)
}
