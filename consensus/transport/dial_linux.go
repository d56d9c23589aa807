package transport

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// LimitSilence is a [net.Dialer]'s Control that has a TCP stream given up once
// sent bytes have gone unacknowledged for two seconds (TCP_USER_TIMEOUT). It
// does nothing on systems other than Linux.
func LimitSilence(_, _ string, c syscall.RawConn) error {
	var setErr error
	err := c.Control(func(fd uintptr) {
		setErr = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadPeer.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return setErr
}
