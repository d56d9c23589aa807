package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"
)

// asker is one connection that asks and reads answers. It does no more than it
// must: what it costs is taken from the server beside it.
type asker interface {
	ask(request []byte) error
	close()
}

// lineConn is a connection of HTTP/1.1.
type lineConn struct {
	net.Conn
	r     *bufio.Reader
	index []byte // X-Consul-Index of the last answer
}

func dialHTTP(t testing.TB, a *agent) *lineConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", a.addr+":8500", 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return &lineConn{Conn: conn, r: bufio.NewReader(conn)}
}

func (w *lineConn) close() { w.Conn.Close() }

func (w *lineConn) ask(request []byte) error {
	if _, err := w.Write(request); err != nil {
		return err
	}
	return w.read()
}

// read reads one answer, which must be a 200 that says how long it is.
func (w *lineConn) read() error {
	line, err := w.r.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) {
		return fmt.Errorf("answered %s", bytes.TrimSpace(line))
	}
	length := -1
	for {
		line, err := w.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(v))); err != nil {
				return err
			}
		}
		if v, ok := bytes.CutPrefix(line, []byte("X-Consul-Index: ")); ok {
			w.index = append(w.index[:0], bytes.TrimSpace(v)...)
		}
	}
	if length < 0 {
		return errors.New("an answer without Content-Length")
	}
	_, err = w.r.Discard(length)
	return err
}

func getRequest(path string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: muster\r\n\r\n")
}

func putRequest(path, body string) []byte {
	return fmt.Appendf(nil, "PUT %s HTTP/1.1\r\nHost: muster\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
}

// datagrams is a socket of DNS over UDP.
type datagrams struct {
	net.Conn
	answer [65535]byte
}

func dialDNS(t testing.TB, a *agent) *datagrams {
	t.Helper()
	conn, err := net.Dial("udp", a.addr+":8600")
	if err != nil {
		t.Fatal(err)
	}
	return &datagrams{Conn: conn}
}

func (d *datagrams) close() { d.Conn.Close() }

func (d *datagrams) ask(question []byte) error {
	if _, err := d.Write(question); err != nil {
		return err
	}
	if err := d.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	n, err := d.Read(d.answer[:])
	if err == nil && (n < 12 || d.answer[3]&15 != 0) {
		err = fmt.Errorf("an answer of %d bytes with rcode %d", n, d.answer[3]&15)
	}
	return err
}

// side is one server under load, and what was measured of it.
type side struct {
	agents []*agent // whose processor time counts
	askers []asker
	next   []int // how many requests each has sent

	ops       int
	took, cpu time.Duration
	lat       latencies
}

// clients is how many clients ask at once, unless a benchmark says otherwise.
const clients = 64

func newSide(b *testing.B, agents []*agent, dial func() asker) *side {
	return newSideOf(b, clients, agents, dial)
}

func newSideOf(b *testing.B, clients int, agents []*agent, dial func() asker) *side {
	s := &side{agents: agents, next: make([]int, clients)}
	for range clients {
		a := dial()
		b.Cleanup(a.close)
		s.askers = append(s.askers, a)
	}
	return s
}

// drive has all clients ask for a while, and then waits until the server has
// nothing more to do: what it puts off counts as well.
func (s *side) drive(b *testing.B, d time.Duration, request func(client, n int) []byte) {
	b.Helper()
	before, start := cpuOf(b, s.agents), time.Now()
	var wg sync.WaitGroup
	var mu sync.Mutex
	for i, asker := range s.askers {
		wg.Go(func() {
			var lat []time.Duration
			for last := time.Now(); last.Sub(start) < d; {
				s.next[i]++
				if err := asker.ask(request(i, s.next[i])); err != nil {
					b.Errorf("client %d, request %d to %s: %v", i, s.next[i], s.agents[0].name, err)
					return
				}
				now := time.Now()
				lat = append(lat, now.Sub(last))
				last = now
			}
			mu.Lock()
			defer mu.Unlock()
			s.ops += len(lat)
			s.lat.all = append(s.lat.all, lat...)
		})
	}
	wg.Wait()
	s.took += time.Since(start)
	s.cpu += settled(b, s.agents) - before
}

// settled waits until agents use no processor time and gives how much they used.
func settled(b *testing.B, agents []*agent) time.Duration {
	b.Helper()
	last, since := cpuOf(b, agents), time.Now()
	eventually(b, 20*time.Second, "idle after load", func() error {
		if now := cpuOf(b, agents); now != last {
			last, since = now, time.Now()
		}
		if time.Since(since) < 35*time.Millisecond {
			return errors.New("it still works")
		}
		return nil
	})
	return last
}

func (s *side) rate() float64 { return float64(s.ops) / s.took.Seconds() }

// cpuPerOp is processor time in microseconds.
func (s *side) cpuPerOp() float64 { return float64(s.cpu.Microseconds()) / float64(s.ops) }
