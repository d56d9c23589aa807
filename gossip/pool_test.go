package gossip

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

const (
	patience = 20 * time.Second
	keyA     = "kzsFzMtHXN0ScCWTeq0jSA=="
	keyB     = "MDEyMzQ1Njc4OWFiY2RlZg=="
)

// node is a running pool of a test.
type node struct {
	*Pool
	addr string
	stop func() // without leaving, as SIGKILL does
}

func testConfig(name, id string) Config {
	c := DefaultConfig()
	c.NodeName, c.NodeID, c.Datacenter, c.Build = name, id, "dc1", "1.0.0"
	c.BindAddr, c.BindPort = "127.0.0.1", 0
	c.Timing = DevTiming()
	return c
}

func startNode(t *testing.T, c Config) *node {
	t.Helper()
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { p.Run(ctx) })
	local := p.Local()
	n := &node{
		Pool: p, addr: net.JoinHostPort(local.Addr, strconv.Itoa(int(local.Port))),
		stop: sync.OnceFunc(func() { cancel(); wg.Wait() }),
	}
	t.Cleanup(n.stop)
	return n
}

// startCluster starts nodes a, b, … of one pool.
func startCluster(t *testing.T, names ...string) []*node {
	t.Helper()
	var nodes []*node
	for _, name := range names {
		n := startNode(t, testConfig(name, "id-"+name))
		if len(nodes) > 0 {
			if _, err := n.Join(t.Context(), []string{nodes[0].addr}); err != nil {
				t.Fatal(err)
			}
		}
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		for _, name := range names {
			n.await(t, name, StatusAlive)
		}
	}
	return nodes
}

func (n *node) member(name string) Member {
	for _, m := range n.Members() {
		if m.Name == name {
			return m
		}
	}
	return Member{}
}

// until waits, woken by Changed, for a condition on the members.
func (n *node) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		changed := n.Changed()
		if ok() {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%s waited %v for %s; members: %+v", n.Local().Name, patience, what, n.Members())
		}
	}
}

func (n *node) await(t *testing.T, name string, s Status) {
	t.Helper()
	n.until(t, name+" to be "+s.String(), func() bool { return n.member(name).Status == s })
}

func TestJoin_AllSeeAll(t *testing.T) {
	nodes := startCluster(t, "a", "b", "c")
	if got := nodes[2].member("b"); got.ID != "id-b" || got.Datacenter != "dc1" || got.Server || got.ClusterAddr != "" {
		t.Errorf("c sees b as %+v", got)
	}
	if names := nodes[0].Members(); len(names) != 3 || names[0].Name != "a" || names[2].Name != "c" {
		t.Errorf("members are not sorted by name: %+v", names)
	}
}

func TestJoin_ServerTagsAreRead(t *testing.T) {
	c := testConfig("s1", "id-s1")
	c.Role, c.ClusterPort, c.Expect, c.WANJoinPort = Server, 8300, 3, 8302
	s, a := startNode(t, c), startNode(t, testConfig("a", "id-a"))
	if _, err := a.Join(t.Context(), []string{s.addr}); err != nil {
		t.Fatal(err)
	}
	a.await(t, "s1", StatusAlive)
	got := a.member("s1")
	if !got.Server || got.ClusterAddr != "127.0.0.1:8300" || got.Expect != 3 || got.Bootstrap || got.Build != "1.0.0" {
		t.Errorf("server is read as %+v", got)
	}
	want := map[string]string{
		"role": "consul", "dc": "dc1", "id": "id-s1", "port": "8300", "expect": "3", "build": "1.0.0", "segment": "",
		"vsn": "2", "vsn_min": "2", "vsn_max": "3", "raft_vsn": "3", "wan_join_port": "8302", "acls": "0",
		"ft_fs": "1", "ft_si": "1", "impl": "muster",
	}
	for k, v := range want {
		if tag, ok := got.Tags[k]; !ok || tag != v {
			t.Errorf("tag %s is %q, want %q", k, tag, v)
		}
	}
	if len(got.Tags) != len(want) {
		t.Errorf("tags are %v", got.Tags)
	}
}

