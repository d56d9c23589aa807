package agentapi

import (
	"muster/api"
	"muster/catalog"
	"muster/catalog/acl"
)

func (h handlers) members(r *api.Request) (any, error) {
	if segment := r.Query.Get("segment"); segment != "" && segment != allSegments {
		return nil, catalog.Errorf(catalog.Internal, "Network segments are not supported in this version of Consul")
	}
	return append([]Member{}, h.agent.Members(r.Query.Get("wan") != "")...), nil
}

// allSegments is how clients ask for the members of all segments.
const allSegments = "_all"

func visibleMembers(az acl.Authorizer, answer any) (any, bool) {
	all := answer.([]Member)
	kept := make([]Member, 0, len(all))
	for _, m := range all {
		if az.Allowed(acl.Node, m.Name, acl.Read) {
			kept = append(kept, m)
		}
	}
	return kept, len(kept) < len(all)
}

func (h handlers) join(r *api.Request) (any, error) {
	address := r.Var("address")
	if address == "" {
		return nil, invalid("Missing address; name the agent to join as host or host:port")
	}
	return nil, h.agent.Join(r.Context(), address, r.Query.Get("wan") != "")
}

func (h handlers) leave(r *api.Request) (any, error) { return nil, h.agent.Leave(r.Context()) }

func (h handlers) forceLeave(r *api.Request) (any, error) {
	return nil, h.agent.ForceLeave(r.Var("node"), r.Has("prune"), r.Has("wan"))
}

func (h handlers) self(*api.Request) (any, error) { return h.agent.Self(), nil }

func (h handlers) version(*api.Request) (any, error) { return h.agent.Version(), nil }

func (h handlers) reload(r *api.Request) (any, error) { return nil, h.agent.Reload(r.Context()) }

func (h handlers) host(*api.Request) (any, error) { return readHost(h.agent.DataDir()), nil }
