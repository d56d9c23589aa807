package txnapi

import (
	"net/http"

	"muster/api"
	"muster/catalog"
)

// Limits are what operations are held to.
type Limits struct {
	// Datacenter is the only one that a node may be in.
	Datacenter string
	// MaxValueBytes bounds a value of the key/value store.
	MaxValueBytes int64
}

// Routes gives the row.
func Routes(limits Limits) []api.Route {
	h := handlers{limits}
	return []api.Route{{
		Method: http.MethodPut, Path: "/v1/txn", Kind: api.Write, MayRead: true,
		Doc: "Carries out up to 128 operations on entries, nodes, services, checks and sessions, all of them or none.",
		Params: []api.Param{
			{Name: "stale", Doc: "if it only reads: let any server answer at once"},
			{Name: "consistent", Doc: "if it only reads: confirm with a quorum that the answer is current"},
			{Name: "max_stale", Doc: "with stale: how old the answer may be, such as 10s"},
		},
		Limit: api.TxnLimit, Body: []operation{}, Command: h.txn, Answer: answer{}, Render: render,
	}}
}

type handlers struct{ Limits }

// answer is what is answered to a transaction.
type answer struct {
	Results []catalog.TxnItem
	Errors  []catalog.TxnError
	*current
}

// current is what Consul adds to the answer of a transaction that only reads. One
// never waits for a change, so NotModified is always false, and Backend, which says
// what a blocking query waits on, always 0.
type current struct {
	Index                 uint64 // all up to it was seen
	LastContact           int64  // nanoseconds
	KnownLeader           bool
	ConsistencyLevel      string
	NotModified           bool
	Backend               int
	ResultsFilteredByACLs bool
}

// render makes the answer of a result.
func render(r *api.Request, result any) any {
	res := result.(*catalog.TxnResult)
	if res.Errors != nil {
		return &api.Answer{Status: http.StatusConflict, Body: answer{Errors: res.Errors, current: currentOf(r, false)}}
	}
	kept, cut := visible(r.Authz, res.Results)
	for i := range kept {
		kept[i].Check = untagged(kept[i].Check)
	}
	return answer{Results: kept, current: currentOf(r, cut)}
}

// untagged has a check without tags show null in their place, as Consul does here and
// nowhere else.
func untagged(c *catalog.Check) *catalog.Check {
	if c == nil || len(c.ServiceTags) > 0 {
		return c
	}
	shown := *c
	shown.ServiceTags = nil
	return &shown
}

func currentOf(r *api.Request, cut bool) *current {
	if r.Read == nil {
		return nil
	}
	return &current{
		Index: r.Read.Index, LastContact: r.Read.LastContact.Nanoseconds(), KnownLeader: r.Read.KnownLeader,
		ConsistencyLevel: r.Read.Consistency.String(), ResultsFilteredByACLs: cut,
	}
}
