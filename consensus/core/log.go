package core

import (
	"fmt"
	"slices"
	"sort"
)

// entryOverhead is what an entry weighs besides its Data, in the cache and on
// the wire, for all limits that are in bytes.
const entryOverhead = 32

func entrySize(e Entry) int { return len(e.Data) + entryOverhead }

func entriesSize(es []Entry) int {
	n := 0
	for _, e := range es {
		n += entrySize(e)
	}
	return n
}

// raftLog is what a Core remembers of its log: the term of every entry, and the
// newest entries themselves.
//
// Invariant: base.Index <= taken <= last and durable <= taken. The cache ends
// at last and holds at least every entry above min(commit, durable) that was
// appended since the start.
type raftLog struct {
	// base is the entry before the first one that can be offered to a follower:
	// its term is still known, so that an Append can name it in Prev.
	base EntryID
	last uint64
	runs []TermRun // terms of (base.Index, last]; the first starts at base.Index+1

	cache      []Entry
	cacheBytes int

	taken   uint64 // entries above it have not been handed to the disk yet
	durable uint64 // entries up to it are on this server's disk
}

// restoreLog checks what the disk held and makes a raftLog of it.
func restoreLog(r Restored) (raftLog, error) {
	snap := EntryID{Term: r.Snapshot.Term, Index: r.Snapshot.Index}
	switch {
	case r.FirstIndex == 0 && r.LastIndex == 0:
		r.FirstIndex, r.LastIndex = snap.Index+1, snap.Index
	case r.FirstIndex == 0 || r.FirstIndex > r.LastIndex+1:
		return raftLog{}, fmt.Errorf("log has first index %d and last index %d", r.FirstIndex, r.LastIndex)
	}
	switch {
	case r.FirstIndex > snap.Index+1:
		return raftLog{}, fmt.Errorf("log begins at index %d but the snapshot ends at %d: entries between them are missing", r.FirstIndex, snap.Index)
	case r.LastIndex < snap.Index:
		return raftLog{}, fmt.Errorf("log ends at index %d, before the snapshot at %d: it must be reset to the snapshot first", r.LastIndex, snap.Index)
	}
	if r.FirstIndex > r.LastIndex { // empty
		return raftLog{base: snap, last: snap.Index, taken: snap.Index, durable: snap.Index}, nil
	}
	if err := checkRuns(r); err != nil {
		return raftLog{}, err
	}
	l := raftLog{
		base: EntryID{Index: r.FirstIndex - 1}, last: r.LastIndex, runs: slices.Clone(r.Terms),
		taken: r.LastIndex, durable: r.LastIndex,
	}
	if term, _ := l.term(snap.Index); r.FirstIndex <= snap.Index && term != snap.Term {
		return raftLog{}, fmt.Errorf("log has term %d at index %d, the snapshot there has term %d", term, snap.Index, snap.Term)
	}
	switch {
	case snap.Index == l.base.Index:
		l.base = snap
	case l.base.Index > 0:
		// The term before the first entry is not known, so that entry itself
		// serves as the base: followers are offered what comes after it.
		l.compact(r.FirstIndex + 1)
	}
	return l, nil
}

func checkRuns(r Restored) error {
	if len(r.Terms) == 0 || r.Terms[0].First != r.FirstIndex {
		return fmt.Errorf("term runs %v do not start at the log's first index %d", r.Terms, r.FirstIndex)
	}
	for i, run := range r.Terms {
		ordered := i == 0 || (run.First > r.Terms[i-1].First && run.Term > r.Terms[i-1].Term)
		if run.Term == 0 || !ordered || run.First > r.LastIndex {
			return fmt.Errorf("term runs %v of a log that ends at index %d are out of order", r.Terms, r.LastIndex)
		}
	}
	return nil
}

func (l *raftLog) lastID() EntryID {
	term, _ := l.term(l.last)
	return EntryID{Term: term, Index: l.last}
}

// term gives the term of the entry at index, if it is base or in the log.
func (l *raftLog) term(index uint64) (uint64, bool) {
	if index == l.base.Index {
		return l.base.Term, true
	}
	if index < l.base.Index || index > l.last {
		return 0, false
	}
	return l.runs[l.runOf(index)].Term, true
}

// runOf finds the run that holds index, which is in (base, last].
func (l *raftLog) runOf(index uint64) int {
	return sort.Search(len(l.runs), func(i int) bool { return l.runs[i].First > index }) - 1
}

// matches says whether the log holds the entry with this ID.
func (l *raftLog) matches(id EntryID) bool {
	term, ok := l.term(id.Index)
	return ok && term == id.Term
}

// mayHold is matches for an ID that is not fully known: of term 0, or of an entry
// before base.
func (l *raftLog) mayHold(id EntryID) bool {
	term, ok := l.term(id.Index)
	return id.Index <= l.last && (!ok || id.Term == 0 || term == id.Term)
}

