package configentry

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// APIGateway is a gateway whose routes are entries of their own
// (https://developer.hashicorp.com/consul/docs/reference/config-entry/api-gateway).
type APIGateway struct {
	Head
	Listeners []APIListener
}

// APIListener is a port of a gateway.
type APIListener struct {
	Name     string
	Hostname string
	Port     int
	Protocol string
	TLS      APIListenerTLS
	Default  *GatewayPolicy `json:",omitempty"`
	Override *GatewayPolicy `json:",omitempty"`
}

// APIListenerTLS is how a listener speaks TLS.
type APIListenerTLS struct {
	Certificates []Reference
	MaxVersion   string
	MinVersion   string
	CipherSuites []string
}

// GatewayPolicy says what a listener demands of requests.
type GatewayPolicy struct {
	JWT *JWTRequirement `json:",omitempty"`
}

// Reference names another entry, or a part of it.
type Reference struct {
	Kind        string
	Name        string
	SectionName string
}

// listenerName is what a listener may be called.
var listenerName = regexp.MustCompile(`^[a-zA-Z0-9-]+$`)

func (e *APIGateway) normalize() {
	for i := range e.Listeners {
		e.Listeners[i].Protocol = strings.ToLower(e.Listeners[i].Protocol)
	}
}

func (e *APIGateway) validate() error {
	if len(e.Listeners) == 0 {
		return wrong("api gateway must have at least one listener")
	}
	if err := e.named(); err != nil {
		return err
	}
	if i := repeated(e.Listeners, func(l APIListener) string { return l.Name }); i >= 0 {
		return wrong("found multiple listeners with the name %q", e.Listeners[i].Name)
	}
	for _, l := range e.Listeners {
		switch {
		case !listenerName.MatchString(l.Name):
			return wrong("listener name %q is invalid, must be at least 1 character and contain only letters, numbers, or dashes", l.Name)
		case l.Protocol != "tcp" && l.Protocol != "http":
			return wrong("unsupported listener protocol %q, must be one of 'tcp', or 'http'", l.Protocol)
		case l.Protocol == "tcp" && l.Hostname != "":
			return wrong("hostname specification is not supported when using TCP")
		case l.Port < 1 || l.Port > 65535:
			return wrong("listener port %d not in the range 1-65535", l.Port)
		}
		for _, c := range l.TLS.Certificates {
			if c.Kind != KindInlineCertificate && c.Kind != KindFileCertificate {
				return wrong("unsupported certificate kind: %q, must be 'file-system-certificate' or 'inline-certificate'", c.Kind)
			}
			if c.Name == "" {
				return wrong("certificate reference must have a name")
			}
		}
		if err := checkTLS(l.TLS.MinVersion, l.TLS.MaxVersion, l.TLS.CipherSuites); err != nil {
			return err
		}
	}
	return nil
}

// HTTPRoute leads requests of HTTP from gateways to services
// (https://developer.hashicorp.com/consul/docs/reference/config-entry/http-route).
type HTTPRoute struct {
	Head
	Parents   []Reference
	Rules     []HTTPRule
	Hostnames []string
}

// HTTPRule is one rule of a route.
type HTTPRule struct {
	Filters         HTTPFilters
	ResponseFilters HTTPResponseFilters
	Matches         []HTTPRuleMatch
	Services        []HTTPService
}

// HTTPFilters say what is done to a request.
type HTTPFilters struct {
	Headers       []HTTPHeaders
	URLRewrite    *struct{ Path string }
	RetryFilter   *HTTPRetries
	TimeoutFilter *HTTPTimeouts
	JWT           *JWTRequirement
}

// HTTPResponseFilters say what is done to a response.
type HTTPResponseFilters struct{ Headers []HTTPHeaders }

// HTTPHeaders are changes of headers.
type HTTPHeaders struct {
	Add    map[string]string
	Remove []string
	Set    map[string]string
}

// HTTPRetries say when a request is sent again.
type HTTPRetries struct {
	NumRetries            uint32
	RetryOn               []string
	RetryOnStatusCodes    []uint32
	RetryOnConnectFailure bool
}

// HTTPTimeouts bound how long a request takes.
type HTTPTimeouts struct {
	RequestTimeout time.Duration
	IdleTimeout    time.Duration
}

// HTTPRuleMatch is what a request must be like.
type HTTPRuleMatch struct {
	Headers []TypedMatch
	Method  string
	Path    PathMatch
	Query   []TypedMatch
}

// TypedMatch is what a header or a parameter must be like. Match says how Value is
// compared.
type TypedMatch struct {
	Match string
	Name  string
	Value string
}

// PathMatch is what a path must be like.
type PathMatch struct {
	Match string
	Value string
}

// HTTPService is where a rule leads to.
type HTTPService struct {
	Name            string
	Weight          int
	Filters         HTTPFilters
	ResponseFilters HTTPResponseFilters
}

