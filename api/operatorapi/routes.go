package operatorapi

import (
	"cmp"
	"net/http"

	"muster/api"
	"muster/catalog"
	"muster/catalog/acl"
)

// raftConfiguration is the answer of /v1/operator/raft/configuration.
type raftConfiguration struct {
	Servers []Server
	Index   uint64
}

// transferred is the answer of /v1/operator/raft/transfer-leader.
type transferred struct{ Success bool }

type handlers struct{ quorum Quorum }

// Routes are the routes below /v1/status and /v1/operator. On client agents q
// and k are nil: they pass these routes on.
func Routes(datacenter string, q Quorum, k Keyring) []api.Route {
	h := handlers{q}
	return append(api.Undivided.Of(append(h.operatorRoutes(), keyringRoutes(k)...)),
		usageRoute(datacenter),
		api.Route{
			Method: http.MethodGet, Path: "/v1/status/leader", Kind: api.Read, Scope: api.Undivided,
			Doc:    "Gives the leader's address, empty if there is none.",
			Ask:    func(*api.Request) (any, error) { return q.LeaderAddr(), nil },
			Answer: "",
		},
		api.Route{
			Method: http.MethodGet, Path: "/v1/status/peers", Kind: api.Read, Scope: api.Undivided,
			Doc:    "Lists the addresses of the voting servers.",
			Ask:    func(*api.Request) (any, error) { return append([]string{}, q.Peers()...), nil },
			Answer: []string{},
		},
	)
}

func (h handlers) operatorRoutes() []api.Route {
	mayRead := api.Rule{Resource: acl.Operator, Access: acl.Read}
	mayWrite := api.Rule{Resource: acl.Operator, Access: acl.Write}
	return []api.Route{
		{
			Method: http.MethodGet, Path: "/v1/operator/raft/configuration", Kind: api.Read,
			Doc: "Lists the servers of the Raft configuration.",
			ACL: mayRead, OfLeader: true, Answer: raftConfiguration{}, Ask: h.configuration,
		},
		{
			Method: http.MethodGet, Path: "/v1/operator/raft/stop-safe", Kind: api.Leading,
			Doc: "Says whether the cluster can go on while one server is stopped, and why; a list of all without a parameter.",
			Params: []api.Param{
				{Name: "id", Doc: "ID of the server"},
				{Name: "node", Doc: "node name of the server, instead of its ID"},
			},
			ACL: mayRead, Lead: h.stopSafe,
		},
		{
			Method: http.MethodPost, Path: "/v1/operator/raft/transfer-leader", Kind: api.Leading,
			Doc:    "Hands leadership to another voter.",
			Params: []api.Param{{Name: "id", Doc: "ID of the voter; by default the one that has caught up best"}},
			ACL:    mayWrite, Answer: transferred{}, Lead: h.transfer,
		},
		{
			Method: http.MethodDelete, Path: "/v1/operator/raft/peer", Kind: api.Leading,
			Doc: "Takes a server out of the Raft configuration, unless too few sound ones would remain. A server that gossip sees alive is added again.",
			Params: []api.Param{
				{Name: "id", Doc: "ID of the server"},
				{Name: "address", Doc: "cluster address of the server, instead of its ID"},
			},
			ACL: mayWrite, Lead: h.removePeer,
		},
		{
			Method: http.MethodGet, Path: "/v1/operator/autopilot/configuration", Kind: api.Read,
			Doc: "Tells how the leader judges servers and what it does about dead ones.",
			ACL: mayRead, Answer: configuration{}, View: getConfiguration, Plain: true,
		},
		{
			Method: http.MethodPut, Path: "/v1/operator/autopilot/configuration", Kind: api.Write,
			Doc:    "Sets how the leader judges servers and what it does about dead ones. What the body leaves out gets its default.",
			Params: []api.Param{{Name: "cas", Doc: "only if ModifyIndex is this; 0 is that of the default"}},
			ACL:    mayWrite, Body: configuration{}, Answer: true, Command: setConfiguration,
			Render: func(_ *api.Request, met any) any { return met },
		},
		{
			Method: http.MethodGet, Path: "/v1/operator/autopilot/health", Kind: api.Leading,
			Doc: "Judges the health of each server; 429 if one is not healthy.",
			ACL: mayRead, Answer: clusterHealth{}, Lead: h.health,
		},
		{
			Method: http.MethodGet, Path: "/v1/operator/autopilot/state", Kind: api.Leading,
			Doc: "Gives the state of each server and who is leader and voter.",
			ACL: mayRead, Answer: clusterState{}, Lead: h.state,
		},
	}
}

func (h handlers) configuration(*api.Request) (any, error) {
	servers, index := h.quorum.Configuration()
	return raftConfiguration{append([]Server{}, servers...), index}, nil
}

func (h handlers) stopSafe(r *api.Request) (any, error) {
	id, node := r.Query.Get("id"), r.Query.Get("node")
	if id != "" && node != "" {
		return nil, catalog.Errorf(catalog.Invalid, "Must specify only one of ?id or ?node")
	}
	all, err := h.quorum.StopSafe()
	if err != nil || id == "" && node == "" {
		return all, err
	}
	for _, s := range all {
		if s.ID == id || s.Node == node {
			return s, nil
		}
	}
	return nil, catalog.Errorf(catalog.NotFound, "%q was not found in the Raft configuration", cmp.Or(id, node))
}

func (h handlers) transfer(r *api.Request) (any, error) {
	id := r.Query.Get("id")
	if id != "" && !h.known(func(s Server) bool { return s.ID == id }) {
		// In the form that Consul's clients know, as below.
		return nil, catalog.Errorf(catalog.Internal, "Could not find address for server id %s", id)
	}
	if err := h.quorum.TransferLeadership(r.Context(), id); err != nil {
		return nil, err
	}
	return transferred{true}, nil
}

func (h handlers) removePeer(r *api.Request) (any, error) {
	id, address := r.Query.Get("id"), r.Query.Get("address")
	switch {
	case !r.Has("id") && !r.Has("address"):
		return nil, catalog.Errorf(catalog.Invalid, "Must specify either ?id with the server's ID or ?address with IP:port of peer to remove")
	case r.Has("id") && r.Has("address"):
		return nil, catalog.Errorf(catalog.Invalid, "Must specify only one of ?id or ?address")
	case r.Has("address"):
		if !h.known(func(s Server) bool { id = s.ID; return s.Address == address }) {
			return nil, catalog.Errorf(catalog.Internal, "address %q was not found in the Raft configuration", address)
		}
	case !h.known(func(s Server) bool { return s.ID == id }):
		return nil, catalog.Errorf(catalog.Internal, "id %q was not found in the Raft configuration", id)
	}
	return nil, h.quorum.RemovePeer(r.Context(), id)
}

// known says whether a server of the configuration is meant.
func (h handlers) known(is func(Server) bool) bool {
	servers, _ := h.quorum.Configuration()
	for _, s := range servers {
		if is(s) {
			return true
		}
	}
	return false
}
