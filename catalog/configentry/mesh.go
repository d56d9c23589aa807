package configentry

import (
	"encoding/base64"
	"net/url"
	"slices"
	"time"
)

// Mesh is what holds for the whole mesh. There is one, without a name
// (https://developer.hashicorp.com/consul/docs/reference/config-entry/mesh).
type Mesh struct {
	Head
	TransparentProxy                 MeshTransparentProxy
	AllowEnablingPermissiveMutualTLS bool         `json:",omitempty"`
	ValidateClusters                 bool         `json:",omitempty"`
	TLS                              *MeshTLS     `json:",omitempty"`
	HTTP                             *MeshHTTP    `json:",omitempty"`
	Peering                          *MeshPeering `json:",omitempty"`
}

// MeshTransparentProxy says what transparent proxies lead to.
type MeshTransparentProxy struct{ MeshDestinationsOnly bool }

// MeshTLS is how proxies speak TLS with each other.
type MeshTLS struct {
	Incoming *MeshDirectionTLS `json:",omitempty"`
	Outgoing *MeshDirectionTLS `json:",omitempty"`
}

// MeshDirectionTLS is one direction of that.
type MeshDirectionTLS struct {
	TLSMinVersion string   `json:",omitempty"`
	TLSMaxVersion string   `json:",omitempty"`
	CipherSuites  []string `json:",omitempty"`
}

// MeshHTTP is how proxies handle HTTP.
type MeshHTTP struct {
	SanitizeXForwardedClientCert bool
	Incoming                     map[string]any `json:",omitempty"`
}

// MeshPeering is how other clusters are reached.
type MeshPeering struct {
	PeerThroughMeshGateways bool `json:",omitempty"`
}

func (e *Mesh) normalize() {}

func (e *Mesh) validate() error {
	if e.Name != "" {
		return undecodable("%v", several([]string{unknownKey("Name")}))
	}
	if e.TLS == nil {
		return nil
	}
	for _, d := range []struct {
		name string
		tls  *MeshDirectionTLS
	}{{"incoming", e.TLS.Incoming}, {"outgoing", e.TLS.Outgoing}} {
		if d.tls == nil {
			continue
		}
		if err := checkTLS(d.tls.TLSMinVersion, d.tls.TLSMaxVersion, d.tls.CipherSuites); err != nil {
			return wrong("error in %s TLS configuration: %v", d.name, err)
		}
	}
	return nil
}

// ExportedServices says which services other clusters may use
// (https://developer.hashicorp.com/consul/docs/reference/config-entry/exported-services).
type ExportedServices struct {
	Head
	Services []ExportedService `json:",omitempty"`
}

// ExportedService is one service, "*" for all.
type ExportedService struct {
	Name      string
	Consumers []Consumer `json:",omitempty"`
}

// Consumer is a cluster that may use a service.
type Consumer struct {
	Partition     string `json:",omitempty"`
	Peer          string `json:",omitempty"`
	SamenessGroup string `json:",omitempty"`
}

func (e *ExportedServices) normalize() {}

func (e *ExportedServices) validate() error {
	if e.Name != "default" {
		return wrong("exported-services Name must be %q", "default")
	}
	for i, s := range e.Services {
		switch {
		case s.Name == "":
			return wrong("Services[%d]: service name cannot be empty", i)
		case len(s.Consumers) == 0:
			return wrong("Services[%d]: must have at least one consumer", i)
		}
		for j, c := range s.Consumers {
			switch {
			case c.Peer == "*":
				return wrong("Services[%d].Consumers[%d]: exporting to all peers (wildcard) is not supported", i, j)
			case c.SamenessGroup != "":
				return wrong("Services[%d].Consumers[%d]: sameness-groups are an enterprise-only feature", i, j)
			case set(c.Peer, c.Partition) > 1:
				return wrong("Services[%d].Consumers[%d]: must define at most one of Peer or Partition", i, j)
			}
		}
	}
	return nil
}

// JWTProvider is an issuer of tokens that services may demand
// (https://developer.hashicorp.com/consul/docs/reference/config-entry/jwt-provider).
type JWTProvider struct {
	Head
	JSONWebKeySet    *JSONWebKeySet `json:",omitempty"`
	Issuer           string         `json:",omitempty"`
	Audiences        []string       `json:",omitempty"`
	Locations        []JWTLocation  `json:",omitempty"`
	Forwarding       *JWTForwarding `json:",omitempty"`
	ClockSkewSeconds int            `json:",omitempty"`
	CacheConfig      *JWTCache      `json:",omitempty"`
}

// JSONWebKeySet is where an issuer's keys are.
type JSONWebKeySet struct {
	Local  *LocalKeys  `json:",omitempty"`
	Remote *RemoteKeys `json:",omitempty"`
}

