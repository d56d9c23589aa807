package catalog

import "slices"

// Proxy is the part of a service that says how it proxies another one. The
// catalog stores it and gives it back.
type Proxy struct {
	TransparentProxy       *TransparentProxy `json:",omitempty"`
	DestinationServiceName string            `json:",omitempty"`
	DestinationServiceID   string            `json:",omitempty"`
	LocalServiceAddress    string            `json:",omitempty"`
	LocalServicePort       int               `json:",omitempty"`
	LocalServiceSocketPath string            `json:",omitempty"`
	Mode                   string
	// Config and the Upstreams' own are free-form: what JSON can hold, where
	// numbers are int64 or float64.
	Config          map[string]any `json:",omitempty"`
	Upstreams       []Upstream     `json:",omitempty"`
	MeshGateway     MeshGateway
	Expose          Expose
	AccessLogs      *AccessLogs      `json:",omitempty"`
	EnvoyExtensions []EnvoyExtension `json:",omitempty"`
}

// AccessLogs says where a proxy logs requests.
type AccessLogs struct {
	Enabled             bool   `json:",omitempty"`
	DisableListenerLogs bool   `json:",omitempty"`
	Type                string `json:",omitempty"`
	Path                string `json:",omitempty"`
	JSONFormat          string `json:",omitempty"`
	TextFormat          string `json:",omitempty"`
}

// EnvoyExtension is one that a proxy is to load. Arguments are free-form.
type EnvoyExtension struct {
	Name          string
	Required      bool
	Arguments     map[string]any
	ConsulVersion string
	EnvoyVersion  string
}

// noProxy is shared by the instances that are none, which most are.
var noProxy Proxy

// NoProxy returns the empty Proxy, which must not be written to.
func NoProxy() *Proxy { return &noProxy }

// Clone gives a copy of which everything but the free-form parts may be written to.
func (p *Proxy) Clone() *Proxy {
	if p == nil {
		return &Proxy{}
	}
	own := *p
	own.Upstreams = slices.Clone(p.Upstreams)
	own.EnvoyExtensions = slices.Clone(p.EnvoyExtensions)
	return &own
}

// empty reports whether a Proxy says nothing; nil says nothing.
func (p *Proxy) empty() bool { return p == nil || p == &noProxy || p.same(&noProxy) }

// Upstream is a service that a proxy gives its own service access to.
type Upstream struct {
	DestinationType      string
	DestinationName      string `json:",omitempty"`
	DestinationNamespace string `json:",omitempty"`
	DestinationPartition string `json:",omitempty"`
	DestinationPeer      string `json:",omitempty"`
	Datacenter           string
	LocalBindAddress     string         `json:",omitempty"`
	LocalBindPort        int            `json:",omitempty"`
	LocalBindSocketPath  string         `json:",omitempty"`
	LocalBindSocketMode  string         `json:",omitempty"`
	Config               map[string]any `json:",omitempty"`
	MeshGateway          MeshGateway
	CentrallyConfigured  bool `json:",omitempty"`
}

// MeshGateway says how traffic leaves for another datacenter.
type MeshGateway struct {
	Mode string `json:",omitempty"`
}

// Expose lists paths reachable without mutual TLS.
type Expose struct {
	Checks bool         `json:",omitempty"`
	Paths  []ExposePath `json:",omitempty"`
}

// ExposePath is one such path.
type ExposePath struct {
	ListenerPort    int    `json:",omitempty"`
	Path            string `json:",omitempty"`
	LocalPathPort   int    `json:",omitempty"`
	Protocol        string `json:",omitempty"`
	ParsedFromCheck bool   `json:",omitempty"`
}

// TransparentProxy configures interception of outbound traffic.
type TransparentProxy struct {
	OutboundListenerPort int  `json:",omitempty"`
	DialedDirectly       bool `json:",omitempty"`
}

// Connect marks an instance as part of the mesh.
type Connect struct {
	Native         bool     `json:",omitempty"`
	SidecarService *Service `json:",omitempty"`
}
