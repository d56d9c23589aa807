package configentry

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-bexpr"
)

// ServiceResolver says which instances a name stands for
// (https://developer.hashicorp.com/consul/docs/reference/config-entry/service-resolver).
type ServiceResolver struct {
	Head
	DefaultSubset  string              `json:",omitempty"`
	Subsets        map[string]Subset   `json:",omitempty"`
	Redirect       *Redirect           `json:",omitempty"`
	Failover       map[string]Failover `json:",omitempty"`
	ConnectTimeout Duration            `json:",omitzero"`
	RequestTimeout Duration            `json:",omitzero"`
	LoadBalancer   *LoadBalancer       `json:",omitempty"`
	// PrioritizeByLocality is a feature of Consul Enterprise.
	PrioritizeByLocality map[string]any `json:",omitempty"`
}

// SaysNothing tells that the service is resolved as it is without an entry.
func (r *ServiceResolver) SaysNothing() bool {
	return r.DefaultSubset == "" && len(r.Subsets) == 0 && r.Redirect == nil && len(r.Failover) == 0 &&
		r.ConnectTimeout == 0 && r.RequestTimeout == 0 && r.LoadBalancer == nil && len(r.PrioritizeByLocality) == 0
}

// Subset is a part of a service's instances: those that match a filter.
type Subset struct {
	Filter      string `json:",omitempty"`
	OnlyPassing bool   `json:",omitempty"`
}

// Redirect has another service answer to the name.
type Redirect struct {
	Service       string `json:",omitempty"`
	ServiceSubset string `json:",omitempty"`
	Namespace     string `json:",omitempty"`
	Partition     string `json:",omitempty"`
	Datacenter    string `json:",omitempty"`
	Peer          string `json:",omitempty"`
	SamenessGroup string `json:",omitempty"`
}

// Failover says where to go on where a subset, or all of a service for the key "*",
// has no healthy instance.
type Failover struct {
	Service       string           `json:",omitempty"`
	ServiceSubset string           `json:",omitempty"`
	Namespace     string           `json:",omitempty"`
	Datacenters   []string         `json:",omitempty"`
	Targets       []FailoverTarget `json:",omitempty"`
	SamenessGroup string           `json:",omitempty"`
	Policy        *FailoverPolicy  `json:",omitempty"`
}

// FailoverTarget is one place to go on; what is left out is the service's own.
type FailoverTarget struct {
	Service       string `json:",omitempty"`
	ServiceSubset string `json:",omitempty"`
	Partition     string `json:",omitempty"`
	Namespace     string `json:",omitempty"`
	Datacenter    string `json:",omitempty"`
	Peer          string `json:",omitempty"`
}

// LoadBalancer says how proxies choose among instances.
type LoadBalancer struct {
	Policy             string              `json:",omitempty"`
	RingHashConfig     *RingHashConfig     `json:",omitempty"`
	LeastRequestConfig *LeastRequestConfig `json:",omitempty"`
	HashPolicies       []HashPolicy        `json:",omitempty"`
}

// Hashes tells that instances are chosen by what requests have, for which whoever
// routes them must be told.
func (l *LoadBalancer) Hashes() bool {
	return l != nil && (l.Policy == "ring_hash" || l.Policy == "maglev")
}

// RingHashConfig is for the policy ring_hash.
type RingHashConfig struct {
	MinimumRingSize uint64 `json:",omitempty"`
	MaximumRingSize uint64 `json:",omitempty"`
}

// LeastRequestConfig is for the policy least_request.
type LeastRequestConfig struct {
	ChoiceCount uint32 `json:",omitempty"`
}

// HashPolicy says what of a request is hashed.
type HashPolicy struct {
	Field        string        `json:",omitempty"`
	FieldValue   string        `json:",omitempty"`
	CookieConfig *CookieConfig `json:",omitempty"`
	SourceIP     bool          `json:",omitempty"`
	Terminal     bool          `json:",omitempty"`
}

// CookieConfig is of a cookie that a proxy sets.
type CookieConfig struct {
	Session bool          `json:",omitempty"`
	TTL     time.Duration `json:",omitempty"`
	Path    string        `json:",omitempty"`
}

// subsetName is what subsets may be called, so that the name fits into a host's.
var subsetName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

func (e *ServiceResolver) normalize() {}

