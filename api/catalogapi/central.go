package catalogapi

import (
	"cmp"
	"maps"
	"slices"

	"muster/api"
	"muster/catalog"
	"muster/catalog/configentry"
	"muster/catalog/state"
)

// mergeCentral is the parameter that has services answered as their proxies are to
// take them. As in Consul, its value makes no difference.
var mergeCentral = api.Param{Name: "merge-central-config", Doc: "proxies and gateways with what service-defaults and proxy-defaults say of them"}

// central merges what config entries say into services.
type central struct {
	v       *state.View
	proxies configentry.ProxyDefaults
}

// newCentral gives what merges, or nil where the request doesn't ask for it.
func newCentral(v *state.View, r *api.Request) (*central, error) {
	if !r.Has(mergeCentral.Name) {
		return nil, nil
	}
	c := &central{v: v}
	if e := v.ConfigEntry(configentry.KindProxyDefaults, configentry.ProxyDefaultsName); e != nil {
		proxies, err := configentry.Read[configentry.ProxyDefaults](e)
		if err != nil {
			return nil, err
		}
		c.proxies = *proxies
	}
	return c, nil
}

// defaults are what service-defaults say of a service, nothing where there are none.
func (c *central) defaults(service string) (*configentry.ServiceDefaults, error) {
	e := c.v.ConfigEntry(configentry.KindServiceDefaults, service)
	if e == nil {
		return new(configentry.ServiceDefaults), nil
	}
	return configentry.Read[configentry.ServiceDefaults](e)
}

// gatewayKinds are the kinds of instances that are merged for their own service; a
// proxy's are those of the service that it is for.
var gatewayKinds = []string{catalog.KindMeshGateway, configentry.KindTerminatingGateway, configentry.KindIngressGateway, configentry.KindAPIGateway}

// service gives a service with all that holds for it: what it says itself counts
// before its service-defaults, and these before proxy-defaults.
func (c *central) service(s *catalog.Service) (*catalog.Service, error) {
	name := s.Service
	switch {
	case s.Kind == catalog.KindConnectProxy:
		name = s.MeshName()
	case !slices.Contains(gatewayKinds, s.Kind):
		return s, nil
	}
	d, err := c.defaults(name)
	if err != nil {
		return nil, err
	}
	p, g := s.Proxy.Clone(), &c.proxies
	ownGateway := p.MeshGateway.Mode
	p.Mode = cmp.Or(p.Mode, d.Mode, g.Mode)
	p.MeshGateway.Mode = cmp.Or(ownGateway, d.MeshGateway.Mode, g.MeshGateway.Mode)
	p.Config = overlaid(g.Config, inbound(d), p.Config)
	p.Expose.Checks = p.Expose.Checks || d.Expose.Checks || g.Expose.Checks
	p.Expose.Paths = firstOf(p.Expose.Paths, d.Expose.Paths, g.Expose.Paths)
	transparent := catalog.TransparentProxy{}
	for _, t := range []*catalog.TransparentProxy{p.TransparentProxy, &d.TransparentProxy, &g.TransparentProxy} {
		if t != nil {
			transparent.OutboundListenerPort = cmp.Or(transparent.OutboundListenerPort, t.OutboundListenerPort)
			transparent.DialedDirectly = transparent.DialedDirectly || t.DialedDirectly
		}
	}
	if transparent != (catalog.TransparentProxy{}) {
		p.TransparentProxy = &transparent
	}
	if p.AccessLogs == nil && g.AccessLogs != (catalog.AccessLogs{}) {
		p.AccessLogs = &g.AccessLogs
	}
	if len(p.EnvoyExtensions) == 0 {
		p.EnvoyExtensions = slices.Concat(g.EnvoyExtensions, d.EnvoyExtensions)
	}
	if s.Kind == catalog.KindConnectProxy {
		if err := c.upstreams(p, d, ownGateway); err != nil {
			return nil, err
		}
	}
	merged := *s
	merged.Proxy = p
	return &merged, nil
}

// firstOf is the first list that is not empty.
func firstOf[T any](lists ...[]T) []T {
	for _, l := range lists {
		if len(l) > 0 {
			return l
		}
	}
	return nil
}

