package wal_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"muster/consensus/core"
	"muster/consensus/wal"
	"muster/consensus/wal/memfs"
)

// smallDir is a data directory with all that can be in one: sealed segments, a
// replaced tail, two snapshots, entries behind and before them.
func smallDir(t testing.TB) (*memfs.FS, model) {
	t.Helper()
	fsys := memfs.New()
	l, _ := open(t, fsys)
	m := model{}
	add := func(b wal.Batch) {
		must(t, l.Append(b))
		m = m.append(b)
	}
	add(wal.Batch{HardState: state(1, "a"), Entries: entries(1, 3, 1)})
	add(wal.Batch{Entries: entries(4, 2, 1)})
	mustSnapshot(t, l, 3, 1, 200)
	add(wal.Batch{HardState: state(2, "server-b"), Entries: entries(5, 3, 2)})
	big := entries(8, 2, 2)
	big[0].Data = make([]byte, 1200)
	add(wal.Batch{Entries: big})
	mustSnapshot(t, l, 6, 2, 300)
	m.snap, m.size = core.EntryID{Index: 6, Term: 2}, 300
	add(wal.Batch{Entries: entries(10, 4, 2)})
	must(t, l.Close())
	return fsys, m
}

func TestDamage_EveryBitFlipIsDetectedOrHarmless(t *testing.T) {
	fsys, m := smallDir(t)
	old := m
	old.snap, old.size = core.EntryID{Index: 3, Term: 1}, 200
	refused, harmless, step := 0, 0, int64(1)
	if underRace {
		step = 7
	}
	for _, name := range files(t, fsys) {
		path := filepath.Join(dir, name)
		for bit := int64(0); fsys.FlipBit(path, bit); bit += step {
			damaged := fsys.Clone()
			fsys.FlipBit(path, bit) // back
			l, r, err := wal.Open(damaged, dir, tiny())
			if err != nil {
				refused++
				if !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "offset") {
					t.Fatalf("%s, bit %d: error %q does not name file and offset", name, bit, err)
				}
				continue
			}
			harmless++
			diff := m.differs(l, r)
			if diff != "" && strings.HasSuffix(name, ".snap") { // passed over for the older one
				diff = old.differs(l, r)
			}
			if diff != "" {
				t.Fatalf("%s, bit %d at offset %d: not detected: %s", name, bit, bit/8, diff)
			}
			older := metaAt(3, 1)
			if b, err := readSnapshot(l.Snapshots(), older); err == nil && string(b) != string(content(3, 1, 200)) {
				t.Fatalf("%s, bit %d: older snapshot reads as %q", name, bit, b)
			}
			_ = l.Close()
		}
	}
	t.Logf("%d flips refused at start, %d harmless", refused, harmless)
	if int64(refused) < 50_000/step || int64(harmless) < 5000/step {
		t.Errorf("%d flips refused, %d harmless; the directory is too small to mean something", refused, harmless)
	}
}

func TestDamage_AfterOpenIsFoundByTheReader(t *testing.T) {
	fsys, m := smallDir(t)
	l, r := open(t, fsys)
	data := m.entries[3].Data
	for _, name := range files(t, fsys) {
		path := filepath.Join(dir, name)
		f, err := fsys.OpenFile(path, 0, 0)
		must(t, err)
		size, err := f.Size()
		must(t, err)
		b := make([]byte, size)
		_, err = f.ReadAt(b, 0)
		must(t, err)
		at := strings.Index(string(b), string(data))
		if strings.HasSuffix(name, ".snap") {
			at = 50
		}
		if at >= 0 {
			fsys.FlipBit(path, int64(at)*8)
		}
	}
	var damage *wal.CorruptError
	if _, err := l.Entries(4, 4, 1000); !errors.As(err, &damage) || !strings.HasSuffix(damage.File, ".wal") || damage.Offset == 0 {
		t.Errorf("entry: error %v", err)
	}
	if _, err := readSnapshot(l.Snapshots(), r.Snapshot); !errors.As(err, &damage) || !strings.HasSuffix(damage.File, ".snap") {
		t.Errorf("snapshot: error %v", err)
	}
	if _, _, err := l.Snapshots().ReadChunk(r.Snapshot, 0, 10); !errors.As(err, &damage) {
		t.Errorf("chunk: error %v", err)
	}
}