func (e *HTTPRoute) normalize() {
	normalizeParents(e.Parents)
	for i := range e.Rules {
		r := &e.Rules[i]
		for j := range r.Services {
			// Consul takes a weight that is not positive for 1.
			r.Services[j].Weight = max(r.Services[j].Weight, 1)
		}
		for j := range r.Matches {
			r.Matches[j].Method = strings.ToUpper(r.Matches[j].Method)
			if p := &r.Matches[j].Path; *p == (PathMatch{}) {
				*p = PathMatch{Match: "prefix", Value: "/"}
			}
		}
	}
}

func normalizeParents(parents []Reference) {
	for i := range parents {
		if parents[i].Kind == "" {
			parents[i].Kind = KindAPIGateway
		}
	}
}

func (e *HTTPRoute) validate() error {
	if err := checkRoute(e.Name, e.Parents); err != nil {
		return err
	}
	for i, r := range e.Rules {
		for j, m := range r.Matches {
			if fault := m.fault(); fault != "" {
				return wrong("Rule[%d], Match[%d], %s", i, j, fault)
			}
		}
	}
	return nil
}

func checkRoute(name string, parents []Reference) error {
	if name == "" {
		return wrong("serviceName is required")
	}
	for _, p := range parents {
		if p.Kind != KindAPIGateway {
			return wrong("unsupported parent kind: %q, must be 'api-gateway'", p.Kind)
		}
	}
	if repeated(parents, func(p Reference) Reference { return p }) >= 0 {
		return wrong("route parents must be unique")
	}
	return nil
}

// methods are those that a route may ask for; "" is any.
var methods = []string{"", http.MethodConnect, http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodOptions,
	http.MethodPatch, http.MethodPost, http.MethodPut, http.MethodTrace}

func (m *HTTPRuleMatch) fault() string {
	switch {
	case !slices.Contains([]string{"exact", "prefix", "regex"}, m.Path.Match):
		return "Path, match type should be one of exact, prefix, or regex"
	case m.Path.Match != "regex" && !strings.HasPrefix(m.Path.Value, "/"):
		return fmt.Sprintf("Path, %s type match doesn't start with '/': %q", m.Path.Match, m.Path.Value)
	case !slices.Contains(methods, m.Method):
		return fmt.Sprintf("Method contains an invalid method %q", m.Method)
	}
	for i, h := range m.Headers {
		if h.Name == "" {
			return fmt.Sprintf("Headers[%d], missing required Name field", i)
		}
		if !slices.Contains([]string{"present", "exact", "prefix", "suffix", "regex"}, h.Match) {
			return fmt.Sprintf("Headers[%d], match type should be one of present, exact, prefix, suffix, or regex", i)
		}
	}
	for i, q := range m.Query {
		if q.Name == "" {
			return fmt.Sprintf("Query[%d], missing required Name field", i)
		}
		if !slices.Contains([]string{"present", "exact", "regex"}, q.Match) {
			return fmt.Sprintf("Query[%d], match type should be one of present, exact, or regex", i)
		}
	}
	return ""
}

// TCPRoute leads connections from gateways to a service
// (https://developer.hashicorp.com/consul/docs/reference/config-entry/tcp-route).
type TCPRoute struct {
	Head
	Parents  []Reference
	Services []TCPService
}

// TCPService is where a route leads to.
type TCPService struct{ Name string }

func (e *TCPRoute) normalize() { normalizeParents(e.Parents) }

func (e *TCPRoute) validate() error {
	if len(e.Services) > 1 {
		return wrong("tcp-route currently only supports one service")
	}
	return checkRoute(e.Name, e.Parents)
}

// InlineCertificate is a certificate with its key, both in PEM
// (https://developer.hashicorp.com/consul/docs/reference/config-entry/inline-certificate).
type InlineCertificate struct {
	Head
	Certificate string
	PrivateKey  string
}

func (e *InlineCertificate) normalize() {}

func (e *InlineCertificate) validate() error {
	if block, _ := pem.Decode([]byte(e.PrivateKey)); block == nil {
		return wrong("failed to parse private key PEM")
	}
	if block, _ := pem.Decode([]byte(e.Certificate)); block == nil {
		return wrong("failed to parse certificate PEM")
	}
	if _, err := tls.X509KeyPair([]byte(e.Certificate), []byte(e.PrivateKey)); err != nil {
		return err
	}
	return e.named()
}

// FileCertificate is a certificate with its key, in files of the gateway's machine
// (https://developer.hashicorp.com/consul/docs/reference/config-entry/file-system-certificate).
type FileCertificate struct {
	Head
	Certificate string
	PrivateKey  string
}

func (e *FileCertificate) normalize() {}

func (e *FileCertificate) validate() error { return e.named() }
