package configapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"muster/api"
	"muster/catalog"
	"muster/catalog/acl"
	"muster/catalog/configentry"
	"muster/catalog/state"
)

// Routes gives the rows of an agent in a datacenter. The policy is for connections
// that no intention is about; "" is allow.
func Routes(datacenter string, policy Policy) []api.Route {
	return slices.Concat(entryRoutes(datacenter), intentionRoutes(datacenter, policy), authorizeRoutes(policy), chainRoutes(datacenter), []api.Route{exportedRoute()})
}

// writes is what the rows hang on that write entries.
type writes struct{ datacenter string }

func entryRoutes(datacenter string) []api.Route {
	w := writes{datacenter}
	cas := api.Param{Name: "cas", Doc: "only if the entry's ModifyIndex is this, or with 0 if there is none"}
	return []api.Route{
		{
			Method: http.MethodPut, Path: "/v1/config", Kind: api.Write,
			Doc:    "Creates a config entry, or replaces it.",
			Params: []api.Param{cas},
			Body:   map[string]any{}, Answer: true, Edit: w.put,
		},
		{
			Method: http.MethodGet, Path: "/v1/config/{kind}", Kind: api.Read, Plain: true,
			Doc:    "Lists the config entries of a kind, or all.",
			Params: []api.Param{{Name: "filter", Doc: "an expression that entries must match; for service-defaults only"}},
			Filter: defaults{},
			Answer: []*catalog.ConfigEntry{}, View: list, Visible: visible,
		},
		{
			Method: http.MethodGet, Path: "/v1/config/{kind}/{name}", Kind: api.Read, Plain: true,
			Doc:    "Reads a config entry.",
			Answer: &catalog.ConfigEntry{}, View: read, Visible: visible, Render: found,
		},
		{
			Method: http.MethodDelete, Path: "/v1/config/{kind}/{name}", Kind: api.Write,
			Doc:    "Deletes a config entry.",
			Params: []api.Param{{Name: "cas", Doc: "only if the entry's ModifyIndex is this"}},
			Answer: api.OneOf{true, map[string]any{}}, Edit: w.remove,
		},
	}
}

// rule is what a caller must be allowed to read or write an entry of a kind and name;
// the zero Resource asks nothing.
func rule(kind, name string, access acl.Access) (acl.Resource, string) {
	switch kind {
	case configentry.KindServiceIntentions:
		return acl.Intention, name
	case configentry.KindServiceDefaults, configentry.KindServiceResolver, configentry.KindServiceSplitter, configentry.KindServiceRouter:
		return acl.Service, name
	case configentry.KindIngressGateway, configentry.KindTerminatingGateway, configentry.KindAPIGateway, configentry.KindBoundAPIGateway:
		if access == acl.Read {
			return acl.Service, name
		}
	case configentry.KindProxyDefaults:
		if access == acl.Read {
			return 0, ""
		}
	}
	return acl.Mesh, ""
}

func may(az acl.Authorizer, kind, name string, access acl.Access) error {
	resource, name := rule(kind, name, access)
	if resource == 0 {
		return nil
	}
	return acl.Check(az, resource, name, access)
}

// put makes the command that sets an entry. It takes effect only if the entry is still
// what it was compared with, and with the others checked.
func (w writes) put(v *state.View, r *api.Request) (catalog.Command, any, error) {
	e, err := configentry.Decode(r.Body)
	if err != nil {
		return nil, nil, err
	}
	if err := may(r.Authz, e.Kind, e.Name, acl.Write); err != nil {
		return nil, nil, err
	}
	cmd := &catalog.SetConfig{Verb: catalog.ConfigCAS, Kind: e.Kind, Name: e.Name, Body: e.Body}
	old := v.ConfigEntry(e.Kind, e.Name)
	if old != nil {
		cmd.Index = old.ModifyIndex
	}
	met, err := meets(r, cmd.Index)
	switch {
	case err != nil:
		return nil, nil, err
	case old != nil && old.Same(e):
		return nil, true, nil // whatever the index, as in Consul
	case !met:
		return nil, false, nil
	}
	return cmd, true, proposal{v, e.Kind, e.Name, e}.fault(w.datacenter)
}

// meets says whether an entry's index is that of ?cas, if there is one.
func meets(r *api.Request, modified uint64) (bool, error) {
	if !r.Has("cas") {
		return true, nil
	}
	want, err := index(r)
	return want == modified, err
}

