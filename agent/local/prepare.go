package local

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"

	"muster/agent/checks"
	"muster/catalog"
)

// registration is a service with its checks, or checks alone, that is known to
// be valid and belongs to nobody else.
type registration struct {
	service *catalog.Service // nil: checks alone
	checks  []checks.Definition
	options Options
}

// prepareService validates a service and its checks and fills in what was left out.
func (s *State) prepareService(svc catalog.Service, defs []checks.Definition, o Options) (*registration, error) {
	switch {
	case svc.Service == "":
		return nil, catalog.Errorf(catalog.Invalid, "Missing service name")
	}
	own, err := canonical(&svc)
	if err != nil {
		return nil, err
	}
	if own.Meta == nil {
		own.Meta = map[string]string{}
	}
	own.PeerName = ""
	nameAddresses(own)
	for i := range own.Proxy.Upstreams {
		u := &own.Proxy.Upstreams[i]
		u.DestinationType = cmp.Or(u.DestinationType, catalog.UpstreamService)
	}
	if err := own.ValidateMesh(); err != nil {
		return nil, catalog.Errorf(catalog.Invalid, "Validation failed: %v", err)
	}
	if err := own.Validate(); err != nil {
		return nil, err
	}
	r := &registration{service: own, options: o}
	seen := map[string]bool{}
	for i, d := range defs {
		d.ServiceID = own.ID
		if d.CheckID == "" {
			d.CheckID = "service:" + own.ID
			if len(defs) > 1 {
				d.CheckID = fmt.Sprintf("service:%s:%d", own.ID, i+1)
			}
		}
		if d.Name == "" {
			d.Name = fmt.Sprintf("Service '%s' check", own.Service)
		}
		if seen[catalog.Fold(d.CheckID)] {
			return nil, catalog.Errorf(catalog.Invalid, "two checks of service %q have the ID %q", own.ID, d.CheckID)
		}
		seen[catalog.Fold(d.CheckID)] = true
		if err := s.validateCheck(d, o.Source); err != nil {
			return nil, err
		}
		r.checks = append(r.checks, d)
	}
	return r, nil
}

// nameAddresses gives a service that has an IP address the tagged addresses that
// Consul gives it: the address under each network and its family.
func nameAddresses(s *catalog.Service) {
	ip, err := netip.ParseAddr(s.Address)
	if err != nil {
		return
	}
	family := "_ipv6"
	if ip.Unmap().Is4() {
		family = "_ipv4"
	}
	if s.TaggedAddresses == nil {
		s.TaggedAddresses = map[string]catalog.ServiceAddress{}
	}
	for _, network := range []string{"lan", "wan"} {
		if _, named := s.TaggedAddresses[network+family]; !named {
			s.TaggedAddresses[network+family] = catalog.ServiceAddress{Address: s.Address, Port: s.Port}
		}
	}
}

// prepareCheck does the same for a check that is registered alone.
func (s *State) prepareCheck(d checks.Definition, o Options) (*registration, error) {
	if d.Name == "" {
		return nil, catalog.Errorf(catalog.Invalid, "Missing check name")
	}
	if d.CheckID == "" {
		d.CheckID = d.Name
	}
	if err := s.validateCheck(d, o.Source); err != nil {
		return nil, err
	}
	return &registration{checks: []checks.Definition{d}, options: o}, nil
}

// validateCheck says what is wrong with a complete definition.
func (s *State) validateCheck(d checks.Definition, source Source) error {
	if catalog.Fold(d.CheckID) == catalog.Fold(catalog.SerfHealth) {
		return catalog.Errorf(catalog.Invalid, "the check ID %q belongs to the cluster, which sets it by gossip; choose another one", catalog.SerfHealth)
	}
	if err := d.Validate(); err != nil {
		return err
	}
	if err := s.newCheck(d, d.Type()).current.Validate(); err != nil {
		return err
	}
	if d.IsAlias() && !s.followed(&d) && s.cfg.Watch == nil {
		return catalog.Errorf(catalog.Invalid, "Invalid check: this agent can't watch other nodes, so AliasNode %q must be its own, %q, or be left out", d.AliasNode, s.cfg.Node.Node)
	}
	if len(d.ScriptArgs) == 0 || s.cfg.EnableRemoteScriptChecks {
		return nil
	}
	if source != SourceConfig {
		return catalog.Errorf(catalog.Internal, "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true")
	}
	if !s.cfg.EnableLocalScriptChecks {
		return catalog.Errorf(catalog.Internal, "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or 'enable_local_script_checks' to true")
	}
	return nil
}

// newCheck makes the entry of a check that has not been asked yet.
func (s *State) newCheck(d checks.Definition, kind string) *check {
	c := &catalog.Check{
		Node:      s.cfg.Node.Node,
		CheckID:   d.CheckID,
		Name:      d.Name,
		Status:    d.Status,
		Notes:     d.Notes,
		ServiceID: d.ServiceID,
		Type:      kind,
	}
	if kind == checks.TypeTTL {
		c.Interval, c.Timeout = "0s", "0s"
	}
	if d.Interval > 0 {
		c.Interval = d.Interval.String()
	}
	if d.Timeout > 0 {
		c.Timeout = d.Timeout.String()
	}
	c.Normalize()
	return &check{def: d, current: c}
}

// canonical gives a normalised copy of a service that shares nothing with it. It
// goes through JSON because that is how services come back from a server: a
// number in free-form configuration then has one type, wherever it came from,
// and two services that say the same are the same.
func canonical(svc *catalog.Service) (*catalog.Service, error) {
	b, err := json.Marshal(svc)
	if err != nil {
		return nil, catalog.Errorf(catalog.Invalid, "service %q can't be written as JSON: %v", svc.ID, err)
	}
	own := &catalog.Service{}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if err := dec.Decode(own); err != nil {
		return nil, catalog.Errorf(catalog.Invalid, "service %q can't be read back from JSON: %v", svc.ID, err)
	}
	own.Normalize()
	return own, nil
}
