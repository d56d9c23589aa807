package wal_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"muster/consensus/core"
	"muster/consensus/wal"
	"muster/consensus/wal/memfs"
)

func TestSnapshot_ReadsBackWholeAndInChunks(t *testing.T) {
	for _, size := range []int{0, 1, 65531, 65532, 65533, 200_000} {
		fsys := memfs.New()
		l, _ := open(t, fsys)
		must(t, l.Append(wal.Batch{Entries: entries(1, 5, 1)}))
		w, err := l.Snapshots().Create(metaAt(5, 1))
		must(t, err)
		data := append(content(5, 1, 60), bytes.Repeat([]byte{7}, 200_000)...)[:size]
		for rest := data; len(rest) > 0; {
			n, err := w.Write(rest[:min(len(rest), 777)])
			must(t, err)
			rest = rest[n:]
		}
		if _, ok := l.Snapshots().Latest(); ok {
			t.Fatal("seen before Commit")
		}
		meta, err := w.Commit()
		must(t, err)
		if want := received(core.EntryID{Term: 1, Index: 5}, data); !reflect.DeepEqual(meta, want) {
			t.Fatalf("meta %+v, want %+v", meta, want)
		}
		l, r := reopen(t, fsys, l)
		if !reflect.DeepEqual(r.Snapshot, meta) {
			t.Fatalf("restored %+v, want %+v", r.Snapshot, meta)
		}
		if got, err := readSnapshot(l.Snapshots(), meta); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes read as %d, %v", size, len(got), err)
		}
		for _, n := range []int{1 << 20, 70_000, 5000} {
			var got []byte
			for last := false; !last; {
				var b []byte
				b, last, err = l.Snapshots().ReadChunk(meta, uint64(len(got)), n)
				must(t, err)
				if !last && len(b) != n {
					t.Fatalf("chunk of %d bytes, want %d", len(b), n)
				}
				got = append(got, b...)
			}
			if !bytes.Equal(got, data) {
				t.Fatalf("%d bytes in chunks of %d read as %d", size, n, len(got))
			}
		}
		if _, _, err := l.Snapshots().ReadChunk(meta, uint64(size)+1, 10); err == nil {
			t.Fatal("read beyond the end")
		}
	}
}

func TestSnapshot_NewestTwoStay(t *testing.T) {
	fsys := memfs.New()
	l, _ := open(t, fsys)
	must(t, l.Append(wal.Batch{Entries: entries(1, 9, 1)}))
	var metas []core.SnapshotMeta
	var readers []io.ReadCloser
	for i := uint64(2); i <= 8; i += 2 {
		m := mustSnapshot(t, l, i, 1, 100)
		r, err := l.Snapshots().Open(m)
		must(t, err)
		metas, readers = append(metas, m), append(readers, r)
	}
	for i, m := range metas {
		_, err := readSnapshot(l.Snapshots(), m)
		if there := err == nil; there != (i >= 2) || err != nil && !errors.Is(err, wal.ErrNoSnapshot) {
			t.Errorf("snapshot at %d: %v", m.Index, err)
		}
		if b, err := io.ReadAll(readers[i]); err != nil || !bytes.Equal(b, content(m.Index, 1, 100)) {
			t.Errorf("reader opened before: %v", err)
		}
	}
	if _, err := l.Snapshots().Create(metaAt(7, 1)); err == nil {
		t.Error("older snapshot created")
	}
	names := strings.Join(files(t, fsys), " ")
	if strings.Count(names, ".snap") != 2 {
		t.Errorf("files %s", names)
	}
}

func TestSnapshot_AbortAndFailureLeaveNothing(t *testing.T) {
	fsys := memfs.New()
	l, _ := open(t, fsys)
	must(t, l.Append(wal.Batch{Entries: entries(1, 5, 1)}))
	before := files(t, fsys)
	w, err := l.Snapshots().Create(metaAt(5, 1))
	must(t, err)
	_, err = w.Write(make([]byte, 100_000))
	must(t, err)
	must(t, w.Abort())
	if got := files(t, fsys); !reflect.DeepEqual(got, before) {
		t.Fatalf("files %v, want %v", got, before)
	}
	for k := 1; k <= 3; k++ {
		fsys.Hook(memfs.Nth(memfs.OpWrite, k, syscall.ENOSPC, true))
		w, err := l.Snapshots().Create(metaAt(5, 1))
		must(t, err)
		_, _ = w.Write(make([]byte, 100_000)) // Commit repeats its error
		if _, err := w.Commit(); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("commit with write %d failing: %v", k, err)
		}
		if got := files(t, fsys); !reflect.DeepEqual(got, before) {
			t.Fatalf("files %v, want %v", got, before)
		}
	}
	fsys.Hook(nil)
	mustSnapshot(t, l, 5, 1, 100) // the next one works, and the log did all along
	must(t, l.Append(wal.Batch{Entries: entries(6, 1, 1)}))
}

