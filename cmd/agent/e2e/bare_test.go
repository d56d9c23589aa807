package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// bareVariable makes this test binary the bare server of an address instead.
const bareVariable = "MUSTER_BARE"

// bare is the ceiling that agents are measured by: net/http and miekg/dns giving
// an answer that is there already, in a process of its own.
//
// A request for /bare/… sets it up. Any other GET is answered, one with ?index=
// after the next write; any other PUT is a write.
type bare struct {
	answer atomic.Pointer[bareAnswer]
	dns    atomic.Pointer[dns.Msg]
	parked atomic.Int64

	mu    sync.Mutex
	write chan struct{} // guarded by mu; closed by the next write
}

// bareAnswer is what an agent answered.
type bareAnswer struct {
	Header http.Header
	Body   []byte
}

// runBare serves until the process is killed.
func runBare(addr string) int {
	b := &bare{write: make(chan struct{})}
	udp, err := net.ListenPacket("udp", addr+":8600")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go func() { _ = (&dns.Server{PacketConn: udp, UDPSize: 4096, Handler: b}).ActivateAndServe() }()
	fmt.Fprintln(os.Stderr, http.ListenAndServe(addr+":8500", b))
	return 1
}

// ServeHTTP implements http.Handler.
func (b *bare) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/bare/"):
		b.setUp(w, r)
		return
	case r.Method == http.MethodPut:
		_, _ = io.ReadAll(r.Body)
		if b.parked.Load() > 0 {
			b.mu.Lock()
			close(b.write)
			b.write = make(chan struct{})
			b.mu.Unlock()
		}
	case strings.Contains(r.URL.RawQuery, "index="):
		b.mu.Lock()
		write := b.write
		b.mu.Unlock()
		b.parked.Add(1)
		select {
		case <-write:
		case <-r.Context().Done():
		}
		b.parked.Add(-1)
	}
	a := b.answer.Load()
	for name, values := range a.Header {
		w.Header()[name] = values
	}
	_, _ = w.Write(a.Body)
}

func (b *bare) setUp(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	switch r.URL.Path {
	case "/bare/answer":
		a := &bareAnswer{}
		if err == nil {
			err = json.Unmarshal(body, a)
		}
		b.answer.Store(a)
	case "/bare/dns":
		m := &dns.Msg{}
		if err == nil {
			err = m.Unpack(body)
		}
		b.dns.Store(m)
	case "/bare/parked":
		fmt.Fprint(w, b.parked.Load())
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

// ServeDNS implements dns.Handler.
func (b *bare) ServeDNS(w dns.ResponseWriter, req *dns.Msg) {
	ready := b.dns.Load()
	m := new(dns.Msg).SetReply(req)
	m.Authoritative, m.Compress = ready.Authoritative, true
	m.Answer, m.Ns, m.Extra = ready.Answer, ready.Ns, ready.Extra
	_ = w.WriteMsg(m) // the asker notices
}

// bare starts a bare server in a process of its own.
func (c *cluster) bare() *agent {
	c.t.Helper()
	self, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	addr := fmt.Sprintf("%s%d", c.subnet, 200+len(c.agents))
	a := &agent{
		t: c.t, name: "bare", addr: addr, dir: filepath.Join(c.t.TempDir(), "bare"),
		wrap: []string{"env", bareVariable + "=" + addr, self},
	}
	c.agents = append(c.agents, a)
	a.start()
	eventually(c.t, 10*time.Second, "the bare server answers", func() error {
		_, _, _, err := a.tryGet("/bare/parked")
		return err
	})
	return a
}

// copies has a bare server give the answer that an agent gives to a path.
func (a *agent) copies(from *agent, path string) {
	a.t.Helper()
	status, header, body := from.get(path)
	if status != http.StatusOK {
		a.t.Fatalf("GET %s from %s: %d %s", path, from.name, status, body)
	}
	a.gives(header, []byte(body))
}

func (a *agent) gives(header http.Header, body []byte) {
	a.t.Helper()
	header.Del("Date") // net/http's own
	header.Set("Content-Length", strconv.Itoa(len(body)))
	packed, err := json.Marshal(bareAnswer{header, body})
	if err != nil {
		a.t.Fatal(err)
	}
	a.set("/bare/answer", packed)
}

func (a *agent) set(path string, body []byte) {
	a.t.Helper()
	req, err := http.NewRequest(http.MethodPut, "http://"+a.addr+":8500"+path, strings.NewReader(string(body)))
	if err != nil {
		a.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		answer, _ := io.ReadAll(resp.Body)
		a.t.Fatalf("PUT %s to %s: %d %s", path, a.name, resp.StatusCode, answer)
	}
}

// parked is how many blocking queries agents hold.
func parked(t testing.TB, agents ...*agent) int {
	t.Helper()
	total := 0
	for _, a := range agents {
		if a.name == "bare" {
			_, _, body := a.get("/bare/parked")
			n, err := strconv.Atoi(body)
			if err != nil {
				t.Fatal(err)
			}
			total += n
			continue
		}
		_, _, body := a.get("/v1/agent/metrics?format=prometheus")
		_, after, _ := strings.Cut(body, "\nmuster_http_waiting ")
		line, _, _ := strings.Cut(after, "\n")
		n, err := strconv.ParseFloat(line, 64)
		if err != nil {
			t.Fatalf("muster_http_waiting of %s: %v", a.name, err)
		}
		total += int(n)
	}
	return total
}
