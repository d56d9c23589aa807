package wal_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"muster/consensus/core"
	"muster/consensus/wal"
	"muster/consensus/wal/memfs"
)

// FuzzRecover opens a directory whose segment holds arbitrary bytes. It must be
// refused, or be a log like any other: read, appended to, and found the same again.
func FuzzRecover(f *testing.F) {
	fsys, _ := smallDir(f)
	for _, name := range files(f, fsys) {
		b, err := wal.ReadFile(fsys, filepath.Join(dir, name), 1<<20)
		must(f, err)
		f.Add(b, true)
		f.Add(b[:len(b)/2], false)
	}
	f.Fuzz(func(t *testing.T, data []byte, fix bool) {
		if fix {
			data = append([]byte(nil), data...)
			wal.FixChecksums(data)
		}
		fsys := memfs.New()
		file, err := fsys.OpenFile(filepath.Join(dir, "00000000000000000001.wal"), os.O_CREATE, 0o600)
		must(t, err)
		_, err = file.WriteAt(data, 0)
		must(t, err)
		before := allocated()
		l, r, err := wal.Open(fsys, dir, tiny())
		within(t, before, len(data))
		if err != nil {
			return
		}
		defer l.Close()
		before = allocated()
		es, err := readAll(l)
		within(t, before, len(data))
		if err != nil {
			t.Fatalf("opened, but can't be read: %v", err)
		}
		if n := uint64(len(es)); n != r.LastIndex+1-r.FirstIndex {
			t.Fatalf("%d entries from %d to %d", n, r.FirstIndex, r.LastIndex)
		}
		hs := core.HardState{Term: r.HardState.Term, Vote: r.HardState.Vote, Commit: r.HardState.Commit}
		term := hs.Term
		if n := len(r.Terms); n > 0 {
			term = max(term, r.Terms[n-1].Term)
		}
		next := []core.Entry{entry(r.LastIndex+1, term)}
		if err := l.Append(wal.Batch{HardState: &hs, Entries: next}); err != nil {
			t.Fatalf("append: %v", err)
		}
		l, r2 := reopen(t, fsys, l)
		if r2.LastIndex != r.LastIndex+1 || r2.HardState != hs || r2.Voteless != r.Voteless {
			t.Fatalf("restored %+v, before %+v", r2, r)
		}
		wantEntries(t, l, append(es, next...))
	})
}

// FuzzSnapshot opens a directory whose snapshot holds arbitrary bytes: refused,
// or read whole.
func FuzzSnapshot(f *testing.F) {
	fsys := memfs.New()
	l, _ := open(f, fsys)
	must(f, l.Append(wal.Batch{Entries: entries(1, 1, 1)}))
	mustSnapshot(f, l, 1, 1, 70_000)
	must(f, l.Close())
	const name = "00000000000000000001-00000000000000000001.snap"
	b, err := wal.ReadFile(fsys, filepath.Join(dir, name), 1<<20)
	must(f, err)
	f.Add(b)
	f.Add(b[:100])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		fsys := fsys.Clone()
		must(t, fsys.Remove(filepath.Join(dir, name)))
		file, err := fsys.OpenFile(filepath.Join(dir, name), os.O_CREATE, 0o600)
		must(t, err)
		_, err = file.WriteAt(data, 0)
		must(t, err)
		before := allocated()
		l, r, err := wal.Open(fsys, dir, tiny())
		within(t, before, len(data))
		if err != nil {
			t.Fatalf("the log reaches back to the first entry: %v", err)
		}
		defer l.Close()
		if r.Snapshot.Index == 0 {
			return
		}
		if b, err := readSnapshot(l.Snapshots(), r.Snapshot); err != nil || uint64(len(b)) != r.Snapshot.Size {
			t.Fatalf("snapshot of %d bytes: read %d, %v", r.Snapshot.Size, len(b), err)
		}
	})
}

// within holds what was allocated since before to property 42: four times the size
// of a file, or of the buffers that one is read through, whatever is in it.
func within(t *testing.T, before uint64, size int) {
	t.Helper()
	if took, most := allocated()-before, uint64(4*max(size, 256<<10)); took > most {
		t.Errorf("%d bytes were read with %d bytes of memory; at most %d are due", size, took, most)
	}
}

// allocated is how many bytes the process has asked for since it began.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
