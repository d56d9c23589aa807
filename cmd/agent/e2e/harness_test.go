package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"
)

// binary is the muster that TestMain built for all tests of this package.
var binary string

func TestMain(m *testing.M) {
	if addr := os.Getenv(bareVariable); addr != "" {
		os.Exit(runBare(addr))
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	if runtime.GOOS != "linux" {
		fmt.Fprintln(os.Stderr, "SKIPPED: the end-to-end tests need Linux, where all of 127.0.0.0/8 is local")
		return 0
	}
	dir, err := os.MkdirTemp("", "muster-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "muster")
	args := []string{"build", "-o", binary}
	if raceEnabled {
		args = append(args, "-race")
		// A program built so waits for a second before it ends, by default, for what
		// its other threads may still find.
		if err := os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=50")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	build := exec.Command("go", append(args, "muster/cmd/agent")...)
	build.Stdout, build.Stderr = os.Stdout, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building muster:", err)
		return 1
	}
	return m.Run()
}

// cluster is a set of agents on one private piece of the loopback network.
type cluster struct {
	t      testing.TB
	subnet string
	netns  string // prefix of its namespaces; "" on loopback
	agents []*agent
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	c := &cluster{t: t, subnet: fmt.Sprintf("127.%d.%d.", 10+rand.IntN(200), rand.IntN(250))}
	t.Cleanup(func() {
		for _, a := range c.agents {
			a.stopForCleanup()
		}
		if t.Failed() {
			for _, a := range c.agents {
				t.Logf("log of %s:\n%s", a.name, a.log.tail(16<<10))
			}
		}
	})
	return c
}

// agent is one muster process and what is needed to start it again.
type agent struct {
	t    testing.TB
	name string
	addr string // its loopback address
	dir  string
	args []string
	wrap []string // runs the binary, as `ip netns exec …` does; usually empty

	ns, bridge, nic string    // its network namespace, if it has one, what that is joined to, and by what
	slow            *slowLink // in place of nic, if what it sends and hears can be delayed

	isClient bool // it holds no catalog
	frozen   bool // its disk hangs
	log      logBuffer

	clientOnce sync.Once
	client     *consul.Client

	cmd    *exec.Cmd
	exited chan struct{}
	err    error // of the exited process; read after exited is closed
}

// add lays out an agent without starting it. More arguments follow the ones
// that every agent has.
func (c *cluster) add(name string, args ...string) *agent {
	c.t.Helper()
	a := &agent{
		t:    c.t,
		name: name,
		addr: fmt.Sprintf("%s%d", c.subnet, len(c.agents)+1),
		dir:  filepath.Join(c.t.TempDir(), name),
	}
	a.args = append([]string{
		"agent", "-node", name, "-bind", a.addr, "-client", a.addr,
		"-data-dir", a.dir, "-log-level", "debug",
	}, args...)
	c.agents = append(c.agents, a)
	if c.netns != "" {
		c.addNamespace(a)
	}
	return a
}

// servers lays out n servers that expect each other.
func (c *cluster) servers(n int, args ...string) []*agent {
	c.t.Helper()
	base := []string{"-server", fmt.Sprintf("-bootstrap-expect=%d", n), "-retry-interval", "200ms"}
	for i := range n {
		base = append(base, "-retry-join", fmt.Sprintf("%s%d", c.subnet, len(c.agents)+i+1))
	}
	var out []*agent
	for i := range n {
		out = append(out, c.add(fmt.Sprintf("server-%d", i+1), slices.Concat(base, args)...))
	}
	return out
}

// client lays out a client agent that joins by the first agent.
func (c *cluster) client(name string, args ...string) *agent {
	c.t.Helper()
	a := c.add(name, append([]string{"-retry-join", c.subnet + "1", "-retry-interval", "200ms"}, args...)...)
	a.isClient = true
	return a
}

// start runs the agent; it may have run before.
func (a *agent) start() *agent {
	a.t.Helper()
	argv := append(append(append([]string(nil), a.wrap...), binary), a.args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &a.log, &a.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		a.t.Fatalf("start %s: %v", a.name, err)
	}
	exited := make(chan struct{})
	a.cmd, a.exited = cmd, exited
	go func() {
		a.err = cmd.Wait()
		close(exited)
	}()
	return a
}

// kill ends the process as a power cut would end it.
func (a *agent) kill() {
	a.t.Helper()
	a.signal(syscall.SIGKILL)
	<-a.exited
}

func (a *agent) signal(s syscall.Signal) {
	a.t.Helper()
	if err := a.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		a.t.Fatalf("signal %s to %s: %v", s, a.name, err)
	}
}

// stop sends a signal and waits for the end; it gives the exit code.
func (a *agent) stop(s syscall.Signal) int {
	a.t.Helper()
	a.signal(s)
	return a.waitExit(15 * time.Second)
}

func (a *agent) waitExit(limit time.Duration) int {
	a.t.Helper()
	select {
	case <-a.exited:
		return a.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		a.t.Fatalf("%s still runs after %v", a.name, limit)
		return -1
	}
}

func (a *agent) stopForCleanup() {
	if a.cmd == nil {
		return
	}
	_ = a.cmd.Process.Kill()
	<-a.exited
}

// consul gives the official client, pointed at this agent.
func (a *agent) consul() *consul.Client {
	a.t.Helper()
	a.clientOnce.Do(func() { // one client, for its connections: an agent bounds them
		client, err := consul.NewClient(&consul.Config{Address: a.addr + ":8500"})
		if err != nil {
			a.t.Fatal(err)
		}
		a.client = client
	})
	return a.client
}

// get reads a path with plain HTTP.
func (a *agent) get(path string, header ...string) (status int, h http.Header, body string) {
	a.t.Helper()
	status, h, body, err := a.tryGet(path, header...)
	if err != nil {
		a.t.Fatalf("GET %s from %s: %v", path, a.name, err)
	}
	return status, h, body
}

func (a *agent) tryGet(path string, header ...string) (int, http.Header, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.addr+":8500"+path, nil)
	if err != nil {
		return 0, nil, "", err
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(body), err
}

// muster runs a command of the CLI against this agent.
func (a *agent) muster(args ...string) (out string, code int) {
	a.t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), "CONSUL_HTTP_ADDR="+a.addr+":8500")
	b, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		a.t.Fatalf("muster %v: %v", args, err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// waitLeader waits until this agent sees a leader and gives its raft address.
func (a *agent) waitLeader() string {
	a.t.Helper()
	var leader string
	eventually(a.t, 15*time.Second, a.name+" sees a leader", func() error {
		l, err := a.consul().Status().Leader()
		if err == nil && l == "" {
			err = errors.New("no leader")
		}
		leader = l
		return err
	})
	return leader
}

// leaderOf gives the server that the agents agree is the leader.
func leaderOf(servers []*agent, via *agent) *agent {
	via.t.Helper()
	leader := via.waitLeader()
	for _, s := range servers {
		if leader == s.addr+":8300" {
			return s
		}
	}
	via.t.Fatalf("the leader %q is none of the servers", leader)
	return nil
}

// eventually tries until there is no error; it fails the test after limit.
func eventually(t testing.TB, limit time.Duration, what string, try func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
		<-tick.C
	}
}

// logBuffer keeps what a process printed.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logBuffer) tail(n int) string {
	s := l.String()
	if len(s) > n {
		s = "…" + s[len(s)-n:]
	}
	return s
}

func writeFile(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	overwrite(t, path, content)
	return path
}

func overwrite(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