func TestTags_AServerAloneIsBootstrap(t *testing.T) {
	c := testConfig("s1", "id-s1")
	c.Role, c.ClusterPort, c.Expect = Server, 8300, 1
	got := startNode(t, c).Local()
	if _, expect := got.Tags["expect"]; expect || got.Tags["bootstrap"] != "1" || !got.Bootstrap || got.Expect != 1 {
		t.Errorf("read as %+v", got)
	}
}

func TestLeave_IsSeenAsLeftWhenItReturns(t *testing.T) {
	nodes := startCluster(t, "a", "b")
	if err := nodes[1].Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := nodes[0].member("b").Status; s != StatusLeft {
		t.Errorf("b is %v when Leave returns", s)
	}
	if err := nodes[1].Leave(t.Context()); err != nil {
		t.Errorf("second Leave: %v", err)
	}
}

func TestKill_IsSeenAsFailedThenForceLeftAndPruned(t *testing.T) {
	nodes := startCluster(t, "a", "b", "c")
	nodes[2].stop()
	nodes[0].await(t, "c", StatusFailed)
	nodes[1].await(t, "c", StatusFailed)
	if err := nodes[0].ForceLeave("c", false); err != nil {
		t.Fatal(err)
	}
	nodes[1].await(t, "c", StatusLeft)
	if err := nodes[0].ForceLeave("c", true); err != nil {
		t.Fatal(err)
	}
	nodes[0].until(t, "c to be forgotten", func() bool { return nodes[0].member("c").Name == "" })
	nodes[1].until(t, "c to be forgotten", func() bool { return nodes[1].member("c").Name == "" })
}

func TestForceLeave_OfTheLivingAndTheUnknown(t *testing.T) {
	nodes := startCluster(t, "a", "b")
	if err := nodes[0].ForceLeave("nobody", false); !errors.Is(err, ErrUnknownMember) {
		t.Errorf("unknown name: %v", err)
	}
	if err := nodes[0].ForceLeave("a", true); err != nil {
		t.Errorf("oneself: %v", err)
	}
	nodes[1].await(t, "a", StatusAlive)
}

func TestRejoin_UnderTheSameNameAtANewAddress(t *testing.T) {
	for name, wait := range map[string]bool{"after the failure was seen": true, "before the failure was seen": false} {
		t.Run(name, func(t *testing.T) {
			nodes := startCluster(t, "a", "b", "c")
			old := nodes[2].addr
			nodes[2].stop()
			if wait {
				nodes[0].await(t, "c", StatusFailed)
				nodes[1].await(t, "c", StatusFailed)
			}
			again := startNode(t, testConfig("c", "id-c"))
			if again.addr == old {
				t.Skip("the system gave out the same port again")
			}
			if _, err := again.Join(t.Context(), []string{nodes[0].addr}); err != nil {
				t.Fatal(err)
			}
			port := again.Local().Port
			for _, n := range nodes[:2] {
				n.until(t, "c at its new address", func() bool {
					m := n.member("c")
					return m.Status == StatusAlive && m.Port == port
				})
			}
		})
	}
}

func TestGuard_RefusesDoublesWithTheReason(t *testing.T) {
	for _, c := range []struct{ what, name, id, reason string }{
		{"same name", "b", "id-x", "its node name is that of this agent"},
		{"same ID", "x", "id-b", "its node ID is that of this agent"},
	} {
		t.Run(c.what, func(t *testing.T) {
			nodes := startCluster(t, "a", "b")
			double := startNode(t, testConfig(c.name, c.id))
			n, err := double.Join(t.Context(), []string{nodes[0].addr})
			var refused *RefusedError
			if n != 0 || !errors.As(err, &refused) {
				t.Fatalf("Join: %d, %v", n, err)
			}
			if refused.Member != "b" || !strings.Contains(refused.Reason, c.reason) {
				t.Errorf("refused with %+v", refused)
			}
			if err := double.RetryJoin(t.Context(), []string{nodes[0].addr}, time.Millisecond, 2); !errors.As(err, &refused) {
				t.Errorf("RetryJoin: %v", err)
			}
			for _, n := range nodes {
				if m := n.member("b"); m.ID != "id-b" || m.Status != StatusAlive || len(n.Members()) != 2 {
					t.Errorf("%s now sees %+v", n.Local().Name, n.Members())
				}
			}
		})
	}
}

