package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"
)

// TestStory is the whole road once: three servers and a client, a service
// found, a check that flips, a leader killed, everything restarted from disk.
func TestStory(t *testing.T) {
	c := newCluster(t)
	servers := c.servers(3)
	client := c.client("client")
	all := append(append([]*agent(nil), servers...), client)
	for _, a := range all {
		a.start()
	}
	waitMembers(t, all, 4)
	for _, a := range all {
		a.waitLeader()
	}

	register(t, client, "web", 0)
	for _, a := range all {
		waitInstances(t, a, "web", false, 1)
		waitInstances(t, a, "web", true, 0) // a TTL check starts critical
	}
	for _, a := range all {
		nodes, _, err := a.consul().Catalog().Nodes(nil)
		if err != nil || len(nodes) != 4 {
			t.Errorf("%s: nodes %v, %v", a.name, nodes, err)
		}
		services, _, err := a.consul().Catalog().Services(nil)
		if err != nil || len(services) != 2 || len(services["web"]) != 1 {
			t.Errorf("%s: services %v, %v", a.name, services, err)
		}
	}

	for _, a := range all {
		eventually(t, 10*time.Second, a.name+" tells how far each server is", func() error {
			cfg, err := a.consul().Operator().RaftGetConfiguration(nil)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(cfg.Servers, func(s *consul.RaftServer) bool { return s.LastIndex == 0 }) || len(cfg.Servers) != 3 {
				return fmt.Errorf("%+v", cfg)
			}
			return nil
		})
	}

	t.Run("a blocking query wakes when the check flips", func(t *testing.T) {
		for _, a := range all {
			flip(t, client, consul.HealthCritical)
			_, meta, err := a.consul().Health().Service("web", "", true, nil)
			if err != nil {
				t.Fatal(err)
			}
			type answer struct {
				entries []*consul.ServiceEntry
				err     error
			}
			woken := make(chan answer, 1)
			go func() {
				entries, _, err := a.consul().Health().Service("web", "", true,
					&consul.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: 30 * time.Second})
				woken <- answer{entries, err}
			}()
			flip(t, client, consul.HealthPassing)
			got := <-woken
			if got.err != nil || len(got.entries) != 1 {
				t.Errorf("through %s: woke with %d entries, %v; want the one that passes again", a.name, len(got.entries), got.err)
			}
		}
	})

	t.Run("the leader is killed and writing goes on", func(t *testing.T) {
		leader := leaderOf(servers, client)
		leader.kill()
		killed := time.Now()
		eventually(t, 5*time.Second, "a write after the leader's death", func() error {
			return tryRegister(client, "after-kill", 0)
		})
		// The agent answers from its own state; the catalog has to follow.
		waitInstances(t, client, "after-kill", false, 1)
		t.Logf("registered and readable through the client %v after SIGKILL", time.Since(killed).Round(time.Millisecond))
		for _, a := range all {
			if a != leader {
				waitInstances(t, a, "after-kill", false, 1)
			}
		}
		leader.start()
		waitInstances(t, leader, "after-kill", false, 1)
	})

	t.Run("everything restarts from disk", func(t *testing.T) {
		for _, a := range all {
			a.kill()
		}
		for _, a := range servers {
			a.start()
		}
		// Before the client is back: what was acknowledged is in the catalog.
		for _, a := range servers {
			waitInstances(t, a, "web", false, 1)
			waitInstances(t, a, "after-kill", false, 1)
		}
		client.start()
		eventually(t, 10*time.Second, "the client kept its services", func() error {
			own, err := client.consul().Agent().Services()
			if err == nil && len(own) != 2 {
				err = fmt.Errorf("%d services", len(own))
			}
			return err
		})
		// The TTL had not run out, so the check is as it was.
		waitInstances(t, client, "web", true, 1)
	})

	t.Run("deregistered everywhere", func(t *testing.T) {
		for _, id := range []string{"web-0", "after-kill-0"} {
			if err := client.consul().Agent().ServiceDeregister(id); err != nil {
				t.Fatal(err)
			}
		}
		for _, a := range all {
			waitInstances(t, a, "web", false, 0)
		}
	})

	t.Run("a client that leaves is gone from the catalog", func(t *testing.T) {
		if code := client.stop(syscall.SIGTERM); code != 0 {
			t.Errorf("exit code %d after SIGTERM", code)
		}
		eventually(t, 10*time.Second, "client gone from the catalog", func() error {
			node, _, err := servers[0].consul().Catalog().Node("client", nil)
			if err == nil && node != nil {
				err = errors.New("still there")
			}
			return err
		})
	})
}

