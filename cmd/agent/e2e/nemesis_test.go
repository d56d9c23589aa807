package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The faults that a test does to its agents from outside. Each comes with its
// undoing, which is also done when the test ends.

// needCommands skips, loudly, where one of the programs is missing.
func needCommands(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("SKIPPED: this needs the command %s (see .ci/run for its package)", name)
		}
	}
}

// run runs a program that has to succeed.
func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// ip runs ip(8).
func ip(t testing.TB, args ...string) {
	t.Helper()
	run(t, "ip", args...)
}

// cut stops what a sends to each of the others, as a one-way fault.
func (a *agent) cut(others ...*agent) {
	a.t.Helper()
	for _, o := range others {
		ip(a.t, "-n", a.ns, "route", "add", "blackhole", o.addr+"/32")
	}
}

// heal takes a cut back.
func (a *agent) heal(others ...*agent) {
	a.t.Helper()
	for _, o := range others {
		ip(a.t, "-n", a.ns, "route", "del", "blackhole", o.addr+"/32")
	}
}

// part cuts both ways between two sides, and rejoin heals it.
func part(side, other []*agent) {
	for _, a := range side {
		a.cut(other...)
	}
	for _, a := range other {
		a.cut(side...)
	}
}

func rejoin(side, other []*agent) {
	for _, a := range side {
		a.heal(other...)
	}
	for _, a := range other {
		a.heal(side...)
	}
}

// cutClients stops what a sends to the test, and so to its clients.
func (c *cluster) cutClients(a *agent) {
	a.t.Helper()
	ip(a.t, "-n", a.ns, "route", "add", "blackhole", c.subnet+"254/32")
}

func (c *cluster) healClients(a *agent) {
	a.t.Helper()
	ip(a.t, "-n", a.ns, "route", "del", "blackhole", c.subnet+"254/32")
}

// lose drops a share of the packets that reach a; 0 ends it.
func (a *agent) lose(percent int) {
	a.t.Helper()
	in := func(args ...string) { run(a.t, "ip", append([]string{"netns", "exec", a.ns, "nft"}, args...)...) }
	if percent == 0 {
		in("delete", "table", "inet", "loss")
		return
	}
	in(fmt.Sprintf("table inet loss { chain in { type filter hook input priority 0; numgen random mod 100 < %d drop; }; }", percent))
}

// onExt4 gives a a data directory on a file system of its own, which can hang.
func (a *agent) onExt4() {
	a.t.Helper()
	image := filepath.Join(a.t.TempDir(), a.name+".ext4")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		a.t.Fatal(err)
	}
	if err := os.Truncate(image, 256<<20); err != nil {
		a.t.Fatal(err)
	}
	run(a.t, "mkfs.ext4", "-q", image)
	a.mount("-o", "loop", image)
}

// mount mounts at the data directory until the test ends.
func (a *agent) mount(args ...string) {
	a.t.Helper()
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		a.t.Fatal(err)
	}
	run(a.t, "mount", append(args, a.dir)...)
	a.t.Cleanup(func() {
		if a.frozen {
			a.thaw()
		}
		a.stopForCleanup()
		run(a.t, "umount", a.dir)
	})
}

// freeze hangs every write to a's disk until thaw.
func (a *agent) freeze() {
	a.t.Helper()
	run(a.t, "fsfreeze", "--freeze", a.dir)
	a.frozen = true
}

func (a *agent) thaw() {
	a.t.Helper()
	a.frozen = false
	run(a.t, "fsfreeze", "--unfreeze", a.dir)
}

// fill takes all but a little of the room on a's disk, until unfill.
func (a *agent) fill() {
	a.t.Helper()
	const left = 2 << 20
	f, err := os.Create(filepath.Join(a.dir, "filler"))
	if err != nil {
		a.t.Fatal(err)
	}
	defer f.Close()
	eventually(a.t, 10*time.Second, "the disk of "+a.name+" is full", func() error {
		var st syscall.Statfs_t
		if err := syscall.Statfs(a.dir, &st); err != nil {
			return err
		}
		err := syscall.Fallocate(int(f.Fd()), 0, 0, int64(st.Bavail)*st.Bsize-left)
		if err != nil { // the server took some in between
			return errors.Join(err, f.Truncate(0))
		}
		return nil
	})
}

// unfill gives the room back that fill took.
func (a *agent) unfill() {
	a.t.Helper()
	if err := os.Remove(filepath.Join(a.dir, "filler")); err != nil {
		a.t.Fatal(err)
	}
}

// throttle gives a a share of one processor, until the function it returns is
// called or the test ends.
func (a *agent) throttle(percent int) (release func()) {
	a.t.Helper()
	const period = 100_000 // µs, the kernel's default
	name := "muster-" + strconv.Itoa(a.cmd.Process.Pid)
	files := map[string]string{"cpu.max": fmt.Sprintf("%d %d", percent*period/100, period)}
	dir, home := filepath.Join("/sys/fs/cgroup", name), "/sys/fs/cgroup"
	if _, err := os.Stat("/sys/fs/cgroup/cpu"); err == nil { // version 1
		dir, home = filepath.Join("/sys/fs/cgroup/cpu", name), "/sys/fs/cgroup/cpu"
		files = map[string]string{"cpu.cfs_quota_us": strconv.Itoa(percent * period / 100)}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		a.t.Skipf("SKIPPED: this needs a processor controller of cgroups: %v", err)
	}
	release = func() {
		_ = os.WriteFile(filepath.Join(home, "cgroup.procs"), []byte(strconv.Itoa(a.cmd.Process.Pid)), 0o600) // it may have ended
		if err := os.Remove(dir); err != nil && !os.IsNotExist(err) {
			a.t.Errorf("leave the cgroup: %v", err)
		}
	}
	a.t.Cleanup(func() {
		a.stopForCleanup()
		release()
	})
	files["cgroup.procs"] = strconv.Itoa(a.cmd.Process.Pid)
	for file, content := range files {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
			a.t.Skipf("SKIPPED: this needs a processor controller of cgroups: %v", err)
		}
	}
	return release
}
