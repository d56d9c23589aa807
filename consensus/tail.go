package consensus

import "muster/consensus/core"

// entryOverhead is counted for each entry beside its data.
const entryOverhead = 64

// tail holds the entries that are not applied yet, so that applying need not
// read them back. What does not fit is forgotten once it is on disk.
type tail struct {
	first   uint64 // index of entries[0], or of the next entry where it is empty
	entries []core.Entry
	bytes   int
}

func (t *tail) reset(first uint64) { *t = tail{first: first} }

// append adds entries, dropping those they replace.
func (t *tail) append(es []core.Entry) {
	at := es[0].Index
	if at < t.first {
		t.reset(at)
	}
	if n := at - t.first; n < uint64(len(t.entries)) {
		for _, old := range t.entries[n:] {
			t.bytes -= cost(old)
		}
		t.entries = t.entries[:n]
	}
	t.entries = append(t.entries, es...)
	for _, e := range es {
		t.bytes += cost(e)
	}
}

// upTo takes entries from index lo to hi, as many as are here, within limit
// bytes and at least one. It gives none if lo was forgotten; then missing is the
// last index that is not here.
func (t *tail) upTo(lo, hi uint64, limit int) (es []core.Entry, missing uint64) {
	if lo < t.first {
		return nil, min(hi, t.first-1)
	}
	t.drop(lo)
	n, size := 0, 0
	for n < len(t.entries) && t.entries[n].Index <= hi {
		size += cost(t.entries[n])
		if n > 0 && size > limit {
			break
		}
		n++
	}
	es = t.entries[:n:n]
	t.drop(lo + uint64(n))
	return es, 0
}

// drop forgets what is before index.
func (t *tail) drop(index uint64) {
	n := 0
	for n < len(t.entries) && t.entries[n].Index < index {
		t.bytes -= cost(t.entries[n])
		n++
	}
	t.entries = t.entries[n:]
	t.first = max(t.first, index)
	if len(t.entries) == 0 {
		t.entries = nil // lets go of the array and all that it still refers to
	}
}

// trim forgets durable entries until limit is met.
func (t *tail) trim(limit int, durable uint64) {
	n, bytes := 0, t.bytes
	for n < len(t.entries) && bytes > limit && t.entries[n].Index <= durable {
		bytes -= cost(t.entries[n])
		n++
	}
	if n > 0 {
		t.drop(t.entries[n-1].Index + 1)
	}
}

func cost(e core.Entry) int { return len(e.Data) + entryOverhead }