func TestClientAgent_IsMarkedCriticalWhenItDies(t *testing.T) {
	c := newCluster(t)
	server := c.servers(1)[0].start()
	client := c.client("client").start()
	server.waitLeader()
	waitMembers(t, []*agent{server, client}, 2)
	register(t, client, "web", 0)
	flip(t, client, consul.HealthPassing)
	waitInstances(t, server, "web", true, 1)

	client.kill()
	died := time.Now()
	eventually(t, 30*time.Second, "out of the passing instances", func() error {
		entries, _, err := server.consul().Health().Service("web", "", true, nil)
		if err == nil && len(entries) != 0 {
			err = errors.New("still passing")
		}
		return err
	})
	t.Logf("a killed agent's service left the passing ones after %v", time.Since(died).Round(10*time.Millisecond))
	client.start()
	waitInstances(t, server, "web", true, 1)
}

func TestAgent_RefusesASecondOneOnItsDataDir(t *testing.T) {
	c := newCluster(t)
	first := c.servers(1)[0].start()
	first.waitLeader()
	second := c.add("second", "-server", "-bootstrap-expect=1", "-data-dir", first.dir).start()
	if code := second.waitExit(10 * time.Second); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if log := second.log.String(); !strings.Contains(log, first.dir) || !strings.Contains(log, "another") {
		t.Errorf("the error does not say that another agent uses %s:\n%s", first.dir, log)
	}
	if status, _, _ := first.get("/v1/status/leader"); status != http.StatusOK {
		t.Errorf("the first agent was disturbed: %d", status)
	}
}

func TestAgent_RefusesATakenNameOrID(t *testing.T) {
	const id = "11111111-2222-3333-4444-555555555555"
	c := newCluster(t)
	server := c.servers(1)[0].start()
	server.waitLeader()
	holder := c.client("holder", "-node-id", id).start()
	waitMembers(t, []*agent{server, holder}, 2)

	for what, args := range map[string][]string{
		"name": {"-node", "holder", "-retry-max", "2"},
		"ID":   {"-node-id", id, "-retry-max", "2"},
	} {
		other := c.client("other-"+what, args...).start()
		if code := other.waitExit(20 * time.Second); code != 1 {
			t.Errorf("an agent with a taken %s exits with %d, want 1", what, code)
		}
		if log := other.log.String(); !strings.Contains(log, "holder") {
			t.Errorf("the error does not name the holder of the %s:\n%s", what, log)
		}
	}
	waitMembers(t, []*agent{server, holder}, 2)
}

func TestServers_OneTooManyJoinsTheCluster(t *testing.T) {
	c := newCluster(t)
	servers := c.servers(3)
	servers = append(servers, c.add("server-4", "-server", "-bootstrap-expect=3",
		"-retry-join", c.subnet+"1", "-retry-interval", "200ms"))
	for _, s := range servers {
		s.start()
	}
	eventually(t, 30*time.Second, "four voters in one cluster", func() error {
		for _, s := range servers {
			cfg, err := s.consul().Operator().RaftGetConfiguration(nil)
			if err != nil {
				return err
			}
			voters := 0
			for _, server := range cfg.Servers {
				if server.Voter {
					voters++
				}
			}
			if voters != 4 {
				return fmt.Errorf("%s knows %d voters of %d servers", s.name, voters, len(cfg.Servers))
			}
		}
		return nil
	})
}

