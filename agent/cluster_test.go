package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"muster/agent/config"
	"muster/catalog"
	"muster/consensus"
	"muster/consensus/core"
	"muster/gossip"
)

// A probe of memberlist's that is under way when a pool shuts down ends by its
// own timeout; memberlist gives nothing to wait for it with.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"))
}

// testCluster runs agents in this process, each on a loopback address of its own.
type testCluster struct {
	t      *testing.T
	subnet string
	count  int
	log    *testWriter
}

type testAgent struct {
	*Agent
	t    *testing.T
	cfg  *config.Config
	stop context.CancelFunc
	done chan error
}

func newTestCluster(t *testing.T) *testCluster {
	return &testCluster{t: t, log: newTestWriter(t), subnet: fmt.Sprintf("127.%d.%d.", 10+rand.IntN(200), rand.IntN(250))}
}

// config lays out the next agent. With expect above zero it is a server.
func (c *testCluster) config(expect int) *config.Config {
	c.count++
	addr := fmt.Sprintf("%s%d", c.subnet, c.count)
	return &config.Config{
		NodeName: fmt.Sprintf("agent-%d", c.count), Datacenter: "dc1",
		Server: expect > 0, BootstrapExpect: expect,
		DataDir:  c.t.TempDir(),
		BindAddr: addr, SerfBindAddr: addr, AdvertiseAddr: addr, AdvertiseAddrWAN: addr,
		ServerPort: 8300, SerfLANPort: 8301,
		HTTP:      []config.Listener{{Network: "tcp", Address: addr + ":8500"}},
		RetryJoin: []string{c.subnet + "1"}, RetryInterval: 100 * time.Millisecond,
		EncryptVerifyIncoming: true, EncryptVerifyOutgoing: true,
		RaftMultiplier: 1, RaftSnapshotThreshold: 16384,
		RPCHoldTimeout: 7 * time.Second, CheckUpdateInterval: 5 * time.Minute, SyncInterval: time.Minute, CheckOutputMaxSize: 4096, ReconnectTimeout: 72 * time.Hour,
		DefaultQueryTime: 5 * time.Minute, MaxQueryTime: 10 * time.Minute,
		CoordinateInterval: 15 * time.Second, CoordinateRate: 64,
		HTTPLimits: config.HTTPLimits{MaxConnsPerClient: 200, MaxValueBytes: 512 << 10, MaxTxnBytes: 512 << 10},
	}
}

// start runs an agent until the test ends or it is stopped. Changes are made to
// it before it runs.
func (c *testCluster) start(cfg *config.Config, changes ...func(*Agent)) *testAgent {
	c.t.Helper()
	logger := slog.New(slog.NewTextHandler(c.log, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", cfg.NodeName)
	a, err := New(cfg, Options{Logger: logger})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, change := range changes {
		change(a)
	}
	ctx, stop := context.WithCancel(context.Background())
	ta := &testAgent{Agent: a, t: c.t, cfg: cfg, stop: stop, done: make(chan error, 1)}
	go func() { ta.done <- a.Run(ctx) }()
	c.t.Cleanup(ta.end)
	return ta
}

// end stops the agent without leaving and waits for it.
func (a *testAgent) end() {
	a.stop()
	if err, open := <-a.done; open {
		if err != nil {
			a.t.Errorf("%s ended with %v", a.cfg.NodeName, err)
		}
		close(a.done)
	}
}

// testWriter logs to a test while it runs. Memberlist's goroutines may outlive
// it for a moment.
type testWriter struct {
	t    *testing.T
	mu   sync.Mutex
	over bool // guarded by mu
}

func newTestWriter(t *testing.T) *testWriter {
	w := &testWriter{t: t}
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.over = true
	})
	return w
}

func (w *testWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.t.Logf("%s", p)
	}
	return len(p), nil
}

func eventually(t *testing.T, what string, ok func() error) {
	t.Helper()
	deadline := time.After(15 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ok()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s: %v", what, err)
		case <-tick.C:
		}
	}
}

// oneCluster waits until the servers are the voters, and the only ones, of one
// cluster with a leader.
func oneCluster(t *testing.T, servers ...*testAgent) {
	t.Helper()
	oneClusterOf(t, servers...)
	eventually(t, "no other voters", func() error {
		for _, s := range servers {
			if n := s.quorum.node.Status().Config.Voters(); n != len(servers) {
				return fmt.Errorf("%s knows %d voters", s.cfg.NodeName, n)
			}
		}
		return nil
	})
}

