package state

import (
	"fmt"
	"slices"

	"muster/catalog"
)

// Bounds on what is remembered of things that are no longer there. They decide
// what apply does, so they are the same on every server of a cluster.
const (
	maxGone    = 8192
	maxSources = 65536
)

// move says that a topic is now at an index.
type move struct {
	topic Topic
	index uint64
}

// writer carries out plans in one write transaction and notes what they move.
type writer struct {
	reader
	meta  metaRow
	index uint64 // of the entry that is being applied
	moves []move // of the whole transaction; moves[begin:] are this entry's
	begin int

	restored bool // the whole catalog was replaced: everybody is to look again
}

// apply carries out a command as entry index's, in the catalog's count.
func (w *writer) apply(index uint64, cmd catalog.Command) catalog.Result {
	switch cmd := cmd.(type) {
	case *catalog.Txn:
		return w.applyTxn(index, cmd)
	case *catalog.Restore:
		return w.restore(index, cmd)
	case *catalog.Batch:
		return w.applyBatch(index, cmd)
	case *catalog.Once:
		return w.applyOnce(index, cmd)
	}
	p := planCommand(w.reader, cmd)
	if p.changes() {
		w.carryOut(index, &p)
	}
	return p.result()
}

// carryOut writes a plan as entry index's.
func (w *writer) carryOut(index uint64, p *plan) {
	w.open(index)
	w.write(p)
	w.close()
}

// open begins an entry. What it moves counts once it is closed.
func (w *writer) open(index uint64) { w.index, w.begin = index, len(w.moves) }

// close ends an entry that changed something. What is gone is buried only here:
// a topic that is buried and comes back must do so at another index.
func (w *writer) close() {
	w.reap()
	w.bury()
}

// write carries out a plan within an open entry. Removals come first: a node that
// is renamed frees its ID for the row under its new name.
func (w *writer) write(p *plan) {
	for _, n := range p.removeNodes {
		w.removeNode(n)
	}
	for _, s := range p.removeServices {
		w.removeService(s)
	}
	for _, c := range p.removeChecks {
		w.removeCheck(c)
	}
	if p.node != nil {
		w.putNode(p.node)
	}
	if p.service != nil {
		w.putService(p.service)
	}
	for _, c := range p.checks {
		w.putCheck(c)
	}
	if p.source != nil {
		w.putSource(p.source)
	}
	for _, c := range p.coordinates {
		w.insert(tableCoords, c)
		w.touch(Topic{Kind: TopicCoordinates})
	}
	if p.removeSession != nil {
		w.removeSession(p.removeSession)
	}
	if p.putSession != nil {
		w.putSession(p.putSession)
	}
	for _, d := range p.endDelays {
		w.delete(tableDelays, d)
		w.touch(Topic{Kind: TopicLockDelays})
	}
	for _, e := range p.removeKV {
		w.removeKV(e)
	}
	for _, e := range p.putKV {
		w.putKV(e)
	}
	for _, row := range p.forget {
		w.forgetOutcome(row)
	}
	if p.removeConfig != nil {
		w.removeConfig(p.removeConfig)
	}
	if p.putConfig != nil {
		w.putConfig(p.putConfig)
	}
	if p.autopilot != nil {
		w.putAutopilot(p.autopilot)
	}
	if p.ca != nil {
		w.putCA(p.ca)
	}
	if p.removeQuery != nil {
		w.removeQuery(p.removeQuery)
	}
	if p.putQuery != nil {
		w.putQuery(p.putQuery)
	}
}

func (w *writer) putNode(n *catalog.Node) {
	w.stamp(&n.Indexes)
	w.insert(tableNodes, n)
	w.touchNode(n)
}

func (w *writer) removeNode(n *catalog.Node) {
	// Collected first: an iterator doesn't outlive a write to what it ranges over.
	for _, s := range slices.Collect(w.sessionsOn(n.Node)) {
		w.removeSession(s)
	}
	checks := slices.Collect(w.checksOn(n.Node))
	services := slices.Collect(w.servicesOn(n.Node))
	w.touchNode(n)
	w.touch(topicOf(TopicNodeChecks, n.Node))
	for _, c := range checks {
		w.deleteCheck(c)
		w.touchCheckLists(c)
	}
	for _, s := range services {
		w.removeService(s)
	}
	if c := w.coordinate(n.Node); c != nil {
		w.delete(tableCoords, c)
		w.touch(Topic{Kind: TopicCoordinates})
	}
	w.delete(tableNodes, n)
}

func (w *writer) touchNode(n *catalog.Node) {
	w.touch(Topic{Kind: TopicNodes})
	w.touch(topicOf(TopicNode, n.Node))
	w.touchServicesOn(n.Node)
}

func (w *writer) touchServicesOn(node string) {
	for s := range w.servicesOn(node) {
		w.touchService(s)
	}
}

func (w *writer) touchService(row *serviceRow) {
	w.touch(topicOf(TopicService, row.service.Service))
	if name := row.service.MeshName(); name != "" {
		w.touch(topicOf(TopicMesh, name))
	}
}

