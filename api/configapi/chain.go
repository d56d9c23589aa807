package configapi

import (
	"net/http"
	"slices"
	"time"

	"muster/api"
	"muster/catalog"
	"muster/catalog/acl"
	"muster/catalog/chain"
	"muster/catalog/state"
)

// compiled is the answer that holds a chain.
type compiled struct{ Chain *chain.Chain }

// overrides is the body that compiles a chain otherwise than entries say.
type overrides struct {
	OverrideProtocol       string
	OverrideConnectTimeout api.Duration
	OverrideMeshGateway    catalog.MeshGateway
}

var compileDC = api.Param{Name: "compile-dc", Doc: "datacenter in which the chain is evaluated; default is the agent's own"}

type chains struct{ datacenter string }

func chainRoutes(datacenter string) []api.Route {
	c := chains{datacenter}
	const path = "/v1/discovery-chain/{service}"
	return []api.Route{
		{
			Method: http.MethodGet, Path: path, Kind: api.Read,
			Doc:    "Compiles the discovery chain of a service: where its requests go.",
			Params: []api.Param{compileDC}, Answer: compiled{}, View: c.compile,
		},
		{
			Method: http.MethodPost, Path: path, Kind: api.Write,
			Doc:    "Compiles the discovery chain of a service with what the body overrides. Nothing is written.",
			Params: []api.Param{compileDC}, Body: overrides{}, Answer: compiled{}, Edit: c.override,
		},
	}
}

// override compiles a chain with what a body overrides. It has the leader answer, as
// the answers of any server are kept by path and parameters.
func (c chains) override(v *state.View, r *api.Request) (catalog.Command, any, error) {
	if len(r.Body) == 0 {
		return nil, nil, catalog.Errorf(catalog.Invalid, "Request decoding failed: EOF")
	}
	answer, err := c.compile(v, r)
	return nil, answer, err
}

// compile compiles a chain.
func (c chains) compile(v *state.View, r *api.Request) (any, error) {
	name := r.Var("service")
	if name == "" {
		return nil, catalog.Errorf(catalog.Invalid, "Missing chain name")
	}
	if err := acl.Check(r.Authz, acl.Service, name, acl.Read); err != nil {
		return nil, err
	}
	request := chain.Request{Service: name, Datacenter: c.datacenter}
	if dc := r.Query.Get(compileDC.Name); dc != "" {
		request.Datacenter = dc
	}
	if len(r.Body) > 0 {
		var o overrides
		if err := api.Decode(r.Body, &o); err != nil {
			return nil, err
		}
		if !slices.Contains([]string{"", "default", "none", "local", "remote"}, o.OverrideMeshGateway.Mode) {
			return nil, catalog.Errorf(catalog.Invalid, "Invalid OverrideMeshGateway.Mode parameter")
		}
		request.OverrideProtocol, request.OverrideMeshGateway = o.OverrideProtocol, o.OverrideMeshGateway.Mode
		request.OverrideConnectTimeout = time.Duration(o.OverrideConnectTimeout)
	}
	if a := v.CA(); a != nil {
		request.TrustDomain = a.TrustDomain()
	}
	made, err := chain.Compile(v, request)
	if err != nil {
		return nil, err
	}
	return compiled{made}, nil
}
