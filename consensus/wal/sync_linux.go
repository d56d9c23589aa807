package wal

import (
	"os"

	"golang.org/x/sys/unix"
)

// datasync is fdatasync: inside a preallocated file it leaves the inode alone
// and so costs one disk write instead of a journal commit.
func datasync(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
		}
		return nil
	}
}
