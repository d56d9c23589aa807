package state

import (
	"encoding/binary"

	"muster/catalog"
)

// The tables.
const (
	tableNodes    = "nodes"    // *catalog.Node
	tableServices = "services" // *serviceRow
	tableChecks   = "checks"   // *catalog.Check
	tableTopics   = "topics"   // *topicRow
	tableSources  = "sources"  // *sourceRow
	tableCoords   = "coords"   // *catalog.NodeCoordinate
	tableKV       = "kv"       // *catalog.KVPair
	tableKVGone   = "kv_gone"  // *goneRow
	tableSessions = "sessions" // *catalog.Session
	tableDelays   = "delays"   // *catalog.LockDelay
	tableMeta     = "meta"     // *metaRow, one

	tableAutopilot = "autopilot" // *catalog.Autopilot, one at most
	tableQueries   = "queries"   // *catalog.PreparedQuery
	tableConfigs   = "configs"   // *catalog.ConfigEntry
	tableOutcomes  = "outcomes"  // *onceRow
	tableCA        = "ca"        // *catalog.CA, one at most
)

// The indexes. Each key is a run of folded names that end in NUL, so that a
// name's key is no prefix of a longer name's, and rows come sorted by name.
const (
	byID            = "id"             // every table: what identifies a row
	byIDPrefix      = "id_prefix"      // the same, for rows whose key begins with the argument
	byNodeID        = "node_id"        // nodes: their ID
	byService       = "service"        // services: their name
	byServicePrefix = "service_prefix" // the same, for rows whose key begins with the argument
	byMesh          = "mesh"           // services: the service they give mesh access to
	byNodeService   = "node_service"   // checks: node and service ID, "" for node checks
	byStatus        = "status"         // checks: their state
	byNode          = "node"           // sessions: their node
	bySession       = "session"        // KV entries: the session that holds them
	bySessionPrefix = "session_prefix" // the same, for all that are held
	byName          = "name"           // prepared queries: their name, which of a template may be empty
	byQuerySession  = "query_session"  // prepared queries: the session that they end with
	byAge           = "age"            // topics of what is gone, sources, KV entries, outcomes: oldest first
	byAgePrefix     = "age_prefix"     // the same, for lookups with an empty key
)

// serviceRow is an instance with the folded name of its node.
type serviceRow struct {
	node    string
	service *catalog.Service
}

// topicRow is the index at which a topic last moved. Gone marks the topic of a
// node or service that is no longer there.
type topicRow struct {
	Topic Topic
	Index uint64
	Gone  bool
}

// sourceRow is how far the commands of one agent have come. Index is that of the
// last one.
type sourceRow struct {
	NodeID string
	Seq    uint64
	Index  uint64
}

// goneRow is the tombstone of a KV entry: when it was deleted.
type goneRow struct {
	Key   string
	Index uint64
}

// metaRow is what the store knows about itself.
type metaRow struct {
	Applied uint64        // index in the log of the last applied entry
	Offset  uint64        // what the catalog's indexes are above the log's, since a restore
	Floor   uint64        // index of every topic that has no row; see writer.bury
	Lists   [lists]uint64 // indexes of the topics that are about whole lists; see listOf
	Gone    int           // topic rows that are marked so
	Sources int           // rows in the table of sources
	KVFloor uint64        // index of every key that has neither an entry nor a tombstone; see writer.reap
	KVGone  int           // tombstones

	Outcomes     int // results that are kept for idempotency keys
	OutcomeBytes int // about what they take

	Services int         // names of services that have an instance
	Checks   [states]int // checks by state; see stateOf
}

// index is where the catalog is.
func (m *metaRow) index() uint64 { return m.Applied + m.Offset }

// states is the number of states that a check can be in.
const states = 3

// stateOf is the place of a state in metaRow.Checks. A state that is none counts
// as critical: validation lets none through.
func stateOf(status string) int {
	switch status {
	case catalog.StatusPassing:
		return 0
	case catalog.StatusWarning:
		return 1
	}
	return 2
}

// nameKey is the key of one or more names in their order.
func nameKey(names ...string) string {
	if len(names) == 1 {
		return catalog.Fold(names[0]) + "\x00"
	}
	n := 0
	for _, name := range names {
		n += len(name) + 1
	}
	b := make([]byte, 0, n)
	for _, name := range names {
		b = append(append(b, catalog.Fold(name)...), 0)
	}
	return string(b)
}

// metaKey is the key of the one metaRow.
const metaKey = "meta"

