package memfs

import (
	"errors"
	"io/fs"

	"muster/consensus/wal"
)

type FS struct{}

// New returns an empty file system without faults.
func New() *FS { return &FS{} }

func (f *FS) OpenFile(name string, flag int, perm fs.FileMode) (wal.File, error) {
	return nil, errors.ErrUnsupported
}
func (f *FS) Rename(oldname, newname string) error { return errors.ErrUnsupported }
func (f *FS) Remove(name string) error             { return errors.ErrUnsupported }
func (f *FS) ReadDir(dir string) ([]string, error) { return nil, errors.ErrUnsupported }
func (f *FS) MkdirAll(dir string) error            { return errors.ErrUnsupported }
func (f *FS) SyncDir(dir string) error             { return errors.ErrUnsupported }
