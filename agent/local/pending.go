package local

import (
	"cmp"
	"slices"
	"time"

	"muster/catalog"
)

// mark says how far the catalog has followed something. Versions are drawn from
// one counter, so no two states of anything ever share one.
type mark struct {
	version uint64 // of what stands here; 0 never
	synced  uint64 // the version that the catalog has
	refused uint64 // the version that the catalog would not take
}

func (m *mark) inSync() bool { return m.synced == m.version }

// due says whether the Syncer is to write. What was refused waits for a change,
// or for the next full sync.
func (m *mark) due() bool { return !m.inSync() && m.refused != m.version }

// item names one thing to keep in sync. The kinds are in the order of writing:
// what goes makes room first, and a service comes before checks alone.
type item struct {
	kind itemKind
	key  string // folded ID
}

type itemKind uint8

const (
	goneService itemKind = iota
	goneCheck
	ownService
	ownCheck
	ownNode
)

// tombstone is something to remove from the catalog.
type tombstone struct {
	mark
	id string
	// service is the folded ID of the service of a check. Where that goes too,
	// it takes the check with it.
	service string
}

// maxBatch is how many bytes of check output one write to the catalog carries at most.
const maxBatch = 256 << 10

// bury notes that something is to be removed from the catalog. The caller holds mu.
func (s *State) bury(it item, id, service string) {
	t := &tombstone{id: id, service: service}
	s.gone[it] = t
	s.touch(&t.mark)
}

// pending lists what differs from the catalog, in the order of writing.
func (s *State) pending() []item {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var items []item
	add := func(m *mark, it item) {
		if m.due() {
			items = append(items, it)
		}
	}
	for it, t := range s.gone {
		add(&t.mark, it)
	}
	for key, svc := range s.services {
		add(&svc.mark, item{ownService, key})
	}
	for key, c := range s.checks {
		add(&c.mark, item{ownCheck, key})
	}
	add(&s.nodeMark, item{kind: ownNode})
	slices.SortFunc(items, func(a, b item) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.key, b.key))
	})
	return items
}

// write is one request to the catalog, and what it brings into sync.
type write struct {
	register   *catalog.Register
	deregister *catalog.Deregister

	marks    []*mark
	versions []uint64 // of marks, as they are written
	what     string   // for the log
}

func (w *write) covers(m *mark) {
	w.marks = append(w.marks, m)
	w.versions = append(w.versions, m.version)
}

// command is the write with its source, as the catalog takes it.
func (w *write) command(source catalog.Source) catalog.Command {
	if w.deregister != nil {
		w.deregister.Source = source
		return w.deregister
	}
	w.register.Source = source
	return w.register
}

// maxWrites is how many writes go to the catalog at once.
const maxWrites = 64

// sent are the marks that writes under way cover, with the versions that they bring.
type sent map[*mark]uint64

// due says whether something is to be written that no write under way brings.
func (t sent) due(m *mark) bool { return m.due() && t[m] != m.version }

// writesFor gives the requests that bring the first of some items into sync as
// things stand now, and the items that are left for the next time.
func (s *State) writesFor(items []item) (writes []*write, left []item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	under := sent{}
	for i, it := range items {
		if len(writes) == maxWrites {
			return writes, items[i:]
		}
		if w := s.writeFor(it, under); w != nil {
			writes = append(writes, w)
			for i, m := range w.marks {
				under[m] = w.versions[i]
			}
		}
	}
	return writes, nil
}

// writeFor gives the request that brings an item into sync, with all that belongs
// to it; nil if it is in sync by now, or will be. The caller holds mu.
func (s *State) writeFor(it item, under sent) *write {
	switch it.kind {
	case goneService, goneCheck:
		if t := s.gone[it]; t != nil && under.due(&t.mark) {
			return s.removal(it, t)
		}
	case ownService:
		if svc := s.services[it.key]; svc != nil && under.due(&svc.mark) {
			w := s.registration("service " + svc.current.ID)
			w.register.Service = writable(svc.current)
			w.covers(&svc.mark)
			s.addChecks(w, it.key)
			return w
		}
	case ownCheck:
		if c := s.checks[it.key]; c != nil && under.due(&c.mark) {
			w := s.registration("check " + c.current.CheckID)
			s.addCheck(w, c)
			return w
		}
	case ownNode:
		if under.due(&s.nodeMark) {
			return s.registration("node")
		}
	}
	return nil
}

// removal gives the request that removes something. The caller holds mu.
func (s *State) removal(it item, t *tombstone) *write {
	w := &write{deregister: &catalog.Deregister{Node: s.node.Node}}
	w.covers(&t.mark)
	if it.kind == goneCheck {
		w.what, w.deregister.CheckID = "check "+t.id, t.id
		return w
	}
	w.what, w.deregister.ServiceID = "service "+t.id, t.id
	for other, u := range s.gone {
		if other.kind == goneCheck && u.service == it.key {
			w.covers(&u.mark)
		}
	}
	return w
}

// registration begins a register, which brings the node along where that is due.
// The caller holds mu.
func (s *State) registration(what string) *write {
	w := &write{what: what, register: &catalog.Register{Node: s.node, SkipNodeUpdate: s.nodeMark.inSync()}}
	if !w.register.SkipNodeUpdate {
		w.covers(&s.nodeMark)
	}
	return w
}

// writable gives a copy that its receiver may normalise in place.
func writable(svc *catalog.Service) *catalog.Service {
	own := *svc
	own.Proxy = svc.Proxy.Clone()
	return &own
}

// fence gives a write that changes nothing but how far this agent's numbers have
// come: whatever it sent before can't take effect any more once this one has.
func (s *State) fence() *write {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.registration("node")
}

// addChecks adds the checks of a service that are not in sync, as many as one
// request carries. The caller holds mu.
func (s *State) addChecks(w *write, serviceKey string) {
	size := 0
	for _, c := range s.attached[serviceKey] {
		if !c.due() {
			continue
		}
		if size += len(c.current.Output) + len(c.current.Notes); size > maxBatch && len(w.register.Checks) > 0 {
			return
		}
		s.addCheck(w, c)
	}
}

func (s *State) addCheck(w *write, c *check) {
	c.outputDue = time.Time{}
	w.register.Checks = append(w.register.Checks, *s.view(c))
	w.covers(&c.mark)
}

// done notes that the catalog has taken a write. What changed meanwhile stays
// to be written.
func (s *State) done(w *write) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, m := range w.marks {
		m.synced = w.versions[i]
	}
	for it, t := range s.gone {
		if t.inSync() {
			delete(s.gone, it)
		}
	}
}

// refuse notes that the catalog will not take a write as it is.
func (s *State) refuse(w *write) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, m := range w.marks {
		m.refused = w.versions[i]
	}
}

// releaseOutputs makes outputs whose time has come due, and gives the time of
// the next one, zero if there is none.
func (s *State) releaseOutputs(now time.Time) (next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.checks {
		switch due := c.outputDue; {
		case due.IsZero():
		case !now.Before(due):
			c.outputDue = time.Time{}
			s.touch(&c.mark)
		case next.IsZero() || due.Before(next):
			next = due
		}
	}
	return next
}