func TestGuard_ANameMovesOnceItsHolderHasFailed(t *testing.T) {
	nodes := startCluster(t, "a", "b")
	nodes[1].stop()
	nodes[0].await(t, "b", StatusFailed)
	heir := startNode(t, testConfig("b", "id-heir"))
	if _, err := heir.Join(t.Context(), []string{nodes[0].addr}); err != nil {
		t.Fatal(err)
	}
	nodes[0].until(t, "the heir", func() bool {
		m := nodes[0].member("b")
		return m.ID == "id-heir" && m.Status == StatusAlive
	})
}

func TestGuard_RefusesStrangers(t *testing.T) {
	a := startNode(t, testConfig("a", "id-a"))
	conf := serf.DefaultConfig()
	conf.NodeName = "consul"
	conf.Tags = map[string]string{"role": "consul", "dc": "dc1", "id": "id-consul", "port": "8300"}
	conf.MemberlistConfig = memberlist.DefaultLocalConfig()
	conf.MemberlistConfig.TCPTimeout = patience // its second is short on a busy machine
	conf.MemberlistConfig.BindAddr, conf.MemberlistConfig.BindPort = "127.0.0.1", 0
	conf.Logger = log.New(io.Discard, "", 0)
	conf.MemberlistConfig.Logger, conf.MemberlistConfig.LogOutput = conf.Logger, nil
	foreign, err := serf.Create(conf)
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Shutdown()
	foreignAddr := foreign.LocalMember().Addr.String() + ":" + strconv.Itoa(int(foreign.LocalMember().Port))

	_, err = a.Join(t.Context(), []string{foreignAddr})
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Member != "consul" || !strings.Contains(refused.Reason, "not a Muster agent") {
		t.Errorf("joining a stranger: %v", err)
	}
	if _, err := foreign.Join([]string{a.addr}, true); err != nil {
		t.Fatal(err) // it has no guard, and learns of us
	}
	b := startNode(t, testConfig("b", "id-b")) // what comes after the stranger's messages
	if _, err := b.Join(t.Context(), []string{a.addr}); err != nil {
		t.Fatal(err)
	}
	a.await(t, "b", StatusAlive)
	if len(a.Members()) != 2 || len(b.Members()) != 2 {
		t.Errorf("a sees %+v, b sees %+v", a.Members(), b.Members())
	}
}

func TestAllowed_MembersOfOtherNetworksAreIgnored(t *testing.T) {
	c := testConfig("a", "id-a")
	c.Allowed = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("::1/128")}
	a := startNode(t, c)
	far := testConfig("far", "id-far")
	far.BindAddr = "127.0.0.9"
	outside, near := startNode(t, far), startNode(t, testConfig("near", "id-near"))
	for _, n := range []*node{outside, near} {
		// Whether it is told so depends on when a lets go of the connection.
		if _, err := n.Join(t.Context(), []string{a.addr}); err != nil && n == near {
			t.Fatal(err)
		}
	}
	near.await(t, "a", StatusAlive)
	a.await(t, "near", StatusAlive)
	if m := a.member("far"); m.Name != "" {
		t.Errorf("a sees %+v", m)
	}
}

func TestGuard_RefusesAnotherDatacenterOnTheLAN(t *testing.T) {
	a := startNode(t, testConfig("a", "id-a"))
	c := testConfig("b", "id-b")
	c.Datacenter = "dc2"
	b := startNode(t, c)
	if _, err := b.Join(t.Context(), []string{a.addr}); err == nil || !strings.Contains(err.Error(), `belongs to datacenter "dc1", this pool to "dc2"`) {
		t.Errorf("Join: %v", err)
	}
	if len(a.Members()) != 1 || len(b.Members()) != 1 {
		t.Errorf("a sees %+v, b sees %+v", a.Members(), b.Members())
	}
}

