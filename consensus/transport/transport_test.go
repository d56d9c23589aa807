package transport

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"muster/consensus/core"
)

const patience = 10 * time.Second

// server is one Transport behind a Mux on a TCP port, for tests.
type server struct {
	*Transport
	addr    string
	got     chan core.Message
	cluster atomic.Value // string
	blocked atomic.Value // core.ServerID that may not be talked with
	stop    func()
}

// book is what the servers of one test know of each other's addresses.
type book struct{ sync.Map }

func (b *book) resolve(id core.ServerID) (string, bool) {
	addr, ok := b.Load(id)
	if !ok {
		return "", false
	}
	return addr.(string), true
}

// startServer runs a server at addr (":0" style) until the test ends or stop.
func startServer(t testing.TB, b *book, id core.ServerID, addr string, change ...func(*Config)) *server {
	t.Helper()
	s := &server{got: make(chan core.Message, 100_000)}
	s.cluster.Store("blue")
	s.blocked.Store(core.ServerID("nobody"))
	c := Config{
		ID:        id,
		ClusterID: func() string { return s.cluster.Load().(string) },
		Resolve:   b.resolve,
		Handler:   func(m core.Message) { s.got <- m },
		Allow:     func(id core.ServerID) bool { return id != s.blocked.Load().(core.ServerID) },
	}
	for _, f := range change {
		f(&c)
	}
	var err error
	if s.Transport, err = New(c); err != nil {
		t.Fatal(err)
	}
	var l net.Listener
	await(t, "the port", func() bool { // a restarted server's may still be closing
		l, err = net.Listen("tcp", addr)
		return err == nil
	})
	s.addr = l.Addr().String()
	b.Store(id, s.addr)
	ctx, cancel := context.WithCancel(context.Background())
	mux := NewMux(l, s.Accept, MuxConfig{})
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(ctx) })
	wg.Go(func() { mux.Run(ctx) })
	await(t, "Run", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.ctx != nil
	})
	s.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(s.stop)
	return s
}

// await waits for a condition of the real network.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", patience, what)
		}
		<-tick.C
	}
}

func (s *server) next(t testing.TB) core.Message {
	t.Helper()
	select {
	case m := <-s.got:
		return m
	case <-time.After(patience):
		t.Fatal("no message arrived")
		panic("unreachable")
	}
}

// reach sends m again and again until it arrives at to.
func reach(t testing.TB, from, to *server, m core.Message) core.Message {
	t.Helper()
	var got core.Message
	await(t, "a message to arrive", func() bool {
		from.Send(m)
		select {
		case got = <-to.got:
			return got.Token == m.Token
		default:
			return false
		}
	})
	return got
}

func TestSend_CarriesMessagesBothWays(t *testing.T) {
	b := new(book)
	x, y := startServer(t, b, "x", "127.0.0.1:0"), startServer(t, b, "y", "127.0.0.1:0")
	x.Send(core.Message{Kind: core.MsgVote, From: "x", To: "y", Term: 3})
	if m := y.next(t); m.Kind != core.MsgVote || m.Term != 3 || m.From != "x" || m.To != "y" {
		t.Errorf("y got %+v", m)
	}
	y.Send(core.Message{Kind: core.MsgVoteReply, From: "y", To: "x", Term: 3})
	if m := x.next(t); m.Kind != core.MsgVoteReply || m.From != "y" {
		t.Errorf("x got %+v", m)
	}
}

func TestSend_KeepsTheOrderOfEachLane(t *testing.T) {
	b := new(book)
	x, y := startServer(t, b, "x", "127.0.0.1:0"), startServer(t, b, "y", "127.0.0.1:0")
	const n = 1000
	for i := range uint64(n) {
		x.Send(core.Message{Kind: core.MsgAppend, To: "y", Round: i, Entries: []core.Entry{{Index: i, Data: make([]byte, i)}}})
		x.Send(core.Message{Kind: core.MsgHeartbeat, To: "y", Round: i})
	}
	var appends, heartbeats uint64
	for range 2 * n {
		m := y.next(t)
		counter := &heartbeats
		if m.Kind == core.MsgAppend {
			counter = &appends
			if len(m.Entries[0].Data) != int(m.Round) {
				t.Fatalf("append %d has %d bytes", m.Round, len(m.Entries[0].Data))
			}
		}
		if m.Round != *counter {
			t.Fatalf("%v out of order: %d instead of %d", m.Kind, m.Round, *counter)
		}
		*counter++
	}
}

