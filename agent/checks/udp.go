package checks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"muster/catalog"
)

// newUDP makes the probe of a UDP check: it sends an empty datagram and is
// passing if any answer comes. Silence is critical: of a datagram that nobody
// answers one can't say whether it arrived.
func newUDP(d Definition, _ Config) probe {
	timeout := d.timeout(defaultTimeout)
	return func(ctx context.Context) (string, string) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		if err := exchange(ctx, d.UDP); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return catalog.StatusCritical, fmt.Sprintf("UDP %s: no answer within %s", d.UDP, timeout)
			}
			return catalog.StatusCritical, err.Error()
		}
		return catalog.StatusPassing, fmt.Sprintf("UDP connect %s: Success", d.UDP)
	}
}

// exchange sends an empty datagram and waits for any in return, until ctx ends.
func exchange(ctx context.Context, addr string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	// A deadline in the past ends the read at once.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Write(nil); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}