// index is the value of ?cas.
func index(r *api.Request) (uint64, error) {
	n, err := strconv.ParseUint(r.Query.Get("cas"), 10, 64)
	if err != nil {
		return 0, catalog.Wrap(catalog.Invalid, err)
	}
	return n, nil
}

// remove makes the command that deletes an entry. As Consul does, it answers with an
// empty object to what has no condition.
func (w writes) remove(v *state.View, r *api.Request) (catalog.Command, any, error) {
	kind, name := r.Var("kind"), r.Var("name")
	if err := configentry.CheckKind(kind); err != nil {
		return nil, nil, err
	}
	if name == "" {
		return nil, nil, catalog.Errorf(catalog.NotFound, "Must provide both a kind and name to delete")
	}
	if err := may(r.Authz, kind, name, acl.Write); err != nil {
		return nil, nil, err
	}
	var answer any = map[string]any{}
	if r.Has("cas") {
		answer = true
	}
	old := v.ConfigEntry(kind, name)
	modified := uint64(0)
	if old != nil {
		modified = old.ModifyIndex
	}
	met, err := meets(r, modified)
	switch {
	case err != nil:
		return nil, nil, err
	case old == nil:
		return nil, answer, nil // it is gone already, whatever the index
	case !met:
		return nil, false, nil
	}
	cmd := &catalog.SetConfig{Verb: catalog.ConfigDeleteCAS, Kind: kind, Name: name, Index: old.ModifyIndex}
	return cmd, answer, proposal{v, kind, name, nil}.fault(w.datacenter)
}

func list(v *state.View, r *api.Request) (any, error) {
	kind := r.Var("kind")
	if kind != "" {
		if err := configentry.CheckKind(kind); err != nil {
			return nil, err
		}
	}
	if r.Options.Filter != "" && kind != configentry.KindServiceDefaults {
		return nil, catalog.Errorf(catalog.Invalid, "filtering not supported for config entry kind=%s", kind)
	}
	return entries(v.ConfigEntries(kind)), nil
}

// defaults are what a filter may select service-defaults by: the filter library finds
// no fields of embedded structs, and fails at a pointer to nothing.
type defaults struct {
	Kind, Name                string
	Meta                      map[string]string
	Protocol                  string
	Mode                      string
	MutualTLSMode             string
	ExternalSNI               string
	BalanceInboundConnections string
	MaxInboundConnections     int
	LocalConnectTimeoutMs     int
	LocalRequestTimeoutMs     int
	TransparentProxy          catalog.TransparentProxy
	MeshGateway               catalog.MeshGateway
	Expose                    catalog.Expose
	Destination               configentry.Destination
}

// entries is an answer that a filter selects from by what the entries say.
type entries []*catalog.ConfigEntry

// Filtered implements api.Filterable for a list of service-defaults.
func (l entries) Filtered(match func(any) (bool, error)) (any, error) {
	kept := entries{}
	for _, e := range l {
		var d defaults
		if err := json.Unmarshal(e.Body, &d); err != nil {
			return nil, catalog.Errorf(catalog.Internal, "read the %s of %q: %v", e.Kind, e.Name, err)
		}
		matches, err := match(d)
		if err != nil {
			return nil, err
		}
		if matches {
			kept = append(kept, e)
		}
	}
	return kept, nil
}

// read gives the entry as a list of one, so that one rule of what is visible serves
// both.
func read(v *state.View, r *api.Request) (any, error) {
	kind, name := r.Var("kind"), r.Var("name")
	if err := configentry.CheckKind(kind); err != nil {
		return nil, err
	}
	if err := may(r.Authz, kind, name, acl.Read); err != nil {
		return nil, err
	}
	if e := v.ConfigEntry(kind, name); e != nil {
		return entries{e}, nil
	}
	return entries{}, nil
}

// visible leaves out the entries that a caller may not read.
func visible(az acl.Authorizer, answer any) (any, bool) {
	all := answer.(entries)
	kept := make(entries, 0, len(all))
	for _, e := range all {
		if may(az, e.Kind, e.Name, acl.Read) == nil {
			kept = append(kept, e)
		}
	}
	return kept, len(kept) < len(all)
}

// found makes of a list with one entry that entry.
func found(r *api.Request, answer any) any {
	if found := answer.(entries); len(found) > 0 {
		return found[0]
	}
	if r.Streams {
		return nil
	}
	text := fmt.Sprintf("Config entry not found for %q / %q", r.Var("kind"), r.Var("name"))
	return &api.Answer{Status: http.StatusNotFound, Body: api.Raw{ContentType: "text/plain; charset=utf-8", Data: []byte(text)}}
}
