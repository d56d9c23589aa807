package sessionapi

import (
	"context"
	"net/http"
	"slices"

	"github.com/google/uuid"

	"muster/api"
	"muster/catalog"
	"muster/catalog/acl"
	"muster/catalog/state"
)

// Timers are the leader's, which end sessions that are not renewed.
type Timers interface {
	// Renew starts a session's time anew and returns the session. Where its end is
	// proposed already, it waits for how that ends. A session that is not there is
	// nil. It fails with an error of kind catalog.Unavailable on a server that does
	// not lead.
	Renew(ctx context.Context, id string) (*catalog.Session, error)
}

// Routes gives the rows. Only servers have timers.
func Routes(timers Timers) []api.Route {
	h := handlers{timers}
	sessions := []*catalog.Session{}
	return []api.Route{
		{
			Method: http.MethodPut, Path: "/v1/session/create", Kind: api.Write,
			Doc:     "Creates a session, by default on the node of the agent that is asked.",
			Command: create, Answer: created{}, Body: request{}, Render: func(_ *api.Request, made any) any { return created{made.(*catalog.Session).ID} },
		},
		{
			Method: http.MethodPut, Path: "/v1/session/destroy/{session}", Kind: api.Write,
			Doc:     "Ends a session; what it held is released or deleted, as its behaviour says.",
			Command: destroy,
		},
		{
			Method: http.MethodPut, Path: "/v1/session/renew/{session}", Kind: api.Write,
			Doc:  "Starts the time of a session with a TTL anew.",
			Lead: h.renew, Answer: sessions,
		},
		{
			Method: http.MethodGet, Path: "/v1/session/info/{session}", Kind: api.Read,
			Doc:    "Reads a session.",
			Answer: sessions, Plain: true, View: info, Visible: visible,
		},
		{
			Method: http.MethodGet, Path: "/v1/session/node/{node}", Kind: api.Read,
			Doc:    "Lists the sessions on a node.",
			Answer: sessions, Plain: true, View: onNode, Visible: visible,
		},
		{
			Method: http.MethodGet, Path: "/v1/session/list", Kind: api.Read,
			Doc:    "Lists all sessions.",
			Answer: sessions, Plain: true, View: list, Visible: visible,
		},
	}
}

type handlers struct{ timers Timers }

// request is the body of a creation; all of it may be left out.
type request struct {
	ID            string // a new one is made in any case
	Name          string
	Node          string
	Datacenter    string // the agent's own in any case
	LockDelay     lockDelay
	Behavior      string
	TTL           string
	Checks        []string // the old name of NodeChecks: counts beside those
	NodeChecks    []string // null, unlike none, is for no checks at all
	ServiceChecks []catalog.ServiceCheck
	Namespace     string // "default", if anything
	Partition     string // the same
	CreateIndex   uint64
	ModifyIndex   uint64
}

type created struct{ ID string }

var errNoSession = catalog.Errorf(catalog.Invalid, "Missing session")

// create makes the command of a new session.
func create(r *api.Request) (catalog.Command, error) {
	in := request{LockDelay: lockDelay(catalog.DefaultLockDelay), NodeChecks: []string{catalog.SerfHealth}}
	if len(r.Body) > 0 {
		if err := api.Decode(r.Body, &in); err != nil {
			return nil, err
		}
	}
	for name, v := range map[string]string{"Namespace": in.Namespace, "Partition": in.Partition} {
		if v != "" && v != "default" {
			return nil, catalog.Errorf(catalog.Invalid, "Invalid %s %q: %ss are a Consul Enterprise feature", name, v, name)
		}
	}
	s := catalog.Session{
		ID: uuid.NewString(), Name: in.Name, Node: in.Node, LockDelay: in.LockDelay.duration(),
		Behavior: in.Behavior, TTL: in.TTL, NodeChecks: in.nodeChecks(), ServiceChecks: in.ServiceChecks,
	}
	if s.Node == "" {
		s.Node = r.Agent
	}
	if s.Behavior == "" {
		s.Behavior = catalog.BehaviorRelease
	}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return &catalog.CreateSession{Session: s}, acl.Check(r.Authz, acl.Session, s.Node, acl.Write)
}

// nodeChecks are the checks of the node that the session lives by, under both names.
func (in *request) nodeChecks() []string {
	if in.Checks != nil && len(in.Checks) == 0 {
		return []string{} // so clients of before NodeChecks ask for none
	}
	for _, id := range in.Checks {
		if !slices.Contains(in.NodeChecks, id) {
			in.NodeChecks = append(in.NodeChecks, id)
		}
	}
	return in.NodeChecks
}

// destroy makes the command that ends a session.
func destroy(r *api.Request) (catalog.Command, error) {
	if r.Var("session") == "" {
		return nil, errNoSession
	}
	return &catalog.DestroySession{ID: r.Var("session")}, mayWrite(r)
}

// mayWrite: whose session an ID is only the state knows.
func mayWrite(r *api.Request) error {
	if !r.Authz.AllowedAll(acl.Session, acl.Write) {
		return catalog.Errorf(catalog.Denied, "Permission denied: token lacks permission 'session:write' for all nodes")
	}
	return nil
}

// renew has the leader start a session's time anew.
func (h handlers) renew(r *api.Request) (any, error) {
	id := r.Var("session")
	if id == "" {
		return nil, errNoSession
	}
	if err := mayWrite(r); err != nil {
		return nil, err
	}
	s, err := h.timers.Renew(r.Context(), id)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, catalog.Errorf(catalog.NotFound, "Session id '%s' not found", id)
	}
	return []*catalog.Session{s}, nil
}

func info(v *state.View, r *api.Request) (any, error) {
	id := r.Var("session")
	if id == "" {
		return nil, errNoSession
	}
	if s := v.Session(id); s != nil {
		return []*catalog.Session{s}, nil
	}
	return []*catalog.Session{}, nil
}

func onNode(v *state.View, r *api.Request) (any, error) {
	if r.Var("node") == "" {
		return nil, catalog.Errorf(catalog.Invalid, "Missing node name")
	}
	return v.SessionsOn(r.Var("node")), nil
}

func list(v *state.View, _ *api.Request) (any, error) { return v.Sessions(), nil }

// visible leaves out the sessions that a caller may not read.
func visible(az acl.Authorizer, answer any) (any, bool) {
	all := answer.([]*catalog.Session)
	kept := slices.DeleteFunc(slices.Clone(all), func(s *catalog.Session) bool { return !az.Allowed(acl.Session, s.Node, acl.Read) })
	return kept, len(kept) < len(all)
}