// oneClusterOf waits until the servers are voters of one cluster, perhaps with
// others, and one of them leads it.
func oneClusterOf(t *testing.T, servers ...*testAgent) {
	t.Helper()
	eventually(t, "one cluster of all servers", func() error {
		id, leaders := "", 0
		for _, s := range servers {
			st := s.quorum.node.Status()
			if id == "" {
				id = st.Config.ClusterID
			}
			if st.Config.ClusterID == "" || st.Config.ClusterID != id {
				return fmt.Errorf("%s is in cluster %q, another in %q", s.cfg.NodeName, st.Config.ClusterID, id)
			}
			for _, other := range servers {
				if !st.Config.IsVoter(core.ServerID(other.nodeID)) {
					return fmt.Errorf("%s is no voter for %s", other.cfg.NodeName, s.cfg.NodeName)
				}
			}
			if st.Leading() {
				leaders++
			}
		}
		if leaders != 1 {
			return fmt.Errorf("%d leaders", leaders)
		}
		return nil
	})
}

func TestBootstrap_OneClusterInAnyOrderOfArrival(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			c := newTestCluster(t)
			configs := []*config.Config{c.config(3), c.config(3), c.config(3)}
			var servers []*testAgent
			for _, i := range order {
				servers = append(servers, c.start(configs[i]))
			}
			oneCluster(t, servers...)
		})
	}
}

func TestBootstrap_WaitsForTheExpectedNumber(t *testing.T) {
	c := newTestCluster(t)
	a, b := c.start(c.config(3)), c.start(c.config(3))
	eventually(t, "two members", func() error {
		if n := len(a.pool.Members()); n != 2 {
			return fmt.Errorf("%d members", n)
		}
		return nil
	})
	if err := a.bootstrap.try(t.Context()); err == nil {
		t.Error("two of three bootstrapped")
	}
	oneCluster(t, a, b, c.start(c.config(3)))
}

func TestBootstrap_AServerTooManyIsAdded(t *testing.T) {
	c := newTestCluster(t)
	var servers []*testAgent
	for range 4 {
		servers = append(servers, c.start(c.config(3)))
	}
	oneCluster(t, servers...)
}

func TestBootstrap_NotAgainAfterARestart(t *testing.T) {
	c := newTestCluster(t)
	var servers []*testAgent
	for range 3 {
		servers = append(servers, c.start(c.config(3)))
	}
	oneCluster(t, servers...)
	id := servers[0].quorum.node.Status().Config.ClusterID
	for _, s := range servers {
		s.end()
	}
	for i, s := range servers {
		servers[i] = c.start(s.cfg)
	}
	oneCluster(t, servers...)
	if now := servers[0].quorum.node.Status().Config.ClusterID; now != id {
		t.Errorf("cluster %s became %s", id, now)
	}
}

// Whoever draws up the charter may be lost for good at any request that it makes:
// the others and one that replaces it become one cluster.
func TestBootstrap_OutlivesWhoDrewUpTheCharter(t *testing.T) {
	for last := range int64(8) {
		t.Run(fmt.Sprintf("lost after %d requests", last), func(t *testing.T) {
			t.Parallel()
			c := newTestCluster(t)
			next := func() *config.Config {
				cfg := c.config(3)
				cfg.GossipLAN = gossip.DevTiming()
				cfg.RetryJoin = []string{c.subnet + "2"} // not the one that is lost
				return cfg
			}
			first := next()
			first.NodeID = "00000000-0000-0000-0000-000000000001" // lowest, and so the one
			b, d := c.start(next()), c.start(next())
			dying := make(chan struct{})
			var made atomic.Int64
			a := c.start(first, func(a *Agent) {
				send := a.bootstrap.roundTrip
				a.bootstrap.roundTrip = func(addr string, r *http.Request) (*http.Response, error) {
					switch n := made.Add(1); {
					case n == last+1:
						close(dying)
						fallthrough
					case n > last:
						return nil, errors.New("lost")
					}
					return send(addr, r)
				}
			})
			select {
			case <-dying:
			case <-time.After(5 * time.Second): // it needed fewer
			}
			a.end()
			oneClusterOf(t, b, d, c.start(next()))
		})
	}
}

