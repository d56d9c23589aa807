package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"muster/catalog"
)

// staging is a restore under way: a second catalog, loaded part by part beside the
// one that is in force. It is part of the state, and so of snapshots, as every
// server must come to the same at its end. Once it can be read it never changes:
// each part makes a new one, which shares with it what is loaded already.
type staging struct {
	id    string
	parts uint64 // loaded
	rest  []byte // of a record of which a part is yet to come
	loader
}

// maxStaged bounds a record of an archive. It is a little less than what a
// snapshot bounds one by, where it stands within another.
const maxStaged = maxRecord - 64

// maxArchived bounds the index that an archive may have: what JSON's readers take
// for a number exactly. The catalog goes on from there.
const maxArchived = 1 << 53

// errNoRestore is the answer to a step of a restore that is no more.
var errNoRestore = catalog.Errorf(catalog.Conflict, "the restore was given up: another one has begun, or the leader has changed")

// restore carries out a step of a restore.
func (w *writer) restore(index uint64, c *catalog.Restore) catalog.Result {
	if c.Step == catalog.RestoreBegin {
		if c.ID == "" {
			return catalog.Result{Err: catalog.Errorf(catalog.Invalid, "a restore must have an ID")}
		}
		s := &staging{id: c.ID}
		s.db = newDB().publish()
		w.db.staging = s
		return catalog.Result{Changed: true}
	}
	s := w.db.staging
	if s == nil || s.id != c.ID {
		if c.Step == catalog.RestoreAbandon {
			return catalog.Result{}
		}
		return catalog.Result{Err: errNoRestore}
	}
	w.db.staging = nil // unless it goes on
	result := catalog.Result{Changed: true}
	switch c.Step {
	case catalog.RestoreLoad:
		w.db.staging, result.Err = s.take(c)
	case catalog.RestoreInstall:
		if result.Err = s.whole(c); result.Err == nil {
			w.install(index, s)
			result.Value = w.index
		}
	case catalog.RestoreAbandon:
	default:
		result.Err = catalog.Errorf(catalog.Invalid, "unknown step %d of a restore", c.Step)
	}
	return result
}

// take loads a part.
func (s *staging) take(c *catalog.Restore) (*staging, error) {
	if c.Part != s.parts+1 {
		return nil, catalog.Errorf(catalog.Conflict, "part %d of the restore follows part %d", c.Part, s.parts)
	}
	next := *s
	next.parts++
	next.db = s.db.begin()
	rest := slices.Concat(s.rest, c.Data)
	for len(rest) >= recordHead {
		kind, size := rest[0], int64(binary.BigEndian.Uint32(rest[1:]))
		if size > maxStaged {
			return nil, catalog.Errorf(catalog.TooLarge, "the archive has a record of %d bytes, more than %d", size, maxStaged)
		}
		if int64(len(rest)) < recordHead+size {
			break
		}
		if err := next.stage(kind, rest[recordHead:recordHead+size]); err != nil {
			return nil, catalog.Wrap(catalog.Invalid, fmt.Errorf("the archive can't be restored: %w", err))
		}
		rest = rest[recordHead+size:]
	}
	next.rest = leftOver(rest)
	next.db.publish()
	return &next, nil
}

// leftOver copies what is left of a part. What is empty is nil, so that it has one
// form in snapshots.
func leftOver(rest []byte) []byte { return append([]byte(nil), rest...) }

// stage loads a record, where it is of what a restore replaces. Of the others only
// the order is checked: indexes and deletions are about the history that the
// archive is from, sources about how far this cluster has followed its agents, and
// outcomes about the requests that it was asked.
func (s *staging) stage(kind byte, body []byte) error {
	switch {
	case kind >= recordStaged:
		return fmt.Errorf("a record of kind %d has no place in an archive", kind)
	case kind > lastRecord:
		// Whoever leads has let it pass, and so knows it.
		return fmt.Errorf("a record of kind %d: %w", kind, catalog.ErrLaterRelease)
	case kind == recordMeta && s.kind == 0:
		s.kind = kind
		return s.stageMeta(body)
	case kind < s.kind:
		return fmt.Errorf("a record of kind %d follows one of kind %d", kind, s.kind)
	case s.kind > 0 && (kind == recordTopic || kind == recordSource || kind == recordKVGone || kind == recordOutcome):
		s.kind, s.last = kind, ""
		return nil
	}
	return s.load(kind, body)
}