// LocalKeys are keys in base64, or in a file of the proxy's machine.
type LocalKeys struct {
	JWKS     string `json:",omitempty"`
	Filename string `json:",omitempty"`
}

// RemoteKeys are keys that proxies fetch.
type RemoteKeys struct {
	URI                 string        `json:",omitempty"`
	RequestTimeoutMs    int           `json:",omitempty"`
	CacheDuration       time.Duration `json:",omitempty"`
	FetchAsynchronously bool          `json:",omitempty"`
	RetryPolicy         *JWKSRetries  `json:",omitempty"`
	JWKSCluster         *JWKSCluster  `json:",omitempty"`
}

// JWKSRetries say how a fetch that failed is tried again.
type JWKSRetries struct {
	NumRetries         int          `json:",omitempty"`
	RetryPolicyBackOff *JWKSBackOff `json:",omitempty"`
}

// JWKSBackOff is the pause between tries.
type JWKSBackOff struct {
	BaseInterval time.Duration `json:",omitempty"`
	MaxInterval  time.Duration `json:",omitempty"`
}

// JWKSCluster says how a proxy finds the issuer.
type JWKSCluster struct {
	DiscoveryType   string         `json:",omitempty"`
	TLSCertificates map[string]any `json:",omitempty"`
	ConnectTimeout  time.Duration  `json:",omitempty"`
}

// JWTLocation is where a request has its token.
type JWTLocation struct {
	Header     *JWTHeader `json:",omitempty"`
	QueryParam *JWTByName `json:",omitempty"`
	Cookie     *JWTByName `json:",omitempty"`
}

// JWTHeader is a header with a token.
type JWTHeader struct {
	Name        string `json:",omitempty"`
	ValuePrefix string `json:",omitempty"`
	Forward     bool   `json:",omitempty"`
}

// JWTByName is a cookie or a parameter with a token.
type JWTByName struct {
	Name string `json:",omitempty"`
}

// JWTForwarding is how a service is given the token.
type JWTForwarding struct {
	HeaderName              string
	PadForwardPayloadHeader bool
}

// JWTCache bounds how many tokens a proxy keeps.
type JWTCache struct {
	Size int `json:",omitempty"`
}

// defaultClockSkew is how far clocks may differ, in seconds.
const defaultClockSkew = 30

func (e *JWTProvider) normalize() {
	if e.ClockSkewSeconds == 0 {
		e.ClockSkewSeconds = defaultClockSkew
	}
}

func (e *JWTProvider) validate() error {
	if err := e.named(); err != nil {
		return err
	}
	if e.JSONWebKeySet == nil {
		return wrong("JSONWebKeySet is required")
	}
	if err := e.JSONWebKeySet.validate(); err != nil {
		return err
	}
	var faults []string
	for _, l := range e.Locations {
		switch {
		case count(l.Header != nil)+count(l.QueryParam != nil)+count(l.Cookie != nil) != 1:
			faults = append(faults, "must set exactly one of: JWT location header, query param or cookie")
		case l.Header != nil && l.Header.Name == "":
			faults = append(faults, "JWT location header name must be specified")
		case l.QueryParam != nil && l.QueryParam.Name == "":
			faults = append(faults, "JWT location query param name must be specified")
		case l.Cookie != nil && l.Cookie.Name == "":
			faults = append(faults, "JWT location cookie name must be specified")
		}
	}
	if err := several(faults); err != nil {
		return err
	}
	if e.Forwarding != nil && e.Forwarding.HeaderName == "" {
		return wrong("Header name required for forwarding config")
	}
	return nil
}

func (k *JSONWebKeySet) validate() error {
	if (k.Local == nil) == (k.Remote == nil) {
		return wrong("must specify exactly one of Local or Remote JSON Web key set")
	}
	if l := k.Local; l != nil {
		if set(l.JWKS, l.Filename) != 1 {
			return wrong("must specify exactly one of String or filename for local keyset")
		}
		if _, err := base64.StdEncoding.DecodeString(l.JWKS); err != nil {
			return wrong("JWKS must be valid base64 encoded string")
		}
		return nil
	}
	r := k.Remote
	if r.URI == "" {
		return wrong("Remote JWKS URI is required")
	}
	if _, err := url.ParseRequestURI(r.URI); err != nil {
		return wrong("Remote JWKS URI is invalid: %v, uri: %s", err, r.URI)
	}
	if c := r.JWKSCluster; c != nil && !slices.Contains([]string{"", "STATIC", "STRICT_DNS", "LOGICAL_DNS", "EDS", "ORIGINAL_DST"}, c.DiscoveryType) {
		return wrong("unsupported jwks cluster discovery type: %q", c.DiscoveryType)
	}
	return nil
}
