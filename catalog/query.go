package catalog

import (
	"fmt"
	"reflect"
	"time"
)

// PreparedQuery is a question about a service that is stored under an ID and perhaps
// a name, and asked by either, over HTTP and DNS
// (https://developer.hashicorp.com/consul/api-docs/query).
type PreparedQuery struct {
	ID       string
	Name     string // of a template: the beginning of the names that it answers to
	Session  string // with which it ends, "" for none
	Token    string
	Template QueryTemplate
	Service  ServiceQuery
	DNS      QueryDNS
	Indexes
}

// QueryTemplate makes a query answer to many names; see PreparedQuery.Expand.
type QueryTemplate struct {
	Type            string // QueryPrefixMatch, or "" for a query that is none
	Regexp          string // what of the name ${match(N)} gives
	RemoveEmptyTags bool   // tags that come out empty are left out
}

// QueryPrefixMatch is the only type of templates.
const QueryPrefixMatch = "name_prefix_match"

// ServiceQuery says which instances of a service a query finds: those that are
// healthy, and match all that is given.
type ServiceQuery struct {
	Service        string
	SamenessGroup  string // Consul Enterprise's: always ""
	Failover       QueryFailover
	IncludeAll     bool     // finds instances whatever their health
	OnlyPassing    bool     // leaves out instances with a warning, too
	IgnoreCheckIDs []string // checks that say nothing about health here
	Near           string   // node to sort by the estimated round trip from, or QueryNearAgent or QueryNearIP
	Tags           []string // all must match; one with "!" before it must not
	NodeMeta       map[string]string
	ServiceMeta    map[string]string
	Connect        bool   // instances that give mesh access to the service
	Peer           string // always "": there are no peers
}

// HiddenToken is what is shown of a query's token to whom it isn't shown.
const HiddenToken = "<hidden>"

// What may stand for a node in ServiceQuery.Near.
const (
	QueryNearAgent = "_agent" // the agent that is asked
	QueryNearIP    = "_ip"    // the node that has the address of whoever asks
)

// QueryFailover says where else to look if nothing is healthy here. It is kept and
// given back: only this datacenter can be reached.
type QueryFailover struct {
	SkipLocalDatacenter bool // looks nowhere but there
	NearestN            int
	Datacenters         []string
	Targets             []QueryTarget
}

// QueryTarget is one place to look.
type QueryTarget struct {
	Peer       string
	Datacenter string
}

// QueryDNS says how answers are given over DNS.
type QueryDNS struct {
	TTL string // such as "10s"; "" for that of the service
}

// IsTemplate says whether a query answers to all names that begin with its own.
func (q *PreparedQuery) IsTemplate() bool { return q.Template.Type != "" }

// Same says whether two queries differ in nothing but their indexes.
func (q *PreparedQuery) Same(other *PreparedQuery) bool {
	a, b := *q, *other
	a.Indexes, b.Indexes = Indexes{}, Indexes{}
	return reflect.DeepEqual(a, b)
}

// Lifetime is for how long resolvers may keep an answer; ok is false where the query
// says nothing of it.
func (d QueryDNS) Lifetime() (ttl time.Duration, ok bool) {
	ttl, err := time.ParseDuration(d.TTL)
	return ttl, err == nil
}

const (
	// MaxQueryName bounds a query's name and the names that it is asked by, in bytes.
	MaxQueryName = 512

	// A template's regular expression takes time by its size and that of the name.
	maxQueryRegexp  = 1 << 10 // bytes
	maxQueryProgram = 1 << 11 // instructions that it compiles to
)

// Validate says what is wrong with a query, nil if nothing.
func (q *PreparedQuery) Validate() error {
	s := &q.Service
	wrong := q.DNS.fault()
	switch {
	case q.Name == "" && q.Session == "" && !q.IsTemplate():
		wrong = "Must be bound to a session"
	case len(q.Name) > MaxQueryName:
		wrong = fmt.Sprintf("the Name is %d bytes; at most %d are allowed", len(q.Name), MaxQueryName)
	case q.Token == HiddenToken:
		wrong = "Bad Token '<hidden>', it looks like a query definition with a redacted token was submitted"
	case s.Service == "":
		wrong = "Must provide a Service name to query"
	case s.SamenessGroup != "":
		wrong = "sameness-groups are an enterprise-only feature"
	case s.Peer != "":
		wrong = fmt.Sprintf("there is no peer '%s': Muster has no cluster peering", clip(s.Peer))
	case s.Failover.NearestN < 0:
		wrong = fmt.Sprintf("Bad NearestN '%d', must be >= 0", s.Failover.NearestN)
	case len(s.Failover.Targets) > 0 && (s.Failover.NearestN > 0 || len(s.Failover.Datacenters) > 0):
		wrong = "Targets cannot be populated with NearestN or Datacenters"
	}
	if wrong != "" {
		return Errorf(Invalid, "Invalid prepared query: %s", wrong)
	}
	if err := checkMeta(s.NodeMeta); err != nil {
		return Errorf(Invalid, "Invalid prepared query: %v", err)
	}
	if _, err := q.Expand(q.Name); err != nil {
		return Errorf(Invalid, "failed compiling template: %v", err)
	}
	return nil
}

// fault says what is wrong with what is asked of DNS, "" if nothing.
func (d QueryDNS) fault() string {
	if d.TTL == "" {
		return ""
	}
	switch ttl, err := time.ParseDuration(d.TTL); {
	case err != nil:
		return fmt.Sprintf("Bad DNS TTL '%s': %v", clip(d.TTL), err)
	case ttl < 0:
		return fmt.Sprintf("DNS TTL '%s', must be >=0", d.TTL)
	}
	return ""
}

// QueryVerb is what a ChangeQuery does. Numbers are part of the log format.
type QueryVerb uint8

// The verbs.
const (
	QueryCreate QueryVerb = 1
	QueryUpdate QueryVerb = 2 // one that is there, by its ID
	QueryDelete QueryVerb = 3 // likewise
)

// ChangeQuery stores or removes a prepared query. Its result's Value is the ID of
// one that was stored, or false where Index is another than the query's.
type ChangeQuery struct {
	Verb  QueryVerb
	Index uint64 // of one that is there: its ModifyIndex; 0 for any
	Query PreparedQuery
}

// Op implements Command.
func (*ChangeQuery) Op() Op { return OpChangeQuery }
