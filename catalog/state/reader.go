package state

import (
	"iter"

	"muster/catalog"
)

// reader finds rows in one db, whether it is being written to or not. Names of
// tables and indexes that the schema doesn't have are a fault in this package.
type reader struct {
	db *db
}

// first returns the first row of an index at a key, the zero T if there is none.
func first[T any](r reader, table, index, key string) (row T) {
	x, exact := schema[table].index(index)
	if exact {
		if e, ok := r.db.trees[x.place].Get(entry{key: key}); ok {
			row = e.row.(T)
		}
		return row
	}
	for found := range r.db.below(x, key) {
		return found.(T)
	}
	return row
}

// each ranges over the rows of an index at a key, sorted by what identifies them.
// Nothing may be written to the table meanwhile.
func each[T any](r reader, table, index, key string) iter.Seq[T] {
	x, _ := schema[table].index(index)
	return func(yield func(T) bool) {
		for row := range r.db.below(x, key) {
			if !yield(row.(T)) {
				return
			}
		}
	}
}

// newest ranges over the rows of a table from the one that was written last.
func newest[T any](r reader, table string) iter.Seq[T] {
	x, _ := schema[table].index(byAge)
	return func(yield func(T) bool) {
		r.db.trees[x.place].Descend(func(e entry) bool { return yield(e.row.(T)) })
	}
}

func (r reader) meta() *metaRow { return first[*metaRow](r, tableMeta, byID, metaKey) }

func (r reader) node(name string) *catalog.Node {
	return first[*catalog.Node](r, tableNodes, byID, nameKey(name))
}

func (r reader) nodeByID(id string) *catalog.Node {
	return first[*catalog.Node](r, tableNodes, byNodeID, nameKey(id))
}

func (r reader) service(node, id string) *serviceRow {
	return first[*serviceRow](r, tableServices, byID, nameKey(node, id))
}

func (r reader) check(node, id string) *catalog.Check {
	return first[*catalog.Check](r, tableChecks, byID, nameKey(node, id))
}

func (r reader) servicesOn(node string) iter.Seq[*serviceRow] {
	return each[*serviceRow](r, tableServices, byIDPrefix, nameKey(node))
}

func (r reader) checksOn(node string) iter.Seq[*catalog.Check] {
	return each[*catalog.Check](r, tableChecks, byIDPrefix, nameKey(node))
}

// checksOf ranges over the checks of an instance; with an empty service ID, over
// those of the node itself.
func (r reader) checksOf(node, serviceID string) iter.Seq[*catalog.Check] {
	return each[*catalog.Check](r, tableChecks, byNodeService, nameKey(node, serviceID))
}

func (r reader) source(nodeID string) *sourceRow {
	return first[*sourceRow](r, tableSources, byID, nameKey(nodeID))
}

func (r reader) coordinate(node string) *catalog.NodeCoordinate {
	return first[*catalog.NodeCoordinate](r, tableCoords, byID, nameKey(node))
}

func (r reader) topic(t Topic) *topicRow {
	return first[*topicRow](r, tableTopics, byID, topicKey(t))
}

// present reports whether there is anything that a topic is about. A topic that is
// not about one node or one service always has something.
func (r reader) present(t Topic) bool {
	key := t.Key + "\x00"
	switch t.Kind {
	case TopicNode:
		return first[*catalog.Node](r, tableNodes, byID, key) != nil
	case TopicNodeChecks:
		return first[*catalog.Check](r, tableChecks, byIDPrefix, key) != nil
	case TopicService:
		return first[*serviceRow](r, tableServices, byService, key) != nil
	case TopicMesh:
		return first[*serviceRow](r, tableServices, byMesh, key) != nil
	}
	return true
}
