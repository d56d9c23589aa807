// Package gateway finds out which services are behind which ingress and terminating
// gateways, by their config entries.
package gateway

import (
	"cmp"
	"slices"

	"muster/catalog"
	"muster/catalog/configentry"
	"muster/catalog/state"
)

// Service is a service behind a gateway, in the form of Consul's list. Its indexes are
// those of the gateway's config entry.
type Service struct {
	Gateway         Name
	Service         Name
	GatewayKind     string
	Port            int      `json:",omitempty"`
	Protocol        string   `json:",omitempty"`
	Hosts           []string `json:",omitempty"`
	CAFile          string   `json:",omitempty"`
	CertFile        string   `json:",omitempty"`
	KeyFile         string   `json:",omitempty"`
	SNI             string   `json:",omitempty"`
	FromWildcard    bool     `json:",omitempty"`
	ServiceKind     string   `json:",omitempty"`
	AutoHostRewrite bool     `json:",omitempty"`
	CreateIndex     uint64
	ModifyIndex     uint64
}

// Name is a name as the list has it.
type Name struct{ Name string }

// What a service behind a gateway is: one that has instances, or an address outside
// that service-defaults name.
const (
	kindService     = "service"
	kindDestination = "destination"
)

// consulService is the service of the servers themselves, which no wildcard means.
const consulService = "consul"

// Services lists the services behind a gateway.
func Services(v *state.View, name string) ([]Service, error) {
	services, err := ingressServices(v, v.ConfigEntry(configentry.KindIngressGateway, name))
	if err != nil {
		return nil, err
	}
	linked, err := linkedServices(v, v.ConfigEntry(configentry.KindTerminatingGateway, name))
	if err != nil {
		return nil, err
	}
	services = append(services, linked...)
	for i := range services {
		services[i].ServiceKind = serviceKind(v, services[i].Service.Name)
	}
	slices.SortStableFunc(services, func(a, b Service) int {
		return cmp.Or(cmp.Compare(a.Service.Name, b.Service.Name), cmp.Compare(a.Port, b.Port))
	})
	return services, nil
}

// serviceKind is what a service behind a gateway is, "" where nobody knows it.
func serviceKind(v *state.View, name string) string {
	for _, in := range v.ServiceInstances(name) {
		if in.Service.Kind == "" {
			return kindService
		}
	}
	if isDestination(v.ConfigEntry(configentry.KindServiceDefaults, name)) {
		return kindDestination
	}
	return ""
}

// isDestination says whether an entry of kind service-defaults names addresses
// outside.
func isDestination(e *catalog.ConfigEntry) bool {
	if e == nil {
		return false
	}
	defaults, err := configentry.Read[configentry.ServiceDefaults](e)
	return err == nil && defaults.Destination != nil
}

// ingressServices are the services that an entry of kind ingress-gateway lets in. One
// that a listener names is not what its wildcard means.
func ingressServices(v *state.View, e *catalog.ConfigEntry) ([]Service, error) {
	services := []Service{}
	if e == nil {
		return services, nil
	}
	gateway, err := configentry.Read[configentry.IngressGateway](e)
	if err != nil {
		return nil, err
	}
	for _, l := range gateway.Listeners {
		mapped := Service{
			Gateway: Name{e.Name}, GatewayKind: e.Kind, Port: l.Port, Protocol: l.Protocol,
			CreateIndex: e.CreateIndex, ModifyIndex: e.ModifyIndex,
		}
		for _, s := range l.Services {
			if s.Name != configentry.Wildcard {
				one := mapped
				one.Service.Name, one.Hosts = s.Name, s.Hosts
				services = append(services, one)
				continue
			}
			for _, name := range meshNames(v) {
				if slices.ContainsFunc(l.Services, func(o configentry.IngressService) bool { return o.Name == name }) {
					continue
				}
				one := mapped
				one.Service.Name, one.FromWildcard = name, true
				services = append(services, one)
			}
		}
	}
	return services, nil
}

// meshNames are the services that the mesh leads to, sorted.
func meshNames(v *state.View) []string {
	var names []string
	for _, in := range v.AllInstances() {
		if name := in.Service.MeshName(); name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// linkedServices are the services that an entry of kind terminating-gateway leads to.
// One that it names is not what its wildcard means.
func linkedServices(v *state.View, e *catalog.ConfigEntry) ([]Service, error) {
	services := []Service{}
	if e == nil {
		return services, nil
	}
	gateway, err := configentry.Read[configentry.TerminatingGateway](e)
	if err != nil {
		return nil, err
	}
	for _, s := range gateway.Services {
		one := Service{
			Gateway: Name{e.Name}, GatewayKind: e.Kind,
			CAFile: s.CAFile, CertFile: s.CertFile, KeyFile: s.KeyFile, SNI: s.SNI, AutoHostRewrite: !s.DisableAutoHostRewrite,
			CreateIndex: e.CreateIndex, ModifyIndex: e.ModifyIndex,
		}
		names := []string{s.Name}
		if one.FromWildcard = s.Name == configentry.Wildcard; one.FromWildcard {
			names = slices.DeleteFunc(outsideNames(v), func(name string) bool {
				return slices.ContainsFunc(gateway.Services, func(o configentry.LinkedService) bool { return o.Name == name })
			})
		}
		for _, name := range names {
			one.Service.Name = name
			services = append(services, one)
		}
	}
	return services, nil
}

// outsideNames are the services with an instance that is neither of the mesh itself
// nor a proxy or a gateway, and those that are addresses outside, sorted.
func outsideNames(v *state.View) []string {
	var names []string
	for _, in := range v.AllInstances() {
		if in.Service.Kind == "" && !in.Service.Connect.Native && in.Service.Service != consulService {
			names = append(names, in.Service.Service)
		}
	}
	for _, e := range v.ConfigEntries(configentry.KindServiceDefaults) {
		if isDestination(e) {
			names = append(names, e.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Ingress gives the instances of the gateways that let a service in.
func Ingress(v *state.View, name string) ([]state.Instance, error) {
	return gatewaysFor(v, configentry.KindIngressGateway, name, ingressServices)
}

// Mesh gives the instances that give mesh access to a service: proxies, native ones,
// and the terminating gateways that lead to it.
func Mesh(v *state.View, name string) ([]state.Instance, error) {
	gateways, err := gatewaysFor(v, configentry.KindTerminatingGateway, name, linkedServices)
	return append(v.ConnectInstances(name), gateways...), err
}

// gatewaysFor are the instances of the gateways of a kind that have a service behind
// them.
func gatewaysFor(v *state.View, kind, name string, behind func(*state.View, *catalog.ConfigEntry) ([]Service, error)) ([]state.Instance, error) {
	var gateways []state.Instance
	for _, e := range v.ConfigEntries(kind) {
		services, err := behind(v, e)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(services, func(s Service) bool { return catalog.Fold(s.Service.Name) == catalog.Fold(name) }) {
			continue
		}
		for _, in := range v.ServiceInstances(e.Name) {
			if in.Service.Kind == kind {
				gateways = append(gateways, in)
			}
		}
	}
	return gateways, nil
}
