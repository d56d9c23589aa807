package catalog

// Indexes are the log indexes at which an object was created and last changed.
// Apply sets them; what a caller puts here is ignored.
type Indexes struct {
	CreateIndex uint64
	ModifyIndex uint64
}

// Node is a machine with an agent on it, or an external one registered by hand.
// Node is its name; names are unique without regard to case, and so is ID where
// it is given.
type Node struct {
	ID              string
	Node            string
	Address         string
	Datacenter      string
	TaggedAddresses map[string]string
	Meta            map[string]string
	Locality        *Locality `json:",omitempty" bexpr:"-"`
	Indexes
}

// Weights are the relative shares of traffic that DNS SRV answers announce for
// an instance, by its health.
type Weights struct {
	Passing int
	Warning int
}

// ServiceAddress is one named address of a service instance.
type ServiceAddress struct {
	Address string
	Port    int
}

// Locality says where a node or an instance runs.
type Locality struct {
	Region string `json:",omitempty"`
	Zone   string `json:",omitempty"`
}

// Service is one instance of a service on a node. ID is unique on its node;
// Service is the name people look for.
type Service struct {
	Kind              string `json:",omitempty"`
	ID                string
	Service           string
	Tags              []string
	Address           string
	TaggedAddresses   map[string]ServiceAddress `json:",omitempty"`
	Meta              map[string]string
	Port              int    `json:",omitempty"`
	SocketPath        string `json:",omitempty"`
	Weights           Weights
	EnableTagOverride bool
	Locality          *Locality `json:",omitempty" bexpr:"-"`
	// Proxy and Connect are kept and given back as they came. Proxy is what NoProxy
	// returns where there is none, once the instance is normalised.
	Proxy    *Proxy
	Connect  Connect
	PeerName string // the cluster it was imported from; empty for our own
	Indexes
}

// MeshName is the service that an instance gives mesh access to: for a proxy its
// destination, for a native one itself, and "" for any other.
func (s *Service) MeshName() string {
	switch {
	case s.Kind == KindConnectProxy && s.Proxy != nil:
		return s.Proxy.DestinationServiceName
	case s.Connect.Native:
		return s.Service
	}
	return ""
}

// Check is the result of one health check. A check without ServiceID speaks for
// its whole node. ServiceName and ServiceTags are its service's: apply fills
// them in and keeps them so. Definition is what NoDefinition returns where there is
// none, once the check is normalised.
type Check struct {
	Node        string
	CheckID     string
	Name        string
	Status      string
	Notes       string
	Output      string
	ServiceID   string
	ServiceName string
	ServiceTags []string
	Type        string
	Interval    string
	Timeout     string
	ExposedPort int
	Definition  *CheckDefinition
	Indexes
}

// The states of a check, ordered from best to worst by Worse. StatusAny and
// StatusMaintenance appear in queries and summaries only.
const (
	StatusPassing     = "passing"
	StatusWarning     = "warning"
	StatusCritical    = "critical"
	StatusMaintenance = "maintenance"
	StatusAny         = "any"
)

// KindConnectProxy is the kind of an instance that proxies another service; the others
// are gateways, which stand at the edge of the mesh for many.
const (
	KindConnectProxy       = "connect-proxy"
	KindMeshGateway        = "mesh-gateway"
	KindIngressGateway     = "ingress-gateway"
	KindTerminatingGateway = "terminating-gateway"
	KindAPIGateway         = "api-gateway"
)

// SerfHealth is the ID of the node check that the leader keeps from gossip.
const (
	SerfHealth     = "serfHealth"
	SerfHealthName = "Serf Health Status"
)

// The IDs under which maintenance mode puts its critical checks.
const (
	NodeMaintenance          = "_node_maintenance"
	ServiceMaintenancePrefix = "_service_maintenance:"
)
