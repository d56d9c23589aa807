package transport

import (
	"context"
	"net"
	"time"
)

// deadPeer is for how long sent bytes may go unacknowledged before a TCP stream
// is given up: four transmissions of them. Without it a healed partition is only
// noticed at TCP's next retransmission, which may be many seconds away.
const deadPeer = 2 * time.Second

// DialTCP opens a TCP stream that notices a dead peer within seconds. Go turns
// Nagle's algorithm off by itself.
func DialTCP(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: time.Second, Control: LimitSilence}
	return d.DialContext(ctx, "tcp", addr)
}