func TestEncrypt_OnlyTheSameKeyJoins(t *testing.T) {
	c := testConfig("a", "id-a")
	c.EncryptKey = keyA
	a := startNode(t, c)
	if !a.Encrypted() {
		t.Fatal("not encrypted")
	}
	for name, key := range map[string]string{"other": keyB, "plain": "", "same": keyA} {
		t.Run(name, func(t *testing.T) {
			c := testConfig(name, "id-"+name)
			c.EncryptKey = key
			n, err := startNode(t, c).Join(t.Context(), []string{a.addr})
			if joined := err == nil && n == 1; joined != (name == "same") {
				t.Errorf("Join: %d, %v", n, err)
			}
			if err != nil && (strings.Contains(err.Error(), keyA) || strings.Contains(err.Error(), keyB)) {
				t.Errorf("error shows a key: %v", err)
			}
		})
	}
}

func TestKeyring_FileIsMadeOnceAndWins(t *testing.T) {
	c := testConfig("a", "id-a")
	c.EncryptKey, c.KeyringFile = keyA, filepath.Join(t.TempDir(), "serf", "local.keyring")
	startNode(t, c).stop()
	info, err := os.Stat(c.KeyringFile)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("keyring file: %v, %v", info, err)
	}
	c.EncryptKey = keyB
	var logged strings.Builder
	c.Logger = slog.New(slog.NewTextHandler(&logged, nil))
	n := startNode(t, c)
	if keys := n.conf.MemberlistConfig.Keyring.GetKeys(); len(keys) != 1 || string(keys[0]) == "0123456789abcdef" {
		t.Errorf("%d keys in use, or that of the configuration", len(keys))
	}
	n.stop()
	if !strings.Contains(logged.String(), "not in the keyring file") {
		t.Errorf("no warning: %s", logged.String())
	}
	if err := os.WriteFile(c.KeyringFile, []byte(`["nonsense"]`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(c); err == nil || !strings.Contains(err.Error(), "base64") {
		t.Errorf("damaged keyring: %v", err)
	}
}

func TestSnapshot_RejoinsKnownPeersAfterARestart(t *testing.T) {
	a := startNode(t, testConfig("a", "id-a"))
	c := testConfig("b", "id-b")
	c.SnapshotPath = filepath.Join(t.TempDir(), "serf", "local.snapshot")
	b := startNode(t, c)
	if _, err := b.Join(t.Context(), []string{a.addr}); err != nil {
		t.Fatal(err)
	}
	a.await(t, "b", StatusAlive)
	b.await(t, "a", StatusAlive)
	b.stop()
	b = startNode(t, c)
	b.await(t, "a", StatusAlive)
}

func TestSetTags_IsSeenByOthers(t *testing.T) {
	nodes := startCluster(t, "a", "b")
	if err := nodes[0].SetTags(map[string]string{"use_tls": "1"}); err != nil {
		t.Fatal(err)
	}
	nodes[1].until(t, "the tag", func() bool { return nodes[1].member("a").Tags["use_tls"] == "1" })
	if err := nodes[0].SetTags(map[string]string{"x": strings.Repeat("y", 600)}); err == nil {
		t.Error("600 bytes of tags were taken")
	}
}

func TestRetryJoin_GoesOnUntilAnotherMemberIsThere(t *testing.T) {
	a := startNode(t, testConfig("a", "id-a"))
	l, err := net.Listen("tcp", "127.0.0.1:0") // a port for b
	if err != nil {
		t.Fatal(err)
	}
	c := testConfig("b", "id-b")
	c.BindPort = l.Addr().(*net.TCPAddr).Port
	joined := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l.Close()
	go func() { joined <- a.RetryJoin(ctx, []string{a.addr, l.Addr().String()}, 20*time.Millisecond, 0) }()
	b := startNode(t, c)
	if err := <-joined; err != nil {
		t.Fatal(err)
	}
	a.await(t, "b", StatusAlive)
	b.await(t, "a", StatusAlive)
}

func TestRetryJoin_EndsByItsBoundsAndItsContext(t *testing.T) {
	a := startNode(t, testConfig("a", "id-a"))
	nobody := []string{"127.0.0.1:1"}
	if err := a.RetryJoin(t.Context(), nobody, time.Millisecond, 3); err == nil || !strings.Contains(err.Error(), "max retries (3) exceeded") {
		t.Errorf("bounded: %v", err)
	}
	if err := a.RetryJoin(t.Context(), []string{a.addr}, time.Hour, 0); err != nil {
		t.Errorf("only itself on the list: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := a.RetryJoin(ctx, nobody, time.Hour, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestCoordinates_AreLearned(t *testing.T) {
	nodes := startCluster(t, "a", "b")
	if _, err := nodes[0].Coordinate(); err != nil {
		t.Error(err)
	}
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, ok := nodes[0].CachedCoordinate("b"); ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("b's coordinate was not learned")
		}
		<-tick.C
	}
}

func TestMetrics_CountMembersAndAreGivenBack(t *testing.T) {
	registry := prometheus.NewRegistry()
	for range 2 { // a second pool may register after the first is closed
		c := testConfig("a", "id-a")
		c.Registerer = registry
		n := startNode(t, c)
		n.await(t, "a", StatusAlive)
		err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP muster_gossip_members Known members by status.
# TYPE muster_gossip_members gauge
muster_gossip_members{pool="lan",status="alive"} 1
muster_gossip_members{pool="lan",status="failed"} 0
muster_gossip_members{pool="lan",status="leaving"} 0
muster_gossip_members{pool="lan",status="left"} 0
`), "muster_gossip_members")
		if err != nil {
			t.Error(err)
		}
		n.stop()
	}
}

// The pool's word is not taken: who lives answers, who is dead or has another
// name doesn't.
func TestAsk_OnlyTheLivingAnswerToTheirName(t *testing.T) {
	nodes := startCluster(t, "a", "b", "c")
	nodes[2].stop()
	members := nodes[0].Members()
	renamed := nodes[0].member("b")
	renamed.Name = "double"
	got := nodes[0].Ask(t.Context(), append(members, renamed))
	if len(got) != 2 || !got["a"] || !got["b"] {
		t.Errorf("those that answer: %v", got)
	}
	if err := nodes[0].Close(); err != nil {
		t.Fatal(err)
	}
	if got := nodes[0].Ask(t.Context(), members); len(got) != 0 {
		t.Errorf("a closed pool gets answers of %v", got)
	}
}

func TestMetrics_CountMembersThatFlap(t *testing.T) {
	a := startNode(t, testConfig("a", "id-a"))
	for round := range 3 {
		b := startNode(t, testConfig("b", "id-b"))
		if _, err := b.Join(t.Context(), []string{a.addr}); err != nil {
			t.Fatal(err)
		}
		a.await(t, "b", StatusAlive)
		a.until(t, "flaps to be counted", func() bool { return testutil.ToFloat64(a.metrics.flaps) == float64(round) })
		b.stop()
		a.await(t, "b", StatusFailed)
	}
}

func TestClose_WithoutRunAndTwice(t *testing.T) {
	p, err := New(testConfig("a", "id-a"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := p.Join(t.Context(), []string{"127.0.0.1:1"}); !errors.Is(err, errClosed) {
		t.Errorf("Join after Close: %v", err)
	}
	if err := p.Leave(t.Context()); err != nil {
		t.Errorf("Leave after Close: %v", err)
	}
}

func TestNew_PortInUseIsNamed(t *testing.T) {
	a := startNode(t, testConfig("a", "id-a"))
	c := testConfig("b", "id-b")
	c.BindPort = int(a.Local().Port)
	if _, err := New(c); err == nil || !strings.Contains(err.Error(), a.addr) {
		t.Errorf("got %v", err)
	}
}

func TestWAN_ServersOfAllDatacentersMeet(t *testing.T) {
	var nodes []*node
	for _, dc := range []string{"dc1", "dc2"} {
		c := testConfig("s."+dc, "id-"+dc)
		c.WAN, c.Role, c.Datacenter, c.ClusterPort, c.WANJoinPort = true, Server, dc, 8300, 8302
		nodes = append(nodes, startNode(t, c))
	}
	if _, err := nodes[0].Join(t.Context(), []string{nodes[1].addr}); err != nil {
		t.Fatal(err)
	}
	nodes[0].await(t, "s.dc2", StatusAlive)
	nodes[1].await(t, "s.dc1", StatusAlive)
	if m := nodes[0].member("s.dc2"); m.Datacenter != "dc2" || m.Tags[tagWANJoinPort] != "" {
		t.Errorf("seen as %+v", m)
	}
}
