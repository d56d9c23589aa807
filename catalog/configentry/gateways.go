package configentry

import (
	"slices"
	"strings"
)

// IngressGateway says which services a gateway lets in, and where
// (https://developer.hashicorp.com/consul/docs/reference/config-entry/ingress-gateway).
type IngressGateway struct {
	Head
	TLS       GatewayTLS
	Listeners []IngressListener
	Defaults  *IngressLimits `json:",omitempty"`
}

// GatewayTLS is how a gateway's listeners speak TLS.
type GatewayTLS struct {
	Enabled       bool
	SDS           *SDS     `json:",omitempty"`
	TLSMinVersion string   `json:",omitempty"`
	TLSMaxVersion string   `json:",omitempty"`
	CipherSuites  []string `json:",omitempty"`
}

// SDS names a certificate that a secret discovery service has.
type SDS struct {
	ClusterName  string `json:",omitempty"`
	CertResource string `json:",omitempty"`
}

// IngressListener is a port with the services behind it.
type IngressListener struct {
	Port     int
	Protocol string
	TLS      *GatewayTLS `json:",omitempty"`
	Services []IngressService
}

// IngressService is a service behind a listener, "*" for all.
type IngressService struct {
	Name            string
	Hosts           []string
	TLS             *ServiceTLS      `json:",omitempty"`
	RequestHeaders  *HeaderModifiers `json:",omitempty"`
	ResponseHeaders *HeaderModifiers `json:",omitempty"`
	// Limits, where they are not the gateway's.
	MaxConnections        uint32              `json:",omitempty"`
	MaxPendingRequests    uint32              `json:",omitempty"`
	MaxConcurrentRequests uint32              `json:",omitempty"`
	PassiveHealthCheck    *PassiveHealthCheck `json:",omitempty"`
	Meta                  map[string]string   `json:",omitempty"`
}

// ServiceTLS is how one service of a listener speaks TLS.
type ServiceTLS struct {
	SDS *SDS `json:",omitempty"`
}

// IngressLimits bound what is under way to each service of a gateway.
type IngressLimits struct {
	MaxConnections        uint32
	MaxPendingRequests    uint32
	MaxConcurrentRequests uint32
	PassiveHealthCheck    *PassiveHealthCheck `json:",omitempty"`
}

func (e *IngressGateway) normalize() {
	for i := range e.Listeners {
		l := &e.Listeners[i]
		if l.Protocol == "" {
			l.Protocol = "tcp"
		}
		l.Protocol = strings.ToLower(l.Protocol)
	}
}

func (e *IngressGateway) validate() error {
	if err := e.named(); err != nil {
		return err
	}
	if err := checkTLS(e.TLS.TLSMinVersion, e.TLS.TLSMaxVersion, e.TLS.CipherSuites); err != nil {
		return err
	}
	ports := make(map[int]bool)
	for _, l := range e.Listeners {
		if ports[l.Port] {
			return wrong("port %d declared on two listeners", l.Port)
		}
		ports[l.Port] = true
		if err := l.validate(); err != nil {
			return err
		}
	}
	return nil
}