// A server that had promised itself when the others were done without it gives
// that up and joins their cluster.
func TestBootstrap_ALateCharterGivesWay(t *testing.T) {
	c := newTestCluster(t)
	first := c.start(c.config(1))
	oneCluster(t, first)
	late := c.config(3)
	late.RetryJoin = []string{c.subnet + "99"} // alone at first
	alone := c.start(late)
	charter := &consensus.Charter{Config: core.Configuration{ClusterID: "given-up"}, Turns: []uint64{0, 0, 0}}
	for _, s := range []struct {
		id  string
		log core.Incarnation
	}{{alone.nodeID, alone.quorum.node.Status().Incarnation}, {first.nodeID, first.quorum.node.Status().Incarnation}, {"gone", 1}} {
		charter.Config.Servers = append(charter.Config.Servers, core.Server{ID: core.ServerID(s.id), Addr: "127.0.0.1:1", Suffrage: core.Voter, Log: s.log})
	}
	slices.SortFunc(charter.Config.Servers, func(x, y core.Server) int { return strings.Compare(string(x.ID), string(y.ID)) })
	if s, err := alone.quorum.node.Consider(t.Context(), consensus.PromiseRequest{Charter: charter, Willing: true}); err != nil || s.Stage != consensus.Promised {
		t.Fatal(s, err)
	}
	if _, err := alone.pool.Join(t.Context(), []string{first.cfg.BindAddr}); err != nil {
		t.Fatal(err)
	}
	oneCluster(t, first, alone)
}

func TestServer_ThatLeavesHandsLeadershipOverAndLosesItsVote(t *testing.T) {
	c := newTestCluster(t)
	var servers []*testAgent
	for range 3 {
		servers = append(servers, c.start(c.config(3)))
	}
	oneCluster(t, servers...)
	var leader *testAgent
	var rest []*testAgent
	for _, s := range servers {
		if s.quorum.IsLeader() {
			leader = s
		} else {
			rest = append(rest, s)
		}
	}
	caller, hangUp := context.WithCancel(t.Context())
	hangUp() // whoever asked for it makes no difference any more
	if err := leader.Leave(caller); err != nil {
		t.Fatal(err)
	}
	if err := <-leader.done; err != nil {
		t.Errorf("Run after Leave: %v", err)
	}
	close(leader.done)
	oneCluster(t, rest...)
	eventually(t, "its node is gone", func() error {
		if rest[0].quorum.store.View().Node(leader.cfg.NodeName) != nil {
			return errors.New("still there")
		}
		return nil
	})
}

func TestClient_NodeAndHealthAppearInTheCatalog(t *testing.T) {
	c := newTestCluster(t)
	server := c.start(c.config(1))
	client := c.start(c.config(0))
	eventually(t, "the client's node with its metadata", func() error {
		n := server.quorum.store.View().Node(client.cfg.NodeName)
		if n == nil || n.ID != client.nodeID || n.Meta["consul-version"] != config.CompatVersion || n.TaggedAddresses["lan_ipv4"] != client.cfg.BindAddr {
			return fmt.Errorf("%+v", n)
		}
		return nil
	})
}

func TestLeader_RemovesNodesThatGossipForgotAndNoOthers(t *testing.T) {
	c := newTestCluster(t)
	server := c.start(c.config(1), func(a *Agent) { a.reapAfter = 200 * time.Millisecond })
	oneCluster(t, server)
	serf := catalog.Check{CheckID: catalog.SerfHealth, Name: catalog.SerfHealthName, Status: catalog.StatusPassing}
	for name, checks := range map[string][]catalog.Check{"reaped": {serf}, "external": nil} {
		cmd := &catalog.Register{Node: catalog.Node{Node: name, Address: "192.0.2.1"}, Checks: checks}
		cmd.Normalize()
		if result, err := server.quorum.Propose(t.Context(), cmd); err != nil || result.Err != nil {
			t.Fatal(err, result.Err)
		}
	}
	c.start(c.config(0)) // makes the leader look
	eventually(t, "the forgotten node is gone", func() error {
		if server.quorum.store.View().Node("reaped") != nil {
			return errors.New("still there")
		}
		return nil
	})
	for _, name := range []string{"external", server.cfg.NodeName} {
		if server.quorum.store.View().Node(name) == nil {
			t.Errorf("node %s was removed too", name)
		}
	}
}

