package configapi

import (
	"slices"

	"muster/catalog"
	"muster/catalog/chain"
	"muster/catalog/configentry"
	"muster/catalog/state"
)

// proposal is the catalog's config entries with one written or, where entry is nil,
// deleted.
type proposal struct {
	*state.View
	kind, name string
	entry      *catalog.ConfigEntry
}

// ConfigEntry implements chain.Entries.
func (c proposal) ConfigEntry(kind, name string) *catalog.ConfigEntry {
	if kind == c.kind && catalog.Fold(name) == catalog.Fold(c.name) {
		return c.entry
	}
	return c.View.ConfigEntry(kind, name)
}

// routing are the kinds that give a service a chain other than the default one.
var routing = []string{configentry.KindServiceRouter, configentry.KindServiceSplitter, configentry.KindServiceResolver}

// fault says what an entry would contradict of the others, nil if nothing. Others may
// be written at the same time: a chain that comes out wrong by that is a fault when it
// is read, and no obstacle to writing what it isn't about.
func (c proposal) fault(datacenter string) error {
	switch {
	case slices.Contains(routing, c.kind):
		return c.chainFault(datacenter)
	case c.kind == configentry.KindServiceDefaults, c.kind == configentry.KindProxyDefaults:
		if err := c.chainFault(datacenter); err != nil {
			return err
		}
		return c.protocolFault()
	case c.entry == nil:
		return nil
	case c.kind == configentry.KindIngressGateway:
		return listenerFault(c, c.entry)
	case c.kind == configentry.KindServiceIntentions:
		return c.intentionFault()
	}
	return nil
}

// chainFault says which chain would be wrong that was right, or is the entry's own.
func (c proposal) chainFault(datacenter string) error {
	var services []string
	for _, kind := range routing {
		for _, e := range c.ConfigEntries(kind) {
			services = append(services, e.Name)
		}
	}
	if c.entry != nil && slices.Contains(routing, c.kind) {
		services = append(services, c.entry.Name)
	}
	slices.Sort(services)
	for _, service := range slices.Compact(services) {
		request := chain.Request{Service: service, Datacenter: datacenter}
		_, err := chain.Compile(c, request)
		if err == nil {
			continue
		}
		if c.entry != nil && service == c.entry.Name {
			return err
		}
		if _, before := chain.Compile(c.View, request); before == nil {
			return err
		}
	}
	return nil
}

// protocolFault says which entry would not fit what a service speaks any more. Only
// a service's own defaults are held to the listeners of ingress gateways, as in Consul.
func (c proposal) protocolFault() error {
	own := c.kind == configentry.KindServiceDefaults
	for _, e := range c.ConfigEntries(configentry.KindServiceIntentions) {
		if e.Name == configentry.Wildcard || own && catalog.Fold(e.Name) != catalog.Fold(c.name) {
			continue
		}
		if err := permissionsFault(c, e); err != nil && permissionsFault(c.View, e) == nil {
			return err
		}
	}
	if !own {
		return nil
	}
	for _, e := range c.ConfigEntries(configentry.KindIngressGateway) {
		if err := listenerFault(c, e); err != nil && listenerFault(c.View, e) == nil {
			return err
		}
	}
	return nil
}

// listenerFault says which service of an ingress gateway speaks another protocol than
// its listener.
func listenerFault(entries chain.Entries, e *catalog.ConfigEntry) error {
	gateway, err := configentry.Read[configentry.IngressGateway](e)
	if err != nil {
		return err
	}
	for _, l := range gateway.Listeners {
		for _, s := range l.Services {
			if s.Name == configentry.Wildcard {
				continue
			}
			protocol, err := chain.Protocol(entries, s.Name)
			if err != nil {
				return err
			}
			if protocol != l.Protocol {
				return catalog.Errorf(catalog.Invalid, "service %q has protocol %q, which does not match defined listener protocol %q", s.Name, protocol, l.Protocol)
			}
		}
	}
	return nil
}

// intentionFault says that a service has permissions for requests that its protocol
// doesn't have, or that a provider of tokens is not there.
func (c proposal) intentionFault() error {
	e, err := configentry.Read[configentry.ServiceIntentions](c.entry)
	if err != nil {
		return err
	}
	if e.JWT != nil {
		for _, p := range e.JWT.Providers {
			if c.ConfigEntry(configentry.KindJWTProvider, p.Name) == nil {
				return catalog.Errorf(catalog.Invalid, "1 error occurred:\n\t* Referenced JWT Provider does not exist. Provider Name: %s\n\n", p.Name)
			}
		}
	}
	return permissionsFault(c, c.entry)
}

// permissionsFault says that a service has permissions for requests, and its protocol
// has none.
func permissionsFault(entries chain.Entries, entry *catalog.ConfigEntry) error {
	e, err := configentry.Read[configentry.ServiceIntentions](entry)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(e.Sources, func(s configentry.IntentionSource) bool { return len(s.Permissions) > 0 }) {
		return nil
	}
	protocol, err := chain.Protocol(entries, e.Name)
	if err == nil && !chain.Routable(protocol) {
		err = catalog.Errorf(catalog.Invalid, "service %q has protocol %q, which is incompatible with L7 intentions permissions", e.Name, protocol)
	}
	return err
}
