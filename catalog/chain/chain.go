package chain

import (
	"fmt"
	"hash/fnv"
	"time"

	"muster/catalog"
	"muster/catalog/configentry"
)

// Entries is where config entries are found; nil where there is none.
type Entries interface {
	ConfigEntry(kind, name string) *catalog.ConfigEntry
}

// Request says what to compile.
type Request struct {
	Service    string
	Datacenter string // where it is evaluated
	// TrustDomain is that of the mesh, such as "UUID.consul". Targets have no SNI
	// where it is empty.
	TrustDomain string
	// The overrides stand in place of what entries say, where they are not empty.
	OverrideProtocol       string
	OverrideConnectTimeout time.Duration
	OverrideMeshGateway    string
}

// hash tells the overrides of one request from those of others, "" for none.
func (r *Request) hash() string {
	if r.OverrideProtocol == "" && r.OverrideConnectTimeout == 0 && r.OverrideMeshGateway == "" {
		return ""
	}
	h := fnv.New32a()
	fmt.Fprintf(h, "%q %d %q", r.OverrideProtocol, r.OverrideConnectTimeout, r.OverrideMeshGateway)
	return fmt.Sprintf("%08x", h.Sum32())
}

// Chain is a compiled chain: a graph of nodes, from StartNode to resolvers, each of
// which leads to targets.
type Chain struct {
	ServiceName       string
	Namespace         string
	Partition         string
	Datacenter        string
	CustomizationHash string `json:",omitempty"` // not empty where something was overridden
	Default           bool   `json:",omitempty"` // no entry says anything of the service
	Protocol          string
	StartNode         string
	Nodes             map[string]*Node
	Targets           map[string]*Target
	AutoVirtualIPs    []string
	ManualVirtualIPs  []string
}

// The types of nodes.
const (
	typeRouter   = "router"
	typeSplitter = "splitter"
	typeResolver = "resolver"
)

// Node is a router, a splitter or a resolver.
type Node struct {
	Type         string
	Name         string
	Routes       []*Route                  `json:",omitempty"`
	Splits       []*Split                  `json:",omitempty"`
	Resolver     *Resolver                 `json:",omitempty"`
	LoadBalancer *configentry.LoadBalancer `json:",omitempty"`
}

// Route is one rule of a router.
type Route struct {
	Definition configentry.Route
	NextNode   string
}

// Split is one share of a splitter. Weight is its share of all requests of the
// splitter, a percentage.
type Split struct {
	Definition configentry.Split
	Weight     float32 `json:",omitempty"`
	NextNode   string
}

// Resolver leads to a target, and from there on where that has no healthy instance.
type Resolver struct {
	ConnectTimeout configentry.Duration
	RequestTimeout time.Duration `json:",omitempty"`
	Default        bool          `json:",omitempty"`
	Target         string
	Failover       *Failover `json:",omitempty"`
}

// Failover lists further targets, in the order in which they are tried.
type Failover struct{ Targets []string }

// Target is a set of instances.
type Target struct {
	ID               string
	Service          string
	ServiceSubset    string `json:",omitempty"`
	Namespace        string
	Partition        string
	Datacenter       string `json:",omitempty"`
	Peer             string `json:",omitempty"`
	ConnectTimeout   configentry.Duration
	MeshGateway      catalog.MeshGateway
	Subset           configentry.Subset
	TransparentProxy catalog.TransparentProxy
	External         bool   `json:",omitempty"`
	SNI              string `json:",omitempty"`
	Name             string `json:",omitempty"`
}

// There is one namespace and one partition.
const (
	namespace = "default"
	partition = "default"

	defaultConnectTimeout = 5 * time.Second
)

// place is what identifies a target.
type place struct{ service, subset, datacenter, peer string }

func (p place) id() string {
	where := p.datacenter
	if p.peer != "" {
		where = "external." + p.peer
	}
	id := fmt.Sprintf("%s.%s.%s.%s", p.service, namespace, partition, where)
	if p.subset != "" {
		id = p.subset + "." + id
	}
	return id
}

// sni is the name that the instances at a place are known by in TLS, "" for those of
// another cluster, whose name is theirs to tell, and without a trust domain.
func (p place) sni(trustDomain string) string {
	if p.peer != "" || trustDomain == "" {
		return ""
	}
	name := fmt.Sprintf("%s.%s.%s.internal.%s", p.service, namespace, p.datacenter, trustDomain)
	if p.subset != "" {
		name = p.subset + "." + name
	}
	return name
}

// serviceNode is the name of a router or a splitter.
func serviceNode(service string) string {
	return fmt.Sprintf("%s.%s.%s", service, namespace, partition)
}