func TestSend_HeartbeatsPassABlockedBulkLane(t *testing.T) {
	b := new(book)
	x := startServer(t, b, "x", "127.0.0.1:0")
	release := make(chan struct{})
	heard := make(chan core.Message, 1)
	startServer(t, b, "y", "127.0.0.1:0", func(c *Config) {
		c.Handler = func(m core.Message) {
			if m.Kind == core.MsgAppend {
				<-release
				return
			}
			heard <- m
		}
	})
	defer close(release)
	for range 40 { // more than the kernel buffers
		x.Send(core.Message{Kind: core.MsgAppend, To: "y", Entries: []core.Entry{{Data: make([]byte, 1<<20)}}})
	}
	x.Send(core.Message{Kind: core.MsgHeartbeat, To: "y"})
	select {
	case <-heard:
	case <-time.After(patience):
		t.Fatal("heartbeat waits behind appends")
	}
}

func TestSend_NeverBlocksAndDropsBeyondTheBounds(t *testing.T) {
	registry := prometheus.NewRegistry()
	b := new(book)
	b.Store(core.ServerID("y"), "127.0.0.1:1")
	x := startServer(t, b, "x", "127.0.0.1:0", func(c *Config) {
		c.Registerer, c.QueueMessages, c.QueueBytes = registry, 10, 10_000
		c.Dial = func(ctx context.Context, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	})
	for range 100 {
		x.Send(core.Message{Kind: core.MsgHeartbeat, To: "y"})
		x.Send(core.Message{Kind: core.MsgAppend, To: "y", Data: make([]byte, 6000)})
	}
	dropped := x.metrics.dropped
	if got := testutil.ToFloat64(dropped.WithLabelValues("control", "queue full")); got < 89 {
		t.Errorf("dropped %v heartbeats of 100 with a queue of 10", got)
	}
	if got := testutil.ToFloat64(dropped.WithLabelValues("bulk", "queue full")); got < 98 {
		t.Errorf("dropped %v appends of 100 with a queue of 10 kB", got)
	}
}

func TestSend_MessageBeyondMaxFrameIsDroppedAlone(t *testing.T) {
	b := new(book)
	x := startServer(t, b, "x", "127.0.0.1:0", func(c *Config) { c.MaxFrame = 10_000 })
	y := startServer(t, b, "y", "127.0.0.1:0")
	x.Send(core.Message{Kind: core.MsgAppend, To: "y", Round: 1, Data: make([]byte, 20_000)})
	x.Send(core.Message{Kind: core.MsgAppend, To: "y", Round: 2, Data: make([]byte, 5000)})
	if m := y.next(t); m.Round != 2 {
		t.Errorf("got round %d", m.Round)
	}
}

func TestLane_ReconnectsAtOnceToARestartedPeer(t *testing.T) {
	b := new(book)
	x, y := startServer(t, b, "x", "127.0.0.1:0"), startServer(t, b, "y", "127.0.0.1:0")
	reach(t, x, y, core.Message{Kind: core.MsgHeartbeat, To: "y", Token: 1})
	y.stop()
	y = startServer(t, b, "y", y.addr)
	start := time.Now()
	reach(t, x, y, core.Message{Kind: core.MsgHeartbeat, To: "y", Token: 2})
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %v to reach a restarted peer", took)
	}
}

func TestLane_FollowsAPeerToItsNewAddress(t *testing.T) {
	b := new(book)
	x, y := startServer(t, b, "x", "127.0.0.1:0"), startServer(t, b, "y", "127.0.0.1:0")
	reach(t, x, y, core.Message{Kind: core.MsgHeartbeat, To: "y", Token: 1})
	moved := startServer(t, b, "y", "127.0.0.1:0") // the old one still listens
	reach(t, x, moved, core.Message{Kind: core.MsgHeartbeat, To: "y", Token: 2})
}

