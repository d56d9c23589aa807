package local

import (
	"slices"

	"muster/catalog"
)

// serversService is the service under which servers are found. The leader keeps
// it; an agent leaves alone what it has not registered under that ID itself.
const serversService = "consul"

// compare sets all marks by what the catalog holds: what is missing there or
// differs is to be written, what nobody here knows is to be removed.
func (s *State) compare(there Contents) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgive()
	settle(&s.nodeMark, there.Node != nil && s.sameNode(there.Node))

	services := map[string]*catalog.Service{}
	for _, svc := range there.Services {
		services[catalog.Fold(svc.ID)] = svc
	}
	for key, svc := range s.services {
		if svc.inSync() && services[key] == nil {
			s.log.Info("the catalog has lost a service of this agent; registering it again", "service", svc.current.ID)
		}
		settle(&svc.mark, s.sameService(svc, services[key]))
	}
	checks := map[string]*catalog.Check{}
	for _, c := range there.Checks {
		checks[catalog.Fold(c.CheckID)] = c
	}
	for key, c := range s.checks {
		s.settleCheck(c, checks[key])
	}
	s.buryStrangers(services, checks)
}

// settle sets a mark by whether the catalog has what stands here.
func settle(m *mark, same bool) {
	m.synced = 0
	if same {
		m.synced = m.version
	}
}

// forgive lets everything be tried again that was refused.
func (s *State) forgive() {
	s.nodeMark.refused = 0
	for _, svc := range s.services {
		svc.refused = 0
	}
	for _, c := range s.checks {
		c.refused = 0
	}
}

// sameNode compares the node with the catalog's, whose datacenter goes without saying.
func (s *State) sameNode(there *catalog.Node) bool {
	n := *there
	n.Datacenter = s.node.Datacenter
	return s.node.Same(&n)
}

// sameService compares a service with the catalog's. Where anyone may set its
// tags in the catalog, the catalog's tags become those of this agent.
func (s *State) sameService(svc *service, there *catalog.Service) bool {
	if there == nil {
		return false
	}
	there, err := canonical(there)
	if err != nil {
		return false // it is no service that any agent wrote
	}
	if svc.current.EnableTagOverride && svc.synced >= svc.ownTags && !slices.Equal(svc.current.Tags, there.Tags) {
		own := *svc.current
		own.Tags = there.Tags
		svc.current, svc.ownTags = &own, 0
		s.announce()
	}
	return svc.current.Same(there)
}

// settleCheck sets a check's mark. The name and tags of its service are the
// catalog's own affair. An output that waits for its time is no difference.
func (s *State) settleCheck(c *check, there *catalog.Check) {
	if there == nil {
		settle(&c.mark, false)
		return
	}
	own, other := s.view(c), *there
	other.ServiceName, other.ServiceTags = own.ServiceName, own.ServiceTags
	if own.Same(&other) {
		settle(&c.mark, true)
		return
	}
	if !c.outputDue.IsZero() {
		other.Output = own.Output
	}
	settle(&c.mark, own.Same(&other))
}

// buryStrangers notes for removal what the catalog holds and nobody here knows,
// and forgets the tombstones of what it doesn't hold.
func (s *State) buryStrangers(services map[string]*catalog.Service, checks map[string]*catalog.Check) {
	clear(s.gone)
	for key, svc := range services {
		if s.services[key] == nil && key != serversService {
			s.bury(item{goneService, key}, svc.ID, "")
		}
	}
	for key, c := range checks {
		service := catalog.Fold(c.ServiceID)
		if s.checks[key] != nil || key == catalog.Fold(catalog.SerfHealth) || service == serversService && s.services[service] == nil {
			continue
		}
		s.bury(item{goneCheck, key}, c.CheckID, service)
	}
}