func (e *ServiceResolver) validate() error {
	if err := e.named(); err != nil {
		return err
	}
	if len(e.PrioritizeByLocality) > 0 {
		return wrong("Prioritize-by-locality requires Consul Enterprise ")
	}
	for name, s := range e.Subsets {
		switch {
		case name == "":
			return wrong("Subset defined with empty name")
		case len(name) > 63 || !subsetName.MatchString(name):
			return wrong("Subset %q is invalid: must be 63 characters or fewer, begin or end with lower case alphanumeric characters, and contain lower case alphanumeric characters or '-' in between", name)
		}
		if s.Filter == "" {
			continue
		}
		if _, err := bexpr.CreateEvaluator(s.Filter); err != nil {
			return wrong("Filter for subset %q is not a valid expression: %v", name, err)
		}
	}
	isSubset := func(name string) bool { _, ok := e.Subsets[name]; return name == "" || ok }
	if !isSubset(e.DefaultSubset) {
		return wrong("DefaultSubset %q is not a valid subset", e.DefaultSubset)
	}
	if e.Redirect != nil {
		if len(e.Failover) > 0 {
			return wrong("Redirect and Failover cannot both be set")
		}
		if err := e.Redirect.validate(); err != nil {
			return err
		}
	}
	for subset, f := range e.Failover {
		if subset != "*" && (subset == "" || !isSubset(subset)) {
			return wrong("Bad Failover[%q]: not a valid subset subset", subset)
		}
		if fault := f.fault(); fault != "" {
			return wrong("Bad Failover[%q]%s", subset, fault)
		}
		if f.ServiceSubset != "" && (f.Service == "" || f.Service == e.Name) && !isSubset(f.ServiceSubset) {
			return wrong("Bad Failover[%q].ServiceSubset %q is not a valid subset of %q", subset, f.ServiceSubset, e.Name)
		}
	}
	if e.ConnectTimeout < 0 {
		return wrong("Bad ConnectTimeout '%s', must be >= 0", time.Duration(e.ConnectTimeout))
	}
	if e.RequestTimeout < 0 {
		return wrong("Bad RequestTimeout '%s', must be >= 0", time.Duration(e.RequestTimeout))
	}
	if e.LoadBalancer != nil {
		return e.LoadBalancer.validate()
	}
	return nil
}

func (r *Redirect) validate() error {
	switch {
	case *r == (Redirect{}):
		return wrong("Redirect is empty")
	case r.SamenessGroup != "":
		return wrong("Redirect.SamenessGroup requires Consul Enterprise")
	case r.Namespace != "" || r.Partition != "":
		return wrong("Redirect.Namespace and Redirect.Partition require Consul Enterprise")
	case r.ServiceSubset != "" && r.Service == "":
		return wrong("Redirect.ServiceSubset defined without Redirect.Service")
	case r.Peer != "" && r.ServiceSubset != "":
		return wrong("Redirect.Peer cannot be set with Redirect.ServiceSubset")
	case r.Peer != "" && r.Datacenter != "":
		return wrong("Redirect.Peer cannot be set with Redirect.Datacenter")
	}
	return nil
}

func (f *Failover) fault() string {
	switch {
	case f.Policy != nil:
		return ": Setting failover policies requires Consul Enterprise"
	case f.SamenessGroup != "":
		return ": Setting SamenessGroup requires Consul Enterprise"
	case f.Namespace != "":
		return ": Setting Namespace requires Consul Enterprise"
	case f.Service == "" && f.ServiceSubset == "" && len(f.Datacenters) == 0 && len(f.Targets) == 0:
		return ": one of Service, ServiceSubset, Namespace, Targets, SamenessGroup, or Datacenters is required"
	case len(f.Targets) > 0 && f.Service != "":
		return ": Targets cannot be set with Service"
	case len(f.Targets) > 0 && f.ServiceSubset != "":
		return ": Targets cannot be set with ServiceSubset"
	case len(f.Targets) > 0 && len(f.Datacenters) > 0:
		return ": Targets cannot be set with Datacenters"
	case slices.Contains(f.Datacenters, ""):
		return ".Datacenters: found empty datacenter"
	}
	for i, t := range f.Targets {
		switch {
		case t.Namespace != "" || t.Partition != "":
			return fmt.Sprintf(".Targets[%d]: Setting Namespace or Partition requires Consul Enterprise", i)
		case t.Peer != "" && t.Datacenter != "":
			return fmt.Sprintf(".Targets[%d]: Peer cannot be set with Datacenter", i)
		case t.Peer != "" && t.ServiceSubset != "":
			return fmt.Sprintf(".Targets[%d]: Peer cannot be set with ServiceSubset", i)
		}
	}
	return ""
}

func (l *LoadBalancer) validate() error {
	hashed := l.Hashes()
	switch {
	case !hashed && !slices.Contains([]string{"", "random", "round_robin", "least_request"}, l.Policy):
		return wrong("Bad LoadBalancer policy: %q is not supported", l.Policy)
	case l.RingHashConfig != nil && l.Policy != "ring_hash":
		return wrong("Bad LoadBalancer configuration. RingHashConfig specified for incompatible load balancing policy %q", l.Policy)
	case l.LeastRequestConfig != nil && l.Policy != "least_request":
		return wrong("Bad LoadBalancer configuration. LeastRequestConfig specified for incompatible load balancing policy %q", l.Policy)
	case len(l.HashPolicies) > 0 && !hashed:
		return wrong("Bad LoadBalancer configuration: HashPolicies specified for non-hash-based Policy: %q", l.Policy)
	}
	for i, p := range l.HashPolicies {
		if fault := p.fault(); fault != "" {
			return wrong("Bad LoadBalancer HashPolicy[%d]: %s", i, fault)
		}
	}
	return nil
}