func TestSnapshot_DamagedNewestIsPassedOverOnlyIfTheLogReaches(t *testing.T) {
	for _, compacted := range []bool{false, true} {
		fsys := memfs.New()
		l, _ := open(t, fsys)
		for i := uint64(1); i <= 40; i++ {
			must(t, l.Append(wal.Batch{Entries: entries(i, 1, 1)}))
		}
		mustSnapshot(t, l, 10, 1, 100)
		mustSnapshot(t, l, 30, 1, 100)
		if compacted {
			_, err := l.Compact(30)
			must(t, err)
		}
		must(t, l.Close())
		names := files(t, fsys)
		newest := ""
		for _, name := range names {
			if strings.HasSuffix(name, ".snap") {
				newest = filepath.Join(dir, name)
			}
		}
		fsys.FlipBit(newest, 77)
		l, r, err := wal.Open(fsys, dir, tiny())
		if compacted {
			var damage *wal.CorruptError
			if !errors.As(err, &damage) || damage.File != newest {
				t.Fatalf("error %v, want damage of %s", err, newest)
			}
			continue
		}
		must(t, err)
		if r.Snapshot.Index != 10 || r.FirstIndex != 1 || len(l.Repairs()) != 1 {
			t.Fatalf("restored %+v, repairs %v", r, l.Repairs())
		}
		mustSnapshot(t, l, 35, 1, 100)
		if _, r = reopen(t, fsys, l); r.Snapshot.Index != 35 {
			t.Fatalf("restored %+v", r)
		}
	}
}

// A snapshot from the leader may arrive while an own one is being written.
func TestSnapshot_OvertakenByANewerOneIsDropped(t *testing.T) {
	fsys := memfs.New()
	l, _ := open(t, fsys)
	must(t, l.Append(wal.Batch{Entries: entries(1, 9, 1)}))
	w, err := l.Snapshots().Create(metaAt(5, 1))
	must(t, err)
	newer := mustSnapshot(t, l, 8, 1, 100)
	if _, err := w.Commit(); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Fatalf("commit: %v", err)
	}
	if names := strings.Join(files(t, fsys), " "); strings.Count(names, "snap") != 1 {
		t.Fatalf("files %s", names)
	}
	if _, r := reopen(t, fsys, l); !reflect.DeepEqual(r.Snapshot, newer) {
		t.Fatalf("restored %+v", r.Snapshot)
	}
}

func TestReceive_ResumesAfterARestart(t *testing.T) {
	data := bytes.Repeat([]byte("a snapshot of some size; "), 12_000) // 300 kB
	at := core.EntryID{Term: 3, Index: 50}
	meta := received(at, data)
	for _, law := range memfs.Laws() {
		rnd := rand.New(rand.NewPCG(1, uint64(law)))
		fsys := memfs.NewFaulty()
		l, _ := open(t, fsys)
		resumed := 0
		r, next, err := l.Snapshots().Receive(meta)
		must(t, err)
		for crashes, writes := 0, 0; next < meta.Size; {
			next, err = r.WriteAt(next, data[next:min(next+30_000, meta.Size)])
			must(t, err)
			if writes++; crashes < 3 && writes%5 == 0 {
				crashes++
				fsys = fsys.Crash(law, rnd)
				l, _ = open(t, fsys)
				if r, next, err = l.Snapshots().Receive(meta); err != nil {
					t.Fatal(err)
				}
				if next > 0 {
					resumed++
				}
			}
		}
		must(t, r.Finish())
		must(t, r.Finish())
		if got, ok := l.Snapshots().Latest(); !ok || !reflect.DeepEqual(got, meta) {
			t.Fatalf("law %v: latest %+v", law, got)
		}
		if got, err := readSnapshot(l.Snapshots(), meta); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("law %v: read back: %v", law, err)
		}
		if (law == memfs.Kill || law == memfs.KeepAll) && resumed == 0 {
			t.Errorf("law %v: never resumed", law)
		}
		if names := strings.Join(files(t, fsys), " "); strings.Contains(names, ".part") {
			t.Errorf("law %v: files %s", law, names)
		}
		if r, next, err := l.Snapshots().Receive(meta); err != nil || next != meta.Size || r.Finish() != nil {
			t.Errorf("law %v: received again: wants %d, %v", law, next, err)
		}
	}
}

func TestReceive_TakesBytesInOrderOnly(t *testing.T) {
	l, _ := open(t, memfs.New())
	data := content(9, 2, 1000)
	meta := received(core.EntryID{Term: 2, Index: 9}, data)
	r, _, err := l.Snapshots().Receive(meta)
	must(t, err)
	steps := []struct{ from, to, want int }{{0, 100, 100}, {50, 90, 100}, {300, 400, 100}, {50, 200, 200}, {200, 1000, 1000}}
	for _, s := range steps {
		if next, err := r.WriteAt(uint64(s.from), data[s.from:s.to]); err != nil || next != uint64(s.want) {
			t.Fatalf("[%d, %d): next %d, %v; want %d", s.from, s.to, next, err, s.want)
		}
		if s.want < 1000 {
			if err := r.Finish(); err == nil {
				t.Fatal("finished too early")
			}
		}
	}
	for _, off := range []uint64{950, 1 << 63, ^uint64(0)} {
		if _, err := r.WriteAt(off, make([]byte, 100)); err == nil {
			t.Errorf("bytes beyond the end at %d were taken", off)
		}
	}
	must(t, r.Finish())
}

