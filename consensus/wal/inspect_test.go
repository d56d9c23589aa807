package wal_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"muster/consensus/core"
	"muster/consensus/wal"
	"muster/consensus/wal/memfs"
)

// contents are all files of a directory.
func contents(t *testing.T, fsys *memfs.FS) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	for _, name := range files(t, fsys) {
		data, err := wal.ReadFile(fsys, filepath.Join(dir, name), 1<<20)
		must(t, err)
		all[name] = data
	}
	return all
}

func TestInspect_SaysWhatOpenWouldFindAndChangesNothing(t *testing.T) {
	for _, tc := range []struct {
		name  string
		harm  func(*testing.T, *memfs.FS)
		whole bool
	}{
		{"whole", func(*testing.T, *memfs.FS) {}, true},
		{"newest segment cut short", func(t *testing.T, fsys *memfs.FS) {
			names := files(t, fsys)
			for i := len(names) - 1; i >= 0; i-- {
				if filepath.Ext(names[i]) == ".wal" {
					fsys.Truncate(filepath.Join(dir, names[i]), 3*512)
					return
				}
			}
		}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fsys, _ := smallDir(t)
			tc.harm(t, fsys)
			before := contents(t, fsys)
			r, err := wal.Inspect(fsys, dir)
			must(t, err)
			after := contents(t, fsys)
			if len(after) != len(before) {
				t.Errorf("%d files, %d before", len(after), len(before))
			}
			for name, data := range before {
				if !bytes.Equal(after[name], data) {
					t.Errorf("%s was changed", name)
				}
			}
			l, restored := open(t, fsys)
			if r.Damage != nil || r.Whole() != tc.whole {
				t.Errorf("whole: %v, damage: %v", r.Whole(), r.Damage)
			}
			if r.Restored.HardState != restored.HardState || r.Restored.LastIndex != restored.LastIndex ||
				r.Restored.FirstIndex != restored.FirstIndex || r.Restored.Voteless != restored.Voteless ||
				r.Restored.Snapshot.Index != restored.Snapshot.Index || len(r.Repairs) != len(l.Repairs()) {
				t.Errorf("Inspect found %+v and %q,\nOpen %+v and %q", r.Restored, r.Repairs, restored, l.Repairs())
			}
			if len(r.Snapshots) == 0 || len(r.Segments) == 0 {
				t.Errorf("%d snapshots, %d segments", len(r.Snapshots), len(r.Segments))
			}
		})
	}
}

// Property 37, by the tool: a flipped bit anywhere is named, or harmless to Open too.
func TestInspect_NamesDamage(t *testing.T) {
	fsys, _ := smallDir(t)
	found := 0
	for _, name := range files(t, fsys) {
		path := filepath.Join(dir, name)
		for bit := int64(0); fsys.FlipBit(path, bit); bit += 997 {
			damaged := fsys.Clone()
			fsys.FlipBit(path, bit) // back
			r, err := wal.Inspect(damaged, dir)
			must(t, err)
			_, _, openErr := wal.Open(damaged, dir, tiny())
			if (openErr != nil) != (r.Damage != nil) {
				t.Fatalf("%s, bit %d: Open says %v, Inspect %v", name, bit, openErr, r.Damage)
			}
			if r.Damage == nil {
				continue
			}
			found++
			damage, ok := errors.AsType[*wal.CorruptError](r.Damage)
			if !ok || filepath.Dir(damage.File) != dir {
				t.Fatalf("%s, bit %d: %v does not name a file", name, bit, r.Damage)
			}
		}
	}
	if found == 0 {
		t.Error("no flip was found")
	}
}

func TestInspect_NothingThere(t *testing.T) {
	if _, err := wal.Inspect(memfs.New(), dir); !errors.Is(err, wal.ErrNoLog) {
		t.Errorf("an empty directory: %v", err)
	}
	if _, err := wal.Inspect(wal.OS(), filepath.Join(t.TempDir(), "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing directory: %v", err)
	}
}

func TestInspect_FindsTheConfiguration(t *testing.T) {
	fsys := memfs.New()
	l, _ := open(t, fsys)
	config := core.Configuration{ClusterID: "c1", Servers: []core.Server{{ID: "a", Addr: "a:1", Suffrage: core.Voter}}}
	must(t, l.Append(wal.Batch{HardState: state(1, "a"), Entries: []core.Entry{
		{Index: 1, Term: 1, Kind: core.EntryConfig, Data: core.EncodeConfiguration(config)},
		{Index: 2, Term: 1, Kind: core.EntryNoop},
	}}))
	must(t, l.Close())
	r, err := wal.Inspect(fsys, dir)
	must(t, err)
	if r.Config.ClusterID != "c1" || r.ConfigIndex != 1 || r.LastTerm != 1 {
		t.Errorf("found %+v at %d, last term %d", r.Config, r.ConfigIndex, r.LastTerm)
	}
}

func TestLockToRead(t *testing.T) {
	at := t.TempDir()
	free, err := wal.LockToRead(at) // no agent was ever here
	must(t, err)
	free()
	if names, err := os.ReadDir(at); err != nil || len(names) > 0 {
		t.Errorf("%v was made in the directory (%v)", names, err)
	}
	release, err := wal.Lock(at)
	must(t, err)
	if _, err := wal.LockToRead(at); !errors.Is(err, wal.ErrLocked) {
		t.Errorf("beside an agent: %v", err)
	}
	release()
	free, err = wal.LockToRead(at)
	must(t, err)
	if _, err := wal.Lock(at); !errors.Is(err, wal.ErrLocked) {
		t.Errorf("an agent beside a reader: %v", err)
	}
	free()
}
