package local

import (
	"reflect"
	"slices"
	"time"

	"muster/agent/checks"
	"muster/catalog"
)

// AddService registers or replaces a service and its checks. Checks that it had
// before and that are not named stay, unless the options say otherwise. A check
// that is registered again keeps its status; one that is registered again
// unchanged goes on undisturbed. The definitions are the State's from then on.
func (s *State) AddService(svc catalog.Service, defs []checks.Definition, o Options) error {
	r, err := s.prepareService(svc, defs, o)
	if err != nil {
		return err
	}
	return s.change(func() error {
		all, err := s.withSidecar(r, nil)
		for i := 0; i < len(all) && err == nil; i++ {
			err = s.register(all[i])
		}
		return err
	})
}

// RemoveService removes a service with its checks and its sidecar.
func (s *State) RemoveService(id string) error {
	return s.change(func() error { return s.removeService(id) })
}

// AddCheck registers or replaces a check of the node, or of the service that it
// names.
func (s *State) AddCheck(d checks.Definition, o Options) error {
	r, err := s.prepareCheck(d, o)
	if err != nil {
		return err
	}
	return s.change(func() error {
		if _, ok := s.Service(d.ServiceID); !ok && d.ServiceID != "" {
			return catalog.Errorf(catalog.NotFound, "ServiceID %q does not exist", d.ServiceID)
		}
		return s.register(r)
	})
}

// RemoveCheck removes a check.
func (s *State) RemoveCheck(id string) error {
	return s.change(func() error {
		if _, ok := s.Check(id); !ok {
			return unknownCheck(id)
		}
		s.removeChecks([]string{catalog.Fold(id)})
		return nil
	})
}

// register takes a prepared registration: into the journal, into memory, and
// then the checks begin to run. The caller holds changes.
func (s *State) register(r *registration) error {
	if r.options.Source == "" {
		r.options.Source = SourceAPI
	}
	if r.service == nil {
		s.spellServices(r.checks)
	}
	fresh := slices.DeleteFunc(slices.Clone(r.checks), func(d checks.Definition) bool { return s.hasCheck(d, r.options) })
	if err := s.persist(r, fresh); err != nil {
		return err
	}
	var dropped []string
	if r.service != nil && r.options.ReplaceChecks {
		dropped = s.checksOf(r.service.ID, func(c *check) bool {
			return c.current.Type != checks.TypeMaintenance && !slices.ContainsFunc(r.checks, func(d checks.Definition) bool {
				return catalog.Fold(d.CheckID) == catalog.Fold(c.def.CheckID)
			})
		})
	}
	s.put(r.service, fresh, r.options)
	s.removeChecks(dropped)
	return nil
}

// put puts a service and checks into memory, all in one step so that the Syncer
// can't see the one without the others, and runs the checks. Either may be
// absent. The caller holds changes.
func (s *State) put(own *catalog.Service, defs []checks.Definition, o Options) {
	for _, d := range defs {
		s.runner.Remove(s.runnerID(d.CheckID)) // no report of a predecessor follows
	}
	added := make([]*check, len(defs))
	s.mu.Lock()
	if own != nil {
		s.putService(own, o)
	}
	for i, d := range defs {
		added[i] = s.putCheck(d, o)
	}
	s.mu.Unlock()
	for _, c := range added {
		s.start(c)
	}
}

// spellServices gives checks the ID of their service as the service spells it.
func (s *State) spellServices(defs []checks.Definition) {
	for i := range defs {
		if svc, ok := s.Service(defs[i].ServiceID); ok {
			defs[i].ServiceID = svc.ID
		}
	}
}

// hasCheck says whether a check is there just as it is to be registered.
func (s *State) hasCheck(d checks.Definition, o Options) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := s.checks[catalog.Fold(d.CheckID)]
	return c != nil && c.runs && c.source == o.Source && c.token == o.Token && reflect.DeepEqual(c.def, d)
}

// putService puts a service into memory. One that says nothing new leaves all as
// it is, with the tags that others may have set. The caller holds mu.
func (s *State) putService(own *catalog.Service, o Options) {
	key := catalog.Fold(own.ID)
	svc := s.services[key]
	if svc == nil {
		svc = &service{}
		s.services[key] = svc
		delete(s.gone, item{goneService, key})
	}
	svc.source, svc.token, svc.sidecarOf = o.Source, o.Token, o.sidecarOf
	if svc.registered != nil && svc.registered.Same(own) {
		return
	}
	svc.registered, svc.current = own, own
	s.touch(&svc.mark)
	if s.recalled == nil {
		svc.ownTags = svc.version // what Load brings the catalog may know better
	}
	s.announce()
}

