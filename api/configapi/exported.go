package configapi

import (
	"maps"
	"net/http"
	"slices"

	"muster/api"
	"muster/catalog"
	"muster/catalog/acl"
	"muster/catalog/configentry"
	"muster/catalog/state"
)

// exportedService is a service and who may use it from outside.
type exportedService struct {
	Service   string
	Consumers consumers
}

type consumers struct {
	Peers []string `json:",omitempty"`
}

// consulService is the service of the servers themselves, which nobody else may use.
const consulService = "consul"

func exportedRoute() api.Route {
	return api.Route{
		Method: http.MethodGet, Path: "/v1/exported-services", Kind: api.Read,
		Doc:    "Lists the services that the entry of kind exported-services gives to other clusters, and to which; * stands for all that are there.",
		ACL:    api.Rule{Resource: acl.Mesh, Access: acl.Read},
		Params: []api.Param{{Name: "filter", Doc: "an expression that services must match"}},
		Answer: []exportedService{}, Filter: exportedService{}, View: exported,
	}
}

// exported lists the exported services by name, each with its consumers by name.
func exported(v *state.View, _ *api.Request) (any, error) {
	list := []exportedService{}
	stored := v.ConfigEntry(configentry.KindExportedServices, "default")
	if stored == nil {
		return list, nil
	}
	entry, err := configentry.Read[configentry.ExportedServices](stored)
	if err != nil {
		return nil, err
	}
	peers := map[string][]string{} // by service
	for _, s := range entry.Services {
		names := []string{s.Name}
		if s.Name == configentry.Wildcard {
			names = ordinaryServices(v)
		}
		for _, name := range names {
			peers[name] = append(peers[name], peersOf(s)...)
		}
	}
	maps.DeleteFunc(peers, func(name string, _ []string) bool { return catalog.Fold(name) == consulService })
	for _, name := range slices.Sorted(maps.Keys(peers)) {
		slices.Sort(peers[name])
		list = append(list, exportedService{name, consumers{slices.Compact(peers[name])}})
	}
	return list, nil
}

// peersOf are the clusters that may use a service. Consumers that are partitions are
// Consul Enterprise's, and left out as in Consul.
func peersOf(s configentry.ExportedService) []string {
	var peers []string
	for _, c := range s.Consumers {
		if c.Peer != "" {
			peers = append(peers, c.Peer)
		}
	}
	return peers
}

// ordinaryServices are the names of services that have an instance which is neither
// proxy nor gateway.
func ordinaryServices(v *state.View) []string {
	var names []string
	for _, in := range v.AllInstances() {
		if in.Service.Kind == "" {
			names = append(names, in.Service.Service)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
