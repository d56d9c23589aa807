package checks

import "time"

// Definition is what an agent was asked to watch. Its fields carry Consul's
// names; exactly one type of check must be described by them. Durations that
// are zero stand for the type's default.
type Definition struct {
	// CheckID is unique on an agent. A service's checks are named
	// "service:ID", or "service:ID:1" and so on, where it is left out.
	CheckID   string
	Name      string
	Notes     string
	ServiceID string
	// Status is the state before the first answer: critical unless it is given.
	Status string

	// ScriptArgs is the command of a script check: a program and its
	// arguments, run without a shell.
	ScriptArgs []string

	HTTP             string
	Header           map[string][]string
	Method           string
	Body             string
	DisableRedirects bool

	TCP       string
	TCPUseTLS bool
	UDP       string

	// GRPC is host:port, or host:port/service.
	GRPC       string
	GRPCUseTLS bool
	H2PING     string
	// H2PingUseTLS is true where it is nil.
	H2PingUseTLS *bool `json:",omitempty"`

	OSService         string
	DockerContainerID string
	Shell             string

	// AliasService and AliasNode name the service by its ID, and the node it is
	// on, whose checks an alias stands for: without a node the agent's own,
	// without a service all checks of the node that belong to no service.
	AliasNode    string
	AliasService string

	TLSServerName string
	TLSSkipVerify bool

	Interval time.Duration
	Timeout  time.Duration
	// TTL makes this a check that its service must report on within that time.
	TTL time.Duration

	// OutputMaxSize bounds the kept output in bytes, below the bound that all
	// checks of the agent share; 0 is that bound.
	OutputMaxSize int

	// SuccessBeforePassing is how many good answers in a row it takes to become
	// passing (or warning); the other two likewise count bad ones. Zero is as
	// good as one; FailuresBeforeWarning is FailuresBeforeCritical where it is zero.
	SuccessBeforePassing   int
	FailuresBeforeWarning  int
	FailuresBeforeCritical int

	// DeregisterCriticalServiceAfter removes the service of a check that has
	// been critical for so long. At least a minute; zero never removes.
	DeregisterCriticalServiceAfter time.Duration
}
