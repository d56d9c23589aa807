package state

import (
	"maps"
	"slices"
	"strings"

	"muster/catalog"
)

// plan is what a command is going to write. It is made by reading alone, so that
// a command either is refused whole or carried out whole.
type plan struct {
	err error

	removeNodes    []*catalog.Node
	removeServices []*serviceRow
	removeChecks   []*catalog.Check
	node           *catalog.Node
	service        *serviceRow
	checks         []*catalog.Check
	source         *sourceRow
	coordinates    []*catalog.NodeCoordinate
	removeKV       []*catalog.KVPair
	putKV          []*catalog.KVPair
	removeSession  *catalog.Session
	putSession     *catalog.Session
	endDelays      []*catalog.LockDelay
	autopilot      *catalog.Autopilot
	putQuery       *catalog.PreparedQuery
	removeQuery    *catalog.PreparedQuery
	putConfig      *catalog.ConfigEntry
	removeConfig   *catalog.ConfigEntry
	forget         []*onceRow
	ca             *catalog.CA

	value any // of the result
}

// changes reports whether carrying the plan out makes any difference.
func (p *plan) changes() bool {
	return len(p.removeNodes)+len(p.removeServices)+len(p.removeChecks)+len(p.checks)+len(p.coordinates)+
		len(p.removeKV)+len(p.putKV)+len(p.endDelays)+len(p.forget) > 0 || p.removeSession != nil || p.putSession != nil ||
		p.putQuery != nil || p.removeQuery != nil || p.putConfig != nil || p.removeConfig != nil ||
		p.autopilot != nil || p.ca != nil || p.node != nil || p.service != nil || p.source != nil
}

// result is what the command answers.
func (p *plan) result() catalog.Result {
	return catalog.Result{Changed: p.changes(), Value: p.value, Err: p.err}
}

// operations is the apply table: one row for each command there is. A row reads
// no clock, no configuration and no random number, and never calls Validate,
// whose rules may differ between the releases in one cluster.
var operations = map[catalog.Op]func(reader, catalog.Command) plan{
	catalog.OpRegister:    row(planRegister),
	catalog.OpDeregister:  row(planDeregister),
	catalog.OpCoordinates: row(planCoordinates),
	catalog.OpKV:          row(planKV),

	catalog.OpCreateSession:  row(planCreateSession),
	catalog.OpDestroySession: row(planDestroySession),
	catalog.OpEndLockDelays:  row(planEndLockDelays),

	catalog.OpSetAutopilot: row(planSetAutopilot),

	catalog.OpChangeQuery: row(planQuery),
	catalog.OpSetConfig:   row(planSetConfig),

	catalog.OpForgetOutcomes: row(planForgetOutcomes),

	catalog.OpSetCA: row(planSetCA),
}

func row[C catalog.Command](f func(reader, C) plan) func(reader, catalog.Command) plan {
	return func(r reader, c catalog.Command) plan { return f(r, c.(C)) }
}

func planCommand(r reader, c catalog.Command) plan {
	operation, ok := operations[c.Op()]
	if !ok {
		return refuse(catalog.Invalid, "unknown operation %d", c.Op())
	}
	return operation(r, c)
}

func refuse(kind catalog.Kind, format string, args ...any) plan {
	return plan{err: catalog.Errorf(kind, format, args...)}
}

// planRegister puts a node, one service on it, and checks.
func planRegister(r reader, c *catalog.Register) plan {
	if err := keyable("node name", c.Node.Node, c.Node.ID, c.Source.NodeID); err != nil {
		return plan{err: err}
	}
	var p plan
	if stale := p.follow(r, c.Source); stale {
		return plan{}
	}
	given := make(map[string]int, len(c.Checks)) // folded check ID to its last position
	for i := range c.Checks {
		given[catalog.Fold(c.Checks[i].CheckID)] = i
	}
	name := p.putNode(r, c)
	service := c.Service
	if p.err == nil && service != nil {
		p.putService(r, name, *service, given)
		if p.service != nil {
			service = p.service.service // whose texts the checks share
		}
	}
	for i := 0; p.err == nil && i < len(c.Checks); i++ {
		if given[catalog.Fold(c.Checks[i].CheckID)] == i {
			p.putCheck(r, name, c.Checks[i], service)
		}
	}
	if p.err != nil {
		return plan{err: p.err}
	}
	return p
}