func (s *staging) stageMeta(body []byte) error {
	var m metaRecord
	err := catalog.Unmarshal(body, &m)
	if err == nil {
		s.meta, err = m.row()
	}
	if err == nil && s.meta.index() > maxArchived {
		err = fmt.Errorf("the archive is at index %d, above the %d that are allowed", s.meta.index(), uint64(maxArchived))
	}
	return err
}

// whole says what a restore lacks that is about to be installed.
func (s *staging) whole(c *catalog.Restore) error {
	switch {
	case c.Part != s.parts:
		return catalog.Errorf(catalog.Conflict, "the restore has %d parts, of which %d are loaded", c.Part, s.parts)
	case len(s.rest) > 0 || s.kind == 0:
		return catalog.Errorf(catalog.Invalid, "the archive can't be restored: it ends within a record, or has none")
	}
	if err := s.complete(); err != nil {
		return catalog.Wrap(catalog.Invalid, fmt.Errorf("the archive can't be restored: %w", err))
	}
	return nil
}

// install puts what was loaded in the place of the catalog. All of it was written
// by this entry: every row and every topic has its index, which is above all that
// this catalog, and the archive's, ever had. So no index goes back, whoever watches
// anything wakes, and an index that was read before fits nothing in a check-and-set.
func (w *writer) install(index uint64, s *staging) {
	at := max(index, s.meta.index()+1)
	in := writer{reader: reader{newDB()}, index: at, restored: true, meta: metaRow{
		Applied: w.meta.Applied, Offset: w.meta.Offset + (at - index), Floor: at, KVFloor: at,
	}}
	for i := range in.meta.Lists {
		in.meta.Lists[i] = at
	}
	in.copyServices(s.reader)
	in.copyEntries(s.reader)
	in.copyCA(s.reader, w.reader)
	for src := range each[*sourceRow](w.reader, tableSources, byIDPrefix, "") {
		in.insert(tableSources, src)
		in.meta.Sources++
	}
	// What took effect before the restore must not take effect again after it.
	for row := range each[*onceRow](w.reader, tableOutcomes, byIDPrefix, "") {
		in.keepOutcome(row)
	}
	in.moves = nil // everybody looks again
	*w = in
}

// copyServices copies nodes and what is on them. Rows are copied where they
// change, as a snapshot may be reading them.
func (w *writer) copyServices(from reader) {
	for old := range each[*catalog.Node](from, tableNodes, byIDPrefix, "") {
		n := *old
		n.ModifyIndex = w.index
		w.insert(tableNodes, &n)
		w.touch(topicOf(TopicNode, n.Node))
	}
	for old := range each[*serviceRow](from, tableServices, byIDPrefix, "") {
		s := *old.service
		s.ModifyIndex = w.index
		row := &serviceRow{node: old.node, service: &s}
		w.insert(tableServices, row)
		w.touchService(row)
	}
	for old := range each[*catalog.Check](from, tableChecks, byIDPrefix, "") {
		c := *old
		c.ModifyIndex = w.index
		w.insertCheck(&c)
		w.touch(topicOf(TopicNodeChecks, c.Node))
	}
	for c := range each[*catalog.NodeCoordinate](from, tableCoords, byIDPrefix, "") {
		w.insert(tableCoords, c)
	}
}