// lastSegment is the path of the newest segment.
func lastSegment(t testing.TB, fsys *memfs.FS) string {
	t.Helper()
	last := ""
	for _, name := range files(t, fsys) {
		if strings.HasSuffix(name, ".wal") {
			last = filepath.Join(dir, name)
		}
	}
	return last
}

// A segment shorter than it was preallocated may have held more than it shows.
// The server comes back without a vote, and stays so until told otherwise.
func TestShortenedSegment_TakesTheVote(t *testing.T) {
	whole, m := smallDir(t)
	path := lastSegment(t, whole)
	f, err := whole.OpenFile(path, 0, 0)
	must(t, err)
	size, err := f.Size()
	must(t, err)
	votelesses := 0
	for cut := size - 1; cut >= 0; cut -= 37 {
		fsys := whole.Clone()
		fsys.Truncate(path, cut)
		l, r, err := wal.Open(fsys, dir, tiny())
		if err != nil {
			if cut >= 1024 {
				t.Fatalf("cut to %d bytes: %v", cut, err)
			}
			continue
		}
		votelesses++
		if !r.Voteless || len(l.Repairs()) == 0 {
			t.Fatalf("cut to %d bytes: voteless %v, repairs %v", cut, r.Voteless, l.Repairs())
		}
		if r.HardState.Term != m.hs.Term || r.LastIndex > m.last() {
			t.Fatalf("cut to %d bytes: restored %+v", cut, r)
		}
		wantEntries(t, l, m.entries[:r.LastIndex])
		must(t, l.Append(wal.Batch{Entries: entries(r.LastIndex+1, 1, 5)}))
		last := r.LastIndex + 1
		if l, r = reopen(t, fsys, l); !r.Voteless || r.LastIndex != last {
			t.Fatalf("cut to %d bytes, second start: voteless %v, last %d", cut, r.Voteless, r.LastIndex)
		}
		l.SetVoteless(false)
		must(t, l.Append(wal.Batch{Entries: entries(last+1, 1, 5)}))
		if _, r = reopen(t, fsys, l); r.Voteless {
			t.Fatalf("cut to %d bytes: voteless for ever", cut)
		}
	}
	if votelesses < 20 {
		t.Fatalf("%d cuts were survived", votelesses)
	}
}

func TestMissingSegment(t *testing.T) {
	whole, m := smallDir(t)
	var segments []string
	for _, name := range files(t, whole) {
		if strings.HasSuffix(name, ".wal") {
			segments = append(segments, name)
		}
	}
	if len(segments) < 3 {
		t.Fatalf("segments %v; the test needs three", segments)
	}
	last := len(segments) - 1

	t.Run("newest", func(t *testing.T) {
		fsys := whole.Clone()
		must(t, fsys.Remove(filepath.Join(dir, segments[last])))
		l, r := open(t, fsys)
		if !r.Voteless || r.LastIndex >= m.last() {
			t.Fatalf("restored %+v, want voteless", r)
		}
		if _, r = reopen(t, fsys, l); !r.Voteless {
			t.Fatal("the second start gave the vote back")
		}
	})
	t.Run("behind the snapshot", func(t *testing.T) {
		fsys := whole.Clone()
		must(t, fsys.Remove(filepath.Join(dir, segments[0])))
		l, r := open(t, fsys)
		if diff := m.differs(l, r); diff != "" {
			t.Fatal(diff)
		}
	})
	t.Run("all but the snapshots", func(t *testing.T) {
		fsys := whole.Clone()
		for _, name := range segments {
			must(t, fsys.Remove(filepath.Join(dir, name)))
		}
		if _, _, err := wal.Open(fsys, dir, tiny()); err == nil || !strings.Contains(err.Error(), "term and vote are lost") {
			t.Fatalf("error %v", err)
		}
	})
	t.Run("before the snapshot's end", func(t *testing.T) {
		fsys := memfs.New()
		l, _ := open(t, fsys)
		for i := uint64(1); i <= 30; i++ {
			must(t, l.Append(wal.Batch{Entries: entries(i, 1, 1)}))
		}
		must(t, l.Close())
		must(t, fsys.Remove(filepath.Join(dir, segments[1])))
		if _, _, err := wal.Open(fsys, dir, tiny()); err == nil || !strings.Contains(err.Error(), "no snapshot") {
			t.Fatalf("error %v", err)
		}
	})
}

