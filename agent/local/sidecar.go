package local

import (
	"cmp"
	"net"
	"strconv"
	"time"

	"muster/agent/checks"
	"muster/catalog"
)

// Sidecar is the proxy that a service asks this agent to register beside it.
// What it leaves out is made up from its service, as Consul does (Consul docs,
// "Register a proxy as a sidecar service"). It goes when its service is removed.
type Sidecar struct {
	Service catalog.Service
	Checks  []checks.Definition
	Token   string // "" is its service's
}

// The ports that sidecars which ask for none are given, first to last.
const (
	sidecarMinPort = 21000
	sidecarMaxPort = 21255
)

const sidecarSuffix = "-sidecar-proxy"

// sidecarCheckInterval is how often a sidecar is asked for that brings no checks.
const sidecarCheckInterval = 10 * time.Second

// withSidecar gives a prepared service together with its sidecar, if it asked for
// one. Pending are registrations that are about to be taken, whose ports are not
// free. The caller holds changes.
func (s *State) withSidecar(parent *registration, pending []*registration) ([]*registration, error) {
	both := []*registration{parent}
	if parent.options.Sidecar == nil {
		return both, nil
	}
	side := *parent.options.Sidecar
	parent.options.Sidecar = nil
	if err := s.completeSidecar(&side.Service, parent.service, append(pending, parent)); err != nil {
		return nil, err
	}
	if len(side.Checks) == 0 {
		side.Checks = sidecarChecks(&side.Service, parent.service)
	}
	o := parent.options
	o.sidecarOf, o.Token = parent.service.ID, cmp.Or(side.Token, o.Token)
	r, err := s.prepareService(side.Service, side.Checks, o)
	if err != nil {
		return nil, err
	}
	return append(both, r), nil
}

// completeSidecar fills in what a sidecar leaves out.
func (s *State) completeSidecar(side, parent *catalog.Service, pending []*registration) error {
	switch {
	case side.ID != "":
		return invalidSidecar("A SidecarService cannot specify an ID as this is managed by the agent")
	case parent.IsGateway():
		return invalidSidecar("A " + parent.Kind + " cannot have a sidecar service defined")
	case side.Connect.SidecarService != nil:
		return invalidSidecar("A SidecarService cannot have a nested SidecarService")
	}
	side.ID = parent.ID + sidecarSuffix
	side.Service = cmp.Or(side.Service, side.ID)
	side.Kind = cmp.Or(side.Kind, catalog.KindConnectProxy)
	side.Address = cmp.Or(side.Address, parent.Address)
	if side.Tags == nil {
		side.Tags = parent.Tags
	}
	if side.Meta == nil {
		side.Meta = parent.Meta
	}
	p := side.Proxy.Clone()
	side.Proxy = p
	p.DestinationServiceName = cmp.Or(p.DestinationServiceName, parent.Service)
	p.DestinationServiceID = cmp.Or(p.DestinationServiceID, parent.ID)
	if p.LocalServiceSocketPath == "" && p.LocalServiceAddress == "" && p.LocalServicePort == 0 {
		p.LocalServiceSocketPath = parent.SocketPath
	}
	if p.LocalServiceSocketPath == "" {
		p.LocalServiceAddress = cmp.Or(p.LocalServiceAddress, "127.0.0.1")
		p.LocalServicePort = cmp.Or(p.LocalServicePort, parent.Port)
	}
	if side.Port == 0 && side.SocketPath == "" {
		return s.choosePort(side, pending)
	}
	return nil
}

// choosePort gives a sidecar the port that it has already, else the first one
// that no service of this agent has.
func (s *State) choosePort(side *catalog.Service, pending []*registration) error {
	if old, ok := s.Service(side.ID); ok && old.Port != 0 {
		side.Port = old.Port
		return nil
	}
	taken := map[int]bool{}
	for _, svc := range s.Services() {
		taken[svc.Port] = true
	}
	for _, r := range pending {
		if r.service != nil {
			taken[r.service.Port] = true
		}
	}
	for port := sidecarMinPort; port <= sidecarMaxPort; port++ {
		if !taken[port] {
			side.Port = port
			return nil
		}
	}
	return invalidSidecar("no port is left for the sidecar of service \"" + side.Proxy.DestinationServiceID +
		"\": all from " + strconv.Itoa(sidecarMinPort) + " to " + strconv.Itoa(sidecarMaxPort) + " are taken; give it one")
}

// sidecarChecks are the checks of a sidecar that brings none: that it listens,
// and that its service is well.
func sidecarChecks(side, parent *catalog.Service) []checks.Definition {
	at := net.JoinHostPort(cmp.Or(side.Address, "127.0.0.1"), strconv.Itoa(side.Port))
	return []checks.Definition{
		{Name: "Connect Sidecar Listening", TCP: at, Interval: sidecarCheckInterval},
		{Name: "Connect Sidecar Aliasing " + parent.ID, AliasService: parent.ID},
	}
}

func invalidSidecar(fault string) error {
	return catalog.Errorf(catalog.Invalid, "Validation failed: 1 error occurred:\n\t* %s\n\n", fault)
}

// sidecarsOf lists the folded IDs of a service's sidecars. The caller holds changes.
func (s *State) sidecarsOf(key string) (keys []string) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for k, svc := range s.services {
		if svc.sidecarOf != "" && catalog.Fold(svc.sidecarOf) == key {
			keys = append(keys, k)
		}
	}
	return keys
}