func (p *HashPolicy) fault() string {
	switch {
	case p.SourceIP && p.Field != "":
		return fmt.Sprintf("A single hash policy cannot hash both a source address and a %q", p.Field)
	case p.SourceIP && p.FieldValue != "":
		return "A FieldValue cannot be specified when hashing SourceIP"
	case p.SourceIP:
		return ""
	case !slices.Contains([]string{"header", "cookie", "query_parameter"}, p.Field):
		return fmt.Sprintf("%q is not a supported field", p.Field)
	case p.FieldValue == "":
		return fmt.Sprintf("Field %q was specified without a FieldValue", p.Field)
	case p.CookieConfig != nil && p.Field != "cookie":
		return fmt.Sprintf("cookie_config provided for %q", p.Field)
	case p.CookieConfig != nil && p.CookieConfig.Session && p.CookieConfig.TTL != 0:
		return "a session cookie cannot have an associated TTL"
	}
	return ""
}

// ServiceSplitter shares a service's requests out
// (https://developer.hashicorp.com/consul/docs/reference/config-entry/service-splitter).
type ServiceSplitter struct {
	Head
	Splits []Split
}

// Split is one share. Weight is a percentage with two decimals; what is left out of
// the destination is the splitter's own service.
type Split struct {
	Weight          float32
	Service         string           `json:",omitempty"`
	ServiceSubset   string           `json:",omitempty"`
	RequestHeaders  *HeaderModifiers `json:",omitempty"`
	ResponseHeaders *HeaderModifiers `json:",omitempty"`
}

// HeaderModifiers says what a proxy does to the headers of HTTP.
type HeaderModifiers struct {
	Add    map[string]string `json:",omitempty"`
	Set    map[string]string `json:",omitempty"`
	Remove []string          `json:",omitempty"`
}

// hundredths is a weight in parts of ten thousand.
func hundredths(weight float32) int { return int(math.Round(float64(weight) * 100)) }

func (e *ServiceSplitter) normalize() {
	for i := range e.Splits {
		e.Splits[i].Weight = float32(hundredths(e.Splits[i].Weight)) / 100
	}
}

func (e *ServiceSplitter) validate() error {
	if err := e.named(); err != nil {
		return err
	}
	if len(e.Splits) == 0 {
		return wrong("no splits configured")
	}
	sum := 0
	seen := make(map[[2]string]bool)
	for _, s := range e.Splits {
		if w := hundredths(s.Weight); w < 0 || w > 100*100 {
			return wrong("the weight of a split must be from 0 to 100, not %f", s.Weight)
		}
		sum += hundredths(s.Weight)
		service := s.Service
		if service == "" {
			service = e.Name
		}
		if at := [2]string{service, s.ServiceSubset}; seen[at] {
			return wrong("split destination occurs more than once: service=%q, subset=%q, namespace=\"\", partition=\"\"", service, s.ServiceSubset)
		} else {
			seen[at] = true
		}
	}
	if sum != 100*100 {
		return wrong("the sum of all split weights must be 100, not %f", float32(sum)/100)
	}
	return nil
}

// ServiceRouter sends requests where their path, headers or parameters say
// (https://developer.hashicorp.com/consul/docs/reference/config-entry/service-router).
type ServiceRouter struct {
	Head
	Routes []Route
}

// Route is one rule of a router. The first that matches counts.
type Route struct {
	Match       *RouteMatch       `json:",omitempty"`
	Destination *RouteDestination `json:",omitempty"`
}

// RouteMatch is what a request must be like.
type RouteMatch struct {
	HTTP *HTTPMatch `json:",omitempty"`
}

// HTTPMatch is what a request of HTTP must be like: all that is said of it.
type HTTPMatch struct {
	PathExact       string       `json:",omitempty"`
	PathPrefix      string       `json:",omitempty"`
	PathRegex       string       `json:",omitempty"`
	CaseInsensitive bool         `json:",omitempty"`
	Header          []ValueMatch `json:",omitempty"`
	QueryParam      []ParamMatch `json:",omitempty"`
	Methods         []string     `json:",omitempty"`
}

