package catalogapi

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"muster/api"
	"muster/catalog"
	"muster/catalog/acl"
	"muster/catalog/gateway"
	"muster/catalog/state"
)

// dumpedNode is a node with all that is on it, as /v1/internal/ui/nodes gives it.
type dumpedNode struct {
	ID              string
	Node            string
	Address         string
	TaggedAddresses map[string]string
	Meta            map[string]string
	Services        []*catalog.Service
	Checks          []*catalog.Check
}

func newDumpedNode(n *catalog.Node) *dumpedNode {
	return &dumpedNode{
		ID: n.ID, Node: n.Node, Address: n.Address, TaggedAddresses: n.TaggedAddresses, Meta: n.Meta,
		Services: []*catalog.Service{}, Checks: []*catalog.Check{},
	}
}

// serviceSummary is a service in few words, as /v1/internal/ui/services gives it.
type serviceSummary struct {
	Kind                 string `json:",omitempty"`
	Name                 string
	Datacenter           string
	Tags                 []string
	Nodes                []string
	ExternalSources      []string
	InstanceCount        int
	ChecksPassing        int
	ChecksWarning        int
	ChecksCritical       int
	GatewayConfig        gatewaySummary
	TransparentProxy     bool
	ConnectNative        bool
	ConnectedWithProxy   bool
	ConnectedWithGateway bool
}

// gatewaySummary is how many services are behind a gateway.
type gatewaySummary struct {
	AssociatedServiceCount int `json:",omitempty"`
}

func (h handlers) uiRoutes() []api.Route {
	return []api.Route{
		{
			Method: http.MethodGet, Path: "/v1/internal/ui/nodes", Kind: api.Read, Plain: true,
			Doc:    "Lists the nodes, each with its services and checks.",
			Params: []api.Param{filter}, Filter: &dumpedNode{}, Answer: []*dumpedNode{},
			View: dumpNodes, Visible: visibleDump,
		},
		{
			Method: http.MethodGet, Path: "/v1/internal/ui/node/{node}", Kind: api.Read, Plain: true,
			Doc:    "Reads a node with its services and checks.",
			Answer: &dumpedNode{},
			View:   dumpNode, Visible: visibleDumpedNode,
		},
		{
			Method: http.MethodGet, Path: "/v1/internal/ui/services", Kind: api.Read, Plain: true,
			Doc:    "Lists the services with what there is of each.",
			Params: []api.Param{filter}, Filter: instance{}, Answer: summaries{},
			View: h.summarize, Visible: visibleSummaries,
		},
	}
}

func dumpNodes(v *state.View, _ *api.Request) (any, error) {
	all := []*dumpedNode{}
	byName := map[string]*dumpedNode{}
	for _, n := range v.Nodes() {
		d := newDumpedNode(n)
		all = append(all, d)
		byName[n.Node] = d
	}
	for _, in := range v.AllInstances() {
		d := byName[in.Node.Node]
		d.Services = append(d.Services, in.Service)
	}
	for _, c := range v.ChecksInState(catalog.StatusAny) {
		if d := byName[c.Node]; d != nil {
			d.Checks = append(d.Checks, c)
		}
	}
	return all, nil
}

func dumpNode(v *state.View, r *api.Request) (any, error) {
	n, err := findNode(v, r)
	if n == nil {
		if err == nil {
			err = catalog.Errorf(catalog.NotFound, "")
		}
		return nil, err
	}
	d := newDumpedNode(n)
	d.Services, d.Checks = v.NodeServices(n.Node), v.NodeChecks(n.Node)
	return d, nil
}

func visibleDumpedNode(az acl.Authorizer, answer any) (any, bool) {
	d := answer.(*dumpedNode)
	if !seesNode(az, d.Node) {
		return (*dumpedNode)(nil), true
	}
	kept := *d
	var cutServices, cutChecks bool
	kept.Services, cutServices = only(d.Services, func(s *catalog.Service) bool { return seesService(az, s.Service) })
	kept.Checks, cutChecks = only(d.Checks, func(c *catalog.Check) bool { return seesCheck(az, c) })
	return &kept, cutServices || cutChecks
}

func visibleDump(az acl.Authorizer, answer any) (any, bool) {
	kept, cut := []*dumpedNode{}, false
	for _, d := range answer.([]*dumpedNode) {
		visible, less := visibleDumpedNode(az, d)
		if d := visible.(*dumpedNode); d != nil {
			kept = append(kept, d)
		}
		cut = cut || less
	}
	return kept, cut
}

