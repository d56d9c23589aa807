package consensus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/consensus"
	"muster/consensus/core"
	"muster/consensus/wal/memfs"
)

// onDisks starts a cluster whose servers have disks of their own. Its election
// timeouts are long enough that a busy machine makes no leader lose its place, and
// leave outcomes unknown, which these tests are not about.
func onDisks(t *testing.T, n int) (*cluster, map[core.ServerID]*memfs.FS) {
	t.Helper()
	disks := make(map[core.ServerID]*memfs.FS)
	return newCluster(t, n, func(cfg *consensus.Config) {
		if disks[cfg.ID] == nil {
			disks[cfg.ID] = memfs.New()
		}
		cfg.FS = disks[cfg.ID]
		cfg.SegmentBytes = 64 << 10
		cfg.Timing = core.DefaultTiming().Scaled(4)
	}), disks
}

// hang lets no sync of a disk return until heal is called.
func hang(t *testing.T, disk *memfs.FS) (heal func()) {
	healed := make(chan struct{})
	heal = sync.OnceFunc(func() { close(healed) })
	t.Cleanup(heal) // before the cluster stops: it waits for its disks
	disk.Hook(func(op memfs.Op) error {
		if op.Kind == memfs.OpSync {
			<-healed
		}
		return nil
	})
	return heal
}

// Property 39: a leader whose disk hangs goes on committing through the disks of
// the others, but not for ever. It hands leadership over.
func TestStall_LeaderWithAHungDiskHandsOver(t *testing.T) {
	c, disks := onDisks(t, 3)
	c.propose("a")
	old := c.leader()
	start := time.Now()
	heal := hang(t, disks[old.id])
	c.propose("b") // by the disks of the other two
	wait(t, "another leader", func() bool { return !old.IsLeader() && c.leader() != old })
	c.propose("c")
	t.Logf("from the hang to the next leader's commit: %v", time.Since(start))
	heal()
	c.agree([]string{"a", "b", "c"})
	wait(t, "the disk to count as good again", func() bool { return !old.Status().Disk.Hung })
}

// leave leaves a disk with so much room.
func leave(t *testing.T, disk *memfs.FS, bytes int64) {
	t.Helper()
	disk.SetCapacity(disk.Used() + bytes)
}

// A leader whose disk runs full refuses commands before a write fails, and hands
// leadership to a server with room; when room returns it takes part again.
func TestRoom_LeaderWithAFullDiskHandsOver(t *testing.T) {
	c, disks := onDisks(t, 3)
	c.propose("a")
	old := c.leader()
	leave(t, disks[old.id], 200<<10)
	want := []string{"a"}
	big := strings.Repeat("x", 4<<10)
	for i := range 96 {
		line := fmt.Sprint(i, big)
		proposeUntilDone(t, c, line)
		want = append(want, line)
	}
	wait(t, "the full server to lead no more", func() bool { return !old.IsLeader() && old.Status().Disk.Full })
	disks[old.id].SetCapacity(0)
	wait(t, "room", func() bool { return !old.Status().Disk.Full })
	c.agree(want)
}

// proposeUntilDone tries again where a server refuses.
func proposeUntilDone(t *testing.T, c *cluster, line string) {
	t.Helper()
	wait(t, "the command to be taken", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, _, err := c.leader().Propose(ctx, []byte(line))
		if errors.Is(err, consensus.ErrUnknown) {
			t.Fatalf("propose: %v", err)
		}
		return err == nil
	})
}

// With every disk full, commands are refused at once, known not done; elections
// and reads go on, and nothing stops.
func TestRoom_AllFullStillElectsAndReads(t *testing.T) {
	c, disks := onDisks(t, 3)
	c.propose("a")
	for _, d := range disks {
		leave(t, d, 200<<10)
	}
	big := strings.Repeat("x", 4<<10)
	done := []string{"a"}
	untilRefused := func() {
		wait(t, "a refusal", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, _, err := c.leader().Propose(ctx, []byte(big))
			if errors.Is(err, consensus.ErrUnknown) {
				t.Fatalf("refused with an unknown outcome: %v", err)
			}
			if err == nil {
				done = append(done, big)
			}
			return errors.Is(err, core.ErrDiskFull)
		})
	}
	untilRefused()
	c.halt(c.leader())
	// Its first entry is committed.
	if _, err := c.leader().ReadIndex(t.Context(), core.ReadByRound); err != nil {
		t.Errorf("read with full disks: %v", err)
	}
	untilRefused()
	for _, d := range disks {
		d.SetCapacity(0)
	}
	proposeUntilDone(t, c, "b")
	c.agree(append(done, "b"))
}