// follow notes how far the commands of a source have come, and reports whether
// this one comes too late to count.
func (p *plan) follow(r reader, s catalog.Source) (stale bool) {
	if s.NodeID == "" {
		return false
	}
	if old := r.source(s.NodeID); old != nil && s.Seq <= old.Seq {
		return true
	}
	p.source = &sourceRow{NodeID: catalog.Fold(s.NodeID), Seq: s.Seq}
	return false
}

// putNode plans the node of a register and returns its name as it is stored. A
// name belongs to its holder while that holder's serfHealth says it lives; an ID
// takes a name that is free with it, and leaves its old one with all that was there.
func (p *plan) putNode(r reader, c *catalog.Register) (name string) {
	node := c.Node
	holder := r.node(node.Node)
	if c.SkipNodeUpdate && holder != nil {
		return holder.Node
	}
	before := holder
	if node.ID != "" {
		self := r.nodeByID(node.ID)
		renamed := self != nil && catalog.Fold(self.Node) != catalog.Fold(node.Node)
		switch {
		case renamed && holder != nil && alive(r, holder):
			p.err = catalog.Errorf(catalog.Conflict,
				"failed inserting node: Error while renaming Node ID: %q (%s): Node name %s is reserved by node %s with name %s (%s)",
				node.ID, node.Address, node.Node, holder.ID, holder.Node, holder.Address)
			return ""
		case self == nil && holder != nil && holder.ID != "" && alive(r, holder):
			p.err = catalog.Errorf(catalog.Conflict,
				"failed inserting node: Error while renaming Node ID: %q: Node name %s is reserved by node %s with name %s (%s)",
				node.ID, node.Node, holder.ID, holder.Node, holder.Address)
			return ""
		case renamed:
			p.removeNodes = append(p.removeNodes, self)
			before = self
		}
	}
	if before != nil && before.Same(&node) {
		return before.Node
	}
	node.Indexes = catalog.Indexes{}
	if before != nil {
		node.CreateIndex = before.CreateIndex
	}
	p.node = &node
	return node.Node
}

// alive reports whether gossip's verdict on a node, where there is one, is
// anything but critical.
func alive(r reader, n *catalog.Node) bool {
	c := r.check(n.Node, catalog.SerfHealth)
	return c != nil && c.Status != catalog.StatusCritical
}

// putService plans an instance and lets its checks follow its name and tags, but
// for those that the command gives itself.
func (p *plan) putService(r reader, node string, s catalog.Service, given map[string]int) {
	if p.err = keyableService(&s); p.err != nil {
		return
	}
	old := r.service(node, s.ID)
	if old != nil && old.service.Same(&s) {
		return
	}
	s.Indexes = catalog.Indexes{}
	if old != nil {
		s.CreateIndex = old.service.CreateIndex
	}
	r.share(&s)
	p.service = &serviceRow{node: catalog.Fold(node), service: &s}
	if old == nil || old.service.Service == s.Service && slices.Equal(old.service.Tags, s.Tags) {
		return
	}
	for c := range r.checksOf(node, s.ID) {
		if _, ok := given[catalog.Fold(c.CheckID)]; ok {
			continue
		}
		follows := *c
		follows.ServiceName, follows.ServiceTags = s.Service, s.Tags
		p.checks = append(p.checks, &follows)
	}
}

// share has an instance that is about to be stored refer to those texts of another
// instance of its service that are the same in both, as most are: it stands for a
// third of what an instance takes in memory.
func (r reader) share(s *catalog.Service) {
	s.Share()
	row := first[*serviceRow](r, tableServices, byService, nameKey(s.Service))
	if row == nil {
		return
	}
	other := row.service
	if s.Service == other.Service {
		s.Service = other.Service
	}
	if len(s.Tags) > 0 && slices.Equal(s.Tags, other.Tags) {
		s.Tags = other.Tags
	}
	if len(s.Meta) > 0 && maps.Equal(s.Meta, other.Meta) {
		s.Meta = other.Meta
	}
	if len(s.TaggedAddresses) > 0 && maps.Equal(s.TaggedAddresses, other.TaggedAddresses) {
		s.TaggedAddresses = other.TaggedAddresses
	}
}

