package clients

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"
)

// binary is the muster that TestMain built.
var binary string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	if runtime.GOOS != "linux" {
		fmt.Fprintln(os.Stderr, "SKIPPED: these tests need Linux, where all of 127.0.0.0/8 is local")
		return 0
	}
	dir, err := os.MkdirTemp("", "muster-clients-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "muster")
	build := exec.Command("go", "build", "-o", binary, "./cmd/agent")
	build.Dir = filepath.Join("..", "..", "..", "..")
	build.Stdout, build.Stderr = os.Stdout, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building muster:", err)
		return 1
	}
	return m.Run()
}

// agents are a server and a client agent that has joined it.
type agents struct{ server, client *consul.Client }

// both names them for subtests.
func (a agents) both() map[string]*consul.Client {
	return map[string]*consul.Client{"server": a.server, "client agent": a.client}
}

func startAgents(t *testing.T) agents {
	t.Helper()
	subnet := fmt.Sprintf("127.%d.%d.", 10+rand.IntN(200), rand.IntN(250))
	server := startAgent(t, "server", subnet+"1", "-server", "-bootstrap-expect=1")
	client := startAgent(t, "client", subnet+"2", "-retry-join", subnet+"1", "-retry-interval=200ms")
	for _, c := range []*consul.Client{server, client} {
		eventually(t, "the agent answers", func() error {
			nodes, _, err := c.Catalog().Nodes(nil)
			if err == nil && len(nodes) != 2 {
				err = fmt.Errorf("%d nodes", len(nodes))
			}
			return err
		})
	}
	return agents{server, client}
}

func startAgent(t *testing.T, name, addr string, args ...string) *consul.Client {
	t.Helper()
	var log lines
	cmd := exec.Command(binary, append([]string{
		"agent", "-node", name, "-bind", addr, "-client", addr, "-data-dir", filepath.Join(t.TempDir(), name),
	}, args...)...)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // how it ends is for other tests
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, log.String())
		}
	})
	c, err := consul.NewClient(&consul.Config{Address: addr + ":8500"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// lines keeps what a process printed.
type lines struct {
	mu   sync.Mutex
	text []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	return len(p), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

const patience = 20 * time.Second

// eventually tries until there is no error.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
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

// register registers a service with a passing TTL check at an agent.
func register(t *testing.T, c *consul.Client, id, name string, port int, tags ...string) {
	t.Helper()
	err := c.Agent().ServiceRegister(&consul.AgentServiceRegistration{
		ID: id, Name: name, Port: port, Tags: tags, Meta: map[string]string{"team": "a"}, Address: "192.0.2.1",
		Check: &consul.AgentServiceCheck{CheckID: id, TTL: "10m", Status: consul.HealthPassing},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func setHealth(t *testing.T, c *consul.Client, id, status string) {
	t.Helper()
	if err := c.Agent().UpdateTTL(id, "as the test says", status); err != nil {
		t.Fatal(err)
	}
}
