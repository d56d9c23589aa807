package transport

import (
	"errors"
	"fmt"
	"io"
	"net"

	"muster/consensus/core"
)

var errReplaced = errors.New("replaced by a newer stream of the same server")

// Accept takes over an incoming stream whose first byte is still unread. It
// returns at once; before Run, after it, and beyond MaxConns it closes conn.
func (t *Transport) Accept(conn net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx == nil || t.ctx.Err() != nil {
		conn.Close()
		return
	}
	if len(t.conns) >= t.cfg.MaxConns {
		conn.Close()
		t.metrics.refused.WithLabelValues("too many").Inc()
		return
	}
	t.conns[conn] = struct{}{}
	t.wg.Add(1)
	go func() {
		defer t.wg.Done()
		t.serve(conn)
	}()
}

// serve owns one accepted connection from its first byte to its end.
func (t *Transport) serve(conn net.Conn) {
	defer func() {
		conn.Close()
		t.mu.Lock()
		delete(t.conns, conn)
		t.mu.Unlock()
	}()
	r := newFrameReader(conn, t.cfg.MaxFrame, 2*t.cfg.IdleTimeout, t.cfg.FrameTimeout)
	hello, err := t.welcome(r)
	key := hello.lane()
	defer t.exit(key, conn) // if it has entered
	if err != nil {
		t.refuse(conn, err)
		return
	}
	if err := t.receive(r, hello); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		t.log.Debug("raft stream ended", "peer", hello.From, "lane", key.kind.String(), "error", err)
	}
}

// enter makes conn the one stream of its lane. An older one is closed: a peer
// that opens a second one has lost the first, whether we know it yet or not.
func (t *Transport) enter(key laneKey, conn net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.inbound[key]; old != nil {
		old.Close()
	}
	t.inbound[key] = conn
}

func (t *Transport) exit(key laneKey, conn net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.inbound[key] == conn {
		delete(t.inbound, key)
	}
}

// current says whether conn has not been replaced.
func (t *Transport) current(key laneKey, conn net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.inbound[key] == conn
}

// receive hands on message after message until the stream ends. The cluster is
// compared again each time, as this server may have joined one meanwhile.
func (t *Transport) receive(r *frameReader, hello wireHello) error {
	from := core.ServerID(hello.From)
	key := hello.lane()
	dec := newDecoder(t.cfg.MaxFrame)
	received := t.metrics.received.WithLabelValues(key.kind.String())
	for {
		body, err := r.next()
		if err != nil {
			return err
		}
		m, err := dec.message(body)
		if err != nil {
			t.refuse(r.conn, fmt.Errorf("server %s: %w", from, err))
			return err
		}
		if !t.current(key, r.conn) {
			return errReplaced
		}
		if own := t.cfg.ClusterID(); foreign(own, hello.Cluster) {
			err := fmt.Errorf("%w: here %.64q, there %.64q", ErrWrongCluster, own, hello.Cluster)
			t.refuse(r.conn, err)
			return err
		}
		if !t.allowed(from) {
			continue
		}
		m.From, m.To = from, t.cfg.ID
		received.Inc()
		t.cfg.Handler(m)
	}
}

// refuse counts and logs a connection that was not, or is no longer, welcome.
// What strangers send must not fill the log, so most of it is only counted.
func (t *Transport) refuse(conn net.Conn, err error) {
	t.mu.Lock()
	ended := t.ctx.Err() != nil
	t.mu.Unlock()
	if ended || errors.Is(err, errCut) {
		return
	}
	t.metrics.refused.WithLabelValues(reasonOf(err)).Inc()
	if skipped, ok := t.refused.ok(); ok {
		t.log.Warn("raft stream refused", "from", conn.RemoteAddr().String(), "error", err, "not_logged", skipped)
	}
}

// reasonOf gives err a label from a bounded set.
func reasonOf(err error) string {
	for i, kind := range refusals {
		if errors.Is(err, kind) {
			return [...]string{"protocol", "cluster", "server", "role", "lane", "duplicate id"}[i]
		}
	}
	return "malformed"
}