// autopilotKey is the key of the one catalog.Autopilot.
const autopilotKey = "autopilot"

// caKey is the key of the one catalog.CA.
const caKey = "ca"

func topicKey(t Topic) string { return string(rune(t.Kind)) + t.Key + "\x00" }

func ageKey(index uint64) string {
	return string(binary.BigEndian.AppendUint64(nil, index))
}

// table is a table whose rows are identified by a key.
func table[T any](key func(T) string, others ...*indexSchema) *tableSchema {
	id := secondary(byID, true, func(row T) (string, bool) { return key(row), true })
	return &tableSchema{append([]*indexSchema{id}, others...)}
}

// secondary is an index that a row may be missing from.
func secondary[T any](name string, unique bool, key func(T) (string, bool)) *indexSchema {
	return &indexSchema{name: name, unique: unique, key: func(row any) (string, bool) { return key(row.(T)) }}
}

// named is the key of a name, none where it is empty.
func named(name string) (string, bool) {
	if name == "" {
		return "", false
	}
	return nameKey(name), true
}

var schema = map[string]*tableSchema{
	tableNodes: table(func(n *catalog.Node) string { return nameKey(n.Node) },
		secondary(byNodeID, true, func(n *catalog.Node) (string, bool) { return named(n.ID) }),
	),
	tableServices: table(func(r *serviceRow) string { return nameKey(r.node, r.service.ID) },
		secondary(byService, false, func(r *serviceRow) (string, bool) { return named(r.service.Service) }),
		secondary(byMesh, false, func(r *serviceRow) (string, bool) { return named(r.service.MeshName()) }),
	),
	tableChecks: table(func(c *catalog.Check) string { return nameKey(c.Node, c.CheckID) },
		secondary(byNodeService, false, func(c *catalog.Check) (string, bool) { return nameKey(c.Node, c.ServiceID), true }),
		secondary(byStatus, false, func(c *catalog.Check) (string, bool) { return named(c.Status) }),
	),
	tableTopics: table(func(r *topicRow) string { return topicKey(r.Topic) },
		secondary(byAge, false, func(r *topicRow) (string, bool) { return ageKey(r.Index), r.Gone }),
	),
	tableSources: table(func(r *sourceRow) string { return nameKey(r.NodeID) },
		secondary(byAge, false, func(r *sourceRow) (string, bool) { return ageKey(r.Index), true }),
	),
	tableCoords: table(func(c *catalog.NodeCoordinate) string { return nameKey(c.Node) }),
	tableKV: table(func(e *catalog.KVPair) string { return e.Key },
		secondary(byAge, false, func(e *catalog.KVPair) (string, bool) { return ageKey(e.ModifyIndex), true }),
		secondary(bySession, false, func(e *catalog.KVPair) (string, bool) { return e.Session + "\x00", e.Session != "" }),
	),
	tableKVGone: table(func(g *goneRow) string { return g.Key },
		secondary(byAge, false, func(g *goneRow) (string, bool) { return ageKey(g.Index), true }),
	),
	tableSessions: table(func(s *catalog.Session) string { return s.ID + "\x00" },
		secondary(byNode, false, func(s *catalog.Session) (string, bool) { return named(s.Node) }),
	),
	tableDelays:    table(func(d *catalog.LockDelay) string { return d.Key }),
	tableAutopilot: table(func(*catalog.Autopilot) string { return autopilotKey }),
	tableQueries: table(func(q *catalog.PreparedQuery) string { return nameKey(q.ID) },
		secondary(byName, true, func(q *catalog.PreparedQuery) (string, bool) { return nameKey(q.Name), q.Name != "" || q.IsTemplate() }),
		secondary(byQuerySession, false, func(q *catalog.PreparedQuery) (string, bool) { return named(q.Session) }),
	),
	tableConfigs: table(func(e *catalog.ConfigEntry) string { return nameKey(e.Kind, e.Name) }),
	tableOutcomes: table(func(o *onceRow) string { return onceKey(o.Caller, o.Key) },
		secondary(byAge, false, func(o *onceRow) (string, bool) { return ageKey(o.Index), true }),
	),
	tableCA:   table(func(*catalog.CA) string { return caKey }),
	tableMeta: table(func(*metaRow) string { return metaKey }),
}

// numIndexes counts the indexes of all tables, and gives each its place.
var numIndexes = func() (n int) {
	for _, t := range schema {
		for _, x := range t.indexes {
			x.place = n
			n++
		}
	}
	return n
}()
