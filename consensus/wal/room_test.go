package wal_test

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"muster/consensus/core"
	"muster/consensus/wal"
	"muster/consensus/wal/memfs"
)

// A log that has no room for a full-grown segment goes on in small ones: terms
// and votes are kept to the last sectors.
func TestRoom_VotesAreKeptWhenNoSegmentFits(t *testing.T) {
	fsys := memfs.New()
	cfg := wal.Config{SegmentBytes: 64 << 10}
	l, _, err := wal.Open(fsys, dir, cfg)
	must(t, err)
	defer l.Close()
	fsys.SetCapacity(fsys.Used() + 40<<10) // less than a full-grown segment
	for term := uint64(1); term <= 60; term++ {
		must(t, l.Append(wal.Batch{HardState: &core.HardState{Term: term, Vote: "a"}}))
	}
	must(t, l.Close())
	_, r, err := wal.Open(fsys, dir, cfg)
	must(t, err)
	if r.HardState.Term != 60 {
		t.Errorf("term %d after a restart, want 60", r.HardState.Term)
	}
}

// The figure that the server goes by is that of the file system, and the write
// that would not fit fails as that of a full disk.
func TestRoom_OfARealFileSystem(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: a full disk is tested on a tmpfs, which only root may mount")
	}
	at := t.TempDir()
	if err := unix.Mount("tmpfs", at, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("NOT RUN: mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, 0); err != nil {
			t.Error(err)
		}
	})
	l, _, err := wal.Open(wal.OS(), at, wal.DefaultConfig())
	must(t, err)
	defer l.Close()
	room, ok := l.Room()
	if !ok || room.Free < 6<<20 || room.Free > 8<<20 || room.Reserve < 4<<20 {
		t.Fatalf("Room() = %+v, %v on a tmpfs of 8 MiB with a first segment of 1 MiB", room, ok)
	}
	data := []byte(strings.Repeat("x", 64<<10))
	index := uint64(0)
	for ; err == nil && index < 1000; index++ {
		err = l.Append(wal.Batch{Entries: []core.Entry{{Index: index + 1, Kind: core.EntryCommand, Data: data}}})
	}
	if !errors.Is(err, syscall.ENOSPC) || !errors.Is(err, wal.ErrFailed) {
		t.Errorf("after %d entries: %v", index, err)
	}
	if room, _ := l.Room(); room.Free > room.Reserve {
		t.Errorf("Room() = %+v on a full disk", room)
	}
}