// lastWithTermAtMost finds the newest entry at or below index whose term is at
// most term. Leader and follower answer each other with it, and so find the
// last entry they share in as many messages as there are terms in dispute. It
// reports false where no known entry qualifies.
func (l *raftLog) lastWithTermAtMost(index, term uint64) (uint64, bool) {
	index = min(index, l.last)
	if index < l.base.Index {
		return 0, false
	}
	if index > l.base.Index {
		for i := l.runOf(index); i >= 0; i-- {
			if l.runs[i].Term <= term {
				return index, true
			}
			index = l.runs[i].First - 1
		}
	}
	return l.base.Index, l.base.Term <= term
}

// append adds entries that follow last.
func (l *raftLog) append(es ...Entry) {
	for _, e := range es {
		if e.Index != l.last+1 {
			panic(fmt.Sprintf("core: append index %d to a log that ends at %d", e.Index, l.last))
		}
		if n := len(l.runs); n == 0 || l.runs[n-1].Term != e.Term {
			l.runs = append(l.runs, TermRun{First: e.Index, Term: e.Term})
		}
		l.last = e.Index
		l.cacheBytes += entrySize(e)
	}
	l.cache = append(l.cache, es...)
}

// truncate drops the entries from index on.
func (l *raftLog) truncate(index uint64) {
	if index <= l.base.Index || index > l.last {
		panic(fmt.Sprintf("core: truncate from index %d a log of (%d, %d]", index, l.base.Index, l.last))
	}
	run := l.runOf(index)
	if l.runs[run].First < index {
		run++
	}
	l.runs = l.runs[:run]
	keep := 0
	if first := l.cacheFirst(); index > first {
		keep = int(index - first)
	}
	l.cacheBytes -= entriesSize(l.cache[keep:])
	// Messages under way share the cache's memory: the next append must not
	// write over what they hold.
	l.cache = l.cache[:keep:keep]
	l.last = index - 1
	l.taken = min(l.taken, l.last)
	l.durable = min(l.durable, l.last)
}

// compact forgets the entries before first, and makes the one just before it
// the base.
func (l *raftLog) compact(first uint64) {
	if first <= l.base.Index+1 {
		return
	}
	base := first - 1
	term, ok := l.term(base)
	if !ok || base > l.durable {
		panic(fmt.Sprintf("core: compact up to index %d a log that ends at %d, durable to %d", base, l.last, l.durable))
	}
	run := l.runOf(base)
	l.runs = slices.Delete(l.runs, 0, run)
	if len(l.runs) > 1 && l.runs[1].First == first {
		l.runs = slices.Delete(l.runs, 0, 1)
	} else {
		l.runs[0].First = first
	}
	if l.last == base {
		l.runs = nil
	}
	l.base = EntryID{Term: term, Index: base}
	if cached := l.cacheFirst(); first > cached {
		l.dropCached(int(first - cached))
	}
}

// reset replaces the log by an empty one after a snapshot that ends at id.
func (l *raftLog) reset(id EntryID) {
	*l = raftLog{base: id, last: id.Index, taken: id.Index, durable: id.Index}
}

// cacheFirst is the index of the oldest cached entry, last+1 if none is.
func (l *raftLog) cacheFirst() uint64 { return l.last + 1 - uint64(len(l.cache)) }

// cached gives the entries in [lo, hi], which must be in the cache, cut after
// maxBytes but never before the first. The result shares memory with the cache
// and stays as it is.
func (l *raftLog) cached(lo, hi uint64, maxBytes int) []Entry {
	first := l.cacheFirst()
	if lo < first || hi > l.last {
		panic(fmt.Sprintf("core: entries [%d, %d] asked of a cache of [%d, %d]", lo, hi, first, l.last))
	}
	es := l.cache[lo-first : hi-first+1]
	bytes := 0
	for i, e := range es {
		bytes += entrySize(e)
		if i > 0 && bytes > maxBytes {
			return es[:i:i]
		}
	}
	return es[:len(es):len(es)]
}

// evict shrinks the cache to limit bytes, but keeps every entry above upTo.
func (l *raftLog) evict(limit int, upTo uint64) {
	n, bytes := 0, l.cacheBytes
	for n < len(l.cache) && bytes > limit && l.cache[n].Index <= upTo {
		bytes -= entrySize(l.cache[n])
		n++
	}
	l.dropCached(n)
}

func (l *raftLog) dropCached(n int) {
	if n == 0 {
		return
	}
	l.cacheBytes -= entriesSize(l.cache[:n])
	l.cache = l.cache[n:]
	// Re-slicing keeps the dropped entries reachable; copy before they are most
	// of the array.
	if cap(l.cache) > 4*len(l.cache) {
		l.cache = slices.Clone(l.cache)
	}
}

// unwritten says whether the disk has not been given the whole log yet.
func (l *raftLog) unwritten() bool { return l.taken < l.last }

// take hands out the entries that the disk has not been given yet.
func (l *raftLog) take() []Entry {
	if !l.unwritten() {
		return nil
	}
	es := l.cache[uint64(len(l.cache))-(l.last-l.taken):]
	l.taken = l.last
	return es[:len(es):len(es)]
}
