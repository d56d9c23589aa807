package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"sync"
	"time"

	"muster/agent/config"
	"muster/api"
	"muster/api/agentapi"
	"muster/api/catalogapi"
	"muster/api/configapi"
	"muster/api/connectapi"
	"muster/api/kvapi"
	"muster/api/operatorapi"
	"muster/api/queryapi"
	"muster/api/sessionapi"
	"muster/api/snapshotapi"
	"muster/api/txnapi"
	"muster/catalog/state"
	"muster/ui"
)

const (
	// httpDrain is how long requests under way may go on when the agent ends.
	httpDrain = 500 * time.Millisecond
	// headerTimeout bounds how long a client may take to send a request's header.
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
)

// listener is a bound address and what is served on it.
type listener struct {
	net.Listener
	server *http.Server
	drain  func() // ends the streams
}

// openAPI makes the HTTP API and binds what it is served on: users' listeners,
// and on a server the cluster port's HTTP side.
func (a *Agent) openAPI() error {
	deps := api.Deps{
		Cluster: a.router, Registerer: a.opts.Registry, Gatherer: a.opts.Registry,
		Logger: a.opts.Logger.With("component", "http"),
	}
	if a.cfg.UI {
		deps.UI = ui.Handler()
	}
	var quorum operatorapi.Quorum
	var keys operatorapi.Keyring
	var snapshots snapshotapi.Replica
	var queries *state.Store
	if a.quorum != nil {
		deps.Replica, quorum = usersQuorum{a.quorum, a.pool, a.nudge, a.logger}, quorumAPI{a}
		keys = keyAPI{a}
		snapshots, queries = snapshotAPI{a.quorum, a.restorer}, a.quorum.store
	}
	cfg := api.DefaultConfig()
	cfg.Datacenter, cfg.NodeName = a.cfg.Datacenter, a.cfg.NodeName
	cfg.MaxValueBytes, cfg.MaxTxnBytes = int64(a.cfg.HTTPLimits.MaxValueBytes), int64(a.cfg.HTTPLimits.MaxTxnBytes)
	cfg.DefaultQueryTime, cfg.MaxQueryTime = a.cfg.DefaultQueryTime, a.cfg.MaxQueryTime
	cfg.HoldTimeout = a.cfg.RPCHoldTimeout
	cfg.ResponseHeaders, cfg.BlockEndpoints = a.cfg.ResponseHeaders, a.cfg.BlockEndpoints
	hostname, err := os.Hostname()
	if err != nil {
		hostname = a.cfg.NodeName
	}
	server, err := api.New(cfg, deps,
		agentapi.Routes(localAPI{a.state, a.leaves, a}, agentapi.RouteOptions{Gatherer: a.opts.Registry, Hostname: hostname}),
		catalogapi.Routes(a.cfg.Datacenter, datacenters{a}),
		configapi.Routes(a.cfg.Datacenter, configapi.Policy(a.cfg.Connect.IntentionPolicy)),
		connectapi.Routes(a.cfg.Connect.Enabled),
		kvapi.Routes(),
		sessionapi.Routes(a.sessions),
		txnapi.Routes(txnapi.Limits{Datacenter: cfg.Datacenter, MaxValueBytes: cfg.MaxValueBytes}),
		operatorapi.Routes(a.cfg.Datacenter, quorum, keys),
		snapshotapi.Routes(snapshots),
		queryapi.Routes(a.cfg.Datacenter, queries),
	)
	if err != nil {
		return err
	}
	logger := slog.NewLogLogger(deps.Logger.Handler(), slog.LevelDebug)
	for _, l := range a.cfg.HTTP {
		bound, err := a.listen(l)
		if err != nil {
			return err
		}
		a.listeners = append(a.listeners, listener{
			drain:    server.Drain,
			Listener: limitPerClient(bound, a.cfg.HTTPLimits.MaxConnsPerClient, tooManyConns),
			server: &http.Server{
				Handler: front(a.cfg, server.Handler()), ErrorLog: logger, ReadHeaderTimeout: headerTimeout,
				IdleTimeout: idleTimeout, MaxHeaderBytes: a.cfg.HTTPLimits.MaxHeaderBytes,
			},
		})
	}
	if a.quorum == nil {
		return nil
	}
	internal := http.NewServeMux()
	a.bootstrap.routes(internal)
	a.uplink.routes(internal)
	a.signing.routes(internal)
	a.catalogNames.routes(internal)
	internal.HandleFunc("GET "+alivePath, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	a.listeners = append(a.listeners, listener{
		drain:    server.Drain,
		Listener: a.quorum.mux.HTTP(),
		server: &http.Server{
			Handler: server.ClusterHandler(internal), ErrorLog: logger, ReadHeaderTimeout: headerTimeout,
			IdleTimeout: idleTimeout, Protocols: protocols,
			// Thousands of blocking queries of one client agent share a connection.
			HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 100_000},
		},
	})
	return nil
}

