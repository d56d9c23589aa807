package wal_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"muster/consensus/wal"
)

func TestOS_LogAndSnapshotsSurviveReopening(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "raft")
	cfg := wal.Config{SegmentBytes: 8192}
	l, _, err := wal.Open(wal.OS(), dir, cfg)
	must(t, err)
	for i := uint64(1); i <= 50; i++ {
		must(t, l.Append(wal.Batch{HardState: state(1, "a"), Entries: entries(i, 1, 1)}))
	}
	meta := mustSnapshot(t, l, 40, 1, 70_000)
	first, err := l.Compact(30)
	must(t, err)
	must(t, l.Close())
	l, r, err := wal.Open(wal.OS(), dir, cfg)
	must(t, err)
	defer l.Close()
	if r.FirstIndex != first || r.LastIndex != 50 || r.Snapshot.Index != 40 || first < 10 {
		t.Fatalf("restored %+v, log began at %d", r, first)
	}
	wantEntries(t, l, entries(first, int(51-first), 1))
	if b, err := readSnapshot(l.Snapshots(), meta); err != nil || string(b) != string(content(40, 1, 70_000)) {
		t.Fatalf("snapshot: %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, "00000000000000000001.wal"))
	if err == nil && info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v; only the owner may read the log", info.Mode())
	}
}

func TestLock_SecondTakerIsRefusedByName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	release, err := wal.Lock(dir)
	must(t, err)
	_, err = wal.Lock(dir)
	if !errors.Is(err, wal.ErrLocked) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "process") {
		t.Fatalf("second lock: %v", err)
	}
	release()
	release, err = wal.Lock(dir)
	must(t, err)
	release()
}

// The lock of a process that is killed is free again.
func TestLock_EndsWithItsProcess(t *testing.T) {
	const env = "WAL_TEST_LOCK_DIR"
	if dir := os.Getenv(env); dir != "" {
		if _, err := wal.Lock(dir); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("locked\n")
		_, _ = os.Stdin.Read(make([]byte, 1)) // until killed
		return
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestLock_EndsWithItsProcess$")
	cmd.Env = append(os.Environ(), env+"="+dir)
	stdin, err := cmd.StdinPipe()
	must(t, err)
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	_, err = stdout.Read(make([]byte, 7))
	must(t, err)
	if _, err := wal.Lock(dir); !errors.Is(err, wal.ErrLocked) {
		t.Errorf("lock held by another process: %v", err)
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait() // it was killed
	release, err := wal.Lock(dir)
	must(t, err)
	release()
}

func TestWriteFileAtomic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "promise")
	if _, err := wal.ReadFile(wal.OS(), path, 100); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("missing file: %v", err)
	}
	for _, text := range []string{"first", "the second, longer", "3"} {
		must(t, wal.WriteFileAtomic(wal.OS(), path, []byte(text), 0o600))
		if b, err := wal.ReadFile(wal.OS(), path, 100); err != nil || string(b) != text {
			t.Fatalf("read %q, %v; want %q", b, err, text)
		}
	}
	must(t, wal.WriteFileAtomic(wal.OS(), path, make([]byte, 101), 0o600))
	if _, err := wal.ReadFile(wal.OS(), path, 100); err == nil {
		t.Fatal("a file over the limit was read")
	}
}
