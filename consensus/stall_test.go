package consensus_test

import (
	"sync"
	"testing"

	"muster/consensus"
	"muster/consensus/core"
	"muster/consensus/wal/memfs"
)

// Property 39: a leader whose disk hangs goes on committing through the disks of
// the others, but not for ever. It hands leadership over.
func TestStall_LeaderWithAHungDiskHandsOver(t *testing.T) {
	disks := make(map[core.ServerID]*memfs.FS)
	c := newCluster(t, 3, func(cfg *consensus.Config) {
		disks[cfg.ID] = memfs.New()
		cfg.FS = disks[cfg.ID]
	})
	c.propose("a")
	old := c.leader()
	healed := make(chan struct{})
	heal := sync.OnceFunc(func() { close(healed) })
	t.Cleanup(heal) // before the cluster stops: it waits for its disks
	disks[old.id].Hook(func(op memfs.Op) error {
		if op.Kind == memfs.OpSync {
			<-healed
		}
		return nil
	})
	c.propose("b") // by the disks of the other two
	wait(t, "another leader", func() bool { return !old.IsLeader() && c.leader() != old })
	c.propose("c")
	heal()
	c.agree([]string{"a", "b", "c"})
}
