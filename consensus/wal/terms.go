package wal

import (
	"slices"
	"sort"

	"muster/consensus/core"
)

// termRuns are the runs of equal terms in the log, ascending by First. The
// first may belong to the entry before the log's first.
type termRuns []core.TermRun

// at gives the term of the entry at index, 0 if index lies before all runs.
func (r termRuns) at(index uint64) uint64 {
	i := sort.Search(len(r), func(i int) bool { return r[i].First > index }) - 1
	if i < 0 {
		return 0
	}
	return r[i].Term
}

// add says that the entries from first on have term.
func (r termRuns) add(first, term uint64) termRuns {
	if n := len(r); n > 0 && r[n-1].Term == term {
		return r
	}
	return append(r, core.TermRun{First: first, Term: term})
}

// before drops what concerns index and later entries.
func (r termRuns) before(index uint64) termRuns {
	n := len(r)
	for n > 0 && r[n-1].First >= index {
		n--
	}
	return r[:n]
}

// from drops what concerns entries before index.
func (r termRuns) from(index uint64) termRuns {
	i := sort.Search(len(r), func(i int) bool { return r[i].First > index }) - 1
	if i < 0 {
		return r
	}
	r = slices.Clone(r[i:])
	r[0].First = max(r[0].First, index)
	return r
}
