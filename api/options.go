package api

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"muster/catalog"
)

// Consistency is how current a read must be.
type Consistency uint8

// The modes of consistency, by their names in X-Consul-Effective-Consistency.
const (
	Leader     Consistency = iota // linearizable
	Consistent                    // linearizable, whatever the clocks do
	Stale                         // as old as X-Consul-LastContact says
)

// String gives the mode as X-Consul-Effective-Consistency names it.
func (c Consistency) String() string { return [...]string{"leader", "consistent", "stale"}[c] }

// Options are the query parameters that all reads know.
type Options struct {
	Index       uint64        // answer once there is something newer; 0 at once
	Wait        time.Duration // how long to wait for it; 0 is the default
	Consistency Consistency
	MaxStale    time.Duration // a stale answer may not be older; 0 is any age
	Filter      string
	NodeMeta    []MetaPair // all must match
}

// MetaPair is a key and value that a node's metadata must have.
type MetaPair struct{ Key, Value string }

// ReadParams are the query parameters that all reads know.
var ReadParams = []Param{
	{Name: "dc", Doc: "the datacenter; only this agent's own is known"},
	{Name: "index", Doc: "wait until something newer than this X-Consul-Index is there"},
	{Name: "wait", Doc: "how long to wait, such as 10s; 5m where it is left out, at most 10m"},
	{Name: "stale", Doc: "let any server answer at once"},
	{Name: "consistent", Doc: "confirm with a quorum that the answer is current"},
	{Name: "max_stale", Doc: "with stale: how old the answer may be, such as 10s"},
	{Name: "cached", Doc: "tell by X-Cache whether the answer was kept; one that was is current all the same"},
	{Name: "pretty", Doc: "indent the JSON"},
	{Name: "token", Doc: "the ACL token; X-Consul-Token and Authorization: Bearer go before it"},
}

const maxFilter = 16 << 10 // bytes of a filter expression

func invalid(format string, args ...any) error {
	return catalog.Errorf(catalog.Invalid, format, args...)
}

// parseOptions reads the options of a read.
func parseOptions(q url.Values) (o Options, err error) {
	if s := q.Get("wait"); s != "" {
		if o.Wait, err = time.ParseDuration(s); err != nil || o.Wait < 0 {
			return o, invalid("Invalid wait time")
		}
	}
	if s := q.Get("index"); s != "" {
		if o.Index, err = strconv.ParseUint(s, 10, 64); err != nil {
			return o, invalid("Invalid index")
		}
	}
	if q.Has("consistent") {
		o.Consistency = Consistent
	}
	if q.Has("stale") {
		if o.Consistency == Consistent {
			return o, invalid("Cannot specify ?stale with ?consistent, conflicting semantics.")
		}
		o.Consistency = Stale
	}
	if q.Has("cached") && o.Consistency == Consistent {
		return o, invalid("Cannot specify ?cached with ?consistent, conflicting semantics.")
	}
	if s := q.Get("max_stale"); s != "" {
		if o.MaxStale, err = time.ParseDuration(s); err != nil || o.MaxStale < 0 {
			return o, invalid("Invalid max_stale value %q", s)
		}
		if o.Consistency == Leader {
			o.Consistency = Stale
		}
	}
	if o.Filter = q.Get("filter"); len(o.Filter) > maxFilter {
		return o, invalid("the filter is %d bytes long; at most %d are allowed", len(o.Filter), maxFilter)
	}
	for _, s := range q["node-meta"] {
		key, value, _ := strings.Cut(s, ":")
		o.NodeMeta = append(o.NodeMeta, MetaPair{key, value})
	}
	return o, nil
}

// MatchMeta says whether metadata has all the pairs that a caller asked for.
func (o *Options) MatchMeta(meta map[string]string) bool {
	for _, p := range o.NodeMeta {
		if v, ok := meta[p.Key]; !ok || v != p.Value {
			return false
		}
	}
	return true
}

// Bool reads a query parameter that is true where it stands without a value.
func (r *Request) Bool(param string) (bool, error) {
	if !r.Has(param) {
		return false, nil
	}
	s := r.Query.Get(param)
	if s == "" {
		return true, nil
	}
	v, err := strconv.ParseBool(s)
	if err != nil {
		return false, invalid("Invalid value for ?%s", param)
	}
	return v, nil
}

// tokenOf is the token that a request carries, "" if none.
func tokenOf(r *http.Request, q url.Values) string {
	if t := r.Header.Get("X-Consul-Token"); t != "" {
		return t
	}
	if scheme, t, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(t)
	}
	return q.Get("token")
}

// tooLarge is the error for a body beyond the limit, which the configuration may set.
func (c *Config) tooLarge(size int64, l Limit) error {
	said := "Request body"
	if size > 0 {
		said = fmt.Sprintf("Request body(%d bytes)", size)
	}
	set := ""
	switch l {
	case ValueLimit:
		set = ", as limits.kv_max_value_size says"
	case TxnLimit:
		set = ", as limits.txn_max_req_len and limits.kv_max_value_size say"
	}
	return catalog.Errorf(catalog.TooLarge, "%s too large, max size: %d bytes%s", said, c.limit(l), set)
}
