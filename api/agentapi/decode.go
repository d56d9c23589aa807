package agentapi

import (
	"math"
	"reflect"

	"muster/api"
	"muster/catalog"
)

// serviceBody is the body of /v1/agent/service/register.
type serviceBody struct {
	Kind              string
	ID                string
	Name              string
	Tags              []string
	Address           string
	TaggedAddresses   map[string]catalog.ServiceAddress
	Meta              map[string]string
	Port              int
	SocketPath        string
	Weights           *catalog.Weights
	EnableTagOverride bool
	Check             *checkBody
	Checks            []*checkBody
	Proxy             *proxyBody
	Connect           *connectBody
	Locality          *catalog.Locality
	Token             string
	Namespace         string
	Partition         string
}

type plainServiceBody serviceBody

// UnmarshalJSON implements json.Unmarshaler.
func (b *serviceBody) UnmarshalJSON(data []byte) error {
	return api.DecodeLoosely(data, (*plainServiceBody)(b))
}

// proxyBody and connectBody are the catalog's own types under looser names.
type proxyBody catalog.Proxy

type plainProxyBody proxyBody

// UnmarshalJSON implements json.Unmarshaler.
func (b *proxyBody) UnmarshalJSON(data []byte) error {
	return api.DecodeLoosely(data, (*plainProxyBody)(b))
}

type connectBody struct {
	Native         bool
	SidecarService *serviceBody
}

type plainConnectBody connectBody

// UnmarshalJSON implements json.Unmarshaler.
func (b *connectBody) UnmarshalJSON(data []byte) error {
	return api.DecodeLoosely(data, (*plainConnectBody)(b))
}

// checkBody is a check in a registration: the body of /v1/agent/check/register,
// or a part of a service's. In the former ID names it, in the latter CheckID.
type checkBody struct {
	ID        string
	CheckID   string
	Name      string
	Notes     string
	ServiceID string
	Status    string
	Token     string
	Namespace string
	Partition string

	Args              []string
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

	Interval api.Duration
	Timeout  api.Duration
	TTL      api.Duration

	OutputMaxSize                  int
	SuccessBeforePassing           int
	FailuresBeforeWarning          int
	FailuresBeforeCritical         int
	DeregisterCriticalServiceAfter api.Duration
}

type plainCheckBody checkBody

// UnmarshalJSON implements json.Unmarshaler.
func (b *checkBody) UnmarshalJSON(data []byte) error {
	return api.DecodeLoosely(data, (*plainCheckBody)(b))
}

// check is the definition that a body describes.
func (b *checkBody) check() Check {
	c := Check{
		CheckID: b.CheckID, Name: b.Name, Notes: b.Notes, ServiceID: b.ServiceID, Status: b.Status,
		ScriptArgs: b.ScriptArgs, HTTP: b.HTTP, Header: b.Header, Method: b.Method, Body: b.Body,
		DisableRedirects: b.DisableRedirects, TCP: b.TCP, TCPUseTLS: b.TCPUseTLS, UDP: b.UDP,
		GRPC: b.GRPC, GRPCUseTLS: b.GRPCUseTLS, H2PING: b.H2PING, H2PingUseTLS: b.H2PingUseTLS,
		OSService: b.OSService, DockerContainerID: b.DockerContainerID, Shell: b.Shell,
		AliasNode: b.AliasNode, AliasService: b.AliasService,
		TLSServerName: b.TLSServerName, TLSSkipVerify: b.TLSSkipVerify,
		Interval: duration(b.Interval), Timeout: duration(b.Timeout), TTL: duration(b.TTL),
		OutputMaxSize: b.OutputMaxSize, SuccessBeforePassing: b.SuccessBeforePassing,
		FailuresBeforeWarning: b.FailuresBeforeWarning, FailuresBeforeCritical: b.FailuresBeforeCritical,
		DeregisterCriticalServiceAfter: duration(b.DeregisterCriticalServiceAfter),
	}
	if c.CheckID == "" {
		c.CheckID = b.ID
	}
	if len(c.ScriptArgs) == 0 {
		c.ScriptArgs = b.Args
	}
	return c
}

// service is the service that a body describes, with its checks.
func (b *serviceBody) service() (catalog.Service, []Check, error) {
	s := catalog.Service{
		Kind: b.Kind, ID: b.ID, Service: b.Name, Tags: b.Tags, Address: b.Address,
		TaggedAddresses: b.TaggedAddresses, Meta: b.Meta, Port: b.Port, SocketPath: b.SocketPath,
		EnableTagOverride: b.EnableTagOverride, Locality: b.Locality,
	}
	s.Proxy = (*catalog.Proxy)(b.Proxy)
	if b.Connect != nil {
		s.Connect.Native = b.Connect.Native
	}
	if err := enterprise(b.Namespace, b.Partition); err != nil {
		return s, nil, err
	}
	if w := b.Weights; w != nil {
		switch {
		case w.Passing < 1:
			return s, nil, invalid("Invalid Weights: Passing must be greater than 0")
		case w.Warning < 0:
			return s, nil, invalid("Invalid Weights: Warning must be greater or equal than 0")
		case w.Passing > math.MaxUint16 || w.Warning > math.MaxUint16:
			return s, nil, invalid("Invalid Weights: DNS Weight must be between 0 and 65535")
		}
		s.Weights = *w
	}
	var checks []Check
	first := b.Check
	if first != nil && reflect.DeepEqual(*first, checkBody{}) {
		first = nil // as in Consul; one of Checks that is empty is refused
	}
	for _, c := range append([]*checkBody{first}, b.Checks...) {
		if c != nil && !knownStatus(c.Status) {
			return s, nil, invalid("Status for checks must 'passing', 'warning', 'critical'")
		}
		if c != nil {
			checks = append(checks, c.check())
		}
	}
	return s, checks, nil
}

// sidecar is the proxy that a body asks for, nil if it asks for none.
func (b *serviceBody) sidecar() (*Sidecar, error) {
	if b.Connect == nil || b.Connect.SidecarService == nil {
		return nil, nil
	}
	side := b.Connect.SidecarService
	s, checks, err := side.service()
	if err != nil {
		return nil, err
	}
	if side.Connect != nil && side.Connect.SidecarService != nil {
		s.Connect.SidecarService = &catalog.Service{} // for the agent to refuse
	}
	return &Sidecar{s, checks, side.Token}, nil
}

// knownStatus says whether a check may be registered with a status.
func knownStatus(status string) bool {
	switch status {
	case "", catalog.StatusPassing, catalog.StatusWarning, catalog.StatusCritical:
		return true
	}
	return false
}

// enterprise refuses what would be silently put elsewhere than asked.
func enterprise(namespace, partition string) error {
	if namespace != "" && namespace != "default" || partition != "" && partition != "default" {
		return invalid("Namespace and Partition are Consul Enterprise features")
	}
	return nil
}
