package wal_test

import (
	"bytes"
	"fmt"
	"hash/crc64"
	"io"
	"testing"

	"muster/consensus/core"
	"muster/consensus/wal"
	"muster/consensus/wal/memfs"
)

const dir = "/data/raft"

// tiny makes segments of a few batches, so that a short test rotates often.
func tiny() wal.Config { return wal.Config{SegmentBytes: 4096} }

func open(t testing.TB, fsys wal.FS) (*wal.Log, core.Restored) {
	t.Helper()
	l, r, err := wal.Open(fsys, dir, tiny())
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, r
}

func reopen(t testing.TB, fsys wal.FS, l *wal.Log) (*wal.Log, core.Restored) {
	t.Helper()
	must(t, l.Close())
	return open(t, fsys)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// entry makes a command whose data tell index and term.
func entry(index, term uint64) core.Entry {
	return core.Entry{Index: index, Term: term, Kind: core.EntryCommand, Data: fmt.Appendf(nil, "entry %d of term %d", index, term)}
}

// entries makes n of them from index on.
func entries(index uint64, n int, term uint64) []core.Entry {
	var es []core.Entry
	for i := range uint64(n) {
		es = append(es, entry(index+i, term))
	}
	return es
}

func state(term uint64, vote core.ServerID) *core.HardState {
	return &core.HardState{Term: term, Vote: vote}
}

// all reads the whole log.
func all(t testing.TB, l *wal.Log) []core.Entry {
	t.Helper()
	es, err := readAll(l)
	if err != nil {
		t.Fatalf("read the log: %v", err)
	}
	return es
}

func readAll(l *wal.Log) ([]core.Entry, error) {
	var es []core.Entry
	for next := l.FirstIndex(); next <= l.LastIndex(); {
		more, err := l.Entries(next, l.LastIndex(), 300)
		if err != nil {
			return nil, err
		}
		es = append(es, more...)
		next += uint64(len(more))
	}
	return es, nil
}

// sameEntries says how two logs differ, "" if they don't.
func sameEntries(got, want []core.Entry) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("entry %d is missing", want[i].Index)
		case i >= len(want):
			return fmt.Sprintf("entry (%d, %d) should not be there", got[i].Term, got[i].Index)
		}
		g, w := got[i], want[i]
		if g.Index != w.Index || g.Term != w.Term || g.Kind != w.Kind || !bytes.Equal(g.Data, w.Data) {
			return fmt.Sprintf("entry %d is (%d, %d) %q, want (%d, %d) %q", i, g.Term, g.Index, g.Data, w.Term, w.Index, w.Data)
		}
	}
	return ""
}

func wantEntries(t testing.TB, l *wal.Log, want []core.Entry) {
	t.Helper()
	if diff := sameEntries(all(t, l), want); diff != "" {
		t.Fatal(diff)
	}
}

// content is the state machine after entry (term, index), as long as size.
func content(index, term uint64, size int) []byte {
	b := fmt.Appendf(nil, "state after entry %d of term %d.", index, term)
	return append(b, bytes.Repeat([]byte("muster "), size/7+1)...)[:size]
}

func metaAt(index, term uint64) core.SnapshotMeta {
	return core.SnapshotMeta{
		Index: index, Term: term, ConfigIndex: 1,
		Config: core.Configuration{ClusterID: "c1", Servers: []core.Server{{ID: "a", Addr: "10.0.0.1:8300", Suffrage: core.Voter}}},
	}
}

// snapshot makes a durable snapshot of size bytes.
func snapshot(s *wal.Snapshots, index, term uint64, size int) (core.SnapshotMeta, error) {
	w, err := s.Create(metaAt(index, term))
	if err != nil {
		return core.SnapshotMeta{}, err
	}
	if _, err := w.Write(content(index, term, size)); err != nil {
		_ = w.Abort()
		return core.SnapshotMeta{}, err
	}
	return w.Commit()
}

func mustSnapshot(t testing.TB, l *wal.Log, index, term uint64, size int) core.SnapshotMeta {
	t.Helper()
	m, err := snapshot(l.Snapshots(), index, term, size)
	must(t, err)
	return m
}

// readSnapshot reads a snapshot whole.
func readSnapshot(s *wal.Snapshots, m core.SnapshotMeta) ([]byte, error) {
	r, err := s.Open(m)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// files lists a directory of the file system under test.
func files(t testing.TB, fsys *memfs.FS) []string {
	t.Helper()
	names, err := fsys.ReadDir(dir)
	must(t, err)
	return names
}

// received is the meta that a leader announces for a snapshot of these bytes.
func received(at core.EntryID, data []byte) core.SnapshotMeta {
	m := metaAt(at.Index, at.Term)
	m.Size, m.Checksum = uint64(len(data)), crc64.Checksum(data, crc64.MakeTable(crc64.ECMA))
	return m
}
