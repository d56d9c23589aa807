package transport

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// Memory is a network inside one process, for tests. Its streams have no
// buffer: a write ends when it has been read.
type Memory struct {
	mu        sync.Mutex
	listeners map[string]*memoryListener
	cut       map[string]bool
	streams   map[*memoryConn]struct{}
}

// NewMemory returns a network without listeners.
func NewMemory() *Memory {
	return &Memory{
		listeners: map[string]*memoryListener{},
		cut:       map[string]bool{},
		streams:   map[*memoryConn]struct{}{},
	}
}

// Listen opens a listener at addr, any text that is not in use.
func (m *Memory) Listen(addr string) (net.Listener, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.listeners[addr] != nil {
		return nil, fmt.Errorf("listen memory %s: address already in use", addr)
	}
	l := &memoryListener{network: m, addr: memoryAddr(addr), conns: make(chan net.Conn), done: make(chan struct{})}
	m.listeners[addr] = l
	return l, nil
}

// Dialer returns a function for Config.Dial of the server that listens at from.
func (m *Memory) Dialer(from string) func(ctx context.Context, addr string) (net.Conn, error) {
	return func(ctx context.Context, addr string) (net.Conn, error) {
		m.mu.Lock()
		l := m.listeners[addr]
		if l == nil || m.cut[from] || m.cut[addr] {
			m.mu.Unlock()
			return nil, fmt.Errorf("dial memory %s: connection refused", addr)
		}
		near, far := net.Pipe()
		a := &memoryConn{Conn: near, network: m, local: memoryAddr(from), remote: memoryAddr(addr)}
		b := &memoryConn{Conn: far, network: m, local: memoryAddr(addr), remote: memoryAddr(from)}
		m.streams[a], m.streams[b] = struct{}{}, struct{}{}
		m.mu.Unlock()
		select {
		case l.conns <- b:
			return a, nil
		case <-l.done:
			a.Close()
			b.Close()
			return nil, fmt.Errorf("dial memory %s: connection refused", addr)
		case <-ctx.Done():
			a.Close()
			b.Close()
			return nil, fmt.Errorf("dial memory %s: %w", addr, ctx.Err())
		}
	}
}

// Isolate cuts addr off: its connections break and no new ones are made.
func (m *Memory) Isolate(addr string) {
	m.mu.Lock()
	m.cut[addr] = true
	var broken []*memoryConn
	for c := range m.streams {
		if string(c.local) == addr {
			broken = append(broken, c)
		}
	}
	m.mu.Unlock()
	for _, c := range broken {
		c.Close()
	}
}

// Heal undoes Isolate.
func (m *Memory) Heal(addr string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.cut, addr)
}

type memoryAddr string

func (memoryAddr) Network() string  { return "memory" }
func (a memoryAddr) String() string { return string(a) }

type memoryConn struct {
	net.Conn
	network       *Memory
	local, remote memoryAddr
}

// LocalAddr implements net.Conn.
func (c *memoryConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *memoryConn) RemoteAddr() net.Addr { return c.remote }

// Close implements net.Conn.
func (c *memoryConn) Close() error {
	c.network.mu.Lock()
	delete(c.network.streams, c)
	c.network.mu.Unlock()
	return c.Conn.Close()
}

type memoryListener struct {
	network *Memory
	addr    memoryAddr
	conns   chan net.Conn
	done    chan struct{}
	once    sync.Once
}

// Accept implements net.Listener.
func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, net.ErrClosed
	case conn := <-l.conns:
		return conn, nil
	}
}

// Close implements net.Listener.
func (l *memoryListener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.network.mu.Lock()
		defer l.network.mu.Unlock()
		delete(l.network.listeners, string(l.addr))
	})
	return nil
}

// Addr implements net.Listener.
func (l *memoryListener) Addr() net.Addr { return l.addr }