// putCheck plans a check. Its service is that of the same command or one that is
// already there.
func (p *plan) putCheck(r reader, node string, c catalog.Check, s *catalog.Service) {
	if p.err = keyable("check ID", c.CheckID, c.ServiceID, c.Status); p.err != nil {
		return
	}
	c.Share()
	c.Node = node
	c.ServiceName, c.ServiceTags = "", []string{}
	if c.ServiceID != "" {
		if s == nil || catalog.Fold(s.ID) != catalog.Fold(c.ServiceID) {
			row := r.service(node, c.ServiceID)
			if row == nil {
				p.err = catalog.Errorf(catalog.Invalid, "Unknown service ID '%s' for check ID '%s'", c.ServiceID, c.CheckID)
				return
			}
			s = row.service
		}
		c.ServiceID, c.ServiceName, c.ServiceTags = s.ID, s.Service, s.Tags
	}
	old := r.check(node, c.CheckID)
	if old != nil && old.Same(&c) {
		return
	}
	c.Indexes = catalog.Indexes{}
	if old != nil {
		c.CreateIndex = old.CreateIndex
	}
	p.checks = append(p.checks, &c)
}

// planDeregister removes a service, a check or a node.
func planDeregister(r reader, c *catalog.Deregister) plan {
	if err := keyable("node name", c.Node, c.ServiceID, c.CheckID, c.Source.NodeID); err != nil {
		return plan{err: err}
	}
	var p plan
	if stale := p.follow(r, c.Source); stale {
		return plan{}
	}
	switch {
	case c.ServiceID != "":
		if s := r.service(c.Node, c.ServiceID); s != nil {
			p.removeServices = append(p.removeServices, s)
		}
	case c.CheckID != "":
		if check := r.check(c.Node, c.CheckID); check != nil {
			p.removeChecks = append(p.removeChecks, check)
		}
	default:
		if n := r.node(c.Node); n != nil {
			p.removeNodes = append(p.removeNodes, n)
		}
	}
	return p
}

// planCoordinates sets the coordinates of the nodes that are there; of several
// for one node the last counts.
func planCoordinates(r reader, c *catalog.Coordinates) plan {
	last := make(map[string]int, len(c.Updates))
	for i := range c.Updates {
		last[catalog.Fold(c.Updates[i].Node)] = i
	}
	var p plan
	for i := range c.Updates {
		u := c.Updates[i]
		if u.Coord == nil || keyable("node name", u.Node) != nil || last[catalog.Fold(u.Node)] != i {
			continue
		}
		node := r.node(u.Node)
		if node == nil {
			continue
		}
		u.Node = node.Node
		if old := r.coordinate(u.Node); old == nil || !old.Same(&u) {
			p.coordinates = append(p.coordinates, &u)
		}
	}
	return p
}

// keyable refuses names that can't be part of a key: the first where it is empty,
// and any with NUL, which ends names in keys.
func keyable(what, name string, others ...string) error {
	if name == "" {
		return catalog.Errorf(catalog.Invalid, "the %s must not be empty", what)
	}
	bad := func(s string) bool { return strings.IndexByte(s, 0) >= 0 }
	if bad(name) {
		return catalog.Errorf(catalog.Invalid, "%q contains a NUL character", name)
	}
	if i := slices.IndexFunc(others, bad); i >= 0 {
		return catalog.Errorf(catalog.Invalid, "%q contains a NUL character", others[i])
	}
	return nil
}

func keyableService(s *catalog.Service) error {
	if err := keyable("service ID", s.ID, s.MeshName()); err != nil {
		return err
	}
	return keyable("service name", s.Service)
}
