package transport

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// MuxConfig bounds a Mux.
type MuxConfig struct {
	SniffTimeout time.Duration // for the first byte, default 5s
	// MaxPending bounds the connections that have not sent a byte yet, default
	// 256. Beyond it the oldest is closed: those who mean it speak at once.
	MaxPending int
	// MaxPerHost bounds the open connections from one IP address, whatever they
	// speak, default 100. What comes beyond it is closed at once.
	MaxPerHost int
	Logger     *slog.Logger // nil discards
}

// httpBacklog is how many HTTP connections may wait for the server's Accept.
const httpBacklog = 128

// Mux shares one listener between Raft and HTTP by each connection's first byte:
// FirstByte is Raft, a capital letter an HTTP method, 0x16 a TLS hello. All else
// is closed.
type Mux struct {
	listener net.Listener
	raft     func(net.Conn)
	cfg      MuxConfig
	log      *slog.Logger
	http     *muxListener
	garbage  throttle

	mu      sync.Mutex
	pending *list.List // of net.Conn, oldest first
	closed  bool

	hostsMu sync.Mutex     // never held while a connection is closed, which takes it
	hosts   map[string]int // open connections by IP address
}

// NewMux splits l: Raft streams go to raft (Transport.Accept), HTTP and TLS
// connections to HTTP(), each with its first byte still unread.
func NewMux(l net.Listener, raft func(net.Conn), c MuxConfig) *Mux {
	orDefault(&c.SniffTimeout, 5*time.Second)
	orDefault(&c.MaxPending, 256)
	orDefault(&c.MaxPerHost, 100)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Mux{
		listener: l, raft: raft, cfg: c,
		log:     c.Logger.With("component", "cluster-port"),
		http:    &muxListener{addr: l.Addr(), conns: make(chan net.Conn, httpBacklog), done: make(chan struct{})},
		pending: list.New(),
		hosts:   map[string]int{},
	}
}

// HTTP is the listener for an http.Server. Closing it refuses HTTP connections
// and leaves Raft's alone.
func (m *Mux) HTTP() net.Listener { return m.http }

// Run accepts until ctx ends, then closes the listener and all it has not yet
// handed over. It returns early, with the reason, when the listener breaks.
func (m *Mux) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, m.close)
	defer stop()
	defer m.close()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer m.close() // before the wait: it ends the sniffing
	backoff := 5 * time.Millisecond
	for {
		conn, err := m.listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("accept on cluster port: %w", err)
			}
			// Mostly too many open files: wait for some to be closed.
			m.log.Error("can't accept on cluster port", "error", err, "retry_in", backoff)
			select {
			case <-ctx.Done():
			case <-time.After(backoff):
			}
			backoff = min(2*backoff, time.Second)
			continue
		}
		backoff = 5 * time.Millisecond
		if conn = m.count(conn); conn == nil {
			continue
		}
		place := m.admit(conn)
		if place == nil {
			conn.Close()
			continue
		}
		wg.Go(func() { m.sniff(conn, place) })
	}
}

// count takes conn into the number of its host's connections until it is closed.
// One too many is closed at once, and nil is returned.
func (m *Mux) count(conn net.Conn) net.Conn {
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		host = conn.RemoteAddr().String()
	}
	if !m.takePlace(host) {
		conn.Close()
		if skipped, ok := m.garbage.ok(); ok {
			m.log.Warn("too many connections from one host", "host", host, "most", m.cfg.MaxPerHost, "not_logged", skipped)
		}
		return nil
	}
	return &hostConn{Conn: conn, release: sync.OnceFunc(func() { m.givePlace(host) })}
}

func (m *Mux) takePlace(host string) bool {
	m.hostsMu.Lock()
	defer m.hostsMu.Unlock()
	if m.hosts[host] >= m.cfg.MaxPerHost {
		return false
	}
	m.hosts[host]++
	return true
}

func (m *Mux) givePlace(host string) {
	m.hostsMu.Lock()
	defer m.hostsMu.Unlock()
	if m.hosts[host]--; m.hosts[host] == 0 {
		delete(m.hosts, host)
	}
}

// hostConn gives its host's place back when it is closed.
type hostConn struct {
	net.Conn
	release func()
}

// Close implements net.Conn.
func (c *hostConn) Close() error {
	err := c.Conn.Close()
	c.release()
	return err
}

// admit gives conn its place among the pending, at the cost of the oldest where
// there are too many; nil once the Mux is closed.
func (m *Mux) admit(conn net.Conn) *list.Element {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	if m.pending.Len() >= m.cfg.MaxPending {
		oldest := m.pending.Front()
		oldest.Value.(net.Conn).Close()
		m.pending.Remove(oldest)
	}
	return m.pending.PushBack(conn)
}

// sniff reads the first byte and hands the connection on.
func (m *Mux) sniff(conn net.Conn, place *list.Element) {
	var first [1]byte
	conn.SetReadDeadline(time.Now().Add(m.cfg.SniffTimeout))
	_, err := io.ReadFull(conn, first[:])
	m.mu.Lock()
	m.pending.Remove(place) // no effect if it has been evicted
	m.mu.Unlock()
	if err != nil {
		conn.Close()
		return
	}
	conn.SetReadDeadline(time.Time{})
	whole := &unreadConn{Conn: conn, first: first[0], unread: true}
	switch b := first[0]; {
	case b == FirstByte:
		m.raft(whole)
	case b >= 'A' && b <= 'Z' || b == 0x16:
		m.http.offer(whole)
	default:
		conn.Close()
		if skipped, ok := m.garbage.ok(); ok {
			m.log.Warn("connection speaks neither Raft nor HTTP", "from", conn.RemoteAddr().String(), "first_byte", b, "not_logged", skipped)
		}
	}
}

// close ends the listener, HTTP() and all pending connections.
func (m *Mux) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	m.closed = true
	m.listener.Close()
	m.http.Close()
	for e := m.pending.Front(); e != nil; e = e.Next() {
		e.Value.(net.Conn).Close()
	}
}

// unreadConn gives back the byte that was read to sniff. It is read by one
// goroutine at a time, as any reader of a stream must be.
type unreadConn struct {
	net.Conn
	first  byte
	unread bool
}

// Read implements net.Conn.
func (c *unreadConn) Read(p []byte) (int, error) {
	if c.unread && len(p) > 0 {
		c.unread = false
		p[0] = c.first
		return 1, nil
	}
	return c.Conn.Read(p)
}

// muxListener is a net.Listener fed by a Mux.
type muxListener struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}

	mu     sync.Mutex
	closed bool // done is closed; nothing is put into conns any more
}

// offer hands conn to the next Accept, or closes it where nobody will.
func (l *muxListener) offer(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		select {
		case l.conns <- conn:
			return
		default: // the server is far behind
		}
	}
	conn.Close()
}

// Accept implements net.Listener.
func (l *muxListener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, net.ErrClosed
	case conn := <-l.conns:
		return conn, nil
	}
}

// Close implements net.Listener.
func (l *muxListener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	close(l.done)
	for {
		select {
		case conn := <-l.conns:
			conn.Close()
		default:
			return nil
		}
	}
}

// Addr implements net.Listener.
func (l *muxListener) Addr() net.Addr { return l.addr }
