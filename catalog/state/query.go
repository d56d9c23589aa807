package state

import (
	"cmp"
	"errors"
	"math"
	"net/netip"
	"slices"
	"strings"

	"muster/catalog"
)

// planQuery stores or removes a prepared query. What a query is called is its own:
// neither another's name, of a template or not, nor another's ID.
func planQuery(r reader, c *catalog.ChangeQuery) plan {
	q := c.Query
	if err := keyable("query ID", q.ID, q.Name); err != nil {
		return plan{err: err}
	}
	old := r.query(q.ID)
	switch {
	case c.Verb == catalog.QueryCreate && old != nil:
		return refuse(catalog.Conflict, "there is a prepared query %q already", q.ID)
	case c.Verb != catalog.QueryCreate && old == nil:
		return refuse(catalog.NotFound, "Cannot modify non-existent prepared query: '%s'", q.ID)
	case old != nil && c.Index != 0 && c.Index != old.ModifyIndex:
		return plan{value: false}
	case c.Verb == catalog.QueryDelete:
		return plan{removeQuery: old}
	case q.Session != "" && r.session(q.Session) == nil:
		return refuse(catalog.Invalid, "invalid session %q", q.Session)
	case r.query(q.Name) != nil:
		return refuse(catalog.Conflict, "name '%s' aliases an existing query ID", q.Name)
	}
	if same := r.queryNamed(q.Name); same != nil && same.ID != q.ID && q.Name != "" {
		return refuse(catalog.Conflict, "name '%s' aliases an existing query name", q.Name)
	} else if same != nil && same.ID != q.ID && q.IsTemplate() {
		return refuse(catalog.Conflict, "a query template with an empty name already exists")
	}
	q.Indexes = catalog.Indexes{}
	if old != nil {
		q.CreateIndex = old.CreateIndex
		if old.Same(&q) {
			return plan{value: q.ID}
		}
	}
	return plan{putQuery: &q, value: q.ID}
}

func (r reader) query(id string) *catalog.PreparedQuery {
	return first[*catalog.PreparedQuery](r, tableQueries, byID, nameKey(id))
}

// queryNamed finds the query of exactly this name, which of a template may be empty.
func (r reader) queryNamed(name string) *catalog.PreparedQuery {
	return first[*catalog.PreparedQuery](r, tableQueries, byName, nameKey(name))
}

func (w *writer) putQuery(q *catalog.PreparedQuery) {
	w.stamp(&q.Indexes)
	w.insert(tableQueries, q)
	w.touch(Topic{Kind: TopicQueries})
}

func (w *writer) removeQuery(q *catalog.PreparedQuery) {
	w.delete(tableQueries, q)
	w.touch(Topic{Kind: TopicQueries})
}

// endQueries removes the queries that end with a session.
func (w *writer) endQueries(session string) {
	for _, q := range slices.Collect(each[*catalog.PreparedQuery](w.reader, tableQueries, byQuerySession, nameKey(session))) {
		w.removeQuery(q)
	}
}

// Queries returns all prepared queries, sorted by ID.
func (v *View) Queries() []*catalog.PreparedQuery {
	v.Read(Topic{Kind: TopicQueries})
	return list(each[*catalog.PreparedQuery](v.reader, tableQueries, byIDPrefix, ""))
}

// Query returns the prepared query with an ID, nil if there is none.
func (v *View) Query(id string) *catalog.PreparedQuery {
	v.Read(Topic{Kind: TopicQueries})
	return v.query(id)
}

// FindQuery returns the prepared query that answers to an ID or name, nil if none
// does: that of the ID, else of the name, else the template with the longest name
// that it begins with. A template is expanded for the name; by its ID, which says
// nothing to expand it for, it can't be asked.
func (v *View) FindQuery(name string) (*catalog.PreparedQuery, error) {
	v.Read(Topic{Kind: TopicQueries})
	if name == "" || len(name) > catalog.MaxQueryName {
		return nil, nil
	}
	q := v.query(name)
	if q != nil && q.IsTemplate() {
		return nil, catalog.Errorf(catalog.Invalid, "prepared query templates can only be resolved up by name, not by ID")
	}
	for n := len(name); q == nil && n >= 0; n-- {
		if q = v.queryNamed(name[:n]); q != nil && n < len(name) && !q.IsTemplate() {
			q = nil
		}
	}
	if q == nil {
		return nil, nil
	}
	return q.Expand(name)
}

