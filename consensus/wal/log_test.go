package wal_test

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"muster/consensus/core"
	"muster/consensus/wal"
	"muster/consensus/wal/memfs"
)

func TestOpen_EmptyDirectoryIsAnEmptyLog(t *testing.T) {
	fsys := memfs.New()
	l, r := open(t, fsys)
	want := core.Restored{FirstIndex: 1}
	if !reflect.DeepEqual(r, want) {
		t.Fatalf("restored %+v, want %+v", r, want)
	}
	_, r = reopen(t, fsys, l)
	if !reflect.DeepEqual(r, want) {
		t.Fatalf("restored again %+v, want %+v", r, want)
	}
}

func TestAppend_IsThereAfterReopen(t *testing.T) {
	fsys := memfs.New()
	l, _ := open(t, fsys)
	config := core.Entry{Index: 1, Term: 1, Kind: core.EntryConfig, Data: []byte("configuration")}
	must(t, l.Append(wal.Batch{HardState: state(1, "a"), Entries: []core.Entry{config}}))
	must(t, l.Append(wal.Batch{Entries: entries(2, 3, 1)}))
	must(t, l.Append(wal.Batch{HardState: &core.HardState{Term: 3, Vote: "b", Commit: 2}}))
	must(t, l.Append(wal.Batch{Entries: entries(5, 2, 3)}))
	want := append([]core.Entry{config}, append(entries(2, 3, 1), entries(5, 2, 3)...)...)
	wantEntries(t, l, want)

	l, r := reopen(t, fsys, l)
	wantEntries(t, l, want)
	if want := (core.Restored{
		HardState:  core.HardState{Term: 3, Vote: "b", Commit: 2},
		FirstIndex: 1, LastIndex: 6,
		Terms:   []core.TermRun{{First: 1, Term: 1}, {First: 5, Term: 3}},
		Configs: []core.Entry{config},
	}); !reflect.DeepEqual(r, want) {
		t.Fatalf("restored %+v, want %+v", r, want)
	}
}

func TestAppend_ReplacesConflictingTail(t *testing.T) {
	fsys := memfs.New()
	l, _ := open(t, fsys)
	config := core.Entry{Index: 30, Term: 1, Kind: core.EntryConfig, Data: []byte("never committed")}
	must(t, l.Append(wal.Batch{HardState: state(1, ""), Entries: entries(1, 29, 1)}))
	must(t, l.Append(wal.Batch{Entries: []core.Entry{config}}))
	for i := uint64(31); i <= 60; i++ { // into other segments
		must(t, l.Append(wal.Batch{Entries: entries(i, 1, 1)}))
	}
	if n := l.Stats().Segments; n < 3 {
		t.Fatalf("%d segments; the test needs some", n)
	}
	must(t, l.Append(wal.Batch{HardState: state(2, ""), Entries: entries(12, 2, 2)}))
	want := append(entries(1, 11, 1), entries(12, 2, 2)...)
	wantEntries(t, l, want)
	l, r := reopen(t, fsys, l)
	wantEntries(t, l, want)
	if len(r.Configs) != 0 {
		t.Fatalf("configurations %v survived the entries that held them", r.Configs)
	}
	must(t, l.Append(wal.Batch{Entries: entries(14, 1, 2)}))
	wantEntries(t, l, append(want, entry(14, 2)))
}

