package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
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
	// no cluster yet. When it changes, open streams are replaced.
	ClusterID func() string
	// Resolve tells where a server listens, by its last known address.
	Resolve func(core.ServerID) (addr string, ok bool)
	// Dial opens a stream; default is DialTCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Handler takes what arrives. It is called from one goroutine per incoming
	// stream; while it blocks, only that stream waits. It must return once the
	// context of Run has ended.
	Handler func(core.Message)
	// Allow, if set, says whether a peer may be talked with just now. Tests cut
	// the network with it.
	Allow func(core.ServerID) bool

	// MaxFrame bounds the bytes of one message, default 32 MiB. It must be the
	// same or larger on all servers that receive.
	MaxFrame      int
	QueueMessages int // waiting per peer and lane, default 4096
	QueueBytes    int // waiting per peer and lane, default 64 MiB
	MaxConns      int // accepted at one time, default 256

	HandshakeTimeout time.Duration // default 2s
	WriteTimeout     time.Duration // for a full buffer to go out, default 5s
	FrameTimeout     time.Duration // for each 256 KiB of a frame to come in, default 5s
	IdleTimeout      time.Duration // until an unused stream is closed, default 1m
	MaxBackoff       time.Duration // between attempts to reach a peer, default 250ms

	Registerer prometheus.Registerer // nil keeps no metrics
	Logger     *slog.Logger          // nil discards
}

func (c Config) withDefaults() Config {
	orDefault(&c.MaxFrame, 32<<20)
	orDefault(&c.QueueMessages, 4096)
	orDefault(&c.QueueBytes, 64<<20)
	orDefault(&c.MaxConns, 256)
	orDefault(&c.HandshakeTimeout, 2*time.Second)
	orDefault(&c.WriteTimeout, 5*time.Second)
	orDefault(&c.FrameTimeout, 5*time.Second)
	orDefault(&c.IdleTimeout, time.Minute)
	orDefault(&c.MaxBackoff, 250*time.Millisecond)
	if c.Dial == nil {
		c.Dial = DialTCP
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Validate names what is missing or out of range.
func (c Config) Validate() error {
	var errs []error
	if c.ID == "" || len(c.ID) > maxName {
		errs = append(errs, fmt.Errorf("transport: server id must have 1 to %d bytes", maxName))
	}
	if c.ClusterID == nil || c.Resolve == nil || c.Handler == nil {
		errs = append(errs, errors.New("transport: ClusterID, Resolve and Handler are required"))
	}
	if c.MaxFrame < 0 || c.QueueMessages < 0 || c.QueueBytes < 0 || c.MaxConns < 0 || c.MaxFrame > 1<<30 {
		errs = append(errs, errors.New("transport: limits must not be negative, and a frame at most 1 GiB"))
	}
	return errors.Join(errs...)
}

// Transport sends and receives messages for one server.
type Transport struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	refused throttle // limits what strangers can make us log

	mu      sync.Mutex
	ctx     context.Context // of Run; nil before, ended after
	wg      sync.WaitGroup  // all goroutines; grows only under mu while ctx lives
	lanes   map[laneKey]*lane
	inbound map[laneKey]net.Conn  // welcomed streams, the newest of each lane
	conns   map[net.Conn]struct{} // all accepted ones
}

// laneKey names one lane of one peer.
type laneKey struct {
	peer core.ServerID
	kind laneKind
}

// New checks c and returns a Transport that does nothing until Run.
func New(c Config) (*Transport, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	m, err := newMetrics(c.Registerer)
	if err != nil {
		return nil, err
	}
	return &Transport{
		cfg:     c,
		log:     c.Logger.With("component", "raft-transport"),
		metrics: m,
		lanes:   map[laneKey]*lane{},
		inbound: map[laneKey]net.Conn{},
		conns:   map[net.Conn]struct{}{},
	}, nil
}

// Run sends, accepts and delivers until ctx ends, then closes all streams and
// waits for all it started. It may be called once.
func (t *Transport) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t.mu.Lock()
	if t.ctx != nil {
		t.mu.Unlock()
		return errors.New("transport: Run called twice")
	}
	t.ctx = ctx
	for _, l := range t.lanes {
		t.start(l)
	}
	t.mu.Unlock()

	<-ctx.Done()
	t.mu.Lock()
	for conn := range t.conns {
		conn.Close()
	}
	t.mu.Unlock()
	t.wg.Wait()
	return nil
}

// Send queues m for m.To. It never blocks: what the queue has no room for is
// dropped, as a network may. m's slices must not change afterwards.
func (t *Transport) Send(m core.Message) {
	if m.To == "" || m.To == t.cfg.ID {
		return
	}
	key := laneKey{m.To, laneOf(m.Kind)}
	t.mu.Lock()
	if t.ctx != nil && t.ctx.Err() != nil {
		t.mu.Unlock()
		return
	}
	l := t.lanes[key]
	if l == nil {
		l = newLane(t, key)
		t.lanes[key] = l
		if t.ctx != nil {
			t.start(l)
		}
	}
	ok := l.queue.push(m) // under mu: the lane can't retire in between
	t.mu.Unlock()
	if !ok {
		t.metrics.dropped.WithLabelValues(key.kind.String(), "queue full").Inc()
	}
}

// start runs a lane; t.mu is held.
func (t *Transport) start(l *lane) {
	t.wg.Add(1)
	go func() {
		defer t.wg.Done()
		l.run(t.ctx)
	}()
}

// retire forgets a lane that has been idle, unless something has been queued.
func (t *Transport) retire(l *lane) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !l.queue.empty() {
		return false
	}
	delete(t.lanes, l.key)
	return true
}

func (t *Transport) allowed(id core.ServerID) bool {
	return t.cfg.Allow == nil || t.cfg.Allow(id)
}

// jitter spreads d over [d/2, d], so that peers don't call in step.
func jitter(d time.Duration) time.Duration {
	return d/2 + time.Duration(rand.Int64N(int64(d/2)+1))
}
