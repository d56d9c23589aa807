package agentapi

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"

	"muster/catalog"
)

// agentService is a service as its own agent gives it.
type agentService struct {
	Kind              string `json:",omitempty"`
	ID                string
	Service           string
	Tags              []string
	Meta              map[string]string
	Port              int
	Address           string
	SocketPath        string                            `json:",omitempty"`
	TaggedAddresses   map[string]catalog.ServiceAddress `json:",omitempty"`
	Weights           catalog.Weights
	EnableTagOverride bool
	ContentHash       string            `json:",omitempty"`
	Proxy             *agentProxy       `json:",omitempty"`
	Connect           *catalog.Connect  `json:",omitempty"`
	PeerName          string            `json:",omitempty"`
	Datacenter        string            `json:",omitempty"`
	Locality          *catalog.Locality `json:",omitempty" bexpr:"-"`
}

func newAgentService(s *catalog.Service, datacenter string) *agentService {
	a := &agentService{
		Kind: s.Kind, ID: s.ID, Service: s.Service, Tags: s.Tags, Meta: s.Meta, Port: s.Port,
		Address: s.Address, SocketPath: s.SocketPath, TaggedAddresses: s.TaggedAddresses,
		Weights: s.Weights, EnableTagOverride: s.EnableTagOverride, PeerName: s.PeerName,
		Datacenter: datacenter, Locality: s.Locality,
	}
	if a.Tags == nil {
		a.Tags = []string{}
	}
	if a.Meta == nil {
		a.Meta = map[string]string{}
	}
	if s.Kind != "" {
		a.Proxy = newAgentProxy(s.Proxy)
	}
	if s.Connect.Native {
		a.Connect = &s.Connect
	}
	return a
}

// agentProxy is a Proxy in which an agent, unlike the catalog, leaves out what
// is empty.
type agentProxy struct {
	catalog.Proxy
	Mode      string          `json:",omitempty"`
	Upstreams []agentUpstream `json:",omitempty"`
	Expose    agentExpose
}

// agentExpose says of each path whether it was made for a check.
type agentExpose struct {
	catalog.Expose
	Paths []agentPath `json:",omitempty"`
}

type agentPath struct {
	catalog.ExposePath
	ParsedFromCheck bool
}

type agentUpstream struct {
	catalog.Upstream
	Datacenter string `json:",omitempty"`
}

func newAgentProxy(p *catalog.Proxy) *agentProxy {
	a := &agentProxy{Proxy: *p, Mode: p.Mode, Expose: agentExpose{Expose: p.Expose}}
	for _, u := range p.Upstreams {
		a.Upstreams = append(a.Upstreams, agentUpstream{Upstream: u, Datacenter: u.Datacenter})
	}
	for _, path := range p.Expose.Paths {
		a.Expose.Paths = append(a.Expose.Paths, agentPath{path, path.ParsedFromCheck})
	}
	return a
}

// hash names what a service says, for hash-based blocking.
func (a *agentService) hash() (string, error) {
	data, err := json.Marshal(a)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8]), nil
}

// serviceHealth is a service with all checks that count for it.
type serviceHealth struct {
	AggregatedStatus string
	Service          *agentService
	Checks           []*catalog.Check
}

// healthOf weighs the checks of the node and of one service.
func healthOf(s *catalog.Service, checks map[string]*catalog.Check, datacenter string) serviceHealth {
	h := serviceHealth{AggregatedStatus: catalog.StatusPassing, Service: newAgentService(s, datacenter), Checks: []*catalog.Check{}}
	for _, id := range slices.Sorted(maps.Keys(checks)) {
		c := checks[id]
		if c.ServiceID != "" && catalog.Fold(c.ServiceID) != catalog.Fold(s.ID) {
			continue
		}
		h.Checks = append(h.Checks, c)
		status := c.Status
		if c.Type == typeMaintenance {
			status = catalog.StatusMaintenance
		}
		h.AggregatedStatus = catalog.Worse(h.AggregatedStatus, status)
	}
	return h
}

// typeMaintenance is the type of the checks that maintenance mode makes.
const typeMaintenance = "maintenance"