// A node whose agent returns on another address under the same name and ID has
// that address in the catalog at once.
func TestLeader_TakesAMembersNewAddress(t *testing.T) {
	c := newTestCluster(t)
	server := c.start(c.config(1))
	oneCluster(t, server)
	cfg := c.config(0)
	client := c.start(cfg)
	address := func(want string) {
		t.Helper()
		eventually(t, "the client's address "+want, func() error {
			if n := server.quorum.store.View().Node(cfg.NodeName); n == nil || n.Address != want {
				return fmt.Errorf("%+v", n)
			}
			return nil
		})
	}
	address(cfg.BindAddr)
	client.end()
	moved := c.config(0)
	moved.NodeName, moved.DataDir = cfg.NodeName, cfg.DataDir
	c.start(moved)
	address(moved.BindAddr)
}

// A leader marks nobody critical who answers it, whatever gossip says, and in the
// end goes by gossip all the same. Members that don't answer are marked at once.
func TestLeader_DoubtsGossipWhileAMemberAnswers(t *testing.T) {
	c := newTestCluster(t)
	servers := c.config(1)
	servers.GossipLAN = gossip.DevTiming()
	var lies atomic.Bool
	var asked atomic.Int64
	server := c.start(servers, func(a *Agent) {
		a.doubtFor = 2 * time.Second
		ask := a.ask
		a.ask = func(ctx context.Context, members []gossip.Member) map[string]bool {
			asked.Add(1)
			if !lies.Load() {
				return ask(ctx, members)
			}
			answered := map[string]bool{}
			for _, m := range members {
				answered[m.Name] = true
			}
			return answered
		}
	})
	oneCluster(t, server)
	health := func(name, want string) func() error {
		return func() error {
			for _, check := range server.quorum.store.View().NodeChecks(name) {
				if check.CheckID == catalog.SerfHealth && check.Status == want {
					return nil
				}
			}
			return fmt.Errorf("%s is not %s", name, want)
		}
	}
	for _, lie := range []bool{false, true} {
		lies.Store(lie)
		before := testutil.ToFloat64(server.contradictions)
		cfg := c.config(0)
		cfg.GossipLAN = gossip.DevTiming()
		client := c.start(cfg)
		eventually(t, "alive", health(cfg.NodeName, catalog.StatusPassing))
		client.end()
		asked.Store(0)
		eventually(t, "failed in gossip, and asked", func() error {
			if asked.Load() == 0 {
				return errors.New("not asked")
			}
			return nil
		})
		if lie {
			if err := health(cfg.NodeName, catalog.StatusPassing)(); err != nil {
				t.Errorf("in doubt: %v", err)
			}
		}
		eventually(t, "critical", health(cfg.NodeName, catalog.StatusCritical))
		if n := testutil.ToFloat64(server.contradictions) - before; (n == 1) != lie {
			t.Errorf("%v contradictions counted, with answers %v", n, lie)
		}
	}
}

// What an agent writes at once is answered command by command, whoever leads; what
// is too large for one entry goes one by one.
func TestUplink_AnswersEachCommandOfAWrite(t *testing.T) {
	c := newTestCluster(t)
	server, client := c.start(c.config(1)), c.start(c.config(0))
	for _, a := range []*testAgent{server, client} {
		name := "external-" + a.cfg.NodeName
		eventually(t, "the way to the leader", func() error {
			return errors.Join(a.uplink.Write(t.Context(), []catalog.Command{&catalog.Deregister{Node: name}})...)
		})
		for _, size := range []int{10, catalog.MaxCommandSize / 2} {
			good := &catalog.Register{Node: catalog.Node{Node: name, Address: "192.0.2.1"}, Service: &catalog.Service{ID: "s", Service: "s"},
				Checks: []catalog.Check{{CheckID: "c", Name: "c", Status: "passing", Output: strings.Repeat("x", size)}}}
			lacking := &catalog.Register{Node: good.Node, Checks: []catalog.Check{{CheckID: "d", Name: "d", Status: "passing", ServiceID: "none", Output: strings.Repeat("x", size)}}}
			good.Normalize()
			lacking.Normalize()
			errs := a.uplink.Write(t.Context(), []catalog.Command{good, lacking, &catalog.Deregister{Node: name, CheckID: "c"}})
			if len(errs) != 3 || errs[0] != nil || catalog.KindOf(errs[1]) != catalog.Invalid || errs[2] != nil {
				t.Errorf("%s: answered %v", a.cfg.NodeName, errs)
			}
			view := server.quorum.store.View()
			if len(view.NodeServices(name)) != 1 || len(view.NodeChecks(name)) != 0 {
				t.Errorf("%s: the catalog has %v and %v", a.cfg.NodeName, view.NodeServices(name), view.NodeChecks(name))
			}
		}
	}
}