func (l *IngressListener) validate() error {
	on := func(format string, args ...any) error {
		return wrong(format+" (listener on port %d)", append(args, l.Port)...)
	}
	if !slices.Contains([]string{"tcp", "http", "http2", "grpc"}, l.Protocol) {
		return wrong("protocol must be 'tcp', 'http', 'http2', or 'grpc'. '%s' is an unsupported protocol", l.Protocol)
	}
	switch {
	case len(l.Services) == 0:
		return wrong("No service declared for listener with port %d", l.Port)
	case l.Protocol == "tcp" && len(l.Services) > 1:
		return on("Multiple services per listener are only supported for L7 protocols, 'http', 'grpc' and 'http2'")
	}
	if l.TLS != nil {
		if err := checkTLS(l.TLS.TLSMinVersion, l.TLS.TLSMaxVersion, l.TLS.CipherSuites); err != nil {
			return err
		}
	}
	hosts := make(map[string]bool)
	for _, s := range l.Services {
		switch {
		case s.Name == "":
			return on("Service name cannot be blank")
		case s.Name == "*" && l.Protocol != "http":
			return wrong("Wildcard service name is only valid for protocol = 'http' (listener on port %d)", l.Port)
		case l.Protocol == "tcp" && len(s.Hosts) > 0:
			return on("Associating hosts to a service is not supported for the %s protocol", l.Protocol)
		case s.Name == "*" && len(s.Hosts) > 0:
			return on("Associating hosts to a wildcard service is not supported")
		case l.Protocol == "tcp" && s.RequestHeaders != nil:
			return wrong("request headers only valid for http, http2 and grpc protocols (service %q on listener on port %d)", s.Name, l.Port)
		case l.Protocol == "tcp" && s.ResponseHeaders != nil:
			return wrong("response headers only valid for http, http2 and grpc protocols (service %q on listener on port %d)", s.Name, l.Port)
		}
		for _, h := range s.Hosts {
			if hosts[h] {
				return on("Hosts must be unique within a specific listener")
			}
			hosts[h] = true
			if strings.Contains(strings.TrimPrefix(h, "*"), "*") || strings.HasPrefix(h, "*") && h != "*" && h[1] != '.' {
				return wrong("Host %q is not valid, a wildcard specifier is only allowed as the leftmost label", h)
			}
		}
	}
	if i := repeated(l.Services, func(s IngressService) string { return s.Name }); i >= 0 {
		return on("Service %s cannot be added multiple times", l.Services[i].Name)
	}
	return nil
}

// tlsVersions are the names of versions, from lowest to highest.
var tlsVersions = []string{"TLSv1_0", "TLSv1_1", "TLSv1_2", "TLSv1_3"}

// cipherSuites are those that Envoy lets be chosen, for TLS 1.2 and below.
var cipherSuites = []string{
	"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
	"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
	"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
	"TLS_RSA_WITH_AES_128_GCM_SHA256", "TLS_RSA_WITH_AES_128_CBC_SHA",
	"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
	"TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
	"TLS_RSA_WITH_AES_256_GCM_SHA384", "TLS_RSA_WITH_AES_256_CBC_SHA",
}

func checkTLS(lowest, highest string, suites []string) error {
	for _, v := range []string{lowest, highest} {
		if v != "" && v != "TLS_AUTO" && !slices.Contains(tlsVersions, v) {
			return wrong("no matching TLS version found for %s, please specify one of [TLS_AUTO, TLSv1_0, TLSv1_1, TLSv1_2, TLSv1_3]", v)
		}
	}
	from, to := slices.Index(tlsVersions, lowest), slices.Index(tlsVersions, highest)
	if to >= 0 && to < from {
		return wrong("configuring max version %s less than the configured min version %s is invalid", highest, lowest)
	}
	if len(suites) > 0 && lowest == "TLSv1_3" {
		return wrong("configuring CipherSuites is only applicable to connections negotiated with TLS 1.2 or earlier, TLSMinVersion is set to %s", lowest)
	}
	for _, s := range suites {
		if !slices.Contains(cipherSuites, s) {
			return wrong("no matching Envoy TLS cipher suite found for %s", s)
		}
	}
	return nil
}

// TerminatingGateway says which services outside the mesh a gateway leads to
// (https://developer.hashicorp.com/consul/docs/reference/config-entry/terminating-gateway).
type TerminatingGateway struct {
	Head
	Services []LinkedService
}

// LinkedService is a service behind a terminating gateway, "*" for all that no
// proxy or gateway is of.
type LinkedService struct {
	Name                   string
	CAFile                 string `json:",omitempty"`
	CertFile               string `json:",omitempty"`
	KeyFile                string `json:",omitempty"`
	SNI                    string `json:",omitempty"`
	DisableAutoHostRewrite bool   `json:",omitempty"`
}

func (e *TerminatingGateway) normalize() {}

func (e *TerminatingGateway) validate() error {
	if e.Name == "" {
		return wrong("serviceName is required")
	}
	for _, s := range e.Services {
		switch {
		case s.Name == "":
			return wrong("Service name cannot be blank.")
		case (s.CertFile != "" || s.KeyFile != "") && set(s.CAFile, s.CertFile, s.KeyFile) < 3:
			return wrong("Service %q must have a CertFile, CAFile, and KeyFile specified for TLS origination", s.Name)
		}
	}
	if i := repeated(e.Services, func(s LinkedService) string { return s.Name }); i >= 0 {
		return wrong("Service %q was specified more than once within a namespace", e.Services[i].Name)
	}
	return nil
}