func TestServer_ThatLeavesIsNoVoterAnyMore(t *testing.T) {
	c := newCluster(t)
	servers := c.servers(3)
	for _, s := range servers {
		s.start()
	}
	waitMembers(t, servers, 3)
	leader := leaderOf(servers, servers[0])
	if out, code := leader.muster("leave"); code != 0 {
		t.Fatalf("muster leave: %d %s", code, out)
	}
	if code := leader.waitExit(15 * time.Second); code != 0 {
		t.Errorf("exit code %d after leave", code)
	}
	for _, s := range servers {
		if s == leader {
			continue
		}
		eventually(t, 10*time.Second, "two servers left", func() error {
			cfg, err := s.consul().Operator().RaftGetConfiguration(nil)
			if err == nil && len(cfg.Servers) != 2 {
				err = fmt.Errorf("%d servers", len(cfg.Servers))
			}
			return err
		})
	}
}

func TestDevAgent_AnswersWithinTwoSeconds(t *testing.T) {
	c := newCluster(t)
	a := c.add("dev")
	a.args = []string{"agent", "-dev", "-bind", a.addr, "-client", a.addr, "-node", "dev"}
	started := time.Now()
	a.start()
	eventually(t, 10*time.Second, "itself in the catalog", func() error {
		nodes, _, err := a.consul().Catalog().Nodes(nil)
		if err == nil && len(nodes) != 1 {
			err = fmt.Errorf("%d nodes", len(nodes))
		}
		return err
	})
	t.Logf("ready after %v", time.Since(started).Round(time.Millisecond))
	if status, h, body := a.get("/ui/"); status != http.StatusOK || !strings.HasPrefix(h.Get("Content-Type"), "text/html") || !strings.Contains(body, "Muster") {
		t.Errorf("/ui/: %d %s", status, h)
	}
	for _, path := range []string{"/metrics", "/v1/agent/metrics?format=prometheus"} {
		_, _, body := a.get(path)
		for _, metric := range []string{"muster_raft_term", "muster_raft_commit_index", "muster_gossip_members", "muster_catalog_nodes", "muster_http_request", "go_goroutines"} {
			if !strings.Contains(body, metric) {
				t.Errorf("%s has no %s", path, metric)
			}
		}
	}
	if code := a.stop(syscall.SIGINT); code != 0 {
		t.Errorf("exit code %d after SIGINT", code)
	}
}

func TestAgent_EncryptsGossip(t *testing.T) {
	c := newCluster(t)
	key, code := c.add("unused").muster("keygen")
	if code != 0 {
		t.Fatalf("keygen: %s", key)
	}
	key = strings.TrimSpace(key)
	server := c.servers(1, "-encrypt", key)[0]
	server.args = append(server.args, "-retry-join", server.addr)
	server.start().waitLeader()
	stranger := c.add("stranger", "-retry-join", server.addr, "-retry-max", "1", "-retry-interval", "100ms").start()
	if code := stranger.waitExit(20 * time.Second); code != 1 {
		t.Errorf("a member without the key exits with %d, want 1", code)
	}
	friend := c.add("friend", "-encrypt", key, "-retry-join", server.addr).start()
	waitMembers(t, []*agent{server, friend}, 2)
	if strings.Contains(server.log.String()+stranger.log.String()+friend.log.String(), key) {
		t.Error("the key is in a log")
	}
}

