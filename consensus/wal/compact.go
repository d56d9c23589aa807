package wal

import (
	"fmt"

	"muster/consensus/core"
)

// Compact drops whole segments that hold no entry above upTo, as long as
// Config.RetainBytes of entries at or below upTo stay behind. It returns the
// index that the log then begins with. The caller has a durable snapshot at
// upTo or later.
func (l *Log) Compact(upTo uint64) (first uint64, err error) {
	return l.compact(upTo, l.cfg.RetainBytes)
}

// CompactAll is Compact for a disk that is nearly full: nothing stays behind for
// the sake of Config.RetainBytes.
func (l *Log) CompactAll(upTo uint64) (first uint64, err error) { return l.compact(upTo, 0) }

// Frees says whether CompactAll would drop something, given a snapshot at upTo.
func (l *Log) Frees(upTo uint64) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.droppable(upTo, 0) > 0
}

func (l *Log) compact(upTo uint64, retain int64) (first uint64, err error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.failure(); err != nil {
		return 0, err
	}
	if meta, ok := l.snaps.Latest(); !ok || upTo > meta.Index {
		return l.first, fmt.Errorf("compact up to entry %d: the newest snapshot is at %d", upTo, meta.Index)
	}
	n := l.droppable(upTo, retain)
	if n == 0 {
		return l.first, nil
	}
	dropped := l.segments[:n]
	l.mu.Lock()
	l.segments = append([]*segment(nil), l.segments[n:]...)
	l.first = l.last + 1
	for _, s := range l.segments {
		if len(s.refs) > 0 {
			l.first = s.refs[0].first
			break
		}
	}
	l.terms = l.terms.from(l.first - 1)
	l.mu.Unlock()
	if err := l.remove(dropped); err != nil {
		return 0, l.fail(err)
	}
	return l.first, nil
}

// droppable is how many of the oldest segments may go if retain bytes of entries
// at or below upTo stay. The caller holds writing or mu.
func (l *Log) droppable(upTo uint64, retain int64) int {
	// next is the first entry behind segment i: the first that a later one holds.
	n, next := 0, l.last+1
	for i := len(l.segments) - 2; i >= 0; i-- {
		if refs := l.segments[i+1].refs; len(refs) > 0 {
			next = refs[0].first
		}
		if next <= upTo+1 {
			n = i + 1
			break
		}
	}
	var behind int64
	for _, s := range l.segments[:n] {
		behind += s.used
	}
	for i, s := range l.segments[:n] {
		if behind -= s.used; behind < retain {
			return i
		}
	}
	return n
}

// remove deletes segments that are no longer in the log, oldest first. A crash
// may bring some of them back; Open drops what doesn't connect. Readers that
// still have them pinned read on.
func (l *Log) remove(segments []*segment) error {
	for _, s := range segments {
		s.release()
		if err := l.fsys.Remove(s.path); err != nil {
			return fmt.Errorf("remove %s: %w", s.path, err)
		}
	}
	if err := l.fsys.SyncDir(l.dir); err != nil {
		return fmt.Errorf("sync directory %s: %w", l.dir, err)
	}
	return nil
}

// ResetTo makes the log follow an installed snapshot. If the log holds the
// snapshot's last entry with the same term, both agree up to there and the log
// is kept as it is. Otherwise all entries are dropped and the next one is
// meta.Index+1. The snapshot must be durable in Snapshots already; a crash at
// any point then leaves a log that connects to it.
func (l *Log) ResetTo(meta core.SnapshotMeta) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.failure(); err != nil {
		return err
	}
	if !l.snaps.holds(meta) {
		return fmt.Errorf("reset log to snapshot (%d, %d): %w", meta.Term, meta.Index, ErrNoSnapshot)
	}
	return l.resetTo(meta)
}

// resetTo is ResetTo for a snapshot known to be durable. The caller holds writing.
func (l *Log) resetTo(meta core.SnapshotMeta) error {
	switch {
	case meta.Index+1 < l.first:
		return fmt.Errorf("reset log to snapshot (%d, %d): it begins after that, at entry %d", meta.Term, meta.Index, l.first)
	case meta.Index <= l.last && l.terms.at(meta.Index) == meta.Term:
		return nil
	}
	h := segmentHeader{
		reset: true, number: l.active().number + 1, seq: l.seq,
		first: meta.Index + 1, prevTerm: meta.Term,
	}
	dropped := l.segments
	s, err := l.startSegment(h, 0)
	if err != nil {
		return l.fail(err)
	}
	l.mu.Lock()
	l.segments = []*segment{s}
	l.first, l.last = h.first, meta.Index
	l.terms = termRuns{{First: meta.Index, Term: meta.Term}}
	l.mu.Unlock()
	if err := l.remove(dropped); err != nil {
		return l.fail(err)
	}
	return nil
}
