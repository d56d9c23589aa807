package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"muster/consensus/core"
)

// lineCounter counts what is logged.
type lineCounter struct{ n atomic.Int64 }

func (c *lineCounter) Write(p []byte) (int, error) {
	c.n.Add(int64(bytes.Count(p, []byte("\n"))))
	return len(p), nil
}

func (c *lineCounter) logger() *slog.Logger { return slog.New(slog.NewTextHandler(c, nil)) }

// startMux splits a TCP port between an HTTP server and a Raft sink.
func startMux(t *testing.T, c MuxConfig) (addr string, raft chan net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	raft = make(chan net.Conn, 10)
	m := NewMux(l, func(c net.Conn) { raft <- c }, c)
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") })}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { m.Run(ctx) })
	wg.Go(func() { web.Serve(m.HTTP()) })
	t.Cleanup(func() {
		cancel()
		web.Close()
		wg.Wait()
	})
	return l.Addr().String(), raft
}

func TestMux_SplitsByFirstByte(t *testing.T) {
	addr, raft := startMux(t, MuxConfig{})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); string(body) != "hello" {
		t.Errorf("HTTP answered %q", body)
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Write([]byte{FirstByte, 'r', 'a'})
	in := <-raft
	defer in.Close()
	got := make([]byte, 3)
	if _, err := io.ReadFull(in, got); err != nil || !bytes.Equal(got, []byte{FirstByte, 'r', 'a'}) {
		t.Errorf("raft side read %x, %v", got, err)
	}
}

func TestMux_ClosesWhatSpeaksNeither(t *testing.T) {
	logged := new(lineCounter)
	addr, _ := startMux(t, MuxConfig{Logger: logged.logger()})
	for first := range 256 {
		if first == FirstByte || first >= 'A' && first <= 'Z' || first == 0x16 {
			continue
		}
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conn.Write([]byte{byte(first)})
		conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); isTimeout(err) {
			t.Errorf("first byte 0x%02x: still open", first)
		}
		conn.Close()
	}
	if n := logged.n.Load(); n != 1 {
		t.Errorf("%d lines logged about garbage, want 1", n)
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func TestMux_SilentConnectionsGiveWayToThoseThatSpeak(t *testing.T) {
	addr, raft := startMux(t, MuxConfig{MaxPending: 8, SniffTimeout: time.Hour})
	for range 50 {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Write([]byte{FirstByte})
	select {
	case in := <-raft:
		in.Close()
	case <-time.After(patience):
		t.Fatal("silent connections keep others out")
	}
}

func TestMux_SilenceEndsAfterTheSniffTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := NewMemory()
		l, err := network.Listen("a")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		m := NewMux(l, func(net.Conn) { t.Error("handed over") }, MuxConfig{})
		var wg sync.WaitGroup
		wg.Go(func() { m.Run(ctx) })
		conn, err := network.Dialer("b")(ctx, "a")
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("read a byte")
		}
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("closed after %v", took)
		}
		cancel()
		wg.Wait()
	})
}

func TestMux_ClosesAllItHasNotHandedOver(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := NewMux(l, func(c net.Conn) { c.Close() }, MuxConfig{SniffTimeout: time.Hour})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	var conns []net.Conn
	for i := range 4 {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if i%2 == 0 {
			conn.Write([]byte("GET / HTTP/1.1\r\n")) // waits for an Accept that never comes
		}
		conns = append(conns, conn)
	}
	await(t, "connections to be sorted", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.pending.Len() == 2 && len(m.http.conns) == 2
	})
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	for _, c := range conns {
		c.SetReadDeadline(time.Now().Add(patience))
		if _, err := c.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("still open: %v", err)
		}
	}
	if _, err := m.HTTP().Accept(); err == nil {
		t.Error("HTTP listener still accepts")
	}
}

// An idle lane gives back its goroutines and stream, and is there again when it
// is needed; the instants are exact.
func TestMemory_IdleLaneClosesAndReopens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := NewMemory()
		got := make(chan core.Message, 10)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		servers := map[core.ServerID]*Transport{}
		for _, id := range []core.ServerID{"x", "y"} {
			l, err := network.Listen(string(id))
			if err != nil {
				t.Fatal(err)
			}
			tr, err := New(Config{
				ID: id, ClusterID: func() string { return "" }, Handler: func(m core.Message) { got <- m },
				Resolve: func(id core.ServerID) (string, bool) { return string(id), true },
				Dial:    network.Dialer(string(id)),
			})
			if err != nil {
				t.Fatal(err)
			}
			servers[id] = tr
			mux := NewMux(l, tr.Accept, MuxConfig{})
			wg.Go(func() { tr.Run(ctx) })
			wg.Go(func() { mux.Run(ctx) })
		}
		synctest.Wait()
		lanes := func() int {
			servers["x"].mu.Lock()
			defer servers["x"].mu.Unlock()
			return len(servers["x"].lanes)
		}
		for range 2 {
			servers["x"].Send(core.Message{Kind: core.MsgVote, To: "y"})
			<-got
			synctest.Wait()
			if lanes() != 1 {
				t.Errorf("%d lanes in use", lanes())
			}
			time.Sleep(time.Minute + time.Second)
			synctest.Wait()
			if lanes() != 0 {
				t.Errorf("%d lanes after a minute without a message", lanes())
			}
		}
		network.Isolate("y")
		servers["x"].Send(core.Message{Kind: core.MsgVote, To: "y", Token: 1})
		time.Sleep(time.Second)
		network.Heal("y")
		servers["x"].Send(core.Message{Kind: core.MsgVote, To: "y", Token: 2})
		if m := <-got; m.Token != 2 {
			t.Errorf("a message from before the partition arrived: %+v", m)
		}
		cancel()
		wg.Wait()
	})
}

// Property 43: one host's connections are bounded, whatever they do, and give
// their places back.
func TestMux_BoundsTheConnectionsOfOneHost(t *testing.T) {
	addr, raft := startMux(t, MuxConfig{MaxPerHost: 3})
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		conn.Write([]byte{FirstByte}) // it may have been refused already
		return conn
	}
	var held []net.Conn
	for range 3 {
		dial()
		held = append(held, <-raft)
	}
	if _, err := dial().Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("a fourth connection of one host ends with %v, want it closed", err)
	}
	held[0].Close()
	dial()
	(<-raft).Close()
	for _, conn := range held[1:] {
		conn.Close()
	}
}
