package checks

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"muster/catalog"
)

// newTCP makes the probe of a TCP check: passing if a connection comes about,
// with its TLS handshake where asked for.
func newTCP(d Definition, _ Config) probe {
	host, _, _ := net.SplitHostPort(d.TCP) // Validate has looked
	dialer := &net.Dialer{}
	dial := dialer.DialContext
	if d.TCPUseTLS {
		dial = (&tls.Dialer{NetDialer: dialer, Config: d.tlsConfig(host)}).DialContext
	}
	timeout := d.timeout(defaultTimeout)
	return func(ctx context.Context) (string, string) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		conn, err := dial(ctx, "tcp", d.TCP)
		if err != nil {
			return catalog.StatusCritical, err.Error()
		}
		_ = conn.Close() // the answer is already there
		return catalog.StatusPassing, fmt.Sprintf("TCP connect %s: Success", d.TCP)
	}
}
