package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"
)

// newNetwork gives a cluster whose agents live in network namespaces of their
// own, joined by a bridge, so that cuts between them are real. It skips,
// loudly, where the test may not make namespaces.
func newNetwork(t testing.TB) *cluster {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: partitions need network namespaces, and so root")
	}
	needCommands(t, "ip")
	removeAbandonedNetworks(t)
	c := newCluster(t)
	c.netns = fmt.Sprintf("mu%04x", rand.IntN(1<<16))
	c.subnet = fmt.Sprintf("10.213.%d.", rand.IntN(250))
	ip(t, "link", "add", c.netns, "type", "bridge")
	t.Cleanup(func() { ip(t, "link", "del", c.netns) })
	ip(t, "link", "set", c.netns, "alias", fmt.Sprint(networkAlias, os.Getpid()))
	ip(t, "addr", "add", c.subnet+"254/24", "dev", c.netns)
	ip(t, "link", "set", c.netns, "up")
	return c
}

// networkAlias, followed by the ID of the process that made it, marks the bridge
// of a test's network.
const networkAlias = "network of muster's test process "

// removeAbandonedNetworks takes away what tests left behind that were killed:
// their addresses would be the machine's for good.
func removeAbandonedNetworks(t testing.TB) {
	t.Helper()
	aliases, err := filepath.Glob("/sys/class/net/mu*/ifalias")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range aliases {
		alias, _ := os.ReadFile(path)
		pid, ours := strings.CutPrefix(strings.TrimSpace(string(alias)), networkAlias)
		if _, err := os.Stat("/proc/" + pid); !ours || err == nil {
			continue
		}
		bridge := filepath.Base(filepath.Dir(path))
		namespaces, _ := filepath.Glob("/run/netns/" + bridge + "n*")
		for _, ns := range namespaces {
			// Not the test's failure: another one may be at it too.
			_ = exec.Command("ip", "netns", "del", filepath.Base(ns)).Run()
		}
		_ = exec.Command("ip", "link", "del", bridge).Run()
	}
}

// addNamespace puts a into a namespace of its own.
func (c *cluster) addNamespace(a *agent) {
	c.t.Helper()
	n := len(c.agents)
	ns, outside, inside := fmt.Sprintf("%sn%d", c.netns, n), fmt.Sprintf("%so%d", c.netns, n), fmt.Sprintf("%si%d", c.netns, n)
	ip(c.t, "netns", "add", ns)
	c.t.Cleanup(func() {
		a.stopForCleanup()
		ip(c.t, "netns", "del", ns)
	})
	ip(c.t, "link", "add", outside, "type", "veth", "peer", "name", inside)
	ip(c.t, "link", "set", outside, "master", c.netns, "up")
	ip(c.t, "link", "set", inside, "netns", ns)
	ip(c.t, "-n", ns, "addr", "add", a.addr+"/24", "dev", inside)
	ip(c.t, "-n", ns, "link", "set", inside, "up")
	ip(c.t, "-n", ns, "link", "set", "lo", "up")
	a.ns, a.bridge, a.nic = ns, c.netns, inside
	a.wrap = []string{"ip", "netns", "exec", ns}
}

// The seed's own scenario (S25 to S29): the leader is cut off from the other
// two; both sides are told to write the same node; what the majority committed
// wins, the old leader's client never heard of a success, and after healing
// all three hold the same.
func TestPartition_MajorityWinsAndTheOldLeaderRollsBack(t *testing.T) {
	c := newNetwork(t)
	servers := c.servers(3)
	for _, s := range servers {
		s.start()
	}
	waitMembers(t, servers, 3)
	for _, s := range servers {
		s.waitLeader()
	}
	old := leaderOf(servers, servers[0])
	var rest []*agent
	for _, s := range servers {
		if s != old {
			rest = append(rest, s)
		}
	}
	age := func(a *agent, meta string) error {
		_, err := a.consul().Catalog().Register(&consul.CatalogRegistration{
			Node: "age", Address: "192.0.2.1", NodeMeta: map[string]string{"age": meta},
		}, nil)
		return err
	}
	if err := age(old, "16"); err != nil {
		t.Fatal(err)
	}

	part([]*agent{old}, rest)
	minority := make(chan error, 1)
	go func() { minority <- age(old, "18") }()
	var moved time.Time
	cutAt := time.Now()
	eventually(t, 10*time.Second, "the majority writes", func() error {
		err := age(rest[0], "30")
		moved = time.Now()
		return err
	})
	t.Logf("the majority took its first write %v after the cut", moved.Sub(cutAt).Round(time.Millisecond))
	if err := <-minority; err == nil {
		t.Error("the cut-off leader acknowledged a write")
	} else if !strings.Contains(err.Error(), "response code: 5") {
		t.Errorf("the cut-off leader answers %v, want a 5xx", err)
	}
	if status, _, body := old.get("/v1/catalog/node/age?consistent"); status != http.StatusInternalServerError {
		t.Errorf("a consistent read of the cut-off leader: %d %s", status, body)
	}
	if status, _, body := old.get("/v1/catalog/node/age?stale"); status != http.StatusOK || !strings.Contains(body, `"16"`) {
		t.Errorf("a stale read of the cut-off leader: %d %s", status, body)
	}

	rejoin([]*agent{old}, rest)
	for _, s := range servers {
		eventually(t, 15*time.Second, s.name+" holds what the majority committed", func() error {
			status, _, body, err := s.tryGet("/v1/catalog/node/age")
			if err == nil && (status != http.StatusOK || !strings.Contains(body, `"age":"30"`)) {
				err = fmt.Errorf("%d %s", status, body)
			}
			return err
		})
	}
}

// A follower that hears nobody comes back without unseating the leader.
func TestPartition_ACutOffFollowerDoesNotDisturb(t *testing.T) {
	c := newNetwork(t)
	servers := c.servers(3)
	for _, s := range servers {
		s.start()
	}
	waitMembers(t, servers, 3)
	leader := leaderOf(servers, servers[0])
	var follower *agent
	for _, s := range servers {
		s.waitLeader()
		if s != leader {
			follower = s
		}
	}
	term := raftTerm(t, leader)
	for _, s := range servers {
		if s != follower {
			follower.cut(s)
			s.cut(follower)
		}
	}
	eventually(t, 10*time.Second, "the follower knows no leader", func() error {
		l, err := follower.consul().Status().Leader()
		if err == nil && l != "" {
			err = fmt.Errorf("leader %s", l)
		}
		return err
	})
	for _, s := range servers {
		if s != follower {
			follower.heal(s)
			s.heal(follower)
		}
	}
	follower.waitLeader()
	if now := raftTerm(t, leader); now != term {
		t.Errorf("the term went from %s to %s", term, now)
	}
}

func raftTerm(t testing.TB, a *agent) string {
	t.Helper()
	self, err := a.consul().Agent().Self()
	if err != nil {
		t.Fatal(err)
	}
	raft, _ := self["Stats"]["raft"].(map[string]any)
	term, _ := raft["term"].(string)
	if term == "" {
		t.Fatalf("%s tells no raft term: %v", a.name, self["Stats"])
	}
	return term
}