// summaries are instances until the filter is done, which is about instances.
type summaries struct {
	datacenter string
	instances  []instance
	behind     map[string][]string // names of the services behind a gateway, by its name
}

func (h handlers) summarize(v *state.View, _ *api.Request) (any, error) {
	s := summaries{datacenter: h.datacenter, behind: map[string][]string{}}
	for _, in := range v.AllInstancesWithChecks() {
		s.instances = append(s.instances, instance(in))
		name := in.Service.Service
		if _, done := s.behind[name]; done || !in.Service.IsGateway() {
			continue
		}
		services, err := gateway.Services(v, name)
		if err != nil {
			return nil, err
		}
		s.behind[name] = []string{}
		for _, svc := range services {
			s.behind[name] = include(s.behind[name], svc.Service.Name)
		}
	}
	return s, nil
}

func visibleSummaries(az acl.Authorizer, answer any) (any, bool) {
	s := answer.(summaries)
	kept, cut := visibleInstances(az, s.instances)
	return summaries{s.datacenter, kept.([]instance), s.behind}, cut
}

// Filtered implements api.Filterable.
func (s summaries) Filtered(match func(any) (bool, error)) (any, error) {
	kept := summaries{datacenter: s.datacenter, behind: s.behind}
	for _, in := range s.instances {
		ok, err := match(in)
		if err != nil {
			return nil, err
		}
		if ok {
			kept.instances = append(kept.instances, in)
		}
	}
	return kept, nil
}

// SchemaSample implements api.Schemed.
func (summaries) SchemaSample() any { return []*serviceSummary{} }

// MarshalJSON implements json.Marshaler.
func (s summaries) MarshalJSON() ([]byte, error) { return json.Marshal(s.list()) }

// list sums the instances up, by the name of their service. A proxy's checks
// count for the service it stands before, too; each check counts once.
func (s summaries) list() []*serviceSummary {
	all := map[string]*serviceSummary{}
	counted := map[*serviceSummary]map[*catalog.Check]bool{}
	for _, in := range s.instances {
		svc := in.Service
		sum := all[svc.Service]
		if sum == nil {
			sum = &serviceSummary{Kind: svc.Kind, Name: svc.Service, Datacenter: s.datacenter}
			all[svc.Service], counted[sum] = sum, map[*catalog.Check]bool{}
		}
		sum.InstanceCount++
		sum.ConnectNative = sum.ConnectNative || svc.Connect.Native
		sum.Tags = include(sum.Tags, svc.Tags...)
		sum.Nodes = include(sum.Nodes, in.Node.Node)
		if source := svc.Meta["external-source"]; source != "" {
			sum.ExternalSources = include(sum.ExternalSources, source)
		}
		sum.count(in.Checks, counted[sum])
	}
	for _, in := range s.instances {
		if sum := all[in.Service.Proxy.DestinationServiceName]; sum != nil && in.Service.Kind == catalog.KindConnectProxy {
			sum.ConnectedWithProxy = true
			sum.TransparentProxy = sum.TransparentProxy || in.Service.Proxy.Mode == "transparent"
			sum.count(in.Checks, counted[sum])
		}
	}
	for name, services := range s.behind {
		if sum := all[name]; sum != nil {
			sum.GatewayConfig.AssociatedServiceCount = len(services)
			for _, name := range services {
				if served := all[name]; served != nil {
					served.ConnectedWithGateway = true
				}
			}
		}
	}
	sorted := slices.AppendSeq([]*serviceSummary{}, maps.Values(all))
	slices.SortFunc(sorted, func(a, b *serviceSummary) int { return strings.Compare(a.Name, b.Name) })
	return sorted
}

func (s *serviceSummary) count(checks []*catalog.Check, counted map[*catalog.Check]bool) {
	for _, c := range checks {
		if counted[c] {
			continue
		}
		counted[c] = true
		switch c.Status {
		case catalog.StatusPassing:
			s.ChecksPassing++
		case catalog.StatusWarning:
			s.ChecksWarning++
		default:
			s.ChecksCritical++
		}
	}
}

// include adds what a sorted set lacks.
func include(set []string, names ...string) []string {
	for _, name := range names {
		if i, found := slices.BinarySearch(set, name); !found {
			set = slices.Insert(set, i, name)
		}
	}
	return set
}