// overlaid joins free-form configuration; of several values of a key the last counts.
// It is nil where there is none.
func overlaid(layers ...map[string]any) map[string]any {
	all := map[string]any{}
	for _, l := range layers {
		maps.Copy(all, l)
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// options collects what is said; what is empty is left out.
func options(of map[string]any) map[string]any {
	maps.DeleteFunc(of, func(_ string, v any) bool { return v == "" || v == 0 })
	return of
}

// inbound is what service-defaults say of connections to the service, as proxies know
// it.
func inbound(d *configentry.ServiceDefaults) map[string]any {
	return options(map[string]any{
		"protocol":                    d.Protocol,
		"max_inbound_connections":     d.MaxInboundConnections,
		"local_connect_timeout_ms":    d.LocalConnectTimeoutMs,
		"local_request_timeout_ms":    d.LocalRequestTimeoutMs,
		"balance_inbound_connections": d.BalanceInboundConnections,
	})
}

// outbound is what an upstream's configuration says, as proxies know it.
func outbound(u *configentry.UpstreamConfig) map[string]any {
	of := options(map[string]any{
		"protocol":                     u.Protocol,
		"connect_timeout_ms":           u.ConnectTimeoutMs,
		"envoy_listener_json":          u.EnvoyListenerJSON,
		"envoy_cluster_json":           u.EnvoyClusterJSON,
		"balance_outbound_connections": u.BalanceOutboundConnections,
	})
	if u.Limits != nil {
		of["limits"] = u.Limits
	}
	if u.PassiveHealthCheck != nil {
		of["passive_health_check"] = u.PassiveHealthCheck
	}
	return of
}

// upstreams merges into a proxy's upstreams. One that is transparent is given those,
// too, that only its service's defaults name, and "*" for all others.
func (c *central) upstreams(p *catalog.Proxy, d *configentry.ServiceDefaults, ownGateway string) error {
	all := configentry.UpstreamConfigs{}
	if d.UpstreamConfig != nil {
		all = *d.UpstreamConfig
	}
	base := all.Defaults
	if base == nil {
		base = &configentry.UpstreamConfig{}
	}
	merge := func(u *catalog.Upstream) error {
		override := &configentry.UpstreamConfig{}
		for _, o := range all.Overrides {
			if o.Name == u.DestinationName && o.Peer == u.DestinationPeer {
				override = o
			}
		}
		u.MeshGateway.Mode = cmp.Or(u.MeshGateway.Mode, ownGateway, override.MeshGateway.Mode, base.MeshGateway.Mode,
			d.MeshGateway.Mode, c.proxies.MeshGateway.Mode)
		protocol, err := c.protocol(u.DestinationName)
		if err != nil {
			return err
		}
		u.Config = overlaid(protocol, outbound(base), outbound(override), u.Config)
		return nil
	}
	known := make(map[[2]string]bool)
	for i := range p.Upstreams {
		u := &p.Upstreams[i]
		if u.DestinationType != "" && u.DestinationType != "service" {
			continue // what a prepared query finds, defaults of services are not about
		}
		known[[2]string{u.DestinationName, u.DestinationPeer}] = true
		if err := merge(u); err != nil {
			return err
		}
	}
	if p.Mode != "transparent" {
		return nil
	}
	for _, o := range append([]*configentry.UpstreamConfig{{Name: configentry.Wildcard}}, all.Overrides...) {
		if known[[2]string{o.Name, o.Peer}] {
			continue
		}
		u := catalog.Upstream{DestinationNamespace: "default", DestinationPartition: "default", DestinationName: o.Name, DestinationPeer: o.Peer, CentrallyConfigured: true}
		if err := merge(&u); err != nil {
			return err
		}
		if mode := u.MeshGateway.Mode; mode != "" {
			u.Config = overlaid(u.Config, map[string]any{"mesh_gateway": u.MeshGateway})
		} else if o.Name == configentry.Wildcard && all.Defaults == nil {
			continue // there is nothing to say of all others
		}
		p.Upstreams = append(p.Upstreams, u)
	}
	return nil
}

// protocol is what an upstream's own defaults, or those of all proxies, say that it
// speaks.
func (c *central) protocol(upstream string) (map[string]any, error) {
	if upstream == configentry.Wildcard {
		return nil, nil
	}
	d, err := c.defaults(upstream)
	if err != nil {
		return nil, err
	}
	of := options(map[string]any{"protocol": d.Protocol})
	if all, ok := c.proxies.Config["protocol"]; ok && len(of) == 0 {
		of["protocol"] = all
	}
	return of, nil
}
