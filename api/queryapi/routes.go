package queryapi

import (
	"cmp"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"muster/api"
	"muster/catalog"
	"muster/catalog/acl"
	"muster/catalog/state"
)

// Routes gives the rows, for a datacenter that is the only one to look in. On client
// agents, which pass them on, store is nil.
func Routes(datacenter string, store *state.Store) []api.Route {
	h := handlers{datacenter, store}
	queries := []*catalog.PreparedQuery{}
	return api.Undivided.Of([]api.Route{
		{
			Method: http.MethodPost, Path: "/v1/query", Kind: api.Write,
			Doc:     "Stores a prepared query.",
			Command: create, Body: catalog.PreparedQuery{}, Answer: created{},
			Render: func(_ *api.Request, id any) any { return created{id.(string)} },
		},
		{
			Method: http.MethodGet, Path: "/v1/query", Kind: api.Read,
			Doc:    "Lists the prepared queries.",
			Answer: queries, Visible: visible,
			View: func(v *state.View, _ *api.Request) (any, error) { return v.Queries(), nil },
		},
		{
			Method: http.MethodGet, Path: "/v1/query/{query}", Kind: api.Read,
			Doc:    "Reads the prepared query of an ID.",
			Answer: queries, View: read,
		},
		{
			Method: http.MethodPut, Path: "/v1/query/{query}", Kind: api.Write,
			Doc:  "Replaces the prepared query of an ID.",
			Edit: update, Body: catalog.PreparedQuery{},
		},
		{
			Method: http.MethodDelete, Path: "/v1/query/{query}", Kind: api.Write,
			Doc:  "Removes the prepared query of an ID.",
			Edit: remove,
		},
		{
			Method: http.MethodGet, Path: "/v1/query/{query}/execute", Kind: api.Read, Current: true,
			Doc: "Gives what a prepared query, by ID or name, finds: healthy instances in random order, or the nearest first. Answers at once.",
			Params: []api.Param{
				{Name: "near", Doc: "sort by the estimated round trip from this node, nearest first; _agent is the agent that is asked, _ip the node with the address of who asks"},
				{Name: "limit", Doc: "how many instances to give at most; 0 and less is all"},
				{Name: "connect", Doc: "true: find instances that give mesh access to the service"},
			},
			Answer: execution{}, Visible: visibleInstances, Ask: h.execute,
		},
		{
			Method: http.MethodGet, Path: "/v1/query/{query}/explain", Kind: api.Read,
			Doc:    "Gives the prepared query that answers to an ID or name, a template expanded for it.",
			Answer: explanation{}, View: explain,
		},
	})
}

type handlers struct {
	datacenter string
	store      *state.Store
}

type created struct{ ID string }

// explanation is the answer of /v1/query/{query}/explain.
type explanation struct{ Query *catalog.PreparedQuery }

// execution is the answer of /v1/query/{query}/execute.
type execution struct {
	Service    string
	Nodes      []instance
	DNS        catalog.QueryDNS
	Datacenter string
	PeerName   string // of none
	Failovers  int    // other datacenters that were asked
}

// instance is an instance with its node and checks, as health reads give it.
type instance struct {
	Node    *catalog.Node
	Service *catalog.Service
	Checks  []*catalog.Check
}

var errNotFound = catalog.Errorf(catalog.NotFound, "Query not found")

// decode reads the body of a write.
func decode(r *api.Request) (q catalog.PreparedQuery, err error) {
	if err := api.Decode(r.Body, &q); err != nil {
		return q, err
	}
	q.Indexes = catalog.Indexes{}
	return q, may(r, &q, acl.Write)
}

// may: a query's name is what access to it goes by; one without has its ID for a
// secret.
func may(r *api.Request, q *catalog.PreparedQuery, access acl.Access) error {
	if isAnonymous(q) {
		return nil
	}
	return acl.Check(r.Authz, acl.Query, q.Name, access)
}

func isAnonymous(q *catalog.PreparedQuery) bool { return q.Name == "" && !q.IsTemplate() }

func create(r *api.Request) (catalog.Command, error) {
	q, err := decode(r)
	if err == nil && q.ID != "" {
		err = catalog.Errorf(catalog.Invalid, "ID must be empty when creating a new prepared query")
	}
	if err == nil {
		err = q.Validate()
	}
	q.ID = uuid.NewString()
	return &catalog.ChangeQuery{Verb: catalog.QueryCreate, Query: q}, err
}

func update(v *state.View, r *api.Request) (catalog.Command, any, error) {
	q, err := decode(r)
	if err == nil {
		err = q.Validate()
	}
	if err != nil {
		return nil, nil, err
	}
	q.ID = r.Var("query") // whatever the body says, as in Consul
	return change(v, r, catalog.ChangeQuery{Verb: catalog.QueryUpdate, Query: q})
}

