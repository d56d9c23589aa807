package local

import (
	"context"
	"time"

	"muster/catalog"
)

const (
	// minReapAfter is the least that DeregisterCriticalServiceAfter counts for.
	minReapAfter = time.Minute
	// reapInterval is how often it is looked at.
	reapInterval = 30 * time.Second
)

// ttlRecord is the last report on a TTL check, on disk.
type ttlRecord struct {
	CheckID, Status, Output string
	// Expires is until when the status counts after a restart.
	Expires time.Time
}

// UpdateTTL is a service's report on its TTL check. A new status is on disk when it
// returns, a new output alone soon after.
func (s *State) UpdateTTL(id, status, output string) error {
	ticket, err := s.report(id, status, output)
	if err != nil {
		return err
	}
	return s.journal.wait(ticket)
}

// report makes a report count, and gives the ticket by which to wait for it.
func (s *State) report(id, status, output string) (ticket uint64, err error) {
	s.changes.Lock()
	defer s.changes.Unlock()
	if _, ok := s.Check(id); !ok {
		return 0, unknownCheck(id)
	}
	if err := s.runner.SetTTL(s.runnerID(id), status, output); err != nil {
		return 0, err
	}
	return s.keepReport(id)
}

// keepReport keeps the status of a TTL check. A service that says the same again and
// again costs a write every quarter of its TTL only, which nobody waits for; what
// is on disk then runs out that much earlier after a restart.
func (s *State) keepReport(id string) (ticket uint64, err error) {
	if s.journal == nil {
		return 0, nil
	}
	key := catalog.Fold(id)
	s.mu.RLock()
	c := s.checks[key]
	now := ttlRecord{CheckID: c.current.CheckID, Status: c.current.Status, Output: c.current.Output, Expires: time.Now().Add(c.def.TTL)}
	kept, slack := c.kept, c.def.TTL/4
	s.mu.RUnlock()
	if now.Status == kept.Status && now.Output == kept.Output && now.Expires.Sub(kept.Expires) < slack {
		return 0, nil
	}
	if now.Status == kept.Status {
		err = s.journal.later(reportRecords, key, now)
	} else if err = s.journal.put(reportRecords, key, now); err == nil {
		ticket = s.journal.end()
	}
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	c.kept = now
	s.mu.Unlock()
	return ticket, nil
}

// observe takes what a check found.
func (s *State) observe(checkID, status, output string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.checks[catalog.Fold(checkID)]; c != nil && s.settle(c, status, output, time.Now()) {
		s.announce()
	}
}

// settle gives a check its state and says whether it is another one. A new
// status is for the catalog at once; a new output alone waits for its time, or
// for the next write of the check. The caller holds mu.
func (s *State) settle(c *check, status, output string, now time.Time) bool {
	if s.cfg.DiscardCheckOutput {
		output = ""
	}
	if c.current.Status == status && c.current.Output == output {
		return false
	}
	flipped := c.current.Status != status
	next := *c.current
	next.Status, next.Output = status, output
	c.current = &next
	switch {
	case flipped:
		c.criticalSince = time.Time{}
		if status == catalog.StatusCritical {
			c.criticalSince = now
			s.log.Warn("check is now critical", "check", next.CheckID)
		}
		fallthrough
	case s.cfg.CheckUpdateInterval == 0:
		c.outputDue = time.Time{}
		s.touch(&c.mark)
	case c.outputDue.IsZero():
		c.outputDue = now.Add(s.cfg.CheckUpdateInterval)
		s.nudge() // the Syncer is to wait until then at most
	}
	return true
}

// reap removes services that a check has found critical for too long, until ctx ends.
func (s *State) reap(ctx context.Context) {
	ticker := time.NewTicker(reapInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.reapOnce(time.Now())
		}
	}
}

func (s *State) reapOnce(now time.Time) {
	for id, checkID := range s.overdue(now) {
		s.log.Info("deregistering service: its check is critical for too long", "service", id, "check", checkID)
		if err := s.RemoveService(id); err != nil {
			s.log.Error("deregister a critical service", "service", id, "error", err)
		}
	}
}

// overdue gives the services to be removed, each with the check that says so.
func (s *State) overdue(now time.Time) map[string]string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	over := map[string]string{}
	for _, c := range s.checks {
		after := c.def.DeregisterCriticalServiceAfter
		if after == 0 || c.def.ServiceID == "" || c.criticalSince.IsZero() {
			continue
		}
		if now.Sub(c.criticalSince) >= max(after, minReapAfter) {
			over[c.def.ServiceID] = c.def.CheckID
		}
	}
	return over
}
