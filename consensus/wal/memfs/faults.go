package memfs

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
)

// OpKind tells the operations of a file system apart.
type OpKind int

// The operations a hook sees.
const (
	OpOpen OpKind = iota
	OpRead
	OpWrite
	OpSync
	OpSize
	OpRename
	OpRemove
	OpReadDir
	OpSyncDir
)

func (k OpKind) String() string {
	return [...]string{"open", "read", "write", "sync", "size", "rename", "remove", "readdir", "syncdir"}[k]
}

// Changes says whether the operation can change what a crash leaves.
func (k OpKind) Changes() bool {
	return k == OpOpen || k == OpWrite || k == OpSync || k == OpRename || k == OpRemove || k == OpSyncDir
}

// Op is one operation, about to be done.
type Op struct {
	N    int // counts operations since the hook was set, from 1
	Kind OpKind
	Name string
	Off  int64 // OpRead, OpWrite
	Len  int   // OpRead, OpWrite
}

func (o Op) String() string {
	if o.Kind == OpRead || o.Kind == OpWrite {
		return fmt.Sprintf("#%d %s %s [%d,+%d)", o.N, o.Kind, o.Name, o.Off, o.Len)
	}
	return fmt.Sprintf("#%d %s %s", o.N, o.Kind, o.Name)
}

// Short, returned by a hook, makes a read end after that many bytes without an
// error, and a write end after that many with ENOSPC.
type Short int

func (s Short) Error() string { return fmt.Sprintf("short after %d bytes", int(s)) }

// ErrCrashed is for hooks that let no operation through after a crash.
var ErrCrashed = errors.New("machine has crashed")

// Hook sets what is asked before each operation; nil asks nothing. An error it
// returns fails the operation, undone but for Short, and a Sync for good. It is
// called without locks: it may block (a stalled disk) and may call Crash.
func (f *FS) Hook(hook func(Op) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook, f.ops = hook, 0
}

// SetCapacity bounds the sum of the lengths of all files; a write that would
// exceed it ends short with ENOSPC. 0 takes the bound away.
func (f *FS) SetCapacity(bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.capacity = bytes
}

// Used is the sum of the lengths of all files, which SetCapacity bounds.
func (f *FS) Used() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.used
}

// Free implements wal.Spacer.
func (f *FS) Free(string) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.capacity == 0 {
		return math.MaxInt64, nil
	}
	return max(0, f.capacity-f.used), nil
}

// enter asks the hook about an operation.
func (f *FS) enter(op Op) error {
	f.mu.Lock()
	hook := f.hook
	f.ops++
	op.N = f.ops
	f.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(op)
}

// Nth fails the nth operation of a kind with err, and all later ones of that
// kind too if sticky is set.
func Nth(kind OpKind, n int, err error, sticky bool) func(Op) error {
	var count atomic.Int64
	return func(op Op) error {
		if op.Kind != kind {
			return nil
		}
		if seen := int(count.Add(1)); seen == n || sticky && seen > n {
			return err
		}
		return nil
	}
}
