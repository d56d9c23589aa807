package agentapi

import (
	"context"
	"log/slog"

	"muster/catalog"
)

// Agent is the agent that the routes speak for. Its methods may be called from
// any goroutine; errors are *catalog.Error where the caller is to blame.
type Agent interface {
	Local
	Cluster
	Process
	Events
	Identities
}

// Local is what this agent promised its users. What it gives out is shared and
// never changes.
type Local interface {
	Services() map[string]*catalog.Service // by ID
	Service(id string) (*catalog.Service, bool)
	Checks() map[string]*catalog.Check // by ID
	Check(id string) (*catalog.Check, bool)
	// Changed gives a channel that is closed at the next change of any service
	// or check: take it before looking.
	Changed() <-chan struct{}

	AddService(svc catalog.Service, checks []Check, o Options) error
	RemoveService(id string) error
	AddCheck(c Check, o Options) error
	RemoveCheck(id string) error
	// UpdateTTL is a report on a TTL check; status is one of catalog's.
	UpdateTTL(id, status, output string) error
	MaintainService(id string, on bool, reason string) error
	MaintainNode(on bool, reason string) error
}

// Options go with a registration.
type Options struct {
	// Token is whose right the registration needs, "" for none.
	Token string
	// ReplaceChecks drops those checks of the service that are not named again.
	ReplaceChecks bool
	// Sidecar is registered together with the service, nil for none.
	Sidecar *Sidecar
}

// Sidecar is the proxy that a service asks for. Its ID is the agent's business,
// which also makes up what is left out.
type Sidecar struct {
	Service catalog.Service
	Checks  []Check
	Token   string // "" is the service's
}

// Cluster is this agent's view of the others.
type Cluster interface {
	// Members lists all agents that gossip knows, sorted by name; those of the
	// WAN pool where wan is set, none on an agent that is not in it.
	Members(wan bool) []Member
	// Join contacts an agent, host or host:port.
	Join(ctx context.Context, address string, wan bool) error
	// Leave takes this agent out of the cluster; the process ends after it.
	Leave(ctx context.Context) error
	// ForceLeave declares a failed member left; with prune it is forgotten.
	ForceLeave(node string, prune, wan bool) error
}

// Process is the agent as a process.
type Process interface {
	Self() Self
	Version() Version
	// DataDir is where the agent keeps its state, "" in memory.
	DataDir() string
	// Reload reads all configuration files again and takes over what they say
	// before it returns.
	Reload(ctx context.Context) error
	// Monitor gives the lines of the agent's log from now on, from a level on, in
	// JSON or as text, until leave is called.
	Monitor(level slog.Level, json bool) (lines <-chan []byte, leave func(), err error)
}

// Member is an agent as gossip knows it. Its JSON form is the API's.
type Member struct {
	Name        string
	Addr        string
	Port        uint16
	Tags        map[string]string
	Status      int // 0 none, 1 alive, 2 leaving, 3 left, 4 failed
	ProtocolMin uint8
	ProtocolMax uint8
	ProtocolCur uint8
	DelegateMin uint8
	DelegateMax uint8
	DelegateCur uint8
}

// Self describes this agent. Its JSON form is the API's.
type Self struct {
	Config SelfConfig
	// DebugConfig is the whole configuration without secrets, under Consul's
	// names; SerfAdvertiseAddrLAN is "tcp://host:port".
	DebugConfig map[string]any
	Coord       any `json:",omitempty"`
	Member      Member
	Stats       map[string]map[string]string
	Meta        map[string]string
}

// SelfConfig is the part of Self that all clients know.
type SelfConfig struct {
	Datacenter        string
	PrimaryDatacenter string
	NodeName          string
	NodeID            string
	Revision          string
	Server            bool
	Version           string
	BuildDate         string
}

// Version says which build runs. Its JSON form is the API's.
type Version struct {
	SHA          string
	BuildDate    string
	HumanVersion string
	FIPS         string
}