func TestReceive_WrongBytesAreRefusedAndDropped(t *testing.T) {
	fsys := memfs.New()
	l, _ := open(t, fsys)
	data := content(9, 2, 1000)
	meta := received(core.EntryID{Term: 2, Index: 9}, data)
	r, _, err := l.Snapshots().Receive(meta)
	must(t, err)
	_, err = r.WriteAt(0, make([]byte, 1000))
	must(t, err)
	if err := r.Finish(); !errors.Is(err, wal.ErrChecksum) {
		t.Fatalf("error %v", err)
	}
	if _, ok := l.Snapshots().Latest(); ok {
		t.Fatal("the wrong snapshot is there")
	}
	r, next, err := l.Snapshots().Receive(meta)
	must(t, err)
	if next != 0 {
		t.Fatalf("wants %d, want to start again", next)
	}
	_, err = r.WriteAt(0, data)
	must(t, err)
	must(t, r.Finish())
}

func TestReceive_AnotherSnapshotReplacesThePart(t *testing.T) {
	fsys := memfs.New()
	l, _ := open(t, fsys)
	data := bytes.Repeat([]byte{1}, 200_000)
	first, _, err := l.Snapshots().Receive(received(core.EntryID{Term: 2, Index: 9}, data))
	must(t, err)
	_, err = first.WriteAt(0, data[:150_000])
	must(t, err)
	second, next, err := l.Snapshots().Receive(received(core.EntryID{Term: 2, Index: 12}, data))
	must(t, err)
	if next != 0 {
		t.Fatalf("bytes of another snapshot were taken: wants %d", next)
	}
	if _, err := first.WriteAt(150_000, data[:10]); !errors.Is(err, wal.ErrClosed) {
		t.Fatalf("first receiver: %v", err)
	}
	_, err = second.WriteAt(0, data)
	must(t, err)
	must(t, second.Finish())
	if n := strings.Count(strings.Join(files(t, fsys), " "), ".part"); n != 0 {
		t.Fatalf("files %v", files(t, fsys))
	}
}

func TestResetTo_DropsWhatConflictsAndKeepsWhatAgrees(t *testing.T) {
	for name, c := range map[string]struct {
		at   core.EntryID
		kept bool
	}{
		"agrees":              {core.EntryID{Term: 2, Index: 8}, true},
		"agrees at the end":   {core.EntryID{Term: 3, Index: 12}, true},
		"conflicts":           {core.EntryID{Term: 3, Index: 8}, false},
		"beyond the end":      {core.EntryID{Term: 3, Index: 20}, false},
		"just beyond the end": {core.EntryID{Term: 3, Index: 13}, false},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := memfs.New()
			l, _ := open(t, fsys)
			must(t, l.Append(wal.Batch{HardState: state(2, "a"), Entries: entries(1, 10, 2)}))
			must(t, l.Append(wal.Batch{HardState: state(3, "b"), Entries: entries(11, 2, 3)}))
			data := content(c.at.Index, c.at.Term, 100)
			meta := received(c.at, data)
			if err := l.ResetTo(meta); !errors.Is(err, wal.ErrNoSnapshot) {
				t.Fatalf("reset to a snapshot that isn't durable: %v", err)
			}
			r, _, err := l.Snapshots().Receive(meta)
			must(t, err)
			_, err = r.WriteAt(0, data)
			must(t, err)
			must(t, r.Finish())
			must(t, l.ResetTo(meta))
			must(t, l.ResetTo(meta))
			check := func(l *wal.Log) {
				t.Helper()
				if c.kept {
					wantEntries(t, l, append(entries(1, 10, 2), entries(11, 2, 3)...))
				} else if l.FirstIndex() != c.at.Index+1 || l.LastIndex() != c.at.Index {
					t.Fatalf("log holds %d to %d", l.FirstIndex(), l.LastIndex())
				}
			}
			check(l)
			l, restored := reopen(t, fsys, l)
			check(l)
			if restored.HardState.Term != 3 || restored.HardState.Vote != "b" || restored.Snapshot.Index != c.at.Index {
				t.Fatalf("restored %+v", restored)
			}
			next := l.LastIndex() + 1
			must(t, l.Append(wal.Batch{Entries: entries(next, 1, 3)}))
			l, _ = reopen(t, fsys, l)
			if got, err := l.Entries(next, next, 100); err != nil || sameEntries(got, entries(next, 1, 3)) != "" {
				t.Fatalf("appended entry: %v, %v", got, err)
			}
		})
	}
}
