package transport

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"muster/consensus/core"
)

// laneKind tells the two streams to a peer apart. The numbers are part of the
// wire format.
type laneKind uint8

const (
	control laneKind = 1
	bulk    laneKind = 2
)

func (k laneKind) String() string {
	if k == bulk {
		return "bulk"
	}
	return "control"
}

// laneOf puts what is large on the bulk lane, all else on the control lane.
func laneOf(k core.MessageKind) laneKind {
	if k == core.MsgAppend || k == core.MsgSnapshot {
		return bulk
	}
	return control
}

const (
	firstBackoff = 10 * time.Millisecond
	// stable is how long a stream must have lived for the next attempt to be
	// made at once: two peers that close each other's streams must not spin.
	stable = time.Second
	// batchBytes is about how much is taken off the queue at a time.
	batchBytes = 1 << 20
	// complainEvery bounds how often an unreachable peer is logged.
	complainEvery = 30 * time.Second
)

// lane sends one kind of traffic to one peer, in order. All but queue belongs
// to the goroutine of run.
type lane struct {
	t     *Transport
	key   laneKey
	queue *queue

	enc     *encoder
	body    []byte // scratch for the encoder
	stream  *stream
	backoff time.Duration // before the next attempt; 0 is at once
	down    time.Time     // when the failure was last logged; zero while well
}

// stream is an open outgoing connection.
type stream struct {
	conn    net.Conn
	w       *bufio.Writer
	stop    func() bool // detaches conn from the context of Run
	addr    string
	cluster string
	since   time.Time
	gone    chan struct{} // closed when the peer has closed it
}

func newLane(t *Transport, key laneKey) *lane {
	return &lane{
		t: t, key: key,
		queue: newQueue(t.cfg.QueueMessages, t.cfg.QueueBytes),
		enc:   newEncoder(t.cfg.MaxFrame),
	}
}

// run sends what is queued until ctx ends or the lane has been idle.
func (l *lane) run(ctx context.Context) {
	defer l.close()
	idle := time.NewTimer(l.t.cfg.IdleTimeout)
	defer idle.Stop()
	for {
		var gone <-chan struct{}
		if l.stream != nil {
			gone = l.stream.gone
		}
		select {
		case <-ctx.Done():
			return
		case <-gone:
			l.close()
			continue
		case <-idle.C:
			if l.t.retire(l) {
				return
			}
		case <-l.queue.ready:
			l.deliver(ctx)
		}
		idle.Reset(l.t.cfg.IdleTimeout)
	}
}

// deliver sends all that is queued, over a new stream if need be. If that can't
// be had, what is queued is lost and the lane pauses.
func (l *lane) deliver(ctx context.Context) {
	if l.queue.empty() {
		return
	}
	if !l.t.allowed(l.key.peer) {
		l.close()
		l.drop("not allowed")
		return
	}
	err := l.connect(ctx)
	if err == nil {
		err = l.flush()
	}
	if err == nil {
		return
	}
	l.close()
	if ctx.Err() != nil {
		return
	}
	l.complain(err)
	l.pause(ctx)
}

// connect makes sure that there is a stream to where the peer is now.
func (l *lane) connect(ctx context.Context) error {
	addr, ok := l.t.cfg.Resolve(l.key.peer)
	if !ok {
		l.drop("no address")
		return errors.New("its address is not known")
	}
	cluster := l.t.cfg.ClusterID()
	if s := l.stream; s != nil {
		if s.addr == addr && s.cluster == cluster {
			return nil
		}
		l.close()
		l.backoff = 0
	}
	s, err := l.open(ctx, addr, cluster)
	if err != nil {
		l.drop("unreachable")
		return err
	}
	l.stream = s
	if !l.down.IsZero() {
		l.t.log.Info("raft peer is reachable again", "peer", l.key.peer, "addr", addr, "lane", l.key.kind.String())
		l.down = time.Time{}
	}
	return nil
}