// ownAddress is where the agent itself reaches its API: over the loopback where it is
// served there.
func ownAddress(all []config.Listener) string {
	for _, l := range all {
		if l.Network == "unix" {
			continue
		}
		host, port, err := net.SplitHostPort(l.Address)
		ip := net.ParseIP(host)
		switch {
		case err != nil || ip == nil:
		case ip.IsUnspecified() && ip.To4() != nil:
			return net.JoinHostPort("127.0.0.1", port)
		case ip.IsUnspecified():
			return net.JoinHostPort("::1", port)
		case ip.IsLoopback():
			return l.Address
		}
	}
	return all[0].String()
}

// listen binds a users' address. The socket file of an agent that is gone is
// replaced.
func (a *Agent) listen(l config.Listener) (net.Listener, error) {
	if l.Network == "unix" {
		if c, err := net.Dial("unix", l.Address); err == nil {
			c.Close()
			return nil, fmt.Errorf("listen on %s: another process is serving it", l)
		}
		if err := os.Remove(l.Address); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("replace the old socket: %w", err)
		}
	}
	bound, err := net.Listen(l.Network, l.Address)
	if err != nil {
		return nil, fmt.Errorf("listen for the HTTP API: %w", err)
	}
	a.undo = append(a.undo, func() { _ = bound.Close() })
	if l.Network == "unix" {
		if err := ownSocket(l.Address, a.cfg.UnixSocket); err != nil {
			return nil, fmt.Errorf("unix_sockets: %w", err)
		}
	}
	return bound, nil
}

// ownSocket gives a socket file its mode and owner.
func ownSocket(path string, to config.UnixSocket) error {
	if to.Mode != "" {
		mode, err := strconv.ParseUint(to.Mode, 8, 32)
		if err != nil {
			return fmt.Errorf("mode %q is not an octal number", to.Mode)
		}
		if err := os.Chmod(path, os.FileMode(mode)); err != nil {
			return err
		}
	}
	uid, gid := -1, -1
	if to.User != "" {
		u, err := user.Lookup(to.User)
		if err != nil {
			u, err = user.LookupId(to.User)
		}
		if err != nil {
			return fmt.Errorf("user %q: %w", to.User, err)
		}
		uid, _ = strconv.Atoi(u.Uid)
	}
	if to.Group != "" {
		g, err := user.LookupGroup(to.Group)
		if err != nil {
			g, err = user.LookupGroupId(to.Group)
		}
		if err != nil {
			return fmt.Errorf("group %q: %w", to.Group, err)
		}
		gid, _ = strconv.Atoi(g.Gid)
	}
	return os.Chown(path, uid, gid)
}

// run serves until ctx ends, then lets requests under way end for a moment.
func (l listener) run(ctx context.Context) error {
	base, cancel := context.WithCancel(context.Background())
	defer cancel() // ends blocking queries
	l.server.BaseContext = func(net.Listener) context.Context { return base }
	served := make(chan error, 1)
	go func() { served <- l.server.Serve(l.Listener) }()
	select {
	case err := <-served:
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) || errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	l.drain()
	drain, stop := context.WithTimeout(context.Background(), httpDrain)
	defer stop()
	context.AfterFunc(drain, cancel)
	// What is still open after the drain is cut off.
	_ = l.server.Shutdown(drain)
	_ = l.server.Close()
	<-served
	return nil
}

// limitPerClient refuses connections beyond n from one address, with a last word
// to them; 0 is no bound.
func limitPerClient(l net.Listener, n int, refusal []byte) net.Listener {
	if _, tcp := l.(*net.TCPListener); !tcp || n <= 0 {
		return l
	}
	return &perClient{Listener: l, most: n, refusal: refusal, open: map[string]int{}}
}

// perClient counts open connections by client address.
type perClient struct {
	net.Listener
	most    int
	refusal []byte

	mu   sync.Mutex
	open map[string]int
}

var tooManyConns = []byte("HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

// Accept implements net.Listener. A connection too many is told so and closed.
func (p *perClient) Accept() (net.Conn, error) {
	for {
		conn, err := p.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
		if err != nil {
			host = conn.RemoteAddr().String()
		}
		if p.take(host) {
			return &countedConn{Conn: conn, release: sync.OnceFunc(func() { p.give(host) })}, nil
		}
		// A new connection's buffer takes this without waiting.
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = conn.Write(p.refusal)
		conn.Close()
	}
}

func (p *perClient) take(host string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[host] >= p.most {
		return false
	}
	p.open[host]++
	return true
}

func (p *perClient) give(host string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[host]--; p.open[host] == 0 {
		delete(p.open, host)
	}
}

// countedConn gives its place back when it is closed.
type countedConn struct {
	net.Conn
	release func()
}

// Close implements net.Conn.
func (c *countedConn) Close() error {
	c.release()
	return c.Conn.Close()
}