func TestAllow_CutsBothDirectionsAndHeals(t *testing.T) {
	b := new(book)
	x, y := startServer(t, b, "x", "127.0.0.1:0"), startServer(t, b, "y", "127.0.0.1:0")
	reach(t, x, y, core.Message{Kind: core.MsgHeartbeat, To: "y", Token: 1})
	y.blocked.Store(core.ServerID("x"))
	cut := y.metrics.received.WithLabelValues("control")
	before := testutil.ToFloat64(cut)
	for range 10 {
		x.Send(core.Message{Kind: core.MsgHeartbeat, To: "y", Token: 2})
	}
	y.Send(core.Message{Kind: core.MsgHeartbeatReply, To: "x", Token: 2})
	await(t, "y's message to be dropped", func() bool {
		return testutil.ToFloat64(y.metrics.dropped.WithLabelValues("control", "not allowed")) == 1
	})
	y.blocked.Store(core.ServerID("nobody"))
	reach(t, x, y, core.Message{Kind: core.MsgHeartbeat, To: "y", Token: 3})
	if len(x.got) > 0 {
		t.Errorf("x heard %+v through the cut", <-x.got)
	}
	if got := testutil.ToFloat64(cut); got < before+1 {
		t.Errorf("received %v messages after healing, %v before", got, before)
	}
}

func TestHandshake_RefusesByNameBeforeAnyMessage(t *testing.T) {
	b := new(book)
	y := startServer(t, b, "y", "127.0.0.1:0")
	good := wireHello{Protocol: Protocol, Cluster: "blue", From: "x", To: "y", Role: roleServer, Lane: 1}
	for _, c := range []struct {
		want   error
		change func(*wireHello)
	}{
		{ErrWrongProtocol, func(h *wireHello) { h.Protocol = 2 }},
		{ErrWrongCluster, func(h *wireHello) { h.Cluster = "red" }},
		{ErrWrongServer, func(h *wireHello) { h.To = "z" }},
		{ErrWrongServer, func(h *wireHello) { h.From = "" }},
		{ErrWrongRole, func(h *wireHello) { h.Role = "client" }},
		{ErrWrongLane, func(h *wireHello) { h.Lane = 3 }},
		{ErrDuplicateID, func(h *wireHello) { h.From = "y" }},
		{nil, func(h *wireHello) {}},
		{nil, func(h *wireHello) { h.Cluster = "" }},
	} {
		h := good
		c.change(&h)
		t.Run(fmt.Sprintf("%v", c.want), func(t *testing.T) {
			conn, err := net.Dial("tcp", y.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := y.greet(conn, h); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if c.want == nil {
				return
			}
			writeFrame(conn, []byte{0x91, byte(core.MsgVote)})
			conn.SetReadDeadline(time.Now().Add(patience))
			if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
				t.Errorf("refused stream stays open: %v", err)
			}
		})
	}
	if len(y.got) > 0 {
		t.Errorf("a refused stream delivered %+v", <-y.got)
	}
}

func TestHandshake_AServerWithoutClusterMayJoin(t *testing.T) {
	b := new(book)
	x, y := startServer(t, b, "x", "127.0.0.1:0"), startServer(t, b, "y", "127.0.0.1:0")
	y.cluster.Store("")
	reach(t, x, y, core.Message{Kind: core.MsgAppend, To: "y", Token: 1})
	y.cluster.Store("red") // it has joined another one meanwhile
	await(t, "the open stream to be refused", func() bool {
		x.Send(core.Message{Kind: core.MsgAppend, To: "y", Token: 2})
		return testutil.ToFloat64(y.metrics.refused.WithLabelValues("cluster")) > 0
	})
	for len(y.got) > 0 {
		if m := <-y.got; m.Token == 2 {
			t.Fatal("a message of another cluster was delivered")
		}
	}
}

func TestInbound_NewStreamReplacesTheOldOne(t *testing.T) {
	b := new(book)
	y := startServer(t, b, "y", "127.0.0.1:0")
	hello := wireHello{Protocol: Protocol, Cluster: "blue", From: "x", To: "y", Role: roleServer, Lane: 1}
	var conns [3]net.Conn
	for i := range conns {
		var err error
		if conns[i], err = net.Dial("tcp", y.addr); err != nil {
			t.Fatal(err)
		}
		defer conns[i].Close()
		if err := y.greet(conns[i], hello); err != nil {
			t.Fatal(err)
		}
	}
	for _, old := range conns[:2] {
		old.SetReadDeadline(time.Now().Add(patience))
		if _, err := old.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("replaced stream is still open: %v", err)
		}
	}
	if err := writeFrame(conns[2], []byte{0x91, byte(core.MsgVote)}); err != nil {
		t.Fatal(err)
	}
	if m := y.next(t); m.Kind != core.MsgVote || m.From != "x" {
		t.Errorf("got %+v", m)
	}
}