// open dials and shakes hands; ctx is that of Run, and closes the stream when it
// ends, however long a write may hang.
func (l *lane) open(ctx context.Context, addr, cluster string) (*stream, error) {
	dialing, cancel := context.WithTimeout(ctx, l.t.cfg.HandshakeTimeout)
	defer cancel()
	conn, err := l.t.cfg.Dial(dialing, addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	s := &stream{
		conn: conn,
		w:    bufio.NewWriterSize(steadyWriter{conn, l.t.cfg.WriteTimeout}, bufferSize),
		stop: context.AfterFunc(ctx, func() { conn.Close() }),
		addr: addr, cluster: cluster, since: time.Now(), gone: make(chan struct{}),
	}
	err = l.t.greet(conn, wireHello{
		Protocol: Protocol, Cluster: cluster,
		From: string(l.t.cfg.ID), To: string(l.key.peer),
		Role: roleServer, Lane: uint8(l.key.kind),
	})
	if err != nil {
		s.close()
		return nil, fmt.Errorf("handshake with %s: %w", addr, err)
	}
	l.t.metrics.connects.WithLabelValues(l.key.kind.String()).Inc()
	l.t.wg.Add(1) // run is one of wg's, so it can't be at zero
	go func() {
		defer l.t.wg.Done()
		s.watch()
	}()
	return s, nil
}

func (s *stream) close() {
	s.stop()
	s.conn.Close()
}

// watch waits for the end of the stream: a peer sends nothing after its reply.
func (s *stream) watch() {
	defer close(s.gone)
	s.conn.Read(make([]byte, 1))
	s.conn.Close()
}

// flush writes until the queue is empty, then hands the rest to the network.
func (l *lane) flush() error {
	for {
		batch := l.queue.take(batchBytes)
		if len(batch) == 0 {
			return l.stream.w.Flush()
		}
		for i := range batch {
			if err := l.write(&batch[i]); err != nil {
				return err
			}
		}
		clear(batch) // let go of the payloads
	}
}

// write puts one message into the stream's buffer. One that doesn't fit a frame
// is dropped with an error in the log: its sender broke a limit.
func (l *lane) write(m *core.Message) error {
	body, err := l.enc.message(l.body, m)
	if err != nil || len(body) > l.t.cfg.MaxFrame {
		l.t.metrics.dropped.WithLabelValues(l.key.kind.String(), "too large").Inc()
		l.t.log.Error("raft message can't be sent", "peer", l.key.peer, "kind", m.Kind, "bytes", len(body), "limit", l.t.cfg.MaxFrame, "error", err)
		return nil
	}
	if cap(body) <= keepBuffer {
		l.body = body
	}
	if err := writeFrame(l.stream.w, body); err != nil {
		return fmt.Errorf("write to %s: %w", l.stream.addr, err)
	}
	l.t.metrics.sent.WithLabelValues(l.key.kind.String()).Inc()
	l.t.metrics.sentBytes.WithLabelValues(l.key.kind.String()).Add(float64(headerSize + len(body)))
	return nil
}

// close ends the stream, if there is one. After one that had lived for a while
// the next attempt comes at once.
func (l *lane) close() {
	if l.stream == nil {
		return
	}
	l.stream.close()
	if time.Since(l.stream.since) >= stable {
		l.backoff = 0
	}
	l.stream = nil
}

// pause waits before the next attempt, longer each time, and not at all before
// the first.
func (l *lane) pause(ctx context.Context) {
	defer l.queue.nudge() // for what is still queued
	wait := l.backoff
	l.backoff = min(max(2*l.backoff, firstBackoff), l.t.cfg.MaxBackoff)
	if wait == 0 {
		return
	}
	timer := time.NewTimer(jitter(wait))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// complain logs a failure: as a warning now and then, and for one lane of the
// two, since both share the peer's fate.
func (l *lane) complain(err error) {
	level := l.t.log.Debug
	if l.key.kind == control && time.Since(l.down) >= complainEvery {
		level = l.t.log.Warn
		l.down = time.Now()
	}
	level("raft peer can't be reached", "peer", l.key.peer, "lane", l.key.kind.String(), "error", err)
}

func (l *lane) drop(reason string) {
	if n := l.queue.clear(); n > 0 {
		l.t.metrics.dropped.WithLabelValues(l.key.kind.String(), reason).Add(float64(n))
	}
}
