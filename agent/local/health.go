package local

import (
	"slices"
	"strings"

	"muster/catalog"
)

// Health is a service with all checks that count for it: the node's and its own.
type Health struct {
	Service *catalog.Service
	Checks  []*catalog.Check // by ID
	// Status is the worst of them, or maintenance; passing where there are none.
	Status string
}

// ServiceHealth gives the health of the service with an ID, nil if there is none.
func (s *State) ServiceHealth(id string) *Health {
	s.mu.RLock()
	defer s.mu.RUnlock()
	svc := s.services[catalog.Fold(id)]
	if svc == nil {
		return nil
	}
	h := s.health(svc)
	return &h
}

// ServiceHealthByName gives the health of all instances of a service, by ID.
func (s *State) ServiceHealthByName(name string) []Health {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var all []Health
	for _, svc := range s.services {
		if catalog.Fold(svc.current.Service) == catalog.Fold(name) {
			all = append(all, s.health(svc))
		}
	}
	slices.SortFunc(all, func(a, b Health) int { return strings.Compare(a.Service.ID, b.Service.ID) })
	return all
}

// health weighs the checks of a service. The caller holds mu.
func (s *State) health(svc *service) Health {
	h := Health{Service: svc.current, Status: catalog.StatusPassing}
	for _, c := range s.checks {
		if id := c.current.ServiceID; id != "" && catalog.Fold(id) != catalog.Fold(svc.current.ID) {
			continue
		}
		h.Checks = append(h.Checks, s.view(c))
		status := c.current.Status
		if inMaintenance(c.current.CheckID) {
			status = catalog.StatusMaintenance
		}
		h.Status = catalog.Worse(h.Status, status)
	}
	slices.SortFunc(h.Checks, func(a, b *catalog.Check) int { return strings.Compare(a.CheckID, b.CheckID) })
	return h
}

func inMaintenance(checkID string) bool {
	return checkID == catalog.NodeMaintenance || strings.HasPrefix(checkID, catalog.ServiceMaintenancePrefix)
}