// Asker is who has a prepared query executed, and whom its Near may mean.
type Asker struct {
	Agent string     // the node of the agent that was asked
	Addr  netip.Addr // where the question came from
}

// Answer returns the instances that a prepared query finds: those that are healthy,
// and match all that it says. They are sorted by the estimated round trip from the
// node that is near, which comes first itself; nearest is false where there is no
// such node, or where it can't be told how far the others are.
func (v *View) Answer(q *catalog.PreparedQuery, from Asker) (found []Instance, nearest bool) {
	s := &q.Service
	if s.Service == "" || s.Failover.SkipLocalDatacenter {
		return []Instance{}, false
	}
	find := v.ServiceInstances
	if s.Connect {
		find = v.ConnectInstances
	}
	found = slices.DeleteFunc(find(s.Service), func(in Instance) bool {
		return !wanted(in.Checks, s) || !matchTags(in.Service.Tags, s.Tags) ||
			!within(s.NodeMeta, in.Node.Meta) || !within(s.ServiceMeta, in.Service.Meta)
	})
	near := s.Near
	switch near {
	case catalog.QueryNearAgent:
		near = from.Agent
	case catalog.QueryNearIP:
		near = v.nodeAt(from.Addr)
	}
	return found, v.sortByDistance(found, near)
}

// sortByDistance sorts instances by the estimated round trip from a node, what is
// equally far, or unknown, as before; it says whether there was anything to go by.
func (v *View) sortByDistance(found []Instance, node string) bool {
	isNear := func(in Instance) bool { return strings.EqualFold(in.Node.Node, node) }
	distance := v.Near(node)
	if distance == nil && !slices.ContainsFunc(found, isNear) {
		return false
	}
	far := make(map[string]float64, len(found))
	for _, in := range found {
		switch {
		case isNear(in):
			far[in.Node.Node] = -1
		case distance != nil:
			far[in.Node.Node] = distance(in.Node.Node)
		default:
			far[in.Node.Node] = math.Inf(1)
		}
	}
	slices.SortStableFunc(found, func(a, b Instance) int { return cmp.Compare(far[a.Node.Node], far[b.Node.Node]) })
	return true
}

// nodeAt finds the node that has an address, "" if none has.
func (v *View) nodeAt(addr netip.Addr) string {
	if !addr.IsValid() {
		return ""
	}
	text := addr.Unmap().WithZone("").String()
	for n := range each[*catalog.Node](v.reader, tableNodes, byIDPrefix, "") {
		if n.Address == text {
			return n.Node
		}
	}
	return ""
}

// wanted says whether an instance with these checks is healthy enough for a query.
func wanted(checks []*catalog.Check, s *catalog.ServiceQuery) bool {
	if s.IncludeAll {
		return true
	}
	for _, c := range checks {
		bad := c.Status == catalog.StatusCritical || s.OnlyPassing && c.Status != catalog.StatusPassing
		if bad && !slices.Contains(s.IgnoreCheckIDs, c.CheckID) {
			return false
		}
	}
	return true
}

// matchTags: a tag with "!" before it must not be there, the others must.
func matchTags(tags, want []string) bool {
	for _, w := range want {
		w, not := strings.CutPrefix(w, "!")
		if has := slices.ContainsFunc(tags, func(t string) bool { return strings.EqualFold(t, w) }); has == not {
			return false
		}
	}
	return true
}

// within says whether a map has all that another wants.
func within(want, has map[string]string) bool {
	for key, value := range want {
		if v, ok := has[key]; !ok || v != value {
			return false
		}
	}
	return true
}

func (l *loader) loadQuery(body []byte) error {
	q := new(catalog.PreparedQuery)
	if err := catalog.Unmarshal(body, q); err != nil {
		return err
	}
	err := errors.Join(keyable("query ID", q.ID, q.Name), l.known(q.CreateIndex, q.ModifyIndex), l.ascends(nameKey(q.ID)))
	switch {
	case err != nil:
		return err
	case q.Session != "" && l.session(q.Session) == nil:
		return errors.New("a prepared query is bound to a session that isn't there")
	case (q.Name != "" || q.IsTemplate()) && l.queryNamed(q.Name) != nil:
		return errors.New("two prepared queries have one name")
	}
	l.insert(tableQueries, q)
	return nil
}