// A batch that another follows was acknowledged, so its loss is no torn write,
// even where it looks like one.
func TestLostBatch_BeforeALaterOneIsRefused(t *testing.T) {
	for _, sectors := range [][2]int64{{1, 2}, {1, 3}, {2, 3}} {
		fsys := memfs.New()
		l, _ := open(t, fsys)
		for i := uint64(1); i <= 5; i++ {
			must(t, l.Append(wal.Batch{Entries: entries(i, 1, 1)}))
		}
		must(t, l.Close())
		path := lastSegment(t, fsys)
		f, err := fsys.OpenFile(path, 0, 0)
		must(t, err)
		from, to := sectors[0]*512, sectors[1]*512
		_, err = f.WriteAt(make([]byte, to-from), from)
		must(t, err)
		var damage *wal.CorruptError
		if _, _, err := wal.Open(fsys, dir, tiny()); !errors.As(err, &damage) || damage.File != path || damage.Offset != from || !strings.Contains(damage.Reason, "is missing here") {
			t.Errorf("sectors %v lost: error %v", sectors, err)
		}
	}
}

func TestTornTail_IsCutAndWrittenOver(t *testing.T) {
	for lost := range 5 { // which of the batch's sectors is missing
		fsys := memfs.New()
		l, _ := open(t, fsys)
		must(t, l.Append(wal.Batch{HardState: state(1, "a"), Entries: entries(1, 1, 1)}))
		path, off := lastSegment(t, fsys), l.Stats().Used
		big := entries(2, 1, 1)
		big[0].Data = []byte(strings.Repeat("x", 4*511))
		must(t, l.Append(wal.Batch{HardState: state(2, "b"), Entries: big}))
		if path != lastSegment(t, fsys) {
			path, off = lastSegment(t, fsys), 1024
		}
		must(t, l.Close())
		f, err := fsys.OpenFile(path, 0, 0)
		must(t, err)
		_, err = f.WriteAt(make([]byte, 512), off+int64(lost)*512)
		must(t, err)

		l, r := open(t, fsys)
		if r.LastIndex != 1 || r.HardState != *state(1, "a") || r.Voteless {
			t.Fatalf("sector %d lost: restored %+v", lost, r)
		}
		if rep := l.Repairs(); len(rep) != 1 || !strings.Contains(rep[0], path) {
			t.Fatalf("repairs %q", rep)
		}
		must(t, l.Append(wal.Batch{Entries: entries(2, 1, 1)}))
		l, _ = reopen(t, fsys, l)
		wantEntries(t, l, entries(1, 2, 1))
		if len(l.Repairs()) != 0 {
			t.Fatalf("repaired again: %q", l.Repairs())
		}
	}
}

// A server that learns that it lost entries, or that it has them again, has it on
// its disk with the next batch, even where that says nothing else.
func TestVoteless_IsMadeDurableByItself(t *testing.T) {
	fsys := memfs.New()
	l, _ := open(t, fsys)
	must(t, l.Append(wal.Batch{HardState: state(1, "a"), Entries: entries(1, 1, 1)}))
	l.SetVoteless(true)
	must(t, l.Append(wal.Batch{HardState: state(1, "a")}))
	used := l.Stats().Used
	must(t, l.Append(wal.Batch{HardState: state(1, "a")}))
	if again := l.Stats().Used; again != used {
		t.Errorf("written twice: %d bytes, then %d", used, again)
	}
	l, r := reopen(t, fsys, l)
	if !r.Voteless || r.LastIndex != 1 || r.HardState != *state(1, "a") {
		t.Fatalf("restored %+v, want it voteless and otherwise as it was", r)
	}
	l.SetVoteless(false)
	must(t, l.Append(wal.Batch{}))
	if _, r = reopen(t, fsys, l); r.Voteless {
		t.Error("voteless for ever")
	}
}
