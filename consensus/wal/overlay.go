package wal

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// overlay is an FS that reads from another and keeps in memory all that is
// changed, so that Open can be tried on a directory that must stay as it is.
// Only the directory it was made for may be used.
type overlay struct {
	base FS

	mu      sync.Mutex
	changed map[string]*layer // guarded by mu; nil: removed
}

func newOverlay(base FS) *overlay {
	return &overlay{base: base, changed: make(map[string]*layer)}
}

// layer is a file of an overlay: pages that were written, over those of under.
type layer struct {
	under File // nil: nothing

	mu    sync.Mutex
	size  int64            // guarded by mu
	pages map[int64][]byte // guarded by mu, as are the pages
}

const pageSize = 4096

func (o *overlay) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l, known := o.changed[name]
	if known && l != nil && flag&os.O_TRUNC == 0 {
		return l, nil
	}
	l = &layer{pages: make(map[int64][]byte)}
	if !known && flag&os.O_TRUNC == 0 {
		under, err := o.base.OpenFile(name, os.O_RDONLY, perm)
		if err == nil {
			if l.size, err = under.Size(); err != nil {
				return nil, errors.Join(err, under.Close())
			}
			l.under = under
			o.changed[name] = l
			return l, nil
		}
		if !errors.Is(err, fs.ErrNotExist) || flag&os.O_CREATE == 0 {
			return nil, err
		}
	}
	if flag&os.O_CREATE == 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	o.changed[name] = l
	return l, nil
}

func (o *overlay) Rename(oldname, newname string) error {
	f, err := o.OpenFile(oldname, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.changed[newname], o.changed[oldname] = f.(*layer), nil
	return nil
}

func (o *overlay) Remove(name string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.changed[name] = nil
	return nil
}

func (o *overlay) ReadDir(dir string) ([]string, error) {
	names, err := o.base.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	names = slices.DeleteFunc(names, func(name string) bool {
		l, changed := o.changed[filepath.Join(dir, name)]
		return changed && l == nil
	})
	for path, l := range o.changed {
		if name := filepath.Base(path); l != nil && filepath.Dir(path) == filepath.Clean(dir) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (o *overlay) MkdirAll(string) error { return nil }
func (o *overlay) SyncDir(string) error  { return nil }

// close closes the files of the base that are still open.
func (o *overlay) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range o.changed {
		if l != nil && l.under != nil {
			_ = l.under.Close() // it was only read
		}
	}
}

// made says whether a file exists in the overlay alone.
func (o *overlay) made(name string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := o.changed[name]
	return l != nil && l.under == nil
}

// page gives page n as it is now, to be changed. The caller holds mu.
func (l *layer) page(n int64) ([]byte, error) {
	if p := l.pages[n]; p != nil {
		return p, nil
	}
	p := make([]byte, pageSize)
	if l.under != nil {
		if err := readFull(l.under, p, n*pageSize); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, err
		}
	}
	return p, nil
}

func (l *layer) ReadAt(p []byte, off int64) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for n < len(p) && off+int64(n) < l.size {
		at := off + int64(n)
		page, err := l.page(at / pageSize)
		if err != nil {
			return n, err
		}
		end := min(int64(len(p)-n), l.size-at)
		n += copy(p[n:][:end], page[at%pageSize:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (l *layer) WriteAt(p []byte, off int64) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := 0; n < len(p); {
		at := off + int64(n)
		page, err := l.page(at / pageSize)
		if err != nil {
			return n, err
		}
		l.pages[at/pageSize] = page
		n += copy(page[at%pageSize:], p[n:])
		l.size = max(l.size, off+int64(n))
	}
	return len(p), nil
}

func (l *layer) Sync() error { return nil }

func (l *layer) Size() (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size, nil
}

// Close leaves the layer as it is: it may be opened again.
func (l *layer) Close() error { return nil }