func TestAppendAll_IsOneWriteAndOneSync(t *testing.T) {
	fsys := memfs.New()
	l, _ := open(t, fsys)
	ops := map[memfs.OpKind]int{}
	fsys.Hook(func(op memfs.Op) error { ops[op.Kind]++; return nil })
	must(t, l.AppendAll([]wal.Batch{
		{HardState: state(1, "a"), Entries: entries(1, 4, 1)},
		{HardState: state(2, "b")},
		{Entries: entries(3, 1, 2)},
		{Entries: entries(4, 2, 2)},
	}))
	if want := map[memfs.OpKind]int{memfs.OpWrite: 1, memfs.OpSync: 1}; !reflect.DeepEqual(ops, want) {
		t.Fatalf("operations %v, want %v", ops, want)
	}
	fsys.Hook(nil)
	want := append(entries(1, 2, 1), entries(3, 3, 2)...)
	wantEntries(t, l, want)
	l, r := reopen(t, fsys, l)
	wantEntries(t, l, want)
	if r.HardState != *state(2, "b") {
		t.Fatalf("hard state %+v", r.HardState)
	}
}

func TestAppend_CommitAloneWritesNothing(t *testing.T) {
	fsys := memfs.New()
	l, _ := open(t, fsys)
	must(t, l.Append(wal.Batch{HardState: state(1, "a"), Entries: entries(1, 3, 1)}))
	fsys.Hook(func(op memfs.Op) error { t.Errorf("%v", op); return nil })
	must(t, l.Append(wal.Batch{HardState: &core.HardState{Term: 1, Vote: "a", Commit: 2}}))
	must(t, l.AppendAll(nil))
	fsys.Hook(nil)
	_, r := reopen(t, fsys, l)
	if r.HardState.Commit != 2 {
		t.Fatalf("commit %d after a clean close, want 2", r.HardState.Commit)
	}
}

func TestAppend_RefusesWhatContradictsTheLog(t *testing.T) {
	fsys := memfs.New()
	l, _ := open(t, fsys)
	must(t, l.Append(wal.Batch{HardState: state(2, "a"), Entries: entries(1, 3, 2)}))
	mustSnapshot(t, l, 3, 2, 10)
	for name, b := range map[string]wal.Batch{
		"gap":               {Entries: entries(5, 1, 2)},
		"gap within":        {Entries: []core.Entry{entry(4, 2), entry(6, 2)}},
		"index zero":        {Entries: []core.Entry{entry(0, 2)}},
		"term goes back":    {Entries: entries(4, 1, 1)},
		"hard state back":   {HardState: state(1, "a")},
		"second vote":       {HardState: state(2, "b")},
		"vote taken back":   {HardState: state(2, "")},
		"vote without size": {HardState: state(3, core.ServerID(strings.Repeat("x", 256)))},
	} {
		if err := l.Append(b); err == nil || errors.Is(err, wal.ErrFailed) {
			t.Errorf("%s: error %v; want a refusal that the log survives", name, err)
		}
	}
	if err := l.AppendAll([]wal.Batch{{Entries: entries(4, 1, 2)}, {Entries: entries(6, 1, 2)}}); err == nil {
		t.Error("gap between batches: no error")
	}
	l, r := reopen(t, fsys, l)
	wantEntries(t, l, entries(1, 3, 2))
	if r.HardState != *state(2, "a") {
		t.Fatalf("hard state %+v", r.HardState)
	}
}

func TestAppend_BatchLargerThanASegment(t *testing.T) {
	fsys := memfs.New()
	l, _ := open(t, fsys)
	big := core.Entry{Index: 1, Term: 1, Kind: core.EntryCommand, Data: make([]byte, 50_000)} // zeros: they must not pass for a torn write
	must(t, l.Append(wal.Batch{Entries: []core.Entry{big, entry(2, 1)}}))
	must(t, l.Append(wal.Batch{Entries: entries(3, 1, 1)}))
	l, _ = reopen(t, fsys, l)
	wantEntries(t, l, append([]core.Entry{big}, entries(2, 2, 1)...))
}

