package catalog

import (
	"maps"
	"reflect"
	"slices"
)

// Fold brings a name to the form in which names are compared: node names, IDs
// and service names are equal without regard to the case of the letters A to Z.
// It knows no other letters, as the tables of those change from one Go release to
// the next, and servers of different builds must agree on what is equal.
func Fold(name string) string {
	for i := range len(name) {
		if isUpper(name[i]) {
			b := []byte(name)
			for ; i < len(b); i++ {
				if isUpper(b[i]) {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return name
}

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }

// Worse gives the worse of two states of a check: maintenance before critical,
// warning, passing. A state that is none of them counts as critical.
func Worse(a, b string) string {
	if badness(b) > badness(a) {
		return b
	}
	return a
}

func badness(status string) int {
	switch status {
	case StatusPassing:
		return 0
	case StatusWarning:
		return 1
	case StatusMaintenance:
		return 3
	}
	return 2
}

// Same reports whether two nodes say the same, whatever their indexes and the
// case of their names. Here and below, what is absent equals what is empty.
func (n *Node) Same(o *Node) bool {
	return n.ID == o.ID &&
		Fold(n.Node) == Fold(o.Node) &&
		n.Address == o.Address &&
		n.Datacenter == o.Datacenter &&
		maps.Equal(n.TaggedAddresses, o.TaggedAddresses) &&
		maps.Equal(n.Meta, o.Meta) &&
		samePointed(n.Locality, o.Locality)
}

// Same reports whether two instances say the same, whatever their indexes.
func (s *Service) Same(o *Service) bool {
	return s.Kind == o.Kind &&
		s.ID == o.ID &&
		s.Service == o.Service &&
		slices.Equal(s.Tags, o.Tags) &&
		s.Address == o.Address &&
		maps.Equal(s.TaggedAddresses, o.TaggedAddresses) &&
		maps.Equal(s.Meta, o.Meta) &&
		s.Port == o.Port &&
		s.SocketPath == o.SocketPath &&
		s.Weights == o.Weights &&
		s.EnableTagOverride == o.EnableTagOverride &&
		samePointed(s.Locality, o.Locality) &&
		(s.Proxy == o.Proxy || s.Proxy.empty() && o.Proxy.empty() ||
			s.Proxy != nil && o.Proxy != nil && s.Proxy.same(o.Proxy)) &&
		s.Connect.same(&o.Connect) &&
		s.PeerName == o.PeerName
}

// Same reports whether two checks say the same, whatever their indexes.
func (c *Check) Same(o *Check) bool {
	return Fold(c.Node) == Fold(o.Node) &&
		c.CheckID == o.CheckID &&
		c.Name == o.Name &&
		c.Status == o.Status &&
		c.Notes == o.Notes &&
		c.Output == o.Output &&
		c.ServiceID == o.ServiceID &&
		c.ServiceName == o.ServiceName &&
		slices.Equal(c.ServiceTags, o.ServiceTags) &&
		c.Type == o.Type &&
		c.Interval == o.Interval &&
		c.Timeout == o.Timeout &&
		c.ExposedPort == o.ExposedPort &&
		(c.Definition == o.Definition || c.Definition.empty() && o.Definition.empty() ||
			c.Definition != nil && o.Definition != nil && c.Definition.same(o.Definition))
}

func (d *CheckDefinition) same(o *CheckDefinition) bool {
	return d.HTTP == o.HTTP &&
		d.TLSServerName == o.TLSServerName &&
		d.TLSSkipVerify == o.TLSSkipVerify &&
		maps.EqualFunc(d.Header, o.Header, slices.Equal) &&
		d.Method == o.Method &&
		d.Body == o.Body &&
		d.DisableRedirects == o.DisableRedirects &&
		d.TCP == o.TCP && d.TCPUseTLS == o.TCPUseTLS &&
		d.UDP == o.UDP &&
		d.H2PING == o.H2PING && d.H2PingUseTLS == o.H2PingUseTLS &&
		d.OSService == o.OSService &&
		slices.Equal(d.ScriptArgs, o.ScriptArgs) &&
		d.GRPC == o.GRPC && d.GRPCUseTLS == o.GRPCUseTLS &&
		d.AliasNode == o.AliasNode && d.AliasService == o.AliasService &&
		d.TTL == o.TTL && d.Interval == o.Interval && d.Timeout == o.Timeout &&
		d.DeregisterCriticalServiceAfter == o.DeregisterCriticalServiceAfter
}

func (p *Proxy) same(o *Proxy) bool {
	return samePointed(p.TransparentProxy, o.TransparentProxy) &&
		p.DestinationServiceName == o.DestinationServiceName &&
		p.DestinationServiceID == o.DestinationServiceID &&
		p.LocalServiceAddress == o.LocalServiceAddress &&
		p.LocalServicePort == o.LocalServicePort &&
		p.LocalServiceSocketPath == o.LocalServiceSocketPath &&
		p.Mode == o.Mode &&
		sameConfig(p.Config, o.Config) &&
		slices.EqualFunc(p.Upstreams, o.Upstreams, sameUpstream) &&
		p.MeshGateway == o.MeshGateway &&
		p.Expose.Checks == o.Expose.Checks &&
		slices.Equal(p.Expose.Paths, o.Expose.Paths) &&
		samePointed(p.AccessLogs, o.AccessLogs) &&
		slices.EqualFunc(p.EnvoyExtensions, o.EnvoyExtensions, sameExtension)
}

func sameUpstream(a, b Upstream) bool {
	if !sameConfig(a.Config, b.Config) {
		return false
	}
	a.Config, b.Config = nil, nil
	return reflect.DeepEqual(a, b)
}

func sameExtension(a, b EnvoyExtension) bool {
	return sameConfig(a.Arguments, b.Arguments) && a.Name == b.Name && a.Required == b.Required &&
		a.ConsulVersion == b.ConsulVersion && a.EnvoyVersion == b.EnvoyVersion
}

func sameConfig(a, b map[string]any) bool {
	return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b)
}

func (c *Connect) same(o *Connect) bool {
	if c.Native != o.Native || (c.SidecarService == nil) != (o.SidecarService == nil) {
		return false
	}
	return c.SidecarService == nil || c.SidecarService.Same(o.SidecarService)
}

func samePointed[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
