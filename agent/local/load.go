package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"muster/agent/checks"
	"muster/catalog"
)

// serviceRecord is a service on disk.
type serviceRecord struct {
	Service   *catalog.Service
	Token     string
	SidecarOf string `json:",omitempty"` // ID of the service that it goes with
}

// checkRecord is a check on disk. A maintenance check is not run.
type checkRecord struct {
	Definition  checks.Definition
	Maintenance bool
	Token       string
}

// persist keeps a registration over HTTP, and forgets what was kept of one that
// config files define from now on. The caller holds changes.
func (s *State) persist(r *registration, fresh []checks.Definition) error {
	for _, d := range fresh {
		key := catalog.Fold(d.CheckID)
		if r.options.Source != SourceAPI {
			s.journal.remove(checkRecords, key)
		} else if err := s.journal.put(checkRecords, key, checkRecord{Definition: d, Token: r.options.Token}); err != nil {
			return err
		}
	}
	if r.service == nil {
		return nil
	}
	key := catalog.Fold(r.service.ID)
	if r.options.Source != SourceAPI {
		s.journal.remove(serviceRecords, key)
		return nil
	}
	s.mu.RLock()
	svc := s.services[key]
	kept := svc != nil && svc.source == SourceAPI && svc.token == r.options.Token && svc.sidecarOf == r.options.sidecarOf && svc.registered.Same(r.service)
	s.mu.RUnlock()
	if kept {
		return nil
	}
	return s.journal.put(serviceRecords, key, serviceRecord{Service: r.service, Token: r.options.Token, SidecarOf: r.options.sidecarOf})
}

// Load fills the state from disk and config files, once, before Run. A kept
// registration that config files now define is dropped. A record that can't be
// read or is no longer allowed is logged and kept; a fault in the
// definitions is an error.
func (s *State) Load(defs Definitions) error {
	return s.change(func() error { return s.load(defs) })
}

// load does Load's work. The caller holds changes.
func (s *State) load(defs Definitions) error {
	s.recalled = map[string]ttlRecord{}
	defer func() { s.recalled = nil }()
	s.loadReports()
	s.loadServices()
	kept := s.Services()
	if err := s.reload(defs); err != nil {
		return err
	}
	// Checks come last: they may belong to services of either sort.
	s.loadChecks(kept)
	for key := range s.recalled {
		if _, ok := s.Check(key); !ok {
			s.journal.remove(reportRecords, key)
		}
	}
	return nil
}

// Reload takes the services and checks of the config files as they are now:
// those no longer there are removed, those unchanged are left to run. It says
// all that is wrong with them at once, and then has changed nothing.
func (s *State) Reload(defs Definitions) error {
	return s.change(func() error { return s.reload(defs) })
}

// restore has each record of a kind taken, in the order of their IDs.
func (s *State) restore(kind recordKind, take func(record []byte) error) {
	records := s.journal.records(kind)
	for _, id := range slices.Sorted(maps.Keys(records)) {
		if err := take(records[id]); err != nil {
			s.log.Error("what was registered can't be restored; register it again", string(kind), id, "error", err)
		}
	}
}

func (s *State) loadReports() {
	s.restore(reportRecords, func(record []byte) error {
		var r ttlRecord
		if err := json.Unmarshal(record, &r); err != nil {
			return err
		}
		s.recalled[catalog.Fold(r.CheckID)] = r
		return nil
	})
}

func (s *State) loadServices() {
	s.restore(serviceRecords, func(record []byte) error {
		var r serviceRecord
		if err := json.Unmarshal(record, &r); err != nil {
			return err
		}
		if r.Service == nil {
			return errors.New("holds no service")
		}
		o := Options{Source: SourceAPI, Token: r.Token, sidecarOf: r.SidecarOf}
		reg, err := s.prepareService(*r.Service, nil, o)
		if err != nil {
			return err
		}
		s.put(reg.service, nil, o)
		return nil
	})
}

// loadChecks brings back the kept checks, but for those that config files define
// by now, alone or by taking over the service that they were registered with.
// kept are the services that came from disk.
func (s *State) loadChecks(kept map[string]*catalog.Service) {
	taken := map[string]bool{}
	for id := range kept {
		taken[catalog.Fold(id)] = s.sourceOf(id) == SourceConfig
	}
	s.restore(checkRecords, func(record []byte) error {
		var r checkRecord
		if err := json.Unmarshal(record, &r); err != nil {
			return err
		}
		d, o := r.Definition, Options{Source: SourceAPI, Token: r.Token}
		_, known := s.Service(d.ServiceID)
		_, defined := s.Check(d.CheckID)
		switch {
		case d.CheckID == "":
			return errors.New("holds no check")
		case defined, !known && d.ServiceID != "", taken[catalog.Fold(d.ServiceID)] && !r.Maintenance:
			s.journal.remove(checkRecords, catalog.Fold(d.CheckID))
			return nil
		case r.Maintenance:
			s.putMaintenance(d)
		default:
			if err := s.validateCheck(d, SourceAPI); err != nil {
				s.putBroken(d, o, err)
				return err
			}
			s.put(nil, []checks.Definition{d}, o)
		}
		return nil
	})
}