func remove(v *state.View, r *api.Request) (catalog.Command, any, error) {
	return change(v, r, catalog.ChangeQuery{Verb: catalog.QueryDelete, Query: catalog.PreparedQuery{ID: r.Var("query")}})
}

// change makes the command for a query that is there, which the caller may write as
// it is now. Only who may write all is told that there is none.
func change(v *state.View, r *api.Request, c catalog.ChangeQuery) (catalog.Command, any, error) {
	old := v.Query(c.Query.ID)
	if old == nil {
		if !r.Authz.AllowedAll(acl.Query, acl.Write) {
			return nil, nil, catalog.Errorf(catalog.Denied, "Permission denied: token lacks permission 'query:write'")
		}
		return &c, nil, nil
	}
	c.Index = old.ModifyIndex
	return &c, nil, may(r, old, acl.Write)
}

func read(v *state.View, r *api.Request) (any, error) {
	q := v.Query(r.Var("query"))
	if q == nil {
		return nil, errNotFound
	}
	return []*catalog.PreparedQuery{shown(r.Authz, q)}, may(r, q, acl.Read)
}

func explain(v *state.View, r *api.Request) (any, error) {
	q, err := find(v, r)
	if err != nil {
		return nil, err
	}
	return explanation{shown(r.Authz, q)}, may(r, q, acl.Read)
}

// shown is a query as a caller sees it: with its token for who manages tokens only.
func shown(az acl.Authorizer, q *catalog.PreparedQuery) *catalog.PreparedQuery {
	if q.Token == "" || az.Allowed(acl.ACL, "", acl.Write) {
		return q
	}
	redacted := *q
	redacted.Token = catalog.HiddenToken
	return &redacted
}

// find finds what answers to the name in the path.
func find(v *state.View, r *api.Request) (*catalog.PreparedQuery, error) {
	q, err := v.FindQuery(r.Var("query"))
	if q == nil && err == nil {
		err = errNotFound
	}
	return q, err
}

// execute answers from the catalog as it is now, each time in another order, so
// that callers who take the first share the load.
func (h handlers) execute(r *api.Request) (any, error) {
	limit, connect, err := options(r)
	if err != nil {
		return nil, err
	}
	v := h.store.View()
	q, err := find(v, r)
	if err != nil {
		return nil, err
	}
	asked := *q
	asked.Service.Near = cmp.Or(r.Query.Get("near"), q.Service.Near)
	asked.Service.Connect = connect || q.Service.Connect
	found, nearest := v.Answer(&asked, state.Asker{Agent: r.Agent, Addr: r.From})
	if !nearest {
		rand.Shuffle(len(found), func(i, j int) { found[i], found[j] = found[j], found[i] })
	}
	if limit > 0 && len(found) > limit {
		found = found[:limit]
	}
	answer := execution{Service: q.Service.Service, Nodes: []instance{}, DNS: q.DNS, Datacenter: h.datacenter}
	if q.Service.Failover.SkipLocalDatacenter {
		answer.Datacenter = "" // nobody was asked
	}
	for _, in := range found {
		answer.Nodes = append(answer.Nodes, instance(in))
	}
	return &api.Answer{Index: v.Index(), Body: answer}, nil
}

// options reads the query parameters of an execution.
func options(r *api.Request) (limit int, connect bool, err error) {
	if s := r.Query.Get("limit"); s != "" {
		if limit, err = strconv.Atoi(s); err != nil {
			return 0, false, catalog.Errorf(catalog.Invalid, "Bad limit: %q is no whole number", s)
		}
	}
	if s := r.Query.Get("connect"); s != "" {
		if connect, err = strconv.ParseBool(s); err != nil {
			return 0, false, catalog.Errorf(catalog.Invalid, "Error parsing 'connect' value: %q is neither true nor false", s)
		}
	}
	return limit, connect, nil
}

// visible leaves out the queries that a caller may not read. One without a name, whose
// ID is all that keeps it, is listed for who manages tokens only.
func visible(az acl.Authorizer, answer any) (any, bool) {
	all := answer.([]*catalog.PreparedQuery)
	kept := []*catalog.PreparedQuery{}
	for _, q := range all {
		if az.Allowed(acl.ACL, "", acl.Write) || !isAnonymous(q) && az.Allowed(acl.Query, q.Name, acl.Read) {
			kept = append(kept, shown(az, q))
		}
	}
	return kept, len(kept) < len(all)
}

// visibleInstances leaves out what a caller may not see of what was found.
func visibleInstances(az acl.Authorizer, answer any) (any, bool) {
	a := *answer.(*api.Answer)
	found := a.Body.(execution)
	kept := slices.DeleteFunc(slices.Clone(found.Nodes), func(in instance) bool {
		return !az.Allowed(acl.Node, in.Node.Node, acl.Read) || !az.Allowed(acl.Service, in.Service.Service, acl.Read)
	})
	cut := len(kept) < len(found.Nodes)
	found.Nodes = kept
	a.Body = found
	return &a, cut
}
