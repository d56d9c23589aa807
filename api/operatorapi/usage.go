package operatorapi

import (
	"net/http"

	"muster/api"
	"muster/catalog"
	"muster/catalog/acl"
	"muster/catalog/state"
)

// usage is the answer of /v1/operator/usage.
type usage struct {
	Usage map[string]serviceUsage // by datacenter
}

type serviceUsage struct {
	Services                 int // names
	ServiceInstances         int
	ConnectServiceInstances  map[string]int // by kind, and connect-native
	BillableServiceInstances int
	Nodes                    int
}

// meshKinds are the kinds of instances that are counted apart.
var meshKinds = []string{"api-gateway", "connect-proxy", "ingress-gateway", "mesh-gateway", "terminating-gateway"}

// connectNative is how instances are counted that are in the mesh without a proxy.
const connectNative = "connect-native"

func usageRoute(datacenter string) api.Route {
	return api.Route{
		Method: http.MethodGet, Path: "/v1/operator/usage", Kind: api.Read,
		Doc: "Counts nodes, services and their instances, of this datacenter.",
		ACL: api.Rule{Resource: acl.Operator, Access: acl.Read}, Answer: usage{},
		View: func(v *state.View, _ *api.Request) (any, error) {
			return usage{map[string]serviceUsage{datacenter: countUsage(v)}}, nil
		},
	}
}

// countUsage counts what is in the catalog. Billable is, in Consul's words, what
// users run themselves: neither a proxy or gateway nor the servers' own service.
func countUsage(v *state.View) serviceUsage {
	counts := v.Counts()
	u := serviceUsage{Nodes: counts.Nodes, Services: counts.Services, ServiceInstances: counts.Instances, ConnectServiceInstances: map[string]int{connectNative: 0}}
	for _, kind := range meshKinds {
		u.ConnectServiceInstances[kind] = 0
	}
	for _, in := range v.AllInstances() {
		s := in.Service
		if s.Connect.Native {
			u.ConnectServiceInstances[connectNative]++
		}
		if s.Kind != "" {
			u.ConnectServiceInstances[s.Kind]++
		} else if catalog.Fold(s.Service) != "consul" {
			u.BillableServiceInstances++
		}
	}
	return u
}