func TestEntries_KeepsToItsBounds(t *testing.T) {
	fsys := memfs.New()
	l, _ := open(t, fsys)
	want := entries(1, 100, 1)
	for i := 0; i < 100; i += 4 {
		must(t, l.Append(wal.Batch{Entries: want[i : i+4]}))
	}
	for lo := uint64(1); lo <= 100; lo++ {
		for _, hi := range []uint64{lo, lo + 1, lo + 7, 100, 1000} {
			got, err := l.Entries(lo, hi, 1<<20)
			must(t, err)
			if diff := sameEntries(got, want[lo-1:min(hi, 100)]); diff != "" {
				t.Fatalf("[%d, %d]: %s", lo, hi, diff)
			}
			if got, err = l.Entries(lo, hi, 1); err != nil || len(got) != 1 || got[0].Index != lo {
				t.Fatalf("[%d, %d] in one byte: %v, %v; want entry %d alone", lo, hi, got, err, lo)
			}
		}
	}
	got, err := l.Entries(3, 100, 200)
	must(t, err)
	bytes := 0
	for _, e := range got {
		bytes += len(e.Data)
	}
	if len(got) < 2 || bytes > 200 {
		t.Fatalf("%d entries of %d bytes within 200", len(got), bytes)
	}
	for _, lo := range []uint64{101, 5000} {
		if _, err := l.Entries(lo, lo, 100); !errors.Is(err, wal.ErrBeyondEnd) {
			t.Fatalf("entry %d: error %v, want ErrBeyondEnd", lo, err)
		}
	}
	if _, err := l.Entries(0, 4, 100); !errors.Is(err, wal.ErrCompacted) {
		t.Fatalf("entry 0: error %v, want ErrCompacted", err)
	}
}

func TestEntries_BesideAppendsAndCompaction(t *testing.T) {
	fsys := memfs.New()
	l, _ := open(t, fsys)
	must(t, l.Append(wal.Batch{Entries: entries(1, 1, 1)}))
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = l.Run(ctx) })
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				lo := l.FirstIndex()
				es, err := l.Entries(lo, lo+20, 1000)
				if errors.Is(err, wal.ErrCompacted) {
					continue
				}
				if err != nil {
					t.Errorf("read: %v", err)
					return
				}
				for i, e := range es {
					if want := entry(lo+uint64(i), 1); string(e.Data) != string(want.Data) {
						t.Errorf("entry %d is %q", lo+uint64(i), e.Data)
						return
					}
				}
			}
		})
	}
	for i := uint64(2); i < 400; i++ {
		must(t, l.Append(wal.Batch{Entries: entries(i, 1, 1)}))
		if i%40 == 0 {
			mustSnapshot(t, l, i, 1, 100)
			_, err := l.Compact(i)
			must(t, err)
		}
	}
	stop()
	wg.Wait()
}

func TestCompact_DropsWholeSegmentsAndRetainsTheRest(t *testing.T) {
	fsys := memfs.New()
	l, _ := open(t, fsys)
	for i := uint64(1); i <= 60; i++ {
		must(t, l.Append(wal.Batch{HardState: state(i/10+1, "a"), Entries: entries(i, 1, i/10+1)}))
	}
	if _, err := l.Compact(40); err == nil {
		t.Fatal("compacted without a snapshot")
	}
	mustSnapshot(t, l, 45, 5, 100)
	before := l.Stats()
	first, err := l.Compact(40)
	must(t, err)
	if first < 2 || first > 41 || first != l.FirstIndex() {
		t.Fatalf("log begins at %d after compaction up to 40", first)
	}
	if after := l.Stats(); after.Bytes >= before.Bytes || after.Segments >= before.Segments {
		t.Fatalf("stats %+v before, %+v after", before, after)
	}
	if _, err := l.Entries(first-1, first, 100); !errors.Is(err, wal.ErrCompacted) {
		t.Fatalf("compacted entry: error %v", err)
	}
	check := func(l *wal.Log) {
		t.Helper()
		if got := all(t, l); got[0].Index != first || len(got) != int(61-first) {
			t.Fatalf("log holds %d entries from %d", len(got), got[0].Index)
		}
	}
	check(l)
	l, r := reopen(t, fsys, l)
	check(l)
	if r.FirstIndex != first || r.Terms[0].First != first || r.Snapshot.Index != 45 {
		t.Fatalf("restored %+v; want first index %d", r, first)
	}
	if again, err := l.Compact(40); err != nil || again != first {
		t.Fatalf("compacted again: %d, %v", again, err)
	}
}