// ValueMatch is what a header must be like.
type ValueMatch struct {
	Name    string
	Present bool   `json:",omitempty"`
	Exact   string `json:",omitempty"`
	Prefix  string `json:",omitempty"`
	Suffix  string `json:",omitempty"`
	Regex   string `json:",omitempty"`
	Invert  bool   `json:",omitempty"`
}

// ParamMatch is what a query parameter must be like.
type ParamMatch struct {
	Name    string
	Present bool   `json:",omitempty"`
	Exact   string `json:",omitempty"`
	Regex   string `json:",omitempty"`
}

// RouteDestination is where a request goes, and how. What is left out is the router's
// own service.
type RouteDestination struct {
	Service               string           `json:",omitempty"`
	ServiceSubset         string           `json:",omitempty"`
	Namespace             string           `json:",omitempty"`
	Partition             string           `json:",omitempty"`
	PrefixRewrite         string           `json:",omitempty"`
	RequestTimeout        Duration         `json:",omitzero"`
	IdleTimeout           Duration         `json:",omitzero"`
	NumRetries            uint32           `json:",omitempty"`
	RetryOnConnectFailure bool             `json:",omitempty"`
	RetryOn               []string         `json:",omitempty"`
	RetryOnStatusCodes    []uint32         `json:",omitempty"`
	RequestHeaders        *HeaderModifiers `json:",omitempty"`
	ResponseHeaders       *HeaderModifiers `json:",omitempty"`
}

func (e *ServiceRouter) normalize() {
	for _, r := range e.Routes {
		if r.Match == nil || r.Match.HTTP == nil {
			continue
		}
		for i, m := range r.Match.HTTP.Methods {
			r.Match.HTTP.Methods[i] = strings.ToUpper(m)
		}
	}
}

func (e *ServiceRouter) validate() error {
	if err := e.named(); err != nil {
		return err
	}
	for i, r := range e.Routes {
		if fault := r.fault(); fault != "" {
			return wrong("Route[%d] %s", i, fault)
		}
	}
	return nil
}

func (r *Route) fault() string {
	whole := false // the path is matched in a form whose matched part is known
	if r.Match != nil && r.Match.HTTP != nil {
		m := r.Match.HTTP
		if fault := m.fault(); fault != "" {
			return fault
		}
		whole = m.PathExact != "" || m.PathPrefix != ""
	}
	d := r.Destination
	if d == nil {
		return ""
	}
	if d.Namespace != "" || d.Partition != "" {
		return "sets a namespace or partition, which requires Consul Enterprise"
	}
	if d.PrefixRewrite != "" && !whole {
		return "cannot make use of PrefixRewrite without configuring either PathExact or PathPrefix"
	}
	for _, on := range d.RetryOn {
		if !slices.Contains(retryConditions, on) {
			return fmt.Sprintf("contains an invalid retry condition: %q", on)
		}
	}
	return ""
}

// retryConditions are those that Envoy knows.
var retryConditions = []string{"5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "envoy-ratelimited",
	"retriable-4xx", "refused-stream", "cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"}

func (m *HTTPMatch) fault() string {
	if fault := pathFault(" ", m.PathExact, m.PathPrefix, m.PathRegex); fault != "" {
		return strings.TrimSpace(fault)
	}
	for i, h := range m.Header {
		switch {
		case h.Name == "":
			return fmt.Sprintf("Header[%d] missing required Name field", i)
		case set(h.Exact, h.Prefix, h.Suffix, h.Regex)+count(h.Present) != 1:
			return fmt.Sprintf("Header[%d] should only contain one of Present, Exact, Prefix, Suffix, or Regex", i)
		}
	}
	for i, q := range m.QueryParam {
		switch {
		case q.Name == "":
			return fmt.Sprintf("QueryParam[%d] missing required Name field", i)
		case set(q.Exact, q.Regex)+count(q.Present) != 1:
			return fmt.Sprintf("QueryParam[%d] should only contain one of Present, Exact, or Regex", i)
		}
	}
	if i := repeated(m.Methods, strings.Clone); i >= 0 {
		return fmt.Sprintf("Methods contains %q more than once", m.Methods[i])
	}
	return ""
}

// pathFault says what is wrong with what a path is matched by. With dot the fault
// of a field begins with it, in place of a space.
func pathFault(dot string, exact, prefix, regex string) string {
	switch {
	case set(exact, prefix, regex) > 1:
		return " should only contain at most one of PathExact, PathPrefix, or PathRegex"
	case exact != "" && exact[0] != '/':
		return fmt.Sprintf("%sPathExact doesn't start with '/': %q", dot, exact)
	case prefix != "" && prefix[0] != '/':
		return fmt.Sprintf("%sPathPrefix doesn't start with '/': %q", dot, prefix)
	}
	return ""
}

// set is how many texts are not empty.
func set(texts ...string) (n int) {
	for _, t := range texts {
		n += count(t != "")
	}
	return n
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}
