package configentry

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"muster/catalog"
)

// ServiceDefaults is what holds for a service, unless its instances say otherwise
// (https://developer.hashicorp.com/consul/docs/reference/config-entry/service-defaults).
type ServiceDefaults struct {
	Head
	Protocol                  string
	Mode                      string `json:",omitempty"`
	TransparentProxy          catalog.TransparentProxy
	MutualTLSMode             string `json:",omitempty"`
	MeshGateway               catalog.MeshGateway
	Expose                    catalog.Expose
	ExternalSNI               string                   `json:",omitempty"`
	UpstreamConfig            *UpstreamConfigs         `json:",omitempty"`
	Destination               *Destination             `json:",omitempty"`
	MaxInboundConnections     int                      `json:",omitempty"`
	LocalConnectTimeoutMs     int                      `json:",omitempty"`
	LocalRequestTimeoutMs     int                      `json:",omitempty"`
	BalanceInboundConnections string                   `json:",omitempty"`
	RateLimits                map[string]any           `json:",omitempty"`
	EnvoyExtensions           []catalog.EnvoyExtension `json:",omitempty"`
}

// UpstreamConfigs are what holds for the upstreams of a service.
type UpstreamConfigs struct {
	Overrides []*UpstreamConfig `json:",omitempty"`
	Defaults  *UpstreamConfig   `json:",omitempty"`
}

// UpstreamConfig is what holds for one upstream, or for all. Peer is "" for our own
// cluster.
type UpstreamConfig struct {
	Name                       string              `json:",omitempty"`
	Peer                       string              // given back even where it is empty, as Consul does
	EnvoyListenerJSON          string              `json:",omitempty"`
	EnvoyClusterJSON           string              `json:",omitempty"`
	Protocol                   string              `json:",omitempty"`
	ConnectTimeoutMs           int                 `json:",omitempty"`
	Limits                     *UpstreamLimits     `json:",omitempty"`
	PassiveHealthCheck         *PassiveHealthCheck `json:",omitempty"`
	MeshGateway                catalog.MeshGateway
	BalanceOutboundConnections string `json:",omitempty"`
}

// UpstreamLimits bound what is under way to an upstream.
type UpstreamLimits struct {
	MaxConnections        *int `json:",omitempty"`
	MaxPendingRequests    *int `json:",omitempty"`
	MaxConcurrentRequests *int `json:",omitempty"`
}

// PassiveHealthCheck says how an upstream's instances are judged by how they answer.
// Percentages are from 0 to 100.
type PassiveHealthCheck struct {
	Interval                time.Duration  `json:",omitempty"`
	MaxFailures             uint32         `json:",omitempty"`
	EnforcingConsecutive5xx *uint32        `json:",omitempty"`
	MaxEjectionPercent      *uint32        `json:",omitempty"`
	BaseEjectionTime        *time.Duration `json:",omitempty"`
}

// Destination is a service outside the mesh.
type Destination struct {
	Addresses []string `json:",omitempty"`
	Port      int      `json:",omitempty"`
}

func (e *ServiceDefaults) normalize() {
	e.Protocol = strings.ToLower(e.Protocol)
	if e.UpstreamConfig == nil {
		return
	}
	for _, u := range append([]*UpstreamConfig{e.UpstreamConfig.Defaults}, e.UpstreamConfig.Overrides...) {
		if u != nil {
			u.Protocol = strings.ToLower(u.Protocol)
		}
	}
}

func (e *ServiceDefaults) validate() error {
	switch {
	case e.Name == "":
		return e.named()
	case e.Name == "*":
		return wrong("service-defaults name must be the name of a service, and not a wildcard")
	}
	if err := checkMutualTLSMode(e.MutualTLSMode); err != nil {
		return err
	}
	var faults []string
	add := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if !slices.Contains([]string{"", "tcp", "http", "http2", "grpc"}, e.Protocol) {
		add("invalid value for protocol: %s", e.Protocol)
	}
	if !validBalance(e.BalanceInboundConnections) {
		add("invalid value for balance_inbound_connections: %s", e.BalanceInboundConnections)
	}
	if e.Destination != nil {
		faults = append(faults, e.Destination.faults()...)
	}
	if len(e.RateLimits) > 0 {
		add("invalid rate_limits config. Rate limiting is a consul enterprise feature")
	}
	if c := e.UpstreamConfig; c != nil {
		for _, o := range c.Overrides {
			if o == nil {
				add("error in upstream override: it is null")
			} else if err := o.validate(true); err != nil {
				add("error in upstream override for :%s: %v", o.Name, err)
			}
		}
		if c.Defaults != nil {
			if err := c.Defaults.validate(false); err != nil {
				add("error in upstream defaults: %v", err)
			}
		}
	}
	faults = append(faults, extensionFaults(e.EnvoyExtensions)...)
	return several(faults)
}

func validBalance(b string) bool { return b == "" || b == "exact_balance" }

func checkMutualTLSMode(mode string) error {
	if !slices.Contains([]string{"", "strict", "permissive"}, mode) {
		return wrong(`Invalid MutualTLSMode %q. Must be one of "", "strict", or "permissive".`, mode)
	}
	return nil
}