func TestInbound_AcceptsNoMoreThanMaxConns(t *testing.T) {
	b := new(book)
	y := startServer(t, b, "y", "127.0.0.1:0", func(c *Config) { c.MaxConns = 4; c.HandshakeTimeout = time.Minute })
	for range 20 {
		conn, err := net.Dial("tcp", y.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.Write([]byte{FirstByte})
	}
	await(t, "the surplus to be closed", func() bool {
		return testutil.ToFloat64(y.metrics.refused.WithLabelValues("too many")) == 16
	})
}

// Whoever sends garbage, half a frame, or nothing is closed within 5 s, and
// real peers don't notice.
func TestInbound_GarbageIsClosed(t *testing.T) {
	b := new(book)
	logged := new(lineCounter)
	x := startServer(t, b, "x", "127.0.0.1:0")
	y := startServer(t, b, "y", "127.0.0.1:0", func(c *Config) {
		c.HandshakeTimeout, c.FrameTimeout = 200*time.Millisecond, 200*time.Millisecond
		c.Logger = logged.logger()
	})
	hello := wireHello{Protocol: Protocol, Cluster: "blue", From: "g", To: "y", Role: roleServer, Lane: 1}
	header := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	for name, c := range map[string]struct {
		greet bool
		bytes []byte
	}{
		"first byte then silence":     {false, []byte{FirstByte}},
		"hello of 4 GiB":              {false, append([]byte{FirstByte}, header(1<<32-1)...)},
		"empty hello":                 {false, append([]byte{FirstByte}, header(0)...)},
		"hello of garbage":            {false, append(append([]byte{FirstByte}, header(5)...), "abcde"...)},
		"frame of 4 GiB":              {true, header(1<<32 - 1)},
		"frame of 1 GiB":              {true, header(1 << 30)},
		"empty frame":                 {true, header(0)},
		"half a header":               {true, []byte{0, 0}},
		"half a frame, then silence":  {true, append(header(1000), 1, 2, 3)},
		"nested arrays in a frame":    {true, append(header(100_000), strings.Repeat("\x91", 100_000)...)},
		"the largest frame, unfilled": {true, header(32 << 20)},
	} {
		t.Run(name, func(t *testing.T) {
			var conns []net.Conn
			for i := range 5 {
				conn, err := net.Dial("tcp", y.addr)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if c.greet {
					h := hello
					h.From = fmt.Sprint(name, i)
					if err := y.greet(conn, h); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := conn.Write(c.bytes); err != nil {
					t.Fatal(err)
				}
				conns = append(conns, conn)
			}
			for _, conn := range conns {
				conn.SetReadDeadline(time.Now().Add(5 * time.Second))
				if _, err := io.Copy(io.Discard, conn); isTimeout(err) {
					t.Fatal("still open after 5 s")
				}
			}
		})
	}
	reach(t, x, y, core.Message{Kind: core.MsgHeartbeat, To: "y", Token: 1})
	if n := logged.n.Load(); n > 5 {
		t.Errorf("%d lines were logged about strangers", n)
	}
}

func TestRun_EndsWithAPeerThatDoesNotRead(t *testing.T) {
	b := new(book)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b.Store(core.ServerID("mute"), l.Addr().String())
	x := startServer(t, b, "x", "127.0.0.1:0", func(c *Config) { c.HandshakeTimeout = time.Hour; c.WriteTimeout = time.Hour })
	x.Send(core.Message{Kind: core.MsgHeartbeat, To: "mute"})
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	done := make(chan struct{})
	go func() { x.stop(); close(done) }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("Run does not end")
	}
}

func TestNew_NamesWhatIsMissing(t *testing.T) {
	if _, err := New(Config{}); err == nil || !strings.Contains(err.Error(), "id") || !strings.Contains(err.Error(), "Handler") {
		t.Errorf("got %v", err)
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	addrs := new(book)
	x := startServer(b, addrs, "x", "127.0.0.1:0")
	var y *server
	ready := make(chan struct{})
	y = startServer(b, addrs, "y", "127.0.0.1:0", func(c *Config) {
		c.Handler = func(m core.Message) {
			<-ready
			y.Send(core.Message{Kind: core.MsgAppendReply, To: "x", Round: m.Round})
		}
	})
	close(ready)
	data := make([]byte, 300)
	b.ReportAllocs()
	for b.Loop() {
		x.Send(core.Message{Kind: core.MsgAppend, To: "y", Entries: []core.Entry{{Index: 1, Data: data}}})
		x.next(b)
	}
}