func (w *writer) putService(row *serviceRow) {
	old := w.service(row.node, row.service.ID)
	w.stamp(&row.service.Indexes)
	w.insert(tableServices, row)
	w.touch(Topic{TopicNode, row.node})
	w.touch(Topic{Kind: TopicInstances})
	w.touchService(row)
	if old != nil {
		w.touchService(old)
	}
	if old == nil || old.service.Service != row.service.Service || !slices.Equal(old.service.Tags, row.service.Tags) {
		w.touch(Topic{Kind: TopicServices})
	}
}

func (w *writer) removeService(row *serviceRow) {
	for _, c := range slices.Collect(w.checksOf(row.node, row.service.ID)) {
		w.removeCheck(c)
	}
	w.delete(tableServices, row)
	w.touch(Topic{TopicNode, row.node})
	w.touch(Topic{Kind: TopicInstances})
	w.touch(Topic{Kind: TopicServices})
	w.touchService(row)
}

func (w *writer) putCheck(c *catalog.Check) {
	if old := w.check(c.Node, c.CheckID); old != nil {
		w.touchCheck(old)
		w.meta.Checks[stateOf(old.Status)]--
	}
	w.stamp(&c.Indexes)
	w.insertCheck(c)
	w.touchCheck(c)
	if c.Status == catalog.StatusCritical {
		w.endSessions(c.Node, c.CheckID)
	}
}

func (w *writer) removeCheck(c *catalog.Check) {
	w.deleteCheck(c)
	w.touchCheck(c)
	w.endSessions(c.Node, c.CheckID)
}

// insertCheck counts a check in; whoever replaces one has counted that out.
func (w *writer) insertCheck(c *catalog.Check) {
	w.insert(tableChecks, c)
	w.meta.Checks[stateOf(c.Status)]++
}

func (w *writer) deleteCheck(c *catalog.Check) {
	w.delete(tableChecks, c)
	w.meta.Checks[stateOf(c.Status)]--
}

func (w *writer) touchCheckLists(c *catalog.Check) {
	w.touch(topicOf(TopicNodeChecks, c.Node))
	w.touch(Topic{Kind: TopicChecks})
	w.touch(topicOf(TopicChecks, c.Status))
}

func (w *writer) touchCheck(c *catalog.Check) {
	w.touchCheckLists(c)
	if c.ServiceID == "" {
		w.touchServicesOn(c.Node)
	} else if row := w.service(c.Node, c.ServiceID); row != nil {
		w.touchService(row)
	}
}

func (w *writer) putSource(s *sourceRow) {
	if w.source(s.NodeID) == nil {
		w.meta.Sources++
	}
	s.Index = w.index
	w.insert(tableSources, s)
	// An agent that wrote nothing for so long loses no more than protection from
	// commands of its own that have been under way for as long.
	for ; w.meta.Sources > maxSources; w.meta.Sources-- {
		w.delete(tableSources, first[*sourceRow](w.reader, tableSources, byAgePrefix, ""))
	}
}

// stamp sets the indexes of a row that is about to be written. The plan has kept
// the index of its creation, if it was there before.
func (w *writer) stamp(x *catalog.Indexes) {
	if x.CreateIndex == 0 {
		x.CreateIndex = w.index
	}
	x.ModifyIndex = w.index
}

// touch moves a topic to the entry's index.
func (w *writer) touch(t Topic) {
	if place, ok := listOf(t); ok {
		if w.meta.Lists[place] != w.index {
			w.meta.Lists[place] = w.index
			w.moves = append(w.moves, move{t, w.index})
		}
		return
	}
	old := w.topic(t)
	if old != nil {
		if old.Index == w.index {
			return
		}
		if old.Gone {
			w.meta.Gone--
		}
	}
	// The topic of a service has a row that isn't marked as gone exactly as long as
	// the service has an instance: by the end of an entry, bury sees to that.
	if t.Kind == TopicService && (old == nil || old.Gone) {
		w.meta.Services++
	}
	w.insert(tableTopics, &topicRow{Topic: t, Index: w.index})
	w.moves = append(w.moves, move{t, w.index})
}

// bury marks those of the entry's topics whose node or service is gone, and
// forgets the oldest of all that are marked once there are more than maxGone.
//
// A topic that is forgotten, or never was, has the index Floor. Raising the floor
// to the index of what is forgotten keeps every topic's index from going back,
// and as the order of forgetting is part of the state, so is the floor.
func (w *writer) bury() {
	for _, m := range w.moves[w.begin:] {
		if !w.present(m.topic) {
			w.insert(tableTopics, &topicRow{Topic: m.topic, Index: w.index, Gone: true})
			w.meta.Gone++
			if m.topic.Kind == TopicService {
				w.meta.Services--
			}
		}
	}
	for ; w.meta.Gone > maxGone; w.meta.Gone-- {
		oldest := first[*topicRow](w.reader, tableTopics, byAgePrefix, "")
		w.meta.Floor = max(w.meta.Floor, oldest.Index)
		w.delete(tableTopics, oldest)
	}
}

func (w *writer) insert(table string, row any) { w.db.insert(schema[table], row) }

func (w *writer) delete(table string, row any) {
	if !w.db.delete(schema[table], row) {
		panic(fmt.Sprintf("state: delete %+v from %s, where it isn't", row, table))
	}
}
