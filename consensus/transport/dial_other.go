//go:build !linux

package transport

import "syscall"

// LimitSilence does nothing where the system has no such option; the write
// deadline is then what ends a stream to a dead peer.
func LimitSilence(_, _ string, _ syscall.RawConn) error { return nil }
