package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"
)

// Two of three servers are lost for good. The third one is made a cluster of its
// own, has all that was acknowledged, and takes the wiped ones in. A server of
// the old cluster that comes back with its old disk is refused by name.
func TestRecover_ALostMajority(t *testing.T) {
	c := newCluster(t)
	servers := c.servers(3)
	for _, s := range servers {
		s.start()
	}
	waitMembers(t, servers, 3)
	survivor := servers[0]
	survivor.waitLeader()
	var want []string
	for i := range 30 {
		name := fmt.Sprintf("node-%d", i)
		eventually(t, 10*time.Second, "a write", func() error {
			if !servers[i%3].tryCatalogRegister(name) {
				return errors.New("refused")
			}
			return nil
		})
		want = append(want, name)
	}
	// What one server acknowledged is read from the survivor before it is killed,
	// so that it has all of it.
	if status, _, body := survivor.get("/v1/catalog/nodes?consistent"); status != http.StatusOK || !strings.Contains(body, `"node-29"`) {
		t.Fatalf("%d %s", status, body)
	}
	recovering := func(args ...string) (string, int) {
		return survivor.muster(append([]string{"operator", "raft", "recover"}, append(args, survivor.dir)...)...)
	}
	if out, code := recovering("-yes"); code != 2 || !strings.Contains(out, "stop it") {
		t.Errorf("while the agent runs: exit %d: %s", code, out)
	}
	survivor.kill()
	if out, code := recovering("-yes"); code != 1 || !strings.Contains(out, "majority") || !strings.Contains(out, servers[1].addr) || !strings.Contains(out, servers[2].addr) {
		t.Errorf("while the others are alive: exit %d: %s", code, out)
	}
	old := c.add("server-old", "-server", "-retry-join", survivor.addr, "-retry-interval", "200ms")
	for _, s := range servers[1:] {
		s.kill()
	}
	if err := os.CopyFS(old.dir, os.DirFS(servers[2].dir)); err != nil {
		t.Fatal(err)
	}
	for _, s := range servers[1:] {
		if err := os.RemoveAll(s.dir); err != nil {
			t.Fatal(err)
		}
	}
	if out, code := recovering(); code != 0 || !strings.Contains(out, "Nothing was changed") || !strings.Contains(out, "nothing listens there") {
		t.Fatalf("dry run: exit %d: %s", code, out)
	}
	if out, code := recovering("-yes"); code != 0 || !strings.Contains(out, "Start this server") {
		t.Fatalf("exit %d: %s", code, out)
	}

	survivor.start().waitLeader()
	_, _, body := survivor.get("/v1/catalog/nodes")
	for _, name := range want {
		if !strings.Contains(body, `"`+name+`"`) {
			t.Errorf("%s is lost", name)
		}
	}
	for _, s := range servers[1:] {
		s.start()
	}
	waitForVoters(t, survivor, 3)

	term := raftTerm(t, survivor)
	old.start()
	for _, a := range []*agent{old, survivor} {
		eventually(t, 15*time.Second, a.name+" says why they don't talk", func() error {
			if log := a.log.String(); !strings.Contains(log, "another cluster") || !strings.Contains(log, "remove its data-dir") {
				return errors.New("it says nothing")
			}
			return nil
		})
	}
	for i, s := range servers {
		if !s.tryCatalogRegister(fmt.Sprintf("after-%d", i)) {
			t.Errorf("%s takes no writes", s.name)
		}
	}
	if now := raftTerm(t, survivor); now != term {
		t.Errorf("the term went from %s to %s", term, now)
	}
	waitForVoters(t, survivor, 3)
}

// waitForVoters waits until a configuration has exactly n voters.
func waitForVoters(t *testing.T, a *agent, n int) {
	t.Helper()
	eventually(t, 30*time.Second, fmt.Sprintf("%d voters", n), func() error {
		cfg, err := a.consul().Operator().RaftGetConfiguration(nil)
		if err != nil {
			return err
		}
		voters := 0
		for _, s := range cfg.Servers {
			if s.Voter {
				voters++
			}
		}
		if voters != n {
			return fmt.Errorf("%d voters among %d servers", voters, len(cfg.Servers))
		}
		return nil
	})
}

// A lone server whose log has lost its end says why nothing is led, wherever one
// may ask, and what to do; and that works.
func TestRecover_ALoneServerWithoutAVote(t *testing.T) {
	c := newCluster(t)
	patience := writeFile(t, "patience.hcl", "performance { rpc_hold_timeout = \"300ms\" }\n")
	server, client := c.servers(1, "-config-file", patience)[0], c.client("client", "-config-file", patience)
	agents := []*agent{server.start(), client.start()}
	waitMembers(t, agents, 2)
	server.waitLeader()
	if !server.tryCatalogRegister("kept") {
		t.Fatal("a write was refused")
	}
	server.kill()
	segments, err := filepath.Glob(filepath.Join(server.dir, "raft", "*.wal"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("segments %v: %v", segments, err)
	}
	if err := os.Truncate(segments[len(segments)-1], 64<<10); err != nil {
		t.Fatal(err)
	}
	server.start()
	waitMembers(t, agents, 2)
	told := func(what, text string) {
		t.Helper()
		for _, part := range []string{"server-1 has lost its end", "muster operator raft recover -yes " + server.dir} {
			if !strings.Contains(text, part) {
				t.Errorf("%s does not say %q: %s", what, part, text)
			}
		}
	}
	told("the log", server.log.String())
	for _, a := range agents {
		for _, path := range []string{"/v1/catalog/nodes", "/v1/catalog/nodes?consistent", "/v1/operator/autopilot/health"} {
			status, _, body := a.get(path)
			if told(path+" of "+a.name, body); status != http.StatusInternalServerError {
				t.Errorf("%s of %s: %d", path, a.name, status)
			}
		}
		_, err := a.consul().KV().Put(&consul.KVPair{Key: "k"}, nil)
		told("a write by "+a.name, fmt.Sprint(err))
	}
	_, _, self := server.get("/v1/agent/self")
	told("/v1/agent/self", self)
	out, code := server.muster("operator", "raft", "safe-to-stop")
	if told("safe-to-stop", out); code == 0 {
		t.Error("safe-to-stop says that it is")
	}

	server.kill()
	if out, code := server.muster("operator", "raft", "recover", "-yes", server.dir); code != 0 {
		t.Fatalf("exit %d: %s", code, out)
	}
	server.start().waitLeader()
	if _, _, body := server.get("/v1/catalog/nodes"); !strings.Contains(body, `"kept"`) {
		t.Errorf("what was whole is lost: %s", body)
	}
	if !server.tryCatalogRegister("new") {
		t.Error("it takes no writes")
	}
}

// A file by which Consul recovers is neither obeyed nor passed over in silence.
func TestRecover_PeersFileIsRefused(t *testing.T) {
	c := newCluster(t)
	s := c.servers(1)[0].start()
	s.waitLeader()
	s.kill()
	path := s.dir + "/raft/peers.json"
	overwrite(t, path, `[]`)
	s.start()
	if code := s.waitExit(15 * time.Second); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if log := s.log.String(); !strings.Contains(log, path) || !strings.Contains(log, "muster operator raft recover") {
		t.Errorf("the log does not say what to do:\n%s", log)
	}
}
