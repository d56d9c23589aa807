package memfs

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"muster/consensus/wal"
)

// FS is a file system in memory; it implements wal.FS.
type FS struct {
	faulty bool

	// mu guards what follows and the inodes.
	mu       sync.Mutex
	entries  map[string]*inode // as a reader sees them
	durable  map[string]*inode // as the disk has them; only if faulty
	unsynced []change          // what leads from durable to entries, in order
	hook     func(Op) error
	ops      int   // counts the operations that the hook saw
	capacity int64 // 0: no bound
	used     int64 // bytes that files reserve of it
}

// change is one change of a directory entry: name now leads to node (nil: to
// nothing), and old, if not empty, to nothing.
type change struct {
	name string
	node *inode
	old  string
}

func (c change) apply(entries map[string]*inode) {
	if c.old != "" {
		delete(entries, c.old)
	}
	if c.node == nil {
		delete(entries, c.name)
	} else {
		entries[c.name] = c.node
	}
}

// New gives an empty file system that does no more than it has to.
func New() *FS { return &FS{entries: map[string]*inode{}} }

// NewFaulty gives an empty file system that keeps apart what is durable and what
// is not, for Crash.
func NewFaulty() *FS {
	f := New()
	f.faulty, f.durable = true, map[string]*inode{}
	return f
}

// OpenFile implements wal.FS. It knows the flags O_CREATE, O_EXCL and O_TRUNC.
func (f *FS) OpenFile(name string, flag int, _ fs.FileMode) (wal.File, error) {
	name = filepath.Clean(name)
	if err := f.enter(Op{Kind: OpOpen, Name: name}); err != nil {
		return nil, pathError("open", name, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	node := f.entries[name]
	switch {
	case node == nil && flag&os.O_CREATE == 0:
		return nil, pathError("open", name, fs.ErrNotExist)
	case node != nil && flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0:
		return nil, pathError("open", name, fs.ErrExist)
	case node == nil:
		node = &inode{}
		f.change(change{name: name, node: node})
	case flag&os.O_TRUNC != 0:
		f.used -= node.data.size
		node.truncate(f.faulty)
	}
	return &file{fs: f, name: name, node: node}, nil
}

// Rename implements wal.FS.
func (f *FS) Rename(oldname, newname string) error {
	oldname, newname = filepath.Clean(oldname), filepath.Clean(newname)
	if err := f.enter(Op{Kind: OpRename, Name: newname}); err != nil {
		return pathError("rename", oldname, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	node := f.entries[oldname]
	if node == nil {
		return pathError("rename", oldname, fs.ErrNotExist)
	}
	if over := f.entries[newname]; over != nil {
		f.used -= over.data.size
	}
	f.change(change{name: newname, node: node, old: oldname})
	return nil
}

// Remove implements wal.FS. Open files stay readable.
func (f *FS) Remove(name string) error {
	name = filepath.Clean(name)
	if err := f.enter(Op{Kind: OpRemove, Name: name}); err != nil {
		return pathError("remove", name, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	node := f.entries[name]
	if node == nil {
		return pathError("remove", name, fs.ErrNotExist)
	}
	f.used -= node.data.size
	f.change(change{name: name})
	return nil
}

// change makes c visible, and remembers it until the directory is synced. The
// caller holds mu.
func (f *FS) change(c change) {
	c.apply(f.entries)
	if f.faulty {
		f.unsynced = append(f.unsynced, c)
	}
}

// ReadDir implements wal.FS.
func (f *FS) ReadDir(dir string) ([]string, error) {
	dir = filepath.Clean(dir)
	if err := f.enter(Op{Kind: OpReadDir, Name: dir}); err != nil {
		return nil, pathError("readdir", dir, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for name := range f.entries {
		if filepath.Dir(name) == dir {
			names = append(names, filepath.Base(name))
		}
	}
	slices.Sort(names)
	return names, nil
}

// MkdirAll implements wal.FS. Directories exist without being made.
func (f *FS) MkdirAll(string) error { return nil }

// SyncDir implements wal.FS.
func (f *FS) SyncDir(dir string) error {
	dir = filepath.Clean(dir)
	if err := f.enter(Op{Kind: OpSyncDir, Name: dir}); err != nil {
		return pathError("sync", dir, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unsynced = slices.DeleteFunc(f.unsynced, func(c change) bool {
		if filepath.Dir(c.name) != dir {
			return false
		}
		c.apply(f.durable)
		return true
	})
	return nil
}

// Bytes is the memory that the contents of all files take.
func (f *FS) Bytes() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	var n int64
	for _, node := range f.entries {
		n += node.data.memory()
		if f.faulty {
			n += node.disk.memory()
		}
	}
	return n
}

// file is an open inode.
type file struct {
	fs   *FS
	name string
	node *inode
}

func (h *file) ReadAt(p []byte, off int64) (int, error) {
	op := Op{Kind: OpRead, Name: h.name, Off: off, Len: len(p)}
	err := h.fs.enter(op)
	short, ok := err.(Short)
	if ok && int(short) < len(p) {
		p, err = p[:short], nil
	}
	if err != nil {
		return 0, pathError("read", h.name, err)
	}
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	return h.node.data.readAt(p, off)
}

func (h *file) WriteAt(p []byte, off int64) (int, error) {
	if err := h.fs.enter(Op{Kind: OpWrite, Name: h.name, Off: off, Len: len(p)}); err != nil {
		n := 0
		if short, ok := err.(Short); ok {
			n = min(int(short), len(p))
			h.fs.mu.Lock()
			h.write(p[:n], off)
			h.fs.mu.Unlock()
			err = syscall.ENOSPC
		}
		return n, pathError("write", h.name, err)
	}
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	n := len(p)
	if c := h.fs.capacity; c > 0 {
		n = int(min(int64(n), max(0, h.node.data.size-off)+max(0, c-h.fs.used)))
	}
	h.write(p[:n], off)
	if n < len(p) {
		return n, pathError("write", h.name, syscall.ENOSPC)
	}
	return n, nil
}

// write changes the file. The caller holds mu.
func (h *file) write(p []byte, off int64) {
	before := h.node.data.size
	h.node.write(p, off, h.fs.faulty)
	h.fs.used += h.node.data.size - before
}

func (h *file) Sync() error {
	err := h.fs.enter(Op{Kind: OpSync, Name: h.name})
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err != nil {
		h.node.pending = nil // gone, and the next Sync won't say so
		return pathError("sync", h.name, err)
	}
	h.node.sync()
	return nil
}

func (h *file) Size() (int64, error) {
	if err := h.fs.enter(Op{Kind: OpSize, Name: h.name}); err != nil {
		return 0, pathError("stat", h.name, err)
	}
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	return h.node.data.size, nil
}

func (h *file) Close() error { return nil }

func pathError(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }
