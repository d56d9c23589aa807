package catalog

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// UpstreamService is the type of an upstream that names none: it leads to a service.
const UpstreamService = "service"

const wildcard = "*"

// IsGateway says whether an instance is a gateway of any kind.
func (s *Service) IsGateway() bool {
	switch s.Kind {
	case KindMeshGateway, KindIngressGateway, KindTerminatingGateway, KindAPIGateway:
		return true
	}
	return false
}

// ValidateMesh checks what a proxy, a gateway or a mesh-capable instance must have and
// must not (https://developer.hashicorp.com/consul/docs/reference/proxy/connect-proxy).
// Its faults come as the list that Consul gives.
func (s *Service) ValidateMesh() error {
	var faults []string
	reachable := s.Port != 0 || s.SocketPath != ""
	if s.Kind == KindConnectProxy {
		faults = s.proxyFaults(reachable)
	} else if s.Connect.Native && !reachable {
		faults = append(faults, "Port or SocketPath must be set for a Connect native service.")
	}
	if s.IsGateway() {
		faults = append(faults, s.gatewayFaults()...)
	}
	if s.Locality != nil {
		if err := s.Locality.Validate(); err != nil {
			faults = append(faults, err.Error())
		}
	}
	if len(faults) == 0 {
		return nil
	}
	var text strings.Builder
	if len(faults) == 1 {
		text.WriteString("1 error occurred:\n")
	} else {
		fmt.Fprintf(&text, "%d errors occurred:\n", len(faults))
	}
	for _, f := range faults {
		text.WriteString("\t* " + f + "\n")
	}
	text.WriteString("\n")
	return &Error{Kind: Invalid, Text: text.String()}
}

// proxyFaults are those of a sidecar proxy.
func (s *Service) proxyFaults(reachable bool) (faults []string) {
	p := s.Proxy
	if p == nil {
		p = &Proxy{}
	}
	if !reachable {
		faults = append(faults, "Port or SocketPath must be set for a connect-proxy")
	}
	switch p.DestinationServiceName {
	case "":
		faults = append(faults, "Proxy.DestinationServiceName must be non-empty for Connect proxy services")
	case wildcard:
		faults = append(faults, "Proxy.DestinationServiceName must not be a wildcard for Connect proxy services")
	}
	if s.Connect.Native {
		faults = append(faults, "A Proxy cannot also be Connect Native, only typical services")
	}
	faults = append(faults, upstreamFaults(p.Upstreams)...)
	return append(faults, p.Expose.faults()...)
}

// gatewayFaults are those of a gateway, which stands for no one service.
func (s *Service) gatewayFaults() (faults []string) {
	if s.Port == 0 && (s.Kind == KindMeshGateway || s.Kind == KindTerminatingGateway) {
		faults = append(faults, "Port must be non-zero for a "+s.Kind)
	}
	if s.Connect.SidecarService != nil {
		faults = append(faults, "A "+s.Kind+" cannot have a sidecar service defined")
	}
	if s.Proxy == nil {
		return faults
	}
	for _, f := range []struct {
		name  string
		given bool
	}{
		{"DestinationServiceName", s.Proxy.DestinationServiceName != ""},
		{"DestinationServiceID", s.Proxy.DestinationServiceID != ""},
		{"LocalServiceAddress", s.Proxy.LocalServiceAddress != ""},
		{"LocalServicePort", s.Proxy.LocalServicePort != 0},
		{"LocalServiceSocketPath", s.Proxy.LocalServiceSocketPath != ""},
		{"Upstreams", len(s.Proxy.Upstreams) > 0},
	} {
		if f.given {
			faults = append(faults, fmt.Sprintf("The Proxy.%s configuration is invalid for a %s", f.name, s.Kind))
		}
	}
	return faults
}

// upstreamFaults are those of each upstream of a proxy, and of two that get in each
// other's way: they lead to the same, or are to be listened for at the same place.
func upstreamFaults(upstreams []Upstream) (faults []string) {
	destinations, places := map[string]bool{}, map[string]bool{}
	for i := range upstreams {
		u := &upstreams[i]
		if f := u.fault(); f != "" {
			faults = append(faults, f)
			continue
		}
		to, at := u.destination(), u.place()
		switch {
		case destinations[to]:
			faults = append(faults, "upstreams cannot contain duplicates of "+to)
			continue
		case at != "" && places[at]:
			faults = append(faults, fmt.Sprintf("upstreams cannot contain duplicates by local bind address and port or unix path; %q is specified twice", at))
		}
		destinations[to], places[at] = true, true
	}
	return faults
}

// fault says what is wrong with an upstream by itself, "" for nothing. One that config
// entries make for all upstreams may be a wildcard, and listens nowhere.
func (u *Upstream) fault() string {
	switch {
	case !slices.Contains([]string{"", UpstreamService, "prepared_query"}, u.DestinationType):
		return fmt.Sprintf("unknown upstream destination type: %q", clip(u.DestinationType))
	case u.DestinationName == "":
		return "upstream destination name cannot be empty"
	case u.DestinationName == wildcard && !u.CentrallyConfigured:
		return "upstream destination name cannot be a wildcard"
	case u.DestinationPeer != "" && u.Datacenter != "":
		return "upstream cannot specify both destination peer and datacenter"
	case u.LocalBindPort == 0 && u.LocalBindSocketPath == "" && !u.CentrallyConfigured:
		return "upstream local bind port or local socket path must be defined and nonzero"
	case u.LocalBindPort != 0 && u.LocalBindSocketPath != "":
		return "only one of upstream local bind port or local socket path can be defined and nonzero"
	}
	return ""
}

// destination names what an upstream leads to, as a fault shows it.
func (u *Upstream) destination() string {
	kind := u.DestinationType
	if kind == "" {
		kind = UpstreamService
	}
	return fmt.Sprintf("[type=%q, name=%q, partition=%q, namespace=%q, peer=%q, datacenter=%q]", kind, clip(u.DestinationName),
		clip(u.DestinationPartition), clip(u.DestinationNamespace), clip(u.DestinationPeer), clip(u.Datacenter))
}

// place is where an upstream is listened for, "" for nowhere.
func (u *Upstream) place() string {
	switch {
	case u.LocalBindSocketPath != "":
		return u.LocalBindSocketPath
	case u.LocalBindPort == 0:
		return ""
	case u.LocalBindAddress == "":
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(u.LocalBindPort))
	}
	return net.JoinHostPort(u.LocalBindAddress, strconv.Itoa(u.LocalBindPort))
}

func (e *Expose) faults() (faults []string) {
	taken := map[int]bool{}
	for _, p := range e.Paths {
		if p.Path == "" {
			faults = append(faults, "expose.paths: empty path exposed")
		}
		if taken[p.ListenerPort] {
			faults = append(faults, "expose.paths: duplicate listener ports exposed")
		}
		taken[p.ListenerPort] = true
		if p.ListenerPort <= 0 || p.ListenerPort > 65535 {
			faults = append(faults, fmt.Sprintf("expose.paths: invalid listener port: %d", p.ListenerPort))
		}
		if !slices.Contains([]string{"", "http", "http2"}, strings.ToLower(p.Protocol)) {
			faults = append(faults, fmt.Sprintf("protocol '%s' not supported for path: %s, must be in: [http http2]", clip(p.Protocol), clip(p.Path)))
		}
	}
	return faults
}
