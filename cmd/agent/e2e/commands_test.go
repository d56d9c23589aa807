package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// command is a command of the line that runs beside the test.
type command struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Reader // of its output and errors
}

func (a *agent) begin(t *testing.T, args ...string) *command {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	c := &command{t: t, cmd: exec.CommandContext(ctx, binary, args...)}
	c.cmd.Env = append(os.Environ(), "CONSUL_HTTP_ADDR=http://"+a.addr+":8500", "SHELL=/bin/sh")
	in, inErr := c.cmd.StdinPipe()
	out, outErr := c.cmd.StdoutPipe()
	c.cmd.Stderr = c.cmd.Stdout
	if err := errors.Join(inErr, outErr, c.cmd.Start()); err != nil {
		t.Fatal(err)
	}
	c.in, c.lines = in, bufio.NewReader(out)
	return c
}

// says wants a line that holds a text, after any others.
func (c *command) says(want string) {
	c.t.Helper()
	var before []string
	for {
		line, err := c.lines.ReadString('\n')
		switch {
		case strings.Contains(line, want):
			return
		case err != nil:
			c.t.Fatalf("%q says %q, never %q: %v", c.cmd.Args[1:], before, want, err)
		}
		before = append(before, line)
	}
}

// ends wants it to end with a code.
func (c *command) ends(code int) {
	c.t.Helper()
	rest, _ := io.ReadAll(c.lines)
	_ = c.cmd.Wait()
	if got := c.cmd.ProcessState.ExitCode(); got != code {
		c.t.Errorf("%q ends with %d, not %d: %s", c.cmd.Args[1:], got, code, rest)
	}
}