// copyEntries copies keys and values, and what holds them. Sessions and lock-delays
// begin anew: whoever keeps their time gives it to them in full.
func (w *writer) copyEntries(from reader) {
	for old := range each[*catalog.KVPair](from, tableKV, byIDPrefix, "") {
		e := *old
		e.ModifyIndex = w.index
		w.insert(tableKV, &e)
	}
	for old := range each[*catalog.Session](from, tableSessions, byIDPrefix, "") {
		s := *old
		s.CreateIndex, s.ModifyIndex = w.index, w.index
		w.insert(tableSessions, &s)
	}
	for old := range each[*catalog.LockDelay](from, tableDelays, byIDPrefix, "") {
		d := *old
		d.Index = w.index
		w.insert(tableDelays, &d)
	}
	for old := range each[*catalog.PreparedQuery](from, tableQueries, byIDPrefix, "") {
		q := *old
		q.ModifyIndex = w.index
		w.insert(tableQueries, &q)
	}
	if old := from.autopilot(); old != nil {
		a := *old
		a.ModifyIndex = w.index
		w.insert(tableAutopilot, &a)
	}
	for old := range each[*catalog.ConfigEntry](from, tableConfigs, byIDPrefix, "") {
		e := *old
		e.ModifyIndex = w.index
		w.insert(tableConfigs, &e)
	}
}

// Restoring is the ID of the restore under way, "" if there is none.
func (s *Store) Restoring() string {
	if staging := s.db.Load().staging; staging != nil {
		return staging.id
	}
	return ""
}

// Parts reads a backup and gives what RestoreLoad takes of it, in parts of about a
// size in bytes, which are valid for that call only. The backup is known to be as
// it was written only once Parts has returned nil.
func Parts(in io.Reader, size int, give func(part []byte) error) error {
	part := make([]byte, 0, size)
	err := readRecords(in, func(kind byte, body []byte) error {
		if kind > lastRecord {
			return fmt.Errorf("unknown kind %d", kind)
		}
		record := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)))
		for _, b := range [][]byte{record, body} {
			for len(b) > 0 {
				n := min(len(b), size-len(part))
				part, b = append(part, b[:n]...), b[n:]
				if len(part) == size {
					if err := give(part); err != nil {
						return err
					}
					part = part[:0]
				}
			}
		}
		return nil
	})
	if err == nil && len(part) > 0 {
		err = give(part)
	}
	return err
}

// What stands in a snapshot for a restore under way: the records that it has
// loaded, each within a record, and then how far it is.
type (
	stagedRecord struct {
		Kind byte
		Body []byte
	}
	stagingRecord struct {
		ID    string
		Parts uint64
		Rest  []byte
		Kind  byte
		Last  string
	}
)

func (s *staging) records(w *recordWriter) {
	if s.kind > 0 {
		s.reader.records(&s.meta, func(kind byte, row any) {
			body, err := catalog.Marshal(row)
			if err != nil && w.err == nil {
				w.err = err
			}
			w.record(recordStaged, stagedRecord{kind, body})
		})
	}
	w.record(recordStaging, stagingRecord{s.id, s.parts, s.rest, s.kind, s.last})
}

func (l *loader) loadStaged(body []byte) error {
	var rec stagedRecord
	if err := catalog.Unmarshal(body, &rec); err != nil {
		return err
	}
	if l.staging == nil {
		l.staging = &staging{}
		l.staging.db = newDB()
	}
	return l.staging.stage(rec.Kind, rec.Body)
}

func (l *loader) loadStaging(body []byte) error {
	var rec stagingRecord
	if err := catalog.Unmarshal(body, &rec); err != nil {
		return err
	}
	s := l.staging
	if s == nil {
		s = &staging{}
		s.db = newDB()
		l.staging = s
	}
	if l.db.staging != nil || rec.ID == "" || rec.Kind < s.kind || rec.Kind > lastRecord || rec.Kind > 0 && s.kind == 0 {
		return errors.New("it says of a restore what can't be")
	}
	s.id, s.parts, s.rest, s.kind, s.last = rec.ID, rec.Parts, leftOver(rec.Rest), rec.Kind, rec.Last
	s.db.publish()
	l.db.staging = s
	return nil
}
