package operatorapi

import (
	"net/http"

	"muster/api"
	"muster/catalog/acl"
)

// raftConfiguration is the answer of /v1/operator/raft/configuration.
type raftConfiguration struct {
	Servers []Server
	Index   uint64
}

// Routes are the routes below /v1/status and /v1/operator. On client agents q is
// nil: they pass these routes on.
func Routes(q Quorum) []api.Route {
	return []api.Route{
		{
			Method: http.MethodGet, Path: "/v1/status/leader", Kind: api.Read,
			Doc:    "Gives the leader's address, empty if there is none.",
			Ask:    func(*api.Request) (any, error) { return q.LeaderAddr(), nil },
			Answer: "",
		},
		{
			Method: http.MethodGet, Path: "/v1/status/peers", Kind: api.Read,
			Doc:    "Lists the addresses of the voting servers.",
			Ask:    func(*api.Request) (any, error) { return append([]string{}, q.Peers()...), nil },
			Answer: []string{},
		},
		{
			Method: http.MethodGet, Path: "/v1/operator/raft/configuration", Kind: api.Read,
			Doc:     "Lists the servers of the Raft configuration.",
			ACL:     api.Rule{Resource: acl.Operator, Access: acl.Read},
			Current: true, Answer: raftConfiguration{},
			Ask: func(*api.Request) (any, error) {
				servers, index := q.Configuration()
				return raftConfiguration{append([]Server{}, servers...), index}, nil
			},
		},
	}
}
