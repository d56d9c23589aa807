package transport

import (
	"context"
	"net"
)

// Memory is a network inside one process, for tests.
type Memory struct{}

// NewMemory returns a network without listeners.
func NewMemory() *Memory { return &Memory{} }

// Listen opens a listener at addr, any text.
func (m *Memory) Listen(addr string) (net.Listener, error) { return nil, nil }

// Dialer returns a function for Config.Dial of the server that listens at from.
func (m *Memory) Dialer(from string) func(ctx context.Context, addr string) (net.Conn, error) {
	return nil
}

// Isolate cuts addr off: its connections break and no new ones are made.
func (m *Memory) Isolate(addr string) {}

// Heal undoes Isolate.
func (m *Memory) Heal(addr string) {}
