package catalog

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
	Config      map[string]any `json:",omitempty"`
	Upstreams   []Upstream     `json:",omitempty"`
	MeshGateway MeshGateway
	Expose      Expose
}

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
