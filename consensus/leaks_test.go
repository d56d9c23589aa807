package consensus_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"testing"

	"muster/consensus"
	"muster/consensus/core"
	"muster/consensus/wal/memfs"
)

// Property 45: a cluster that was started, elected a leader and was stopped a
// hundred times leaves no goroutine, no open file and no memory behind. Leaks of one
// a cycle show after so many; MUSTER_CYCLES=1000 runs the property's number.
func TestLeaks_AfterManyElections(t *testing.T) {
	cycles := 100
	if n, err := strconv.Atoi(os.Getenv("MUSTER_CYCLES")); err == nil {
		cycles = n
	}
	const ms = core.Duration(1_000_000)
	disks := make(map[core.ServerID]*memfs.FS)
	c := newCluster(t, 3, func(cfg *consensus.Config) {
		if disks[cfg.ID] == nil {
			disks[cfg.ID] = memfs.New()
		}
		cfg.FS = disks[cfg.ID]
		cfg.SegmentBytes, cfg.RetainBytes, cfg.SnapshotEntries = 64<<10, 64<<10, 64 // disks stay small, being memory
		cfg.Timing = core.Timing{Heartbeat: 5 * ms, ElectionMin: 15 * ms, ElectionMax: 30 * ms}
	})
	cycle := func(n int) {
		for _, p := range c.peers {
			if p.stop == nil {
				c.start(p)
			}
		}
		c.proposeWhereItIsTaken(fmt.Sprint(n))
		silent := c.abandon(c.peers[n%3])
		for _, p := range c.peers {
			c.halt(p)
		}
		silent.Close()
	}
	for n := range 10 { // what is made once is made
		cycle(n)
	}
	before := takeStock(t)
	for n := range cycles {
		cycle(n)
	}
	const memory = 1 << 20 // what disks and commands may grow by, far below a node for each cycle
	var now stock
	wait(t, "as few goroutines and open files as before", func() bool {
		now = takeStock(t)
		return now.goroutines <= before.goroutines && now.files <= before.files
	})
	if now.heap > before.heap+memory {
		t.Errorf("%d KiB of memory in use, %d before", now.heap>>10, before.heap>>10)
	}
	t.Logf("after %d cycles %+v, before %+v", cycles, now, before)
}

// abandon leaves behind at p what clients leave behind: a read that is not waited
// for, and a connection that says nothing.
func (c *cluster) abandon(p *peer) net.Conn {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	cancel()
	_, _ = p.ReadIndex(ctx, core.ReadByRound)
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		c.t.Fatal(err)
	}
	return conn
}

// stock is what a process holds.
type stock struct {
	goroutines, files int
	heap              uint64 // bytes in use
}

func takeStock(t *testing.T) stock {
	t.Helper()
	s := stock{goroutines: runtime.NumGoroutine()}
	if runtime.GOOS == "linux" {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		s.files = len(fds)
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // the first one empties pools
	runtime.ReadMemStats(&m)
	s.heap = m.HeapAlloc
	return s
}
