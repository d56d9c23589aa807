package memfs_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"muster/consensus/wal"
	"muster/consensus/wal/memfs"
)

func create(t testing.TB, fsys *memfs.FS, name string) wal.File {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	return f
}

func write(t testing.TB, f wal.File, text string, off int64) {
	t.Helper()
	_, err := f.WriteAt([]byte(text), off)
	must(t, err)
}

// show gives the names and contents of /d, as one string.
func show(t testing.TB, fsys *memfs.FS) string {
	t.Helper()
	names, err := fsys.ReadDir("/d")
	must(t, err)
	var parts []string
	for _, name := range names {
		b, err := wal.ReadFile(fsys, "/d/"+name, 1<<20)
		must(t, err)
		parts = append(parts, fmt.Sprintf("%s=%s", name, b))
	}
	return strings.Join(parts, " ")
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestCrash_EachLawKeepsWhatItSays(t *testing.T) {
	fsys := memfs.NewFaulty()
	a := create(t, fsys, "/d/a")
	write(t, a, "synced", 0)
	must(t, a.Sync())
	must(t, fsys.SyncDir("/d"))
	write(t, a, "dirty!", 0)
	b := create(t, fsys, "/d/b")
	write(t, b, "b", 0)
	must(t, b.Sync())
	must(t, fsys.Rename("/d/b", "/d/c"))

	for law, want := range map[memfs.Law]string{
		memfs.Kill:      "a=dirty! c=b",
		memfs.LoseAll:   "a=synced",
		memfs.KeepAll:   "a=dirty! c=b",
		memfs.DataOnly:  "a=dirty!",
		memfs.EntryOnly: "a=synced c=b",
	} {
		if got := show(t, fsys.Crash(law, nil)); got != want {
			t.Errorf("%v: %q, want %q", law, got, want)
		}
	}
	// After a Kill all is still un-synced; after any other law all is durable.
	if got := show(t, fsys.Crash(memfs.Kill, nil).Crash(memfs.LoseAll, nil)); got != "a=synced" {
		t.Errorf("killed, then lost: %q", got)
	}
	if got := show(t, fsys.Crash(memfs.KeepAll, nil).Crash(memfs.LoseAll, nil)); got != "a=dirty! c=b" {
		t.Errorf("kept, then lost: %q", got)
	}
	if got := show(t, fsys); got != "a=dirty! c=b" {
		t.Errorf("the original changed: %q", got)
	}
}

// Torn keeps a prefix of sectors, Scattered any of them; neither cuts one, and
// both meet every case in the end, the same ones for the same seed.
func TestCrash_TearsAtSectors(t *testing.T) {
	fsys := memfs.NewFaulty()
	f := create(t, fsys, "/d/f")
	write(t, f, strings.Repeat("-", 3*512), 0)
	must(t, f.Sync())
	must(t, fsys.SyncDir("/d"))
	write(t, f, strings.Repeat("#", 3*512-100), 50) // sectors of 462, 512 and 462 bytes
	for law, want := range map[memfs.Law]int{memfs.Torn: 4, memfs.Scattered: 8} {
		seen := map[string]bool{}
		for seed := range uint64(200) {
			crash := func() string { return show(t, fsys.Crash(law, rand.New(rand.NewPCG(seed, 1)))) }
			got := crash()
			if got != crash() {
				t.Fatalf("%v: seed %d gave two results", law, seed)
			}
			seen[got] = true
			text := strings.TrimPrefix(got, "f=")
			for i, within := range []string{text[50:512], text[512:1024], text[1024 : 1536-50]} {
				if n := strings.Count(within, "#"); n != 0 && n != len(within) {
					t.Fatalf("%v, seed %d: sector %d was cut", law, seed, i)
				}
			}
		}
		if len(seen) != want {
			t.Errorf("%v: %d outcomes, want %d", law, len(seen), want)
		}
	}
}

func TestHook_FailsShortensAndCounts(t *testing.T) {
	fsys := memfs.NewFaulty()
	f := create(t, fsys, "/d/f")
	var seen []memfs.OpKind
	fsys.Hook(func(op memfs.Op) error {
		if seen = append(seen, op.Kind); op.N != len(seen) {
			t.Errorf("%v is number %d", op, len(seen))
		}
		return nil
	})
	write(t, f, "text", 0)
	must(t, f.Sync())
	must(t, fsys.SyncDir("/d"))
	if want := []memfs.OpKind{memfs.OpWrite, memfs.OpSync, memfs.OpSyncDir}; !reflect.DeepEqual(seen, want) {
		t.Fatalf("seen %v, want %v", seen, want)
	}

	fsys.Hook(memfs.Nth(memfs.OpRead, 2, memfs.Short(1), false))
	buf := make([]byte, 4)
	for i, want := range []int{4, 1, 4} {
		if n, err := f.ReadAt(buf, 0); n != want || err != nil {
			t.Errorf("read %d: %d bytes, %v; want %d", i, n, err, want)
		}
	}
	fsys.Hook(memfs.Nth(memfs.OpWrite, 1, memfs.Short(2), true))
	if n, err := f.WriteAt([]byte("XXXX"), 0); n != 2 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("short write: %d, %v", n, err)
	}
	fsys.Hook(memfs.Nth(memfs.OpSync, 1, syscall.EIO, false))
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("sync: %v", err)
	}
	must(t, f.Sync()) // says nothing, as Linux does
	if got, durable := show(t, fsys), show(t, fsys.Crash(memfs.KeepAll, nil)); got != "f=XXxt" || durable != "f=text" {
		t.Errorf("after a failed sync: read %q, on disk %q", got, durable)
	}
}