// sourceOf says where a service came from, "" if there is none.
func (s *State) sourceOf(id string) Source {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if svc := s.services[catalog.Fold(id)]; svc != nil {
		return svc.source
	}
	return ""
}

// putBroken puts a check into memory that is not allowed to run any more, as
// scripts after they were disabled. It is critical: its service must not seem
// healthier than when the check ran.
func (s *State) putBroken(d checks.Definition, o Options, reason error) {
	d.Status = catalog.StatusCritical
	c := s.newCheck(d, d.Type())
	c.source, c.token = o.Source, o.Token
	c.current.Output = "This check can't be run: " + reason.Error()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.insert(c)
}

// recall gives a TTL check the status of its last report before the restart, if
// that still counts. The caller holds changes.
func (s *State) recall(c *check) {
	r, ok := s.recalled[catalog.Fold(c.def.CheckID)]
	if ok && c.def.TTL > 0 && time.Now().Before(r.Expires) {
		c.current.Status, c.current.Output, c.kept = r.Status, r.Output, r
	}
}

// reload does Reload's work. The caller holds changes.
func (s *State) reload(defs Definitions) error {
	all, err := s.prepareAll(defs)
	if err != nil {
		return err
	}
	services, checkIDs := map[string]bool{}, map[string]bool{}
	for _, r := range all {
		if r.service != nil {
			services[catalog.Fold(r.service.ID)] = true
		}
		for _, d := range r.checks {
			checkIDs[catalog.Fold(d.CheckID)] = true
		}
	}
	if err := s.clear(services, checkIDs); err != nil {
		return err
	}
	for _, r := range all {
		if err := s.register(r); err != nil {
			return err
		}
	}
	return nil
}

// clear removes what config files defined and define no longer, and services
// over HTTP whose ID they define now, with all their checks. The caller holds changes.
func (s *State) clear(services, checkIDs map[string]bool) error {
	var outServices, outChecks []string
	s.mu.RLock()
	for key, svc := range s.services {
		if (svc.source == SourceConfig) != services[key] {
			outServices = append(outServices, key)
		}
	}
	for key, c := range s.checks {
		if c.source == SourceConfig && !checkIDs[key] {
			outChecks = append(outChecks, key)
		}
	}
	s.mu.RUnlock()
	for _, key := range outServices {
		if _, ok := s.Service(key); !ok {
			continue // it went with the service whose sidecar it was
		}
		if err := s.removeService(key); err != nil {
			return err
		}
	}
	for _, key := range outChecks {
		if _, ok := s.Check(key); !ok {
			continue // it went with its service
		}
		s.removeChecks([]string{key})
	}
	return nil
}

// prepareAll validates all definitions and says everything that is wrong.
func (s *State) prepareAll(defs Definitions) ([]*registration, error) {
	var all []*registration
	var faults []error
	seen := map[string]bool{}
	unique := func(what, id string) {
		if seen[what+catalog.Fold(id)] {
			faults = append(faults, fmt.Errorf("%s %q is defined twice", what, id))
		}
		seen[what+catalog.Fold(id)] = true
	}
	for _, def := range defs.Services {
		r, err := s.prepareService(def.Service, def.Checks, Options{Source: SourceConfig, Token: def.Token, Sidecar: def.Sidecar})
		var both []*registration
		if err == nil {
			both, err = s.withSidecar(r, all)
		}
		if err != nil {
			faults = append(faults, catalog.Errorf(catalog.KindOf(err), "Failed to register service %q: %v", def.Service.Service, err))
			continue
		}
		for _, r := range both {
			unique("service", r.service.ID)
			for _, d := range r.checks {
				unique("check", d.CheckID)
			}
		}
		all = append(all, both...)
	}
	for _, def := range defs.Checks {
		r, err := s.prepareCheck(def.Check, Options{Source: SourceConfig, Token: def.Token})
		if err == nil && def.Check.ServiceID != "" && !seen["service"+catalog.Fold(def.Check.ServiceID)] {
			if _, ok := s.Service(def.Check.ServiceID); !ok {
				err = catalog.Errorf(catalog.NotFound, "ServiceID %q does not exist", def.Check.ServiceID)
			}
		}
		if err != nil {
			faults = append(faults, catalog.Errorf(catalog.KindOf(err), "Failed to register check %q: %v", def.Check.Name, err))
			continue
		}
		unique("check", r.checks[0].CheckID)
		all = append(all, r)
	}
	return all, errors.Join(faults...)
}
