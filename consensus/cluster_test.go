package consensus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"muster/consensus"
	"muster/consensus/core"
	"muster/consensus/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests; none takes a noticeable part of it
// unless the machine is very busy.
const patience = 30 * time.Second

// journal is a state machine that keeps all commands.
type journal struct {
	mu    sync.Mutex
	lines []string // guarded by mu
}

func (j *journal) Apply(es []core.Entry) ([]any, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	results := make([]any, len(es))
	for i, e := range es {
		j.lines = append(j.lines, string(e.Data))
		results[i] = len(j.lines)
	}
	return results, nil
}

func (j *journal) Snapshot() (consensus.Snapshot, error) { return snapshot(j.all()), nil }

func (j *journal) Restore(r io.Reader) error {
	var lines []string
	if err := json.NewDecoder(r).Decode(&lines); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = lines
	return nil
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines)
}

type snapshot []string

func (s snapshot) WriteTo(w io.Writer) (int64, error) {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode([]string(s)); err != nil {
		return 0, err
	}
	return b.WriteTo(w)
}

func (s snapshot) Close() {}

// peer is one server of a test cluster: a Node over TCP on the loopback.
type peer struct {
	id   core.ServerID
	addr string
	dir  string
	tune func(*consensus.Config)
	cut  atomic.Bool // off the network

	*consensus.Node
	fsm  *journal
	stop context.CancelFunc
	done chan error
}

type cluster struct {
	t     testing.TB
	fsm   func() consensus.FSM // instead of a journal
	mu    sync.Mutex           // guards peers against transports that look addresses up
	peers []*peer
}

// newCluster starts n servers and bootstraps them.
func newCluster(t testing.TB, n int, tune func(*consensus.Config)) *cluster {
	t.Helper()
	c := &cluster{t: t}
	cfg := core.Configuration{ClusterID: "test"}
	for range n {
		p := c.add(tune)
		cfg.Servers = append(cfg.Servers, core.Server{ID: p.id, Addr: p.addr, Suffrage: core.Voter})
	}
	if err := c.peers[0].Bootstrap(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	return c
}

// add starts one more, empty server.
func (c *cluster) add(tune func(*consensus.Config)) *peer {
	c.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	p := &peer{
		id: core.ServerID(fmt.Sprintf("n%d", len(c.peers))), addr: l.Addr().String(),
		dir: c.t.TempDir(), tune: tune,
	}
	c.mu.Lock()
	c.peers = append(c.peers, p)
	c.mu.Unlock()
	c.run(p, l)
	c.t.Cleanup(func() { c.halt(p) })
	return p
}

// start starts a halted server again, from its disk.
func (c *cluster) start(p *peer) {
	c.t.Helper()
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		c.t.Fatal(err)
	}
	c.run(p, l)
}

func (c *cluster) run(p *peer, l net.Listener) {
	c.t.Helper()
	cfg := consensus.DefaultConfig()
	cfg.ID, cfg.Addr, cfg.Dir = p.id, p.addr, p.dir
	if p.tune != nil {
		p.tune(&cfg)
	}
	p.fsm = new(journal)
	var fsm consensus.FSM = p.fsm
	if c.fsm != nil {
		fsm = c.fsm()
	}
	node, tr, err := consensus.Connect(cfg, fsm, transport.Config{
		Resolve: c.resolve,
		Allow:   func(id core.ServerID) bool { return !p.cut.Load() && !c.peer(id).cut.Load() },
	})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	p.Node, p.stop, p.done = node, stop, make(chan error, 1)
	g, ctx := errgroup.WithContext(ctx)
	mux := transport.NewMux(l, tr.Accept, transport.MuxConfig{})
	g.Go(func() error { return node.Run(ctx) })
	g.Go(func() error { return tr.Run(ctx) })
	g.Go(func() error { return mux.Run(ctx) })
	go func() { p.done <- g.Wait() }()
}

// halt stops a server at once, without a farewell to the others.
func (c *cluster) halt(p *peer) {
	c.t.Helper()
	if p.stop == nil {
		return
	}
	p.stop()
	if err := <-p.done; err != nil {
		c.t.Errorf("%s: %v", p.id, err)
	}
	p.stop = nil
}

func (c *cluster) peer(id core.ServerID) *peer {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.peers {
		if p.id == id {
			return p
		}
	}
	return nil
}

func (c *cluster) resolve(id core.ServerID) (string, bool) {
	if p := c.peer(id); p != nil {
		return p.addr, true
	}
	return "", false
}

// wait waits until cond holds, looking again whenever a server changes.
func wait(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	for !cond() {
		select {
		case <-deadline.C:
			t.Fatalf("waited %v for: %s", patience, what)
		case <-again.C:
		}
	}
}

// leader waits for a leader among the servers that are up and reachable.
func (c *cluster) leader() *peer {
	c.t.Helper()
	var found *peer
	wait(c.t, "a leader", func() bool {
		for _, p := range c.peers {
			if p.stop != nil && !p.cut.Load() && p.IsLeader() {
				found = p
				return true
			}
		}
		return false
	})
	return found
}

// propose writes a line at whoever leads, again until it is done.
func (c *cluster) propose(line string) {
	c.t.Helper()
	for {
		ctx, cancel := context.WithTimeout(c.t.Context(), patience)
		_, _, err := c.leader().Propose(ctx, []byte(line))
		cancel()
		if err == nil {
			return
		}
		if errors.Is(err, consensus.ErrUnknown) || ctx.Err() != nil {
			c.t.Fatalf("propose %q: %v", line, err)
		}
	}
}

// proposeWhereItIsTaken proposes a line at one server after the other until one
// takes it; a busy machine may change leaders on the way, so it may be there
// twice. It can be called by any goroutine.
func (c *cluster) proposeWhereItIsTaken(line string) (*peer, any, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for {
		var err error
		for _, p := range c.peers {
			changed := p.Changed()
			var got any
			if got, _, err = p.Propose(ctx, []byte(line)); err == nil {
				return p, got, nil
			}
			if p.IsLeader() || p.Leader() != "" {
				continue
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			return nil, nil, err
		}
	}
}

// agree waits until all running servers hold exactly lines.
func (c *cluster) agree(lines []string) {
	c.t.Helper()
	for _, p := range c.peers {
		if p.stop != nil {
			wait(c.t, fmt.Sprintf("%s to hold %v", p.id, lines), func() bool { return slices.Equal(p.fsm.all(), lines) })
		}
	}
}