func TestCapacity_EndsWithENOSPC(t *testing.T) {
	fsys := memfs.New()
	fsys.SetCapacity(10)
	f := create(t, fsys, "/d/f")
	write(t, f, "12345678", 0)
	if n, err := f.WriteAt([]byte("abcd"), 8); n != 2 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("beyond the capacity: %d, %v", n, err)
	}
	write(t, f, "ABCD", 4) // inside the file there is room
	must(t, fsys.Remove("/d/f"))
	write(t, create(t, fsys, "/d/g"), "0123456789", 0)
	if got := show(t, fsys); got != "g=0123456789" {
		t.Fatalf("%q", got)
	}
}

func TestFiles_BehaveAsOnUnix(t *testing.T) {
	fsys := memfs.New()
	if _, err := fsys.OpenFile("/d/f", os.O_RDONLY, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open: %v", err)
	}
	if err := fsys.Remove("/d/f"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("remove: %v", err)
	}
	if err := fsys.Rename("/d/f", "/d/g"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("rename: %v", err)
	}
	f := create(t, fsys, "/d/f")
	if _, err := fsys.OpenFile("/d/f", os.O_CREATE|os.O_EXCL, 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("exclusive create: %v", err)
	}
	write(t, f, "text", 5000)
	must(t, fsys.Remove("/d/f"))
	buf := make([]byte, 10)
	if n, err := f.ReadAt(buf, 4998); string(buf[:n]) != "\x00\x00text" || err != io.EOF {
		t.Errorf("removed but open: %q, %v", buf[:n], err)
	}
	write(t, create(t, fsys, "/d/f"), "long", 0)
	if _, err := fsys.OpenFile("/d/f", os.O_CREATE|os.O_TRUNC, 0o600); err != nil || show(t, fsys) != "f=" {
		t.Errorf("truncated: %q, %v", show(t, fsys), err)
	}
}

// A development agent keeps its log here: preallocated zeros cost nothing.
func TestBytes_ZerosTakeNoMemory(t *testing.T) {
	fsys := memfs.New()
	l, _, err := wal.Open(fsys, "/d", wal.DefaultConfig())
	must(t, err)
	if n := fsys.Bytes(); n > 20_000 {
		t.Fatalf("an empty log takes %d bytes of memory", n)
	}
	must(t, l.Close())
}
