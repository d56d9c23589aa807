package e2e

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Property 41: elections of 150 to 300 ms don't flap when every processor is
// busy: at most one change of leader, however long it lasts.
func TestBusy_TheLeaderStays(t *testing.T) {
	span, err := time.ParseDuration(os.Getenv("MUSTER_BUSY"))
	if err != nil {
		t.Skip("SKIPPED: busy processors mean something on a machine with nothing else to do; MUSTER_BUSY=10m runs this for ten minutes")
	}
	c := newCluster(t)
	servers := c.servers(3, "-log-level", "info")
	for _, s := range servers {
		s.start()
	}
	waitMembers(t, servers, 3)
	for _, s := range servers {
		s.waitLeader()
	}
	leaderOf(servers, servers[0])
	before := raftTerm(t, servers[0])
	for range runtime.NumCPU() {
		burner := exec.Command("sh", "-c", "while :; do :; done")
		burner.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := burner.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = burner.Process.Kill()
			_ = burner.Wait() // it says that it was killed
		})
	}
	end := time.After(span)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	writes := 0
	for busy := true; busy; {
		select {
		case <-end:
			busy = false
		case <-tick.C:
			if servers[writes%3].tryCatalogRegister("busy-" + strconv.Itoa(writes)) {
				writes++
			}
		}
	}
	after := raftTerm(t, servers[0])
	from, _ := strconv.Atoi(before)
	to, _ := strconv.Atoi(after)
	late := 0
	for _, s := range servers {
		late += int(metric(t, s, "muster_raft_late_turns_total"))
	}
	t.Logf("%d writes in %v, from term %d to %d; %d turns of the three servers were a heartbeat interval late", writes, span, from, to, late)
	if to-from > 1 {
		t.Errorf("the term went from %d to %d in %v of busy processors, want one change at most", from, to, span)
	}
}