func TestReload_TakesNewServicesFromFiles(t *testing.T) {
	c := newCluster(t)
	a := c.servers(1)[0]
	conf := writeFile(t, "web.hcl", `service { name = "web" port = 80 }`)
	place := writeFile(t, "place.hcl", `locality { region = "eu" zone = "eu-7" }`)
	a.args = append(a.args, "-config-file", conf, "-config-file", place)
	a.start().waitLeader()
	waitInstances(t, a, "web", false, 1)
	overwrite(t, conf, `service { name = "api" port = 81 }`)
	if out, code := a.muster("reload"); code != 0 {
		t.Fatalf("muster reload: %s", out)
	}
	waitInstances(t, a, "api", false, 1)
	waitInstances(t, a, "web", false, 0)
	overwrite(t, conf, `service { name = "db" port = 82 }`)
	a.signal(syscall.SIGHUP)
	waitInstances(t, a, "db", false, 1)
	if status, _, body := a.get("/v1/catalog/nodes"); !strings.Contains(body, `"Locality":{"Region":"eu","Zone":"eu-7"}`) {
		t.Errorf("the catalog doesn't say where the node runs: %d %s", status, body)
	}
}

func TestWatches_OfFilesRunTheirHandlers(t *testing.T) {
	c := newCluster(t)
	c.servers(1)[0].start().waitLeader()
	dir := t.TempDir()
	watch := func(name, what string) string {
		return fmt.Sprintf("{ %s\nargs = [\"/bin/sh\", \"-c\", \"cat >> %s\"] },", what, filepath.Join(dir, name))
	}
	said := func(name, part string) {
		t.Helper()
		eventually(t, 20*time.Second, "the handler "+name+" is told", func() error {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err == nil && !strings.Contains(string(text), part) {
				err = fmt.Errorf("no %s in %s", part, text)
			}
			return err
		})
	}
	conf := writeFile(t, "watches.hcl", "watches = ["+watch("service", `type = "service" service = "web" passingonly = true`)+
		watch("event", `type = "event" name = "deploy"`)+watch("prefix", `type = "keyprefix" prefix = "conf/"`)+"]")
	a := c.client("client", "-config-file", conf).start()
	a.waitLeader()
	register(t, a, "web", 0)
	flip(t, a, consul.HealthPassing)
	said("service", `"Service":"web"`)
	for _, args := range [][]string{{"event", "-name", "deploy", "now"}, {"kv", "put", "conf/a", "1"}} {
		if out, code := a.muster(args...); code != 0 {
			t.Fatalf("%v: %s", args, out)
		}
	}
	said("event", `"Payload":"bm93"`)
	said("prefix", `"Key":"conf/a"`)

	overwrite(t, conf, "watches = ["+watch("nodes", `type = "nodes"`)+"]")
	if out, code := a.muster("reload"); code != 0 {
		t.Fatalf("muster reload: %s", out)
	}
	said("nodes", `"Node":"client"`)
	overwrite(t, conf, `watches = [{ type = "nodes" }]`)
	if out, code := a.muster("reload"); code == 0 || !strings.Contains(out, "Must define a watch handler") {
		t.Errorf("reload with a watch without a handler: %d %s", code, out)
	}
}

