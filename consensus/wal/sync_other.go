//go:build unix && !linux

package wal

import "os"

// datasync falls back to a full sync where the host has no fdatasync.
func datasync(f *os.File) error { return f.Sync() }