func TestCompact_KeepsRetainBytes(t *testing.T) {
	fsys := memfs.New()
	cfg := wal.Config{SegmentBytes: 4096, RetainBytes: 20_000}
	l, _, err := wal.Open(fsys, dir, cfg)
	must(t, err)
	for i := uint64(1); i <= 200; i++ {
		must(t, l.Append(wal.Batch{Entries: entries(i, 1, 1)}))
	}
	mustSnapshot(t, l, 200, 1, 10)
	first, err := l.Compact(200)
	must(t, err)
	if used := l.Stats().Used; first < 100 || used < 20_000 || used > 20_000+2*4096 {
		t.Fatalf("log from %d on takes %d bytes, want 20000 and at most two segments more", first, used)
	}
}

// A later segment replaces entries of an earlier one that is compacted away
// afterwards: what the later header calls its first index is then too high.
func TestCompact_AfterTruncationAcrossSegments(t *testing.T) {
	fsys := memfs.New()
	l, _ := open(t, fsys)
	for i := uint64(1); i <= 14; i++ {
		must(t, l.Append(wal.Batch{HardState: state(1, ""), Entries: entries(i, 1, 1)}))
	}
	must(t, l.Append(wal.Batch{HardState: state(2, ""), Entries: entries(4, 3, 2)}))
	for i := uint64(7); i <= 20; i++ {
		must(t, l.Append(wal.Batch{Entries: entries(i, 1, 2)}))
	}
	mustSnapshot(t, l, 20, 2, 10)
	for upTo := uint64(1); upTo <= 20; upTo++ {
		first, err := l.Compact(upTo)
		must(t, err)
		var r core.Restored
		l, r = reopen(t, fsys, l)
		if r.FirstIndex != first {
			t.Fatalf("compacted up to %d: log begins at %d, after reopening at %d", upTo, first, r.FirstIndex)
		}
		if got := all(t, l); len(got) > 0 && got[0].Index != first {
			t.Fatalf("compacted up to %d: first entry %d", upTo, got[0].Index)
		}
	}
	if l.FirstIndex() < 10 {
		t.Fatalf("log still begins at %d", l.FirstIndex())
	}
}

func TestFailure_IsStickyAndNeverRetried(t *testing.T) {
	for _, kind := range []memfs.OpKind{memfs.OpWrite, memfs.OpSync} {
		fsys := memfs.NewFaulty()
		l, _ := open(t, fsys)
		must(t, l.Append(wal.Batch{HardState: state(1, "a"), Entries: entries(1, 2, 1)}))
		fsys.Hook(memfs.Nth(kind, 1, syscall.EIO, false))
		if err := l.Append(wal.Batch{Entries: entries(3, 1, 1)}); !errors.Is(err, wal.ErrFailed) || !errors.Is(err, syscall.EIO) {
			t.Fatalf("%v fails: error %v", kind, err)
		}
		fsys.Hook(func(op memfs.Op) error { t.Errorf("after the failure: %v", op); return nil })
		_, errRead := l.Entries(1, 1, 1)
		_, errCompact := l.Compact(1)
		for i, err := range []error{
			l.Append(wal.Batch{Entries: entries(3, 1, 1)}), l.AppendAll([]wal.Batch{{HardState: state(9, "")}}),
			l.ResetTo(core.SnapshotMeta{Index: 9}), errRead, errCompact,
		} {
			if !errors.Is(err, syscall.EIO) {
				t.Errorf("%v failed, call %d afterwards: error %v", kind, i, err)
			}
		}
		fsys.Hook(nil)
		_, r := reopen(t, fsys, l)
		if r.LastIndex < 2 || r.HardState != *state(1, "a") {
			t.Fatalf("restored %+v", r)
		}
	}
}

