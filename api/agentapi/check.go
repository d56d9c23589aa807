package agentapi

import "time"

// Check is the definition of a check as the agent is asked to run it. Field
// names are Consul's; exactly one type of check must be described. Zero
// durations stand for the type's default.
type Check struct {
	CheckID   string
	Name      string
	Notes     string
	ServiceID string
	Status    string

	ScriptArgs        []string
	HTTP              string
	Header            map[string][]string
	Method            string
	Body              string
	DisableRedirects  bool
	TCP               string
	TCPUseTLS         bool
	UDP               string
	GRPC              string
	GRPCUseTLS        bool
	H2PING            string
	H2PingUseTLS      *bool
	OSService         string
	DockerContainerID string
	Shell             string
	AliasNode         string
	AliasService      string
	TLSServerName     string
	TLSSkipVerify     bool

	Interval time.Duration
	Timeout  time.Duration
	TTL      time.Duration

	OutputMaxSize                  int
	SuccessBeforePassing           int
	FailuresBeforeWarning          int
	FailuresBeforeCritical         int
	DeregisterCriticalServiceAfter time.Duration
}
