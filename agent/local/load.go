package local

import (
	"encoding/json"
	"errors"
	"fmt"
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

// persist keeps a registration over HTTP on disk, and takes away the files of
// one that config files define from now on. Checks go before their service: one
// that comes back alone after a crash is dropped, a service never comes back
// without its checks. The caller holds changes.
func (s *State) persist(r *registration, fresh []checks.Definition) error {
	for _, d := range fresh {
		var err error
		if key := catalog.Fold(d.CheckID); r.options.Source == SourceAPI {
			err = s.disk.put(checksDir, key, checkRecord{Definition: d, Token: r.options.Token})
		} else {
			err = s.disk.remove(checksDir, key)
		}
		if err != nil {
			return err
		}
	}
	if r.service == nil {
		return nil
	}
	key := catalog.Fold(r.service.ID)
	if r.options.Source != SourceAPI {
		return s.disk.remove(servicesDir, key)
	}
	s.mu.RLock()
	svc := s.services[key]
	kept := svc != nil && svc.source == SourceAPI && svc.token == r.options.Token && svc.sidecarOf == r.options.sidecarOf && svc.registered.Same(r.service)
	s.mu.RUnlock()
	if kept {
		return nil
	}
	return s.disk.put(servicesDir, key, serviceRecord{Service: r.service, Token: r.options.Token, SidecarOf: r.options.sidecarOf})
}

// Load fills the state from disk and config files, once, before Run. A kept
// registration that config files now define is dropped. A record that can't be
// read or is no longer allowed is logged and left where it is; a fault in the
// definitions is an error.
func (s *State) Load(defs Definitions) error {
	s.changes.Lock()
	defer s.changes.Unlock()
	s.recalled = map[string]ttlRecord{}
	defer func() { s.recalled = nil }()
	if err := errors.Join(s.loadReports(), s.loadServices()); err != nil {
		return err
	}
	kept := s.Services()
	if err := s.reload(defs); err != nil {
		return err
	}
	// Checks come last: they may belong to services of either sort.
	if err := s.loadChecks(kept); err != nil {
		return err
	}
	for key := range s.recalled {
		if _, ok := s.Check(key); !ok {
			if err := s.disk.remove(stateDir, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// Reload takes the services and checks of the config files as they are now:
// those no longer there are removed, those unchanged are left to run. It says
// all that is wrong with them at once, and then has changed nothing.
func (s *State) Reload(defs Definitions) error {
	s.changes.Lock()
	defer s.changes.Unlock()
	return s.reload(defs)
}

func (s *State) unreadable(path string, err error) {
	s.log.Error("a registration can't be restored; register it again, or repair or remove the file", "file", path, "error", err)
}

func (s *State) loadReports() error {
	return s.disk.each(stateDir, func(data []byte) error {
		var r ttlRecord
		if err := json.Unmarshal(data, &r); err != nil {
			return err
		}
		s.recalled[catalog.Fold(r.CheckID)] = r
		return nil
	}, s.unreadable)
}

func (s *State) loadServices() error {
	return s.disk.each(servicesDir, func(data []byte) error {
		var r serviceRecord
		if err := json.Unmarshal(data, &r); err != nil {
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
	}, s.unreadable)
}

// loadChecks brings back the kept checks, but for those that config files define
// by now, alone or by taking over the service that they were registered with.
// kept are the services that came from disk.
func (s *State) loadChecks(kept map[string]*catalog.Service) error {
	taken := map[string]bool{}
	for id := range kept {
		taken[catalog.Fold(id)] = s.sourceOf(id) == SourceConfig
	}
	return s.disk.each(checksDir, func(data []byte) error {
		var r checkRecord
		if err := json.Unmarshal(data, &r); err != nil {
			return err
		}
		d, o := r.Definition, Options{Source: SourceAPI, Token: r.Token}
		_, known := s.Service(d.ServiceID)
		_, defined := s.Check(d.CheckID)
		switch {
		case d.CheckID == "":
			return errors.New("holds no check")
		case defined, !known && d.ServiceID != "", taken[catalog.Fold(d.ServiceID)] && !r.Maintenance:
			return s.disk.remove(checksDir, catalog.Fold(d.CheckID))
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
	}, s.unreadable)
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
		if err := s.removeChecks([]string{key}); err != nil {
			return err
		}
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