// After a failed sync Linux keeps the page, calls it clean, and lets the next
// sync succeed. A restart that finds the batch must not count on it.
func TestOpen_MakesDurableWhatOnlyThePageCacheHas(t *testing.T) {
	fsys := memfs.NewFaulty()
	l, _ := open(t, fsys)
	fsys.Hook(memfs.Nth(memfs.OpSync, 1, syscall.EIO, false))
	if err := l.Append(wal.Batch{HardState: state(1, "a"), Entries: entries(1, 1, 1)}); err == nil {
		t.Fatal("no error")
	}
	fsys.Hook(nil)
	_, found := reopen(t, fsys, l)
	if found.LastIndex != 1 {
		t.Fatalf("restored %+v; the test needs the batch to be seen", found)
	}
	_, r := open(t, fsys.Crash(memfs.LoseAll, nil))
	if r.LastIndex != found.LastIndex || r.HardState != found.HardState {
		t.Fatalf("%+v was reported, %+v survives", found, r)
	}
}

func TestFullDisk_FailsWithTheReason(t *testing.T) {
	fsys := memfs.NewFaulty()
	l, _ := open(t, fsys)
	fsys.SetCapacity(20_000)
	var err error
	n := uint64(0)
	for err == nil {
		n++
		err = l.Append(wal.Batch{Entries: entries(n, 1, 1)})
	}
	if !errors.Is(err, syscall.ENOSPC) || !errors.Is(err, wal.ErrFailed) {
		t.Fatalf("error %v, want ENOSPC", err)
	}
	fsys.SetCapacity(0)
	l, _ = reopen(t, fsys, l)
	wantEntries(t, l, entries(1, int(n-1), 1))
}

func TestRun_PreparesSegmentsAndForeseesAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := memfs.NewFaulty()
		l, _ := open(t, fsys)
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		appendOne := func() {
			must(t, l.Append(wal.Batch{Entries: entries(l.LastIndex()+1, 1, 1)}))
			synctest.Wait() // Run has done what it was asked for
		}
		made := map[string]int{}
		fsys.Hook(func(op memfs.Op) error {
			if op.Kind == memfs.OpOpen {
				made[filepath.Base(op.Name)]++
			}
			return nil
		})
		for l.Stats().Segments < 6 {
			appendOne()
		}
		if made["prepared.wal.tmp"] < 5 || made["instant.wal.tmp"] > 0 {
			t.Fatalf("files made: %v; want all ahead", made)
		}
		fsys.SetCapacity(1)
		for l.Stats().PrepareErr == nil {
			if l.Stats().Segments > 7 {
				t.Fatal("the full disk was not foreseen")
			}
			appendOne()
		}
		appendOne() // there is still room in the segment
		stop()
		must(t, <-done)
	})
}

func TestClose_EndsAllCalls(t *testing.T) {
	l, _ := open(t, memfs.New())
	must(t, l.Append(wal.Batch{Entries: entries(1, 1, 1)}))
	must(t, l.Close())
	must(t, l.Close())
	if err := l.Append(wal.Batch{Entries: entries(2, 1, 1)}); !errors.Is(err, wal.ErrClosed) {
		t.Errorf("append: %v", err)
	}
	if _, err := l.Entries(1, 1, 1); !errors.Is(err, wal.ErrClosed) {
		t.Errorf("entries: %v", err)
	}
}

func TestConfig_ReportsAllFaultsAtOnce(t *testing.T) {
	err := wal.Config{SegmentBytes: 1, RetainBytes: -1}.Validate()
	if err == nil || !strings.Contains(err.Error(), "segment size 1") || !strings.Contains(err.Error(), "-1") {
		t.Fatalf("error %v", err)
	}
	must(t, wal.DefaultConfig().Validate())
}
