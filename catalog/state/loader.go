package state

import (
	"errors"
	"fmt"
	"slices"

	"muster/catalog"
)

// loader puts the rows of a snapshot into an empty database, and refuses any that
// apply could not have written: a restored state keeps every promise that the
// rest of this package relies on.
type loader struct {
	writer
	kind byte   // of the last record
	last string // its key

	staging *staging // the restore under way that the snapshot has
}

func (l *loader) load(kind byte, body []byte) error {
	if kind < l.kind || kind == recordMeta && l.kind == recordMeta {
		return fmt.Errorf("a record of kind %d follows one of kind %d", kind, l.kind)
	}
	if l.kind == 0 && kind != recordMeta {
		return errors.New("the record that must come first is missing")
	}
	if kind != l.kind {
		l.kind, l.last = kind, ""
	}
	switch kind {
	case recordMeta:
		return l.loadMeta(body)
	case recordNode:
		return l.loadNode(body)
	case recordService:
		return l.loadService(body)
	case recordCheck:
		return l.loadCheck(body)
	case recordTopic:
		return l.loadTopic(body)
	case recordSource:
		return l.loadSource(body)
	case recordCoord:
		return l.loadCoordinate(body)
	case recordKV:
		return l.loadKV(body)
	case recordKVGone:
		return l.loadKVGone(body)
	case recordSession:
		return l.loadSession(body)
	case recordDelay:
		return l.loadLockDelay(body)
	case recordAutopilot:
		return l.loadAutopilot(body)
	case recordQuery:
		return l.loadQuery(body)
	case recordConfig:
		return l.loadConfig(body)
	case recordOutcome:
		return l.loadOutcome(body)
	case recordCA:
		return l.loadCA(body)
	case recordStaged:
		return l.loadStaged(body)
	case recordStaging:
		return l.loadStaging(body)
	}
	return fmt.Errorf("unknown kind %d", kind)
}

// ascends checks that keys come in their order, each once.
func (l *loader) ascends(key string) error {
	if key <= l.last {
		return fmt.Errorf("%q is not above %q, which is before it", key, l.last)
	}
	l.last = key
	return nil
}

// known checks that an index isn't one that is yet to come.
func (l *loader) known(indexes ...uint64) error {
	for _, index := range indexes {
		if index == 0 || index > l.meta.index() {
			return fmt.Errorf("index %d is not from 1 to the last applied, %d", index, l.meta.index())
		}
	}
	return nil
}

func (l *loader) loadMeta(body []byte) error {
	var m metaRecord
	if err := catalog.Unmarshal(body, &m); err != nil {
		return err
	}
	row, err := m.row()
	if err != nil {
		return err
	}
	if floor := max(m.Floor, m.KVFloor); floor > row.index() {
		return fmt.Errorf("the floor %d is above the last applied index %d", floor, row.index())
	}
	if len(m.Lists) > lists {
		return fmt.Errorf("it has %d topics of lists, this build knows %d", len(m.Lists), lists)
	}
	for _, index := range m.Lists {
		if index > row.index() {
			return fmt.Errorf("the index %d of a list is above the last applied index %d", index, row.index())
		}
	}
	l.meta = row
	l.meta.Floor, l.meta.KVFloor = m.Floor, m.KVFloor
	copy(l.meta.Lists[:], m.Lists)
	return nil
}

func (l *loader) loadNode(body []byte) error {
	n := new(catalog.Node)
	if err := catalog.Unmarshal(body, n); err != nil {
		return err
	}
	if n.ID != "" && l.nodeByID(n.ID) != nil {
		return fmt.Errorf("two nodes have the ID %q", n.ID)
	}
	err := errors.Join(keyable("node name", n.Node, n.ID), l.known(n.CreateIndex, n.ModifyIndex), l.ascends(nameKey(n.Node)))
	if err == nil {
		l.insert(tableNodes, n)
	}
	return err
}

func (l *loader) loadService(body []byte) error {
	var rec serviceRecord
	if err := catalog.Unmarshal(body, &rec); err != nil {
		return err
	}
	s := &rec.Service
	if l.node(rec.Node) == nil {
		return fmt.Errorf("service %q is on a node %q that isn't there", s.ID, rec.Node)
	}
	err := errors.Join(keyableService(s), l.known(s.CreateIndex, s.ModifyIndex),
		l.ascends(nameKey(rec.Node, s.ID)))
	if err == nil {
		l.share(s)
		l.insert(tableServices, &serviceRow{node: catalog.Fold(rec.Node), service: s})
	}
	return err
}

func (l *loader) loadCheck(body []byte) error {
	c := new(catalog.Check)
	if err := catalog.Unmarshal(body, c); err != nil {
		return err
	}
	node := l.node(c.Node)
	if node == nil {
		return fmt.Errorf("check %q is on a node %q that isn't there", c.CheckID, c.Node)
	}
	if c.Node == node.Node {
		c.Node = node.Node // the same text, held once
	}
	serviceName := ""
	if c.ServiceID != "" {
		row := l.service(c.Node, c.ServiceID)
		if row == nil {
			return fmt.Errorf("check %q is of a service %q that isn't there", c.CheckID, c.ServiceID)
		}
		serviceName = row.service.Service
		if len(c.ServiceTags) > 0 && slices.Equal(c.ServiceTags, row.service.Tags) {
			c.ServiceTags = row.service.Tags
		}
	}
	if c.ServiceName != serviceName {
		return fmt.Errorf("check %q has the service name %q in place of %q", c.CheckID, c.ServiceName, serviceName)
	}
	err := errors.Join(keyable("check ID", c.CheckID, c.ServiceID, c.Status), l.known(c.CreateIndex, c.ModifyIndex),
		l.ascends(nameKey(c.Node, c.CheckID)))
	if err == nil {
		c.ServiceName = serviceName
		c.Share()
		l.insertCheck(c)
	}
	return err
}

func (l *loader) loadTopic(body []byte) error {
	t := new(topicRow)
	if err := catalog.Unmarshal(body, t); err != nil {
		return err
	}
	if !hasRow(t.Topic) {
		return fmt.Errorf("topic %+v has no record of its own", t.Topic)
	}
	if t.Topic.Key != catalog.Fold(t.Topic.Key) {
		return fmt.Errorf("the key of topic %+v is not folded", t.Topic)
	}
	if t.Gone == l.present(t.Topic) {
		return fmt.Errorf("topic %+v is marked as gone = %t and is not", t.Topic, t.Gone)
	}
	err := errors.Join(l.known(t.Index), l.ascends(topicKey(t.Topic)))
	if err == nil {
		l.insert(tableTopics, t)
		if t.Gone {
			l.meta.Gone++
		} else if t.Topic.Kind == TopicService {
			l.meta.Services++
		}
	}
	return err
}

func (l *loader) loadSource(body []byte) error {
	src := new(sourceRow)
	if err := catalog.Unmarshal(body, src); err != nil {
		return err
	}
	err := errors.Join(keyable("source", src.NodeID), l.known(src.Index), l.ascends(nameKey(src.NodeID)))
	if err == nil {
		l.insert(tableSources, src)
		l.meta.Sources++
	}
	return err
}

func (l *loader) loadCoordinate(body []byte) error {
	c := new(catalog.NodeCoordinate)
	if err := catalog.Unmarshal(body, c); err != nil {
		return err
	}
	if c.Coord == nil || l.node(c.Node) == nil {
		return fmt.Errorf("there is no coordinate, or no node %q that it belongs to", c.Node)
	}
	err := l.ascends(nameKey(c.Node))
	if err == nil {
		l.insert(tableCoords, c)
	}
	return err
}
