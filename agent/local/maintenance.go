package local

import (
	"muster/agent/checks"
	"muster/catalog"
)

const (
	serviceMaintenanceName = "Service Maintenance Mode"
	nodeMaintenanceName    = "Node Maintenance Mode"

	serviceMaintenanceReason = "Maintenance mode is enabled for this service, but no reason was provided. This is a default message."
	nodeMaintenanceReason    = "Maintenance mode is enabled for this node, but no reason was provided. This is a default message."
)

// MaintainService puts a service into maintenance mode, by a critical check that
// nobody runs, or ends it. The reason becomes the check's notes; one that is in
// maintenance already keeps the reason it has.
func (s *State) MaintainService(id string, on bool, reason string) error {
	if reason == "" {
		reason = serviceMaintenanceReason
	}
	return s.change(func() error {
		svc, ok := s.Service(id)
		if !ok {
			return unknownService(id)
		}
		return s.maintain(checks.Definition{
			CheckID:   catalog.ServiceMaintenancePrefix + svc.ID,
			Name:      serviceMaintenanceName,
			Notes:     reason,
			ServiceID: svc.ID,
		}, on)
	})
}

// MaintainNode does the same for the whole node.
func (s *State) MaintainNode(on bool, reason string) error {
	if reason == "" {
		reason = nodeMaintenanceReason
	}
	return s.change(func() error {
		return s.maintain(checks.Definition{
			CheckID: catalog.NodeMaintenance,
			Name:    nodeMaintenanceName,
			Notes:   reason,
		}, on)
	})
}

// maintain adds or removes a maintenance check. The caller holds changes.
func (s *State) maintain(d checks.Definition, on bool) error {
	key := catalog.Fold(d.CheckID)
	_, is := s.Check(d.CheckID)
	switch {
	case is == on:
		return nil
	case !on:
		s.removeChecks([]string{key})
		return nil
	}
	if err := s.newCheck(d, checks.TypeMaintenance).current.Validate(); err != nil {
		return err // a reason without measure, or no text
	}
	if err := s.journal.put(checkRecords, key, checkRecord{Definition: d, Maintenance: true}); err != nil {
		return err
	}
	s.putMaintenance(d)
	return nil
}

// putMaintenance puts a maintenance check into memory.
func (s *State) putMaintenance(d checks.Definition) {
	c := s.newCheck(d, checks.TypeMaintenance)
	c.source = SourceAPI
	s.mu.Lock()
	defer s.mu.Unlock()
	s.insert(c)
}
