package wal_test

import (
	"errors"
	"testing"

	"muster/consensus/core"
	"muster/consensus/wal"
	"muster/consensus/wal/memfs"
)

// A log keeps the incarnation that it was begun with through all its segments,
// whatever a later start would give a new one; an empty directory begins another.
func TestLog_KeepsItsIncarnation(t *testing.T) {
	fsys := memfs.New()
	open := func(dir string, offered core.Incarnation) (*wal.Log, core.Restored, error) {
		cfg := tiny()
		cfg.Log = offered
		return wal.Open(fsys, dir, cfg)
	}
	for _, offered := range []core.Incarnation{7, 8, 9} {
		l, r, err := open("raft", offered)
		if err != nil {
			t.Fatal(err)
		}
		if r.Log != 7 {
			t.Fatalf("incarnation %d after a start that offered %d, want 7", r.Log, offered)
		}
		last := r.LastIndex
		for i := range uint64(40) { // more than a segment
			e := core.Entry{Index: last + 1 + i, Term: 1, Kind: core.EntryCommand, Data: make([]byte, 300)}
			if err := l.Append(wal.Batch{HardState: &core.HardState{Term: 1}, Entries: []core.Entry{e}}); err != nil {
				t.Fatal(err)
			}
		}
		if l.Stats().Segments < 2 {
			t.Fatal("the log has one segment only, so nothing is shown about the next")
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l, r, err := open("wiped", 8)
	if err != nil || r.Log != 8 {
		t.Fatalf("a new log has incarnation %d, %v; want 8", r.Log, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// Segments of two logs in one directory are damage: a copy went wrong.
func TestLog_RefusesSegmentsOfTwoLogs(t *testing.T) {
	fsys := memfs.New()
	for _, dir := range []string{"a", "b"} {
		cfg := tiny()
		cfg.Log = core.Incarnation(dir[0])
		l, _, err := wal.Open(fsys, dir, cfg)
		if err != nil {
			t.Fatal(err)
		}
		for i := range uint64(40) {
			e := core.Entry{Index: 1 + i, Term: 1, Kind: core.EntryCommand, Data: make([]byte, 300)}
			if err := l.Append(wal.Batch{HardState: &core.HardState{Term: 1}, Entries: []core.Entry{e}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	const second = "/00000000000000000002.wal"
	if err := fsys.Rename("b"+second, "a"+second); err != nil {
		t.Fatal(err)
	}
	_, _, err := wal.Open(fsys, "a", tiny())
	var damage *wal.CorruptError
	if !errors.As(err, &damage) {
		t.Fatalf("opened with %v, want a CorruptError", err)
	}
}