func (u *UpstreamConfig) validate(named bool) error {
	switch {
	case named && u.Name == "":
		return wrong("Name is required")
	case named && u.Name == "*":
		return wrong("Wildcard name is not supported")
	case !named && u.Name != "":
		return wrong("Name must be empty")
	}
	var faults []string
	if p := u.PassiveHealthCheck; p != nil {
		if p.Interval < 0 {
			faults = append(faults, "passive health check interval cannot be negative")
		}
		if p.EnforcingConsecutive5xx != nil && *p.EnforcingConsecutive5xx > 100 {
			faults = append(faults, "passive health check enforcing_consecutive_5xx must be a percentage between 0 and 100")
		}
		if p.MaxEjectionPercent != nil && *p.MaxEjectionPercent > 100 {
			faults = append(faults, "passive health check max_ejection_percent must be a percentage between 0 and 100")
		}
		if p.BaseEjectionTime != nil && *p.BaseEjectionTime < 0 {
			faults = append(faults, "passive health check base_ejection_time cannot be negative")
		}
	}
	if !validBalance(u.BalanceOutboundConnections) {
		faults = append(faults, "invalid value for balance_outbound_connections: "+u.BalanceOutboundConnections)
	}
	return several(faults)
}

// label is one part of a host's name, which may have underscores, as services do.
var label = regexp.MustCompile(`^[a-zA-Z0-9_]([a-zA-Z0-9_-]*[a-zA-Z0-9_])?$`)

func validHost(address string) bool {
	for part := range strings.SplitSeq(strings.TrimSuffix(address, "."), ".") {
		if len(part) > 63 || !label.MatchString(part) {
			return false
		}
	}
	return len(address) <= 253
}

func (d *Destination) faults() (faults []string) {
	if len(d.Addresses) == 0 {
		faults = append(faults, "Destination must contain at least one valid address")
	}
	for _, a := range d.Addresses {
		_, noIP := netip.ParseAddr(a)
		_, noNet := netip.ParsePrefix(a)
		if noIP != nil && noNet != nil && !validHost(a) {
			faults = append(faults, fmt.Sprintf("Destination address '%s' is invalid Could not validate address %s as an IP or Hostname", a, a))
		}
	}
	if i := repeated(d.Addresses, strings.Clone); i >= 0 {
		faults = append(faults, fmt.Sprintf("Duplicate address '%s' not allowed", d.Addresses[i]))
	}
	if d.Port < 1 || d.Port > 65535 {
		faults = append(faults, fmt.Sprintf("Invalid Port number %d", d.Port))
	}
	return faults
}

// extensions are the names of those that Consul's proxies have.
var extensions = []string{"builtin/aws/lambda", "builtin/ext-authz", "builtin/lua", "builtin/otel-access-logging",
	"builtin/property-override", "builtin/wasm"}

func extensionFaults(list []catalog.EnvoyExtension) (faults []string) {
	for i, x := range list {
		if !slices.Contains(extensions, x.Name) {
			faults = append(faults, fmt.Sprintf("invalid EnvoyExtensions[%d][%s]: name %q is not a built-in extension", i, x.Name, x.Name))
		}
	}
	return faults
}

// ProxyDefaults is what holds for all proxies, unless their services or they
// themselves say otherwise. Its one name is global
// (https://developer.hashicorp.com/consul/docs/reference/config-entry/proxy-defaults).
type ProxyDefaults struct {
	Head
	Config           map[string]any // free-form
	Mode             string         `json:",omitempty"`
	TransparentProxy catalog.TransparentProxy
	MutualTLSMode    string `json:",omitempty"`
	MeshGateway      catalog.MeshGateway
	Expose           catalog.Expose
	AccessLogs       catalog.AccessLogs
	EnvoyExtensions  []catalog.EnvoyExtension `json:",omitempty"`
	FailoverPolicy   *FailoverPolicy          `json:",omitempty"`
	// PrioritizeByLocality is a feature of Consul Enterprise.
	PrioritizeByLocality map[string]any `json:",omitempty"`
}

// ProxyDefaultsName is the name of the one entry of kind proxy-defaults.
const ProxyDefaultsName = "global"

// FailoverPolicy says in which order the targets of a failover are tried.
type FailoverPolicy struct {
	Mode    string   `json:",omitempty"`
	Regions []string `json:",omitempty"`
}

func (e *ProxyDefaults) normalize() {
	if e.Name == "" {
		e.Name = ProxyDefaultsName
	}
}

func (e *ProxyDefaults) validate() error {
	if e.Name != ProxyDefaultsName {
		return wrong("invalid name (%q), only %q is supported", e.Name, ProxyDefaultsName)
	}
	if err := checkMutualTLSMode(e.MutualTLSMode); err != nil {
		return err
	}
	if err := checkAccessLogs(&e.AccessLogs); err != nil {
		return err
	}
	if p := e.FailoverPolicy; p != nil && !slices.Contains([]string{"", "sequential", "order-by-locality"}, p.Mode) {
		return wrong("Failover-policy mode must be one of '', 'sequential', or 'order-by-locality'")
	}
	if len(e.PrioritizeByLocality) > 0 {
		return wrong("Prioritize-by-locality requires Consul Enterprise ")
	}
	return several(extensionFaults(e.EnvoyExtensions))
}

func checkAccessLogs(l *catalog.AccessLogs) error {
	switch {
	case !slices.Contains([]string{"", "stdout", "stderr", "file"}, l.Type):
		return wrong("invalid access log type: %s", l.Type)
	case l.Type == "file" && l.Path == "":
		return wrong("path must be specified when using file type access logs")
	case l.Type != "file" && l.Path != "":
		return wrong("path is only valid for file type access logs")
	case l.JSONFormat != "" && l.TextFormat != "":
		return wrong("cannot specify both access log JSONFormat and TextFormat")
	case l.JSONFormat != "":
		if err := json.Unmarshal([]byte(l.JSONFormat), new(any)); err != nil {
			return wrong("invalid access log json for JSON format: %v", err)
		}
	}
	return nil
}
