package gossip

import (
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

// The longest values that each tag can have must fit: an agent that can't say
// who it is can't start.
func TestTags_WorstCaseFits(t *testing.T) {
	c := DefaultConfig()
	c.NodeName, c.NodeID = strings.Repeat("n", maxNodeName), "00000000-0000-0000-0000-000000000000"
	c.Datacenter = strings.Repeat("d", 64)
	c.Role, c.ClusterPort, c.WANJoinPort, c.Expect, c.Bootstrap = Server, 65535, 65535, 65535, true
	c.Build = "100.100.100-alpha.100+build:0123456789abcdef0123456789abcdef01234567"
	c.Tags = map[string]string{"use_tls": "1", "read_replica": "1", "grpc_port": "65535", "grpc_tls_port": "65535", "ft_ap": "1", "ft_ns": "1"}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if n := len(encodeTags(c.tags())); n > memberlist.MetaMaxSize {
		t.Errorf("%d bytes of tags, %d fit", n, memberlist.MetaMaxSize)
	}
}

func TestTags_SurviveEncoding(t *testing.T) {
	c := testConfig("a", "id-a")
	got, err := decodeTags(encodeTags(c.tags()))
	if err != nil || fmt.Sprint(got) != fmt.Sprint(c.tags()) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestValidate_NamesEveryFault(t *testing.T) {
	c := Config{NodeName: "a/b", BindPort: 70000, BindAddr: "here", EncryptKey: "c2hvcnQ=", WAN: true, Expect: -1}
	err := c.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"node name", "node ID", "datacenter", "70000", `"here"`, "16, 24 or 32 bytes", "WAN", "-1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "c2hvcnQ=") {
		t.Error("the error shows the key")
	}
	for _, c := range []Config{DefaultConfig(), DefaultWANConfig()} {
		c.NodeName, c.NodeID, c.Datacenter, c.Role, c.ClusterPort = "a", "id", "dc1", Server, 8300
		if err := c.Validate(); err != nil {
			t.Errorf("defaults: %v", err)
		}
	}
}

func TestGuard_JudgesEveryMember(t *testing.T) {
	tags := func(change map[string]string) map[string]string {
		m := map[string]string{"role": "consul", "dc": "dc1", "id": "id-x", "port": "8300", "impl": "muster"}
		for k, v := range change {
			m[k] = v
		}
		return m
	}
	for _, c := range []struct {
		what, name, want string
		change           map[string]string
		wan              bool
	}{
		{"sound", "x", "", nil, false},
		{"sound on the WAN", "x.dc2", "", map[string]string{"dc": "dc2"}, true},
		{"another implementation", "x", "not a Muster agent", map[string]string{"impl": ""}, false},
		{"unknown role", "x", "role", map[string]string{"role": "king"}, false},
		{"no ID", "x", "no node ID", map[string]string{"id": ""}, false},
		{"no port", "x", "cluster port", map[string]string{"port": "many"}, false},
		{"port out of range", "x", "cluster port", map[string]string{"port": "65536"}, false},
		{"another datacenter", "x", "dc2", map[string]string{"dc": "dc2"}, false},
		{"client on the WAN", "x", "WAN", map[string]string{"role": "node"}, true},
		{"control characters", "x\n", "node name", nil, false},
		{"our name", "me", "its node name is that of this agent", nil, false},
		{"our ID", "x", "its node ID is that of this agent", map[string]string{"id": "id-me"}, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			g := newGuard(Config{NodeName: "me", NodeID: "id-me", Datacenter: "dc1", WAN: c.wan})
			n := &memberlist.Node{Name: c.name, Addr: net.IPv4(10, 0, 0, 1).To4(), Port: 8301, Meta: encodeTags(tags(c.change))}
			for call, err := range map[string]error{"alive": g.NotifyAlive(n), "merge": g.NotifyMerge([]*memberlist.Node{n})} {
				if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: got %v, want %q", call, err, c.want)
				}
			}
		})
	}
}

func FuzzGuard(f *testing.F) {
	c := testConfig("a", "id-a")
	f.Add("b", encodeTags(c.tags()))
	f.Add("", []byte{tagsMagic, 0xdf, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, name string, meta []byte) {
		if len(meta) > memberlist.MetaMaxSize {
			meta = meta[:memberlist.MetaMaxSize]
		}
		g := newGuard(c)
		n := &memberlist.Node{Name: name, Addr: net.IPv4(10, 0, 0, 1).To4(), Port: 8301, Meta: meta}
		if err := g.NotifyAlive(n); err == nil && (name == "" || name == "a") {
			t.Errorf("let in %q with %x", name, meta)
		}
	})
}

func TestLog_LevelsAreKeptAndFloodsCounted(t *testing.T) {
	var out strings.Builder
	bridge := newBridge(slog.New(slog.NewTextHandler(&out, nil)))
	bridge.Print("[DEBUG] serf: quiet")
	bridge.Print("[INFO] serf: attempting reconnect to quiet 10.0.0.1:8301")
	bridge.Print("[INFO] serf: EventMemberJoin: a 10.0.0.1")
	for port := range 100 {
		bridge.Printf("[ERR] memberlist: failed to receive from=10.0.0.9:%d", port)
	}
	got := out.String()
	if strings.Contains(got, "quiet") || !strings.Contains(got, `level=INFO msg="serf: EventMemberJoin: a 10.0.0.1"`) {
		t.Errorf("levels: %s", got)
	}
	if n := strings.Count(got, "level=ERROR"); n != logBudget {
		t.Errorf("%d of 100 like lines were logged", n)
	}
}

func TestLog_SkippedLinesAreReported(t *testing.T) {
	b := &logBridge{kinds: map[string]*logKind{}}
	now := time.Now()
	for range 3 * logBudget {
		b.allow("x 1", now)
	}
	if skipped, ok := b.allow("x 2", now.Add(logWindow+1)); !ok || skipped != 2*logBudget {
		t.Errorf("skipped %d, %v", skipped, ok)
	}
}
