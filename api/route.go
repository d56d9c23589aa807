package api

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"muster/catalog"
	"muster/catalog/acl"
	"muster/catalog/state"
)

// Kind says who answers a route.
type Kind uint8

// The kinds of routes.
const (
	Read    Kind = iota + 1 // any server, from its copy of the catalog or of its own knowledge
	Write                   // the leader, by committing a command
	Local                   // this agent, about itself
	Leading                 // the leader, by what only it knows or does, without a command
)

// String gives the kind as documentation names it.
func (k Kind) String() string { return [...]string{"", "read", "write", "local", "leader"}[k] }

// Param is a query parameter that a route knows.
type Param struct {
	Name string
	Doc  string
	// Repeats says that it may be given several times.
	Repeats bool
}

// Limit is a bound on the size of a request's body.
type Limit uint8

// The bounds, by what Config calls them.
const (
	BodyLimit  Limit = iota // MaxBodyBytes
	ValueLimit              // MaxValueBytes
	TxnLimit                // MaxTxnBytes or MaxValueBytes, the larger of them
)

// Scope says by which of Consul Enterprise's divisions what a route is about is divided
// there. A route refuses to look into one of these, and passes over the others, as Consul
// does.
type Scope uint8

// The scopes of routes.
const (
	Namespaced  Scope = iota // by namespaces and partitions, as services are
	Partitioned              // by partitions alone, as nodes are
	Undivided                // by neither, as servers are
)

// Of gives rows this scope.
func (s Scope) Of(rows []Route) []Route {
	for i := range rows {
		rows[i].Scope = s
	}
	return rows
}

// ReadOnly is a command that can tell whether it only reads.
type ReadOnly interface {
	catalog.Command
	ReadOnly() bool
}

// Rule is what a caller must be allowed before the handler runs. The zero Rule
// asks nothing: everyone may call, and Visible cuts the answer.
type Rule struct {
	Resource acl.Resource
	Access   acl.Access
	// Name tells which resource; nil for resources without names.
	Name func(r *Request) string
}

// Route is one row of the table of endpoints.
type Route struct {
	Method string
	// Path may have variables {name}. One at its end takes the rest of the path,
	// slashes and emptiness included; one within it is a segment.
	Path string
	Kind Kind
	Doc  string
	// Params are the query parameters of this route besides those of its kind.
	Params []Param
	ACL    Rule
	Scope  Scope
	// Visible leaves out of an answer what its caller may not see, and says
	// whether that was anything. It runs before the caller's filter.
	Visible func(az acl.Authorizer, answer any) (visible any, cut bool)

	// Exactly one of the following, as the kind demands.

	// View answers a Read from one moment of the catalog. It depends on nothing
	// but its arguments: its answer is kept until a topic moves that it read.
	View func(v *state.View, r *Request) (any, error)
	// Ask answers a Read from what this server knows besides the catalog.
	Ask func(r *Request) (any, error)
	// Download answers a Read by bytes that are made while they are sent.
	Download func(r *Request) (*Download, error)
	// Command makes a Write's command. The answer to one that took effect is true,
	// unless Render has another.
	Command func(r *Request) (catalog.Command, error)
	// Edit makes a Write's command of what the catalog says at that moment, and the
	// answer to it; without a command there is nothing to do. One whose result's Value
	// is false had no effect, as what it was made of has changed: it is made anew.
	Edit func(v *state.View, r *Request) (cmd catalog.Command, answer any, err error)
	// MayRead says that some of a Write's commands only read, and tell so as
	// ReadOnly. Any server answers these, as currently as the caller wants.
	MayRead bool
	// Lead answers a Leading, or a Write that needs no entry of the log, on the
	// leader. One that fails with catalog.Unavailable had no effect and is tried
	// again, by the next leader.
	Lead func(r *Request) (any, error)
	// Do answers a Local.
	Do func(r *Request) (any, error)

	// Changed gives a channel that is closed when the answer of Ask or Do may be
	// another one. An Ask without it is asked again when the leader or the servers
	// change; a Local without it can't be had as a stream.
	Changed func() <-chan struct{}

	// Render makes the answer of what View gave, once Visible and filter are done,
	// or of a Write's catalog.Result.Value. It may make an *Answer.
	Render func(r *Request, answer any) any
	// Plain leaves X-Consul-Effective-Consistency out, as Consul does in some areas.
	Plain bool

	// Filter is a value of the type that ?filter= selects from, nil if the
	// route takes no filter.
	Filter any
	// Answer and Body are values of the types that the handler answers with and
	// that it decodes the request's body into, for the description of the API.
	// A nil Answer may be anything, with a nil Body there is none.
	Answer any
	Body   any
	// Upload says that Lead reads the body itself, of any size, a piece at a time. What
	// was read once is not sent again: a request of which a part was read fails
	// where it would have been tried again.
	Upload bool
	// Limit says which bound there is on the size of the body.
	Limit Limit
	// Current makes an Ask wait until this server knows what any other knew
	// when it was asked, unless ?stale.
	Current bool
	// OfLeader has an Ask answered by the leader, which alone knows all of it,
	// unless ?stale. It is Current, then.
	OfLeader bool
}

// alters says whether a request that was lost on its way may have done something.
func (r *Route) alters() bool {
	return r.Kind == Write || r.Kind == Leading && r.Method != http.MethodGet
}

// Request is one request to a handler.
type Request struct {
	Query   url.Values
	Options Options
	Token   string
	Accept  string // the header
	Agent   string // the node name of the agent that was asked first
	// From is where that agent was asked from, or what a proxy before it says in
	// X-Forwarded-For; invalid where neither is an address. It proves nothing.
	From    netip.Addr
	Authz   acl.Authorizer
	Body    []byte    // of all methods but GET, unless the row has Upload
	Upload  io.Reader // the body, where the row has Upload
	Streams bool      // the answer goes out as events, whose data is JSON

	// Read says how current the answer is that Render gets of a ReadOnly command. It
	// is nil for one that was committed, or would have changed nothing.
	Read *ReadState

	ctx  context.Context
	vars map[string]string
}

// ReadState says how current an answer is.
type ReadState struct {
	Index       uint64 // all up to it was seen
	KnownLeader bool
	LastContact time.Duration
	Consistency Consistency
}

// Context ends when the caller has gone.
func (r *Request) Context() context.Context { return r.ctx }

// Var is a variable of the path.
func (r *Request) Var(name string) string { return r.vars[name] }

// Has says whether a query parameter is there, with or without a value.
func (r *Request) Has(param string) bool { return r.Query.Has(param) }

// Answer is what a handler returns that wants more than 200 and JSON.
type Answer struct {
	Status int // 0 is 200
	Header map[string]string
	Index  uint64 // of an Ask that has looked at the catalog: all up to it was seen
	// Body is rendered as JSON, or written as it is if it is Raw.
	Body any
}

// Lines is a body that goes on: each line, with its end, as it comes, until Next
// fails or the agent ends.
type Lines struct {
	ContentType string
	// Next waits for the next line.
	Next func(ctx context.Context) ([]byte, error)
	// Close is called when nobody reads on.
	Close func()
}

// Download is a body of any size. It is always sent as it is, and a caller that
// does not accept it in time is cut off.
type Download struct {
	ContentType string
	Index       uint64 // all up to it is in the answer
	// Write writes the body. Where it fails the caller sees that it is cut short.
	Write func(w io.Writer) error
}

// Raw is a body that is finished already.
type Raw struct {
	ContentType string
	Data        []byte
}