// The commands that stay: one that holds a lock, one that watches, one that reads
// the log, one that records.
func TestCommands_ThatStay(t *testing.T) {
	server := newCluster(t).servers(1, "-hcl", "enable_debug = true")[0].start()
	server.waitLeader()
	hold := func(args ...string) *command {
		c := server.begin(t, append([]string{"lock", "-verbose", "-pass-stdin"}, append(args, "jobs/one", "echo held: $CONSUL_LOCK_HELD; exec cat")...)...)
		c.says("held: true")
		return c
	}

	t.Run("lock", func(t *testing.T) {
		first := hold()
		if out, code := server.muster("lock", "-timeout=100ms", "jobs/one", "echo mine too"); code != 1 || !strings.Contains(out, "timeout during lock acquisition") || strings.Contains(out, "mine") {
			t.Errorf("a second holder: code %d, %s", code, out)
		}
		second := server.begin(t, "lock", "jobs/one", "echo my turn")
		if err := first.in.Close(); err != nil {
			t.Fatal(err)
		}
		first.says("releasing lock")
		first.ends(0)
		second.says("my turn")
		second.ends(0)
		if keys, _, err := server.consul().KV().Keys("jobs", "", nil); err != nil || len(keys) > 0 {
			t.Errorf("left behind: %q, %v", keys, err)
		}
	})
	t.Run("lock lost", func(t *testing.T) {
		holder := hold("-child-exit-code")
		sessions, _, err := server.consul().Session().List(nil)
		for _, s := range sessions { // those of holders of before may linger
			_, destroyErr := server.consul().Session().Destroy(s.ID, nil)
			err = errors.Join(err, destroyErr)
		}
		if err != nil {
			t.Fatal(err)
		}
		holder.says("Lock lost, killing child")
		holder.ends(2)
	})
	t.Run("lock interrupted", func(t *testing.T) {
		holder := server.begin(t, "lock", "-n=2", "-verbose", "-pass-stdin", "jobs/two", "echo held; exec cat")
		holder.says("held")
		if err := holder.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		holder.says("Shutdown triggered, killing child")
		holder.says("Cleanup succeeded")
		holder.ends(0)
	})
	t.Run("lock setup", func(t *testing.T) {
		for args, want := range map[string]string{
			"jobs":                             "Key prefix and child command must be specified",
			"-n=0 jobs true":                   "Lock holder limit must be positive",
			"-timeout=-1s jobs true":           "Timeout must be positive",
			"-monitor-retry=-1 jobs true":      "must be >= 0",
			"-http-addr=127.0.0.1:1 jobs true": "Lock acquisition failed: failed to create session",
		} {
			if out, code := server.muster(append([]string{"lock"}, strings.Fields(args)...)...); code != 1 || !strings.Contains(out, want) {
				t.Errorf("lock %s: code %d, %s", args, code, out)
			}
		}
		if out, code := server.muster("lock", "-child-exit-code", "-shell=false", "jobs/three", "/nonexistent"); code != 2 || !strings.Contains(out, "Error starting handler: fork/exec /nonexistent") {
			t.Errorf("no such command: code %d, %s", code, out)
		}
	})
	t.Run("watch", func(t *testing.T) {
		put := func(value string) {
			t.Helper()
			if out, code := server.muster("kv", "put", "watched", value); code != 0 {
				t.Fatalf("code %d, %s", code, out)
			}
		}
		put("1")
		w := server.begin(t, "watch", "-type=key", "-key=watched", "cat; echo at $CONSUL_INDEX.")
		w.says(`"Value":"MQ=="`)
		w.says("at ")
		put("2")
		w.says(`"Value":"Mg=="`)
		if err := w.cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		w.ends(0)
		for _, tc := range []struct {
			args, want string
			code       int
		}{
			{"-type=key -key=watched", "\"Key\": \"watched\",\n    \"CreateIndex\"", 0},
			{"-type=keyprefix -prefix=watch", "\n        \"Key\": \"watched\"", 0},
			{"-type=services", "{\n    \"consul\": []\n}\n", 0},
			{"-type=nodes", `"Node": "` + server.name + `"`, 0},
			{"-type=service -service=consul -passingonly=true -tag=none", "[]\n", 0},
			{"-type=checks -state=passing -stale", `"CheckID": "serfHealth"`, 0},
			{"-type=event -name=none", "[]\n", 0},
			{"-type=key -key=watched -shell=false /bin/false", "Error executing handler: exit status 1", 1},
			{"-type=key -key=watched -http-addr=127.0.0.1:1", "Error querying Consul agent: ", 1},
			{"-type=service -service=web -passingonly=x", "Failed to parse passingonly flag", 1},
			{"-type=key", "Must specify a single key to watch", 1},
			{"-type=none", "Unsupported watch type: none", 1},
			{"", "Watch type must be specified\n\nUsage: muster watch [options] [child...]", 1},
		} {
			if out, code := server.muster(append([]string{"watch"}, strings.Fields(tc.args)...)...); code != tc.code || !strings.Contains(out, tc.want) {
				t.Errorf("watch %s: code %d, %s\nwant %d, %s", tc.args, code, out, tc.code, tc.want)
			}
		}
	})
	t.Run("monitor", func(t *testing.T) {
		m := server.begin(t, "monitor", "-log-level=debug")
		heard := make(chan error, 1)
		go func() {
			for {
				line, err := m.lines.ReadString('\n')
				if err != nil || strings.Contains(line, "service heard") {
					heard <- err
					return
				}
			}
		}()
		n := 0
		eventually(t, 20*time.Second, "the monitor shows what is logged", func() error {
			n++ // it may not be there yet when this is logged
			server.set("/v1/agent/service/register", fmt.Appendf(nil, `{"Name":"heard","Port":%d}`, n))
			select {
			case err := <-heard:
				return err
			default:
				return errors.New("nothing heard")
			}
		})
		if err := m.cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		m.ends(0)
		if out, code := server.muster("monitor", "-log-level=none"); code != 1 || !strings.Contains(out, "Error starting monitor: Unexpected response code: 400") {
			t.Errorf("code %d, %s", code, out)
		}
	})
	t.Run("debug", func(t *testing.T) {
		recording := filepath.Join(t.TempDir(), "rec")
		d := server.begin(t, "debug", "-output="+recording)
		d.says("Capture successful")
		eventually(t, 20*time.Second, "metrics and log are recorded", func() error {
			_, logErr := os.Stat(filepath.Join(recording, "consul.log"))
			_, metricsErr := os.Stat(filepath.Join(recording, "metrics.json"))
			return errors.Join(logErr, metricsErr)
		})
		if err := d.cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		d.says("Saved debug archive: " + recording + ".tar.gz")
		d.says("stopping collection due to shutdown signal")
		d.ends(1)
		list, err := exec.Command("tar", "-tzf", recording+".tar.gz").Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"agent.json", "host.json", "index.json", "listpeers.json", "members.json", "metrics.json", "consul.log", "Z/heap.prof", "Z/goroutine.prof"} {
			if !strings.Contains(string(list), name+"\n") {
				t.Errorf("%s is missing: %s", name, list)
			}
		}
	})
}
