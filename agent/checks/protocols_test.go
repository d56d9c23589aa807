package checks_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"muster/agent/checks"
	"muster/catalog"
)

// udpPeer is a UDP socket; with answer set it answers each datagram.
func udpPeer(t *testing.T, answer bool) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 64)
		for {
			_, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer {
				_, _ = conn.WriteTo([]byte("hi"), from) // the probe notices
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return conn.LocalAddr().String()
}

func TestUDP(t *testing.T) {
	addr := udpPeer(t, true)
	want(t, once(t, checks.Definition{UDP: addr}), catalog.StatusPassing, "UDP connect "+addr+": Success")

	silent := udpPeer(t, false)
	want(t, once(t, checks.Definition{UDP: silent, Timeout: 50 * time.Millisecond}), catalog.StatusCritical, "UDP "+silent+": no answer within 50ms")

	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	got := once(t, checks.Definition{UDP: closed.LocalAddr().String()})
	if got.status != catalog.StatusCritical || !strings.HasSuffix(got.output, "connection refused") {
		t.Errorf("closed port: got %v", got)
	}
}

// grpcServer serves gRPC health: "ok" is well, "down" isn't.
func grpcServer(t *testing.T, options ...grpc.ServerOption) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv, h := grpc.NewServer(options...), health.NewServer()
	h.SetServingStatus("ok", grpc_health_v1.HealthCheckResponse_SERVING)
	h.SetServingStatus("down", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	grpc_health_v1.RegisterHealthServer(srv, h)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Stop()
		if err := <-served; err != nil {
			t.Errorf("serve gRPC: %v", err)
		}
	})
	return l.Addr().String()
}

func TestGRPC(t *testing.T) {
	addr := grpcServer(t)
	want(t, once(t, checks.Definition{GRPC: addr}), catalog.StatusPassing, "gRPC check "+addr+": success")
	want(t, once(t, checks.Definition{GRPC: addr + "/ok"}), catalog.StatusPassing, "gRPC check "+addr+"/ok: success")
	want(t, once(t, checks.Definition{GRPC: addr + "/down"}), catalog.StatusCritical, "gRPC "+addr+"/down serving status: NOT_SERVING")
	want(t, once(t, checks.Definition{GRPC: addr + "/other"}), catalog.StatusCritical, "rpc error: code = NotFound desc = unknown service")

	refused := closedPort(t)
	got := once(t, checks.Definition{GRPC: refused})
	if got.status != catalog.StatusCritical || !strings.Contains(got.output, "connection refused") {
		t.Errorf("closed port: got %v", got)
	}
}

func TestGRPC_TLS(t *testing.T) {
	cert := httptest.NewUnstartedServer(http.NotFoundHandler())
	cert.StartTLS() // for its certificate only
	t.Cleanup(cert.Close)
	addr := grpcServer(t, grpc.Creds(credentials.NewServerTLSFromCert(&cert.TLS.Certificates[0])))
	want(t, once(t, checks.Definition{GRPC: addr, GRPCUseTLS: true, TLSSkipVerify: true}), catalog.StatusPassing, "gRPC check "+addr+": success")
	got := once(t, checks.Definition{GRPC: addr, GRPCUseTLS: true})
	if got.status != catalog.StatusCritical || !strings.Contains(got.output, "certificate") {
		t.Errorf("unknown authority: got %v", got)
	}
}

func TestH2PING(t *testing.T) {
	plain := false
	addr := grpcServer(t) // speaks HTTP/2 in plain text
	want(t, once(t, checks.Definition{H2PING: addr, H2PingUseTLS: &plain}), catalog.StatusPassing, "HTTP2 ping was successful")

	got := once(t, checks.Definition{H2PING: addr})
	if got.status != catalog.StatusCritical || !strings.HasPrefix(got.output, "Failed to dial to "+addr+": tls: ") {
		t.Errorf("TLS is the default: got %v", got)
	}

	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	want(t, once(t, checks.Definition{H2PING: srv.Listener.Addr().String(), TLSSkipVerify: true}), catalog.StatusPassing, "HTTP2 ping was successful")
}

// A peer that accepts and says nothing holds no probe past its time.
func TestProbes_TimeOutOnASilentPeer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	addr, plain := l.Addr().String(), false
	for name, d := range map[string]checks.Definition{
		"GRPC":   {GRPC: addr},
		"H2PING": {H2PING: addr, H2PingUseTLS: &plain},
		"TLS":    {TCP: addr, TCPUseTLS: true},
	} {
		d.Timeout = 100 * time.Millisecond
		if got := once(t, d); got.status != catalog.StatusCritical || !strings.Contains(got.output, "deadline exceeded") {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return l.Addr().String()
}

func TestAlias_FollowsAnotherNode(t *testing.T) {
	web := &catalog.Check{CheckID: "web", Name: "web alive", ServiceID: "web", Status: catalog.StatusCritical, Output: "503"}
	other := &catalog.Check{CheckID: "db", Name: "db alive", ServiceID: "db", Status: catalog.StatusCritical}
	node := &catalog.Check{CheckID: "disk", Name: "disk", Status: catalog.StatusWarning, Output: "90 %"}
	states := []checks.Aliased{
		{Index: 5, Services: map[string]bool{"web": true}, Checks: []*catalog.Check{other, node, web}},
		{Index: 6, Services: map[string]bool{"web": true}, Checks: []*catalog.Check{other, node}},
		{Index: 9, Services: map[string]bool{"web": true}, Checks: []*catalog.Check{other}},
		{Index: 10, Services: map[string]bool{}},
	}
	asked := make(chan string, 10)
	reports := make(chan report, 10)
	r := checks.NewRunner(checks.Config{
		Report: func(id, status, output string) { reports <- report{id, status, output} },
		Jitter: func(time.Duration) time.Duration { return 0 },
		Watch: func(_ context.Context, node string, index uint64) (checks.Aliased, error) {
			asked <- fmt.Sprint(node, " ", index)
			if len(states) == 0 {
				return checks.Aliased{}, errors.New("no servers")
			}
			next := states[0]
			states = states[1:]
			return next, nil
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	defer func() { cancel(); <-done }()
	add(t, r, checks.Definition{CheckID: "c", AliasNode: "far", AliasService: "web"})
	for _, w := range []struct{ asked, status, output string }{
		{"far 0", catalog.StatusCritical, `Aliased check "web alive" failing: 503`},
		{"far 5", catalog.StatusWarning, `Aliased check "disk" failing: 90 %`},
		{"far 6", catalog.StatusPassing, "No checks found."},
		{"far 9", catalog.StatusCritical, "Service web could not be found on node far"},
		{"far 10", catalog.StatusCritical, "Failure checking aliased node or service: no servers"},
	} {
		want(t, next(t, reports), w.status, w.output)
		if got := <-asked; got != w.asked {
			t.Errorf("asked %q, want %q", got, w.asked)
		}
	}
}
