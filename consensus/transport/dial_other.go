//go:build !linux

package transport

import "syscall"

// limitSilence does nothing where the system has no such option; the write
// deadline is then what ends a stream to a dead peer.
func limitSilence(_, _ string, _ syscall.RawConn) error { return nil }