func TestBadInput_ChangesNothing(t *testing.T) {
	c := newCluster(t)
	a := c.servers(1)[0].start()
	a.waitLeader()
	waitInstances(t, a, "consul", false, 1)
	_, before, _ := a.get("/v1/catalog/services")
	for _, bad := range []struct {
		method, path, body string
		status             int
	}{
		{"PUT", "/v1/agent/service/register", `{"Name":`, 400},
		{"PUT", "/v1/agent/service/register", `{"Name":"x","Nonsense":1}`, 400},
		{"PUT", "/v1/agent/service/register", `{}`, 400},
		{"PUT", "/v1/catalog/register", `[]`, 400},
		{"PUT", "/v1/catalog/register", `{"Node":"` + strings.Repeat("n", 10_000) + `","Address":"192.0.2.1"}`, 400},
		{"PUT", "/v1/catalog/register", `{"Node":"` + strings.Repeat("n", 600_000) + `","Address":"192.0.2.1"}`, 413},
		{"POST", "/v1/catalog/nodes", ``, 405},
		{"GET", "/v1/catalog/nodes?index=minus", ``, 400},
		{"GET", "/v1/catalog/nodes?wait=never", ``, 400},
		{"GET", "/v1/catalog/nodes?stale&consistent", ``, 400},
		{"GET", "/v1/nothing/here", ``, 404},
	} {
		req, err := http.NewRequestWithContext(context.Background(), bad.method, "http://"+a.addr+":8500"+bad.path, strings.NewReader(bad.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Errorf("%s %s: %v", bad.method, bad.path, err)
			continue
		}
		resp.Body.Close()
		if resp.StatusCode != bad.status {
			t.Errorf("%s %s %.40s: status %d, want %d", bad.method, bad.path, bad.body, resp.StatusCode, bad.status)
		}
	}
	_, after, _ := a.get("/v1/catalog/services")
	if b, n := before.Get("X-Consul-Index"), after.Get("X-Consul-Index"); b != n {
		t.Errorf("the index moved from %s to %s", b, n)
	}
	if strings.Contains(a.log.String(), "panic") {
		t.Error("something panicked")
	}
}

func TestValidateAndVersion(t *testing.T) {
	c := newCluster(t)
	a := c.add("unused")
	good := writeFile(t, "good.json", `{"server": true, "bootstrap_expect": 3, "data_dir": "/tmp/x", "bind_addr": "127.0.0.1"}`)
	if out, code := a.muster("validate", good); code != 0 || !strings.Contains(out, "Configuration is valid!") {
		t.Errorf("validate a good file: %d %s", code, out)
	}
	bad := writeFile(t, "bad.hcl", "servr = true\nports { htp = 1 }\n")
	out, code := a.muster("validate", bad)
	if code != 1 || !strings.Contains(out, "servr") || !strings.Contains(out, "ports.htp") || !strings.Contains(out, bad) {
		t.Errorf("validate a bad file: %d %s", code, out)
	}
	out, code = a.muster("version", "-format=json")
	var v struct{ Version string }
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != 0 || !strings.HasPrefix(v.Version, "1.21.") {
		t.Errorf("version: %d %s %v", code, out, err)
	}
}

// register gives an agent the instance NAME-N with a TTL check.
func register(t testing.TB, a *agent, name string, n int) {
	t.Helper()
	if err := tryRegister(a, name, n); err != nil {
		t.Fatalf("register %s with %s: %v", name, a.name, err)
	}
}

func tryRegister(a *agent, name string, n int) error {
	return a.consul().Agent().ServiceRegister(&consul.AgentServiceRegistration{
		ID: fmt.Sprintf("%s-%d", name, n), Name: name, Port: 8000 + n, Tags: []string{"v1"},
		Check: &consul.AgentServiceCheck{TTL: "10m"},
	})
}

func flip(t testing.TB, a *agent, status string) {
	t.Helper()
	if err := a.consul().Agent().UpdateTTL("service:web-0", "told so", status); err != nil {
		t.Fatalf("set the check of web-0 to %s: %v", status, err)
	}
	eventually(t, 5*time.Second, "the catalog says "+status, func() error {
		checks, _, err := a.consul().Health().Checks("web", nil)
		if err == nil && (len(checks) != 1 || checks[0].Status != status) {
			err = fmt.Errorf("checks %v", checks)
		}
		return err
	})
}

func waitInstances(t testing.TB, a *agent, service string, passing bool, n int) {
	t.Helper()
	eventually(t, 15*time.Second, fmt.Sprintf("%d instances of %s (passing only: %v) at %s", n, service, passing, a.name), func() error {
		entries, _, err := a.consul().Health().Service(service, "", passing, nil)
		if err == nil && len(entries) != n {
			err = fmt.Errorf("%d instances", len(entries))
		}
		return err
	})
}

func waitMembers(t testing.TB, agents []*agent, n int) {
	t.Helper()
	for _, a := range agents {
		eventually(t, 15*time.Second, fmt.Sprintf("%d members alive at %s", n, a.name), func() error {
			members, err := a.consul().Agent().Members(false)
			alive := 0
			for _, m := range members {
				if m.Status == 1 {
					alive++
				}
			}
			if err == nil && alive != n {
				err = fmt.Errorf("%d alive", alive)
			}
			return err
		})
	}
}
