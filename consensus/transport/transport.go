package transport

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"muster/consensus/core"
)

// FirstByte opens every Raft stream. It begins no HTTP method and no TLS hello.
const FirstByte = 0xC3

// Config describes one server's end of the network.
type Config struct {
	ID core.ServerID
	// ClusterID is asked at each handshake and frame; "" where this server is in
	// no cluster yet.
	ClusterID func() string
	// Resolve tells where a server listens, by its last known address.
	Resolve func(core.ServerID) (addr string, ok bool)
	// Dial opens a stream; default is DialTCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Handler takes what arrives. It is called from one goroutine per incoming
	// stream; while it blocks, only that stream waits.
	Handler func(core.Message)
	// Allow, if set, says whether a peer may be talked with just now. Tests cut
	// the network with it.
	Allow func(core.ServerID) bool

	MaxFrame         int           // bytes of one message, default 32 MiB
	QueueMessages    int           // waiting per peer and lane, default 4096
	QueueBytes       int           // waiting per peer and lane, default 64 MiB
	MaxConns         int           // accepted at one time, default 256
	HandshakeTimeout time.Duration // default 2s
	WriteTimeout     time.Duration // of one write, default 5s
	IdleTimeout      time.Duration // until an unused stream is closed, default 1m

	Registerer prometheus.Registerer // nil keeps no metrics
	Logger     *slog.Logger          // nil discards
}

// Transport sends and receives messages for one server.
type Transport struct{}

// New checks c and returns a Transport that does nothing until Run.
func New(c Config) (*Transport, error) { return &Transport{}, nil }

// Run sends, accepts and delivers until ctx ends, then closes all streams.
func (t *Transport) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Send queues m for m.To. It never blocks: what the queue has no room for is
// dropped, as a network may.
func (t *Transport) Send(m core.Message) {}

// Accept takes over an incoming stream whose first byte is still unread.
func (t *Transport) Accept(conn net.Conn) { conn.Close() }

// DialTCP opens a TCP stream that notices a dead peer within seconds.
func DialTCP(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}
