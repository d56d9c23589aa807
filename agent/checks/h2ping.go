package checks

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"

	"golang.org/x/net/http2"

	"muster/catalog"
)

// maxH2Frame bounds a frame of the other side, in bytes: the least that a peer
// must accept, and we announce no more.
const maxH2Frame = 16 << 10

// newH2PING makes the probe of an H2PING check: passing if the other side
// answers an HTTP/2 PING frame. It speaks TLS unless told not to.
func newH2PING(d Definition, _ Config) probe {
	host, _, _ := net.SplitHostPort(d.H2PING) // Validate has looked
	dialer := &net.Dialer{}
	dial := dialer.DialContext
	if d.H2PingUseTLS == nil || *d.H2PingUseTLS {
		cfg := d.tlsConfig(host)
		cfg.NextProtos = []string{http2.NextProtoTLS}
		dial = (&tls.Dialer{NetDialer: dialer, Config: cfg}).DialContext
	}
	timeout := d.timeout(defaultTimeout)
	return func(ctx context.Context) (string, string) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		conn, err := dial(ctx, "tcp", d.H2PING)
		if err != nil {
			return catalog.StatusCritical, fmt.Sprintf("Failed to dial to %s: %s", d.H2PING, err)
		}
		defer conn.Close()
		// A peer that takes nothing in must not hold the probe past its time.
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		if err := ping(conn); err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return catalog.StatusCritical, fmt.Sprintf("HTTP2 ping failed: %s", err)
		}
		return catalog.StatusPassing, "HTTP2 ping was successful"
	}
}

// ping opens an HTTP/2 connection (RFC 9113, section 3.4), sends a PING and waits
// for its acknowledgement.
func ping(conn net.Conn) error {
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return err
	}
	framer := http2.NewFramer(conn, conn)
	framer.SetMaxReadFrameSize(maxH2Frame)
	if err := framer.WriteSettings(); err != nil {
		return err
	}
	data := [8]byte([]byte("h2 check"))
	if err := framer.WritePing(false, data); err != nil {
		return err
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return err
		}
		switch f := frame.(type) {
		case *http2.PingFrame:
			if f.IsAck() && f.Data == data {
				return nil
			}
		case *http2.GoAwayFrame:
			return fmt.Errorf("the other side closes the connection: %s", f.ErrCode)
		}
	}
}
