package catalogapi

import (
	"muster/catalog"
	"muster/catalog/state"
)

// serviceNode is an instance with its node, as /v1/catalog/service gives it.
type serviceNode struct {
	ID                       string
	Node                     string
	Address                  string
	Datacenter               string
	TaggedAddresses          map[string]string
	NodeMeta                 map[string]string
	ServiceKind              string
	ServiceID                string
	ServiceName              string
	ServiceTags              []string
	ServiceAddress           string
	ServiceTaggedAddresses   map[string]catalog.ServiceAddress `json:",omitempty"`
	ServiceWeights           catalog.Weights
	ServiceMeta              map[string]string
	ServicePort              int
	ServiceSocketPath        string
	ServiceEnableTagOverride bool
	ServiceProxy             *catalog.Proxy
	ServiceConnect           catalog.Connect
	ServiceLocality          *catalog.Locality `bexpr:"-"`
	CreateIndex              uint64
	ModifyIndex              uint64
}

func newServiceNode(in state.Instance) serviceNode {
	n, s := in.Node, in.Service
	meta := s.Meta
	if meta == nil {
		meta = map[string]string{} // Consul's clients find an object here, never null
	}
	return serviceNode{
		ID: n.ID, Node: n.Node, Address: n.Address, Datacenter: n.Datacenter,
		TaggedAddresses: n.TaggedAddresses, NodeMeta: n.Meta,
		ServiceKind: s.Kind, ServiceID: s.ID, ServiceName: s.Service, ServiceTags: s.Tags,
		ServiceAddress: s.Address, ServiceTaggedAddresses: s.TaggedAddresses,
		ServiceWeights: s.Weights, ServiceMeta: meta, ServicePort: s.Port,
		ServiceSocketPath: s.SocketPath, ServiceEnableTagOverride: s.EnableTagOverride,
		ServiceProxy: s.Proxy, ServiceConnect: s.Connect, ServiceLocality: s.Locality,
		CreateIndex: s.CreateIndex, ModifyIndex: s.ModifyIndex,
	}
}

// nodeServices is a node with its services by ID, as /v1/catalog/node gives it.
// The answer for a node that is not there is null.
type nodeServices struct {
	Node     *catalog.Node
	Services map[string]*catalog.Service
}

// Filtered implements api.Filterable: the filter is about the services.
func (n *nodeServices) Filtered(match func(any) (bool, error)) (any, error) {
	if n == nil {
		return n, nil
	}
	kept := make(map[string]*catalog.Service, len(n.Services))
	for id, s := range n.Services {
		ok, err := match(s)
		if err != nil {
			return nil, err
		}
		if ok {
			kept[id] = s
		}
	}
	return &nodeServices{n.Node, kept}, nil
}

// nodeServiceList is the same with a list, as /v1/catalog/node-services gives
// it. For a node that is not there both are null.
type nodeServiceList struct {
	Node     *catalog.Node
	Services []*catalog.Service
}

// Filtered implements api.Filterable: the filter is about the services.
func (n *nodeServiceList) Filtered(match func(any) (bool, error)) (any, error) {
	if n.Node == nil {
		return n, nil
	}
	kept := &nodeServiceList{Node: n.Node, Services: []*catalog.Service{}}
	for _, s := range n.Services {
		ok, err := match(s)
		if err != nil {
			return nil, err
		}
		if ok {
			kept.Services = append(kept.Services, s)
		}
	}
	return kept, nil
}

// serviceTags are the names of services with their tags, made of instances only
// once the filter is done, which is about instances.
type serviceTags []serviceNode

// Filtered implements api.Filterable.
func (list serviceTags) Filtered(match func(any) (bool, error)) (any, error) {
	var kept serviceTags
	for _, s := range list {
		ok, err := match(s)
		if err != nil {
			return nil, err
		}
		if ok {
			kept = append(kept, s)
		}
	}
	return kept.summary(), nil
}

// summary gives each name with the union of its instances' tags.
func (list serviceTags) summary() map[string][]string {
	names := map[string][]string{}
	for _, s := range list {
		names[s.ServiceName] = append(names[s.ServiceName], s.ServiceTags...)
	}
	for name, tags := range names {
		names[name] = sortedSet(tags)
	}
	return names
}

// instance is an instance with its node and checks, as /v1/health/service gives it.
type instance struct {
	Node    *catalog.Node
	Service *catalog.Service
	Checks  []*catalog.Check
}
