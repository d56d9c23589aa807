//go:build unix

package wal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrLocked says that another process holds the lock of a data directory.
var ErrLocked = errors.New("another agent is using this data-dir")

// lockName is the file in the data directory that carries the lock. It is
// never removed: removing it would let two processes hold two locks.
const lockName = "lock"

// Lock takes a data directory for this process until release is called or the
// process ends, however it ends. A second taker gets ErrLocked at once, with
// the process id of the holder in the text.
func Lock(dir string) (release func(), err error) {
	if err := (osFS{}).MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("lock data-dir %s: %w", dir, err)
	}
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data-dir %s: %w", dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock data-dir %s: %w (%s); stop it or choose another -data-dir", dir, ErrLocked, holder(f))
		}
		return nil, fmt.Errorf("lock data-dir %s: %w", dir, err)
	}
	// The process id is there for people only; flock is what counts.
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return func() { _ = f.Close() }, nil
}

// LockToRead keeps agents off a data directory until release is called, without
// changing anything in it: for tools that only read. Where an agent runs it is
// ErrLocked. A directory that no agent has ever used needs no lock.
func LockToRead(dir string) (release func(), err error) {
	f, err := os.Open(filepath.Join(dir, lockName))
	if errors.Is(err, os.ErrNotExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("lock data-dir %s: %w", dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock data-dir %s: %w (%s); stop it first", dir, ErrLocked, holder(f))
		}
		return nil, fmt.Errorf("lock data-dir %s: %w", dir, err)
	}
	return func() { _ = f.Close() }, nil
}

// holder names the process that wrote its id into a lock file.
func holder(f *os.File) string {
	b, err := io.ReadAll(io.LimitReader(f, 32))
	if pid := strings.TrimSpace(string(b)); err == nil && pid != "" {
		return "process " + pid
	}
	return "process unknown"
}
