package state

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"muster/catalog"
)

// maxKVGone bounds the tombstones of KV entries. It decides what apply does, so
// it is the same on every server of a cluster.
const maxKVGone = 8192

// planKV changes entries of the key/value store.
func planKV(r reader, c *catalog.KV) plan {
	if c.Key == "" && c.Verb != catalog.KVDeleteTree {
		return refuse(catalog.Invalid, "Missing key name")
	}
	old := r.kv(c.Key)
	switch c.Verb {
	case catalog.KVSet:
		return planSet(old, c)
	case catalog.KVCAS:
		if index := indexOf(old); index != c.Index {
			return plan{value: false}
		}
		return planSet(old, c)
	case catalog.KVDelete, catalog.KVDeleteCAS:
		switch {
		case old == nil:
			return plan{value: true}
		case c.Verb == catalog.KVDeleteCAS && old.ModifyIndex != c.Index:
			return plan{value: false}
		}
		return plan{value: true, removeKV: []*catalog.KVPair{old}}
	case catalog.KVDeleteTree:
		return plan{value: true, removeKV: slices.Collect(r.kvBelow(c.Key))}
	case catalog.KVLock, catalog.KVUnlock:
		return planLock(r, old, c)
	}
	return refuse(catalog.Invalid, "unknown KV verb %d", c.Verb)
}

// indexOf is what a check-and-set compares: 0 where there is no entry.
func indexOf(e *catalog.KVPair) uint64 {
	if e == nil {
		return 0
	}
	return e.ModifyIndex
}

// planSet puts value and flags. Who holds the entry goes on holding it.
func planSet(old *catalog.KVPair, c *catalog.KV) plan {
	e := &catalog.KVPair{Key: c.Key, Value: c.Value, Flags: c.Flags}
	if len(e.Value) == 0 {
		e.Value = nil
	}
	if old != nil {
		e.Session, e.LockIndex, e.CreateIndex = old.Session, old.LockIndex, old.CreateIndex
		if old.Same(e) {
			return plan{value: true}
		}
	}
	return plan{value: true, putKV: []*catalog.KVPair{e}}
}

func (r reader) kv(key string) *catalog.KVPair {
	return first[*catalog.KVPair](r, tableKV, byID, key)
}

// kvBelow ranges over the entries whose key begins with a prefix, sorted by key.
func (r reader) kvBelow(prefix string) iter.Seq[*catalog.KVPair] {
	return each[*catalog.KVPair](r, tableKV, byIDPrefix, prefix)
}

func (r reader) kvGone(key string) *goneRow {
	return first[*goneRow](r, tableKVGone, byID, key)
}

func (w *writer) putKV(e *catalog.KVPair) {
	w.stamp(&e.Indexes)
	w.insert(tableKV, e)
	if gone := w.kvGone(e.Key); gone != nil {
		w.delete(tableKVGone, gone)
		w.meta.KVGone--
	}
	w.touchKV(e.Key)
}

// removeKV deletes an entry and leaves a tombstone, so that the index of its key,
// and of the prefixes of that, goes up and not back.
func (w *writer) removeKV(e *catalog.KVPair) {
	w.delete(tableKV, e)
	w.insert(tableKVGone, &goneRow{Key: e.Key, Index: w.index})
	w.meta.KVGone++
	w.touchKV(e.Key)
}

func (w *writer) touchKV(key string) {
	w.moves = append(w.moves, move{Topic{TopicKV, key}, w.index})
}

// reap forgets the oldest half of the tombstones once there are too many, and
// raises the floor to the index of the last that is forgotten: no key's and no
// prefix's index goes back by it. It sleeps over half of them, as each time the
// floor rises, who comes with the index of a prefix is answered once for nothing.
func (w *writer) reap() {
	if w.meta.KVGone <= maxKVGone {
		return
	}
	for ; w.meta.KVGone > maxKVGone/2; w.meta.KVGone-- {
		oldest := first[*goneRow](w.reader, tableKVGone, byAgePrefix, "")
		w.meta.KVFloor = max(w.meta.KVFloor, oldest.Index)
		w.delete(tableKVGone, oldest)
	}
}

// KV returns the entry of a key, nil if there is none.
func (v *View) KV(key string) *catalog.KVPair {
	v.Read(Topic{TopicKV, key})
	return v.kv(key)
}

// KVBelow returns the entries whose key begins with a prefix, sorted by key.
func (v *View) KVBelow(prefix string) []*catalog.KVPair {
	v.Read(Topic{TopicKVPrefix, prefix})
	return list(v.kvBelow(prefix))
}

// keyIndex is the index of a key: of its last write or its deletion.
func (v *View) keyIndex(key string) uint64 {
	if e := v.kv(key); e != nil {
		return e.ModifyIndex
	}
	if gone := v.kvGone(key); gone != nil {
		return gone.Index
	}
	return v.indexes.KVFloor
}

// prefixIndex is the index of all entries below a prefix: of the last write or
// deletion of one of them. Those that are forgotten were not after the floor.
func (v *View) prefixIndex(prefix string) uint64 {
	index := v.indexes.KVFloor
	for e := range v.kvBelow(prefix) {
		index = max(index, e.ModifyIndex)
	}
	for gone := range each[*goneRow](v.reader, tableKVGone, byIDPrefix, prefix) {
		index = max(index, gone.Index)
	}
	return index
}

// recentWrites is how many of the last writes are looked through before a prefix
// is: either may be the longer way.
const recentWrites = 1024

// prefixMoved reports whether prefixIndex is above an index.
func (v *View) prefixMoved(prefix string, index uint64) bool {
	if v.indexes.KVFloor > index {
		return true
	}
	steps := 0
	for e := range newest[*catalog.KVPair](v.reader, tableKV) {
		if e.ModifyIndex <= index {
			break
		}
		if strings.HasPrefix(e.Key, prefix) {
			return true
		}
		if steps++; steps == recentWrites {
			return v.prefixIndex(prefix) > index
		}
	}
	for gone := range newest[*goneRow](v.reader, tableKVGone) {
		if gone.Index <= index {
			break
		}
		if strings.HasPrefix(gone.Key, prefix) {
			return true
		}
		if steps++; steps == recentWrites {
			return v.prefixIndex(prefix) > index
		}
	}
	return false
}

func (l *loader) loadKV(body []byte) error {
	e := new(catalog.KVPair)
	if err := catalog.Unmarshal(body, e); err != nil {
		return err
	}
	if len(e.Value) == 0 {
		e.Value = nil
	}
	err := errors.Join(l.known(e.CreateIndex, e.ModifyIndex), l.ascends(e.Key))
	if err == nil {
		l.insert(tableKV, e)
	}
	return err
}

func (l *loader) loadKVGone(body []byte) error {
	gone := new(goneRow)
	if err := catalog.Unmarshal(body, gone); err != nil {
		return err
	}
	if l.kv(gone.Key) != nil {
		return fmt.Errorf("the key %q is there and has a tombstone", gone.Key)
	}
	err := errors.Join(l.known(gone.Index), l.ascends(gone.Key))
	if err == nil {
		l.insert(tableKVGone, gone)
		l.meta.KVGone++
	}
	return err
}