// putCheck puts a check into memory, in the place of its predecessor, whose
// status it keeps. The caller holds changes and mu.
func (s *State) putCheck(d checks.Definition, o Options) *check {
	c := s.newCheck(d, d.Type())
	c.source, c.token, c.runs = o.Source, o.Token, true
	if old := s.checks[catalog.Fold(d.CheckID)]; old != nil {
		c.current.Status, c.current.Output = old.current.Status, old.current.Output
		c.criticalSince, c.kept = old.criticalSince, old.kept
	} else {
		s.recall(c)
	}
	s.insert(c)
	return c
}

// insert puts the entry of a check into memory. The caller holds mu.
func (s *State) insert(c *check) {
	key := catalog.Fold(c.def.CheckID)
	if c.current.Status == catalog.StatusCritical && c.criticalSince.IsZero() {
		c.criticalSince = time.Now()
	}
	s.detach(key)
	s.checks[key] = c
	if service := catalog.Fold(c.def.ServiceID); service != "" {
		if s.attached[service] == nil {
			s.attached[service] = map[string]*check{}
		}
		s.attached[service][key] = c
	}
	delete(s.aliases, key)
	if s.followed(&c.def) {
		s.aliases[key] = c
	}
	delete(s.gone, item{goneCheck, key})
	s.touch(&c.mark)
	s.announce()
}

// detach takes a check from its service, if it is there and has one. The caller
// holds mu.
func (s *State) detach(key string) {
	c := s.checks[key]
	if c == nil {
		return
	}
	service := catalog.Fold(c.def.ServiceID)
	delete(s.attached[service], key)
	if len(s.attached[service]) == 0 {
		delete(s.attached, service)
	}
}

// start has the runner run a check.
func (s *State) start(c *check) {
	if after := c.def.DeregisterCriticalServiceAfter; after > 0 && after < minReapAfter {
		s.log.Warn("check has deregister interval below minimum", "check", c.def.CheckID, "minimum_interval", minReapAfter)
	}
	if s.followed(&c.def) {
		return // it has its state already
	}
	if err := s.runner.Add(c.def, c.current.Output); err != nil {
		s.observe(c.def.CheckID, catalog.StatusCritical, err.Error())
	}
}

// runnerID is the ID, in its own spelling, under which the runner may have a check.
func (s *State) runnerID(id string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if c := s.checks[catalog.Fold(id)]; c != nil {
		return c.def.CheckID
	}
	return id
}

// removeService removes a service with its checks and its sidecar. The caller
// holds changes.
func (s *State) removeService(id string) error {
	key := catalog.Fold(id)
	if _, ok := s.Service(id); !ok {
		return unknownService(id)
	}
	for _, sidecar := range s.sidecarsOf(key) {
		if err := s.removeService(sidecar); err != nil {
			return err
		}
	}
	s.journal.remove(serviceRecords, key)
	keys := s.checksOf(id, func(*check) bool { return true })
	s.mu.Lock()
	own := s.services[key].current.ID
	delete(s.services, key)
	s.bury(item{goneService, key}, own, "")
	ids := s.forget(keys)
	s.announce()
	s.mu.Unlock()
	s.retire(keys, ids)
	return nil
}

// removeChecks removes checks by their folded IDs. The caller holds changes.
func (s *State) removeChecks(keys []string) {
	if len(keys) == 0 {
		return
	}
	s.mu.Lock()
	ids := s.forget(keys)
	s.announce()
	s.mu.Unlock()
	s.retire(keys, ids)
}

// forget removes checks from memory and gives their IDs. The caller holds mu.
func (s *State) forget(keys []string) (ids []string) {
	for _, key := range keys {
		c := s.checks[key]
		s.detach(key)
		delete(s.checks, key)
		delete(s.aliases, key)
		s.bury(item{goneCheck, key}, c.def.CheckID, catalog.Fold(c.def.ServiceID))
		ids = append(ids, c.def.CheckID)
	}
	return ids
}

// retire stops checks that memory has forgotten, and forgets their records.
func (s *State) retire(keys, ids []string) {
	for i, key := range keys {
		s.runner.Remove(ids[i])
		s.journal.remove(checkRecords, key)
		s.journal.remove(reportRecords, key)
	}
}

// checksOf lists the folded IDs of a service's checks that a condition holds for.
func (s *State) checksOf(serviceID string, holds func(*check) bool) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var keys []string
	for key, c := range s.attached[catalog.Fold(serviceID)] {
		if holds(c) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}
