package consensus_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"muster/consensus"
	"muster/consensus/core"
	"muster/consensus/wal"
	"muster/consensus/wal/memfs"
)

// oldConfig has two servers besides the one that survives.
var oldConfig = core.Configuration{ClusterID: "old", Servers: []core.Server{
	{ID: "b", Addr: "b:1", Suffrage: core.Voter},
	{ID: "c", Addr: "c:1", Suffrage: core.Voter},
	{ID: "one", Addr: "one:1", Suffrage: core.Voter},
}}

func newConfig() core.Configuration {
	return core.Configuration{ClusterID: "new", Servers: []core.Server{{ID: "one", Addr: "one:1", Suffrage: core.Voter}}}
}

// survivor is the disk of a server with a snapshot at 3 and a log to 7 in term 2,
// of which it knows 5 to be committed.
func survivor(t *testing.T, voteless bool) *memfs.FS {
	t.Helper()
	fs := memfs.NewFaulty()
	l, _, err := wal.Open(fs, "raft", smallSegments())
	if err != nil {
		t.Fatal(err)
	}
	es := []core.Entry{{Index: 1, Term: 1, Kind: core.EntryConfig, Data: core.EncodeConfiguration(oldConfig)}}
	for i := uint64(2); i <= 7; i++ {
		es = append(es, core.Entry{Index: i, Term: 1 + i/5, Kind: core.EntryCommand, Data: fmt.Appendf(nil, "line %d", i)})
	}
	l.SetVoteless(voteless)
	if err := l.Append(wal.Batch{HardState: &core.HardState{Term: 2, Vote: "b", Commit: 5}, Entries: es}); err != nil {
		t.Fatal(err)
	}
	w, err := l.Snapshots().Create(core.SnapshotMeta{Index: 3, Term: 1, Config: oldConfig, ConfigIndex: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (snapshot{"line 2", "line 3"}).WriteTo(w); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return fs.Crash(memfs.KeepAll, nil)
}

func smallSegments() wal.Config {
	cfg := wal.DefaultConfig()
	cfg.SegmentBytes, cfg.Log = 64<<10, 77
	return cfg
}

// recovered says whether a start would find the new configuration or the old
// one, and fails where it finds less than either holds.
func recovered(t *testing.T, at string, fs *memfs.FS, voteless bool) bool {
	t.Helper()
	r, err := wal.Inspect(fs, "raft")
	if err != nil || r.Damage != nil {
		t.Fatalf("%s: %v, %v", at, err, r)
	}
	if r.Config.ClusterID == "old" {
		if r.Restored.LastIndex != 7 || r.Restored.HardState.Term != 2 || r.Restored.HardState.Vote != "b" || r.Restored.Voteless != voteless {
			t.Fatalf("%s: the old state has changed: %+v", at, r.Restored)
		}
		return false
	}
	if r.Config.ClusterID != "new" || r.ConfigIndex != 8 || r.Restored.LastIndex != 8 || r.Restored.FirstIndex != 9 || r.Restored.Log != 77 {
		t.Fatalf("%s: neither old nor recovered: %+v", at, r)
	}
	if r.Restored.Voteless && !voteless {
		t.Fatalf("%s: the vote is lost", at)
	}
	return !r.Restored.Voteless
}

func TestRecover_CrashesLeaveTheOldOrTheRecoveredState(t *testing.T) {
	for _, voteless := range []bool{false, true} {
		rnd := rand.New(rand.NewPCG(1, 1))
		fs := survivor(t, voteless)
		var points, after int
		fs.Hook(func(op memfs.Op) error {
			if !op.Kind.Changes() {
				return nil
			}
			for _, law := range memfs.Laws() {
				points++
				at := fmt.Sprintf("voteless %v, crash before %v, law %v", voteless, op, law)
				crashed := fs.Crash(law, rnd)
				if recovered(t, at, crashed, voteless) {
					after++
					continue
				}
				next := newConfig()
				next.ClusterID = "again"
				if _, err := consensus.Recover(crashed, "raft", "/backup-2", next, &journal{}); err != nil {
					t.Fatalf("%s, and recovered again: %v", at, err)
				}
			}
			return nil
		})
		meta, err := consensus.Recover(fs, "raft", "/backup", newConfig(), &journal{})
		if err != nil {
			t.Fatal(err)
		}
		if meta.Index != 8 || meta.Term != 3 {
			t.Errorf("recovered at %d in term %d", meta.Index, meta.Term)
		}
		fs.Hook(nil)
		fs = fs.Crash(memfs.LoseAll, nil)
		if !recovered(t, "at the end", fs, voteless) {
			t.Error("not recovered")
		}
		if before, err := wal.Inspect(fs, "/backup"); err != nil || before.Restored.LastIndex != 7 || before.Config.ClusterID != "old" {
			t.Errorf("backup: %+v, %v", before, err)
		}
		if points < 100 || after == 0 {
			t.Errorf("%d crash points, %d of them after the recovery", points, after)
		}
	}
}

// A server whose log may have lost entries is freed too: that is its operator's
// decision.
func TestRecover_TheServerLeadsAloneWithAllThatItHad(t *testing.T) {
	fs := survivor(t, true)
	if _, err := consensus.Recover(fs, "raft", "/backup", newConfig(), &journal{}); err != nil {
		t.Fatal(err)
	}
	n, fsm, stop := alone(t, fs, nil)
	wait(t, "it leads", func() bool { return n.Status().Leading() })
	want := []string{"line 2", "line 3", "line 4", "line 5", "line 6", "line 7"}
	if got := fsm.all(); !slices.Equal(got, want) {
		t.Errorf("it has %q, want %q", got, want)
	}
	if s := n.Status(); s.Term <= 3 || s.Voteless || n.ClusterID() != "new" {
		t.Errorf("term %d, voteless %v, cluster %s", s.Term, s.Voteless, n.ClusterID())
	}
	if _, _, err := n.Propose(t.Context(), []byte("after")); err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestRecover_RefusesTheOldClusterAndDamage(t *testing.T) {
	fs := survivor(t, false)
	same := newConfig()
	same.ClusterID = "old"
	if _, err := consensus.Recover(fs, "raft", "/backup", same, &journal{}); !errors.Is(err, consensus.ErrSameCluster) {
		t.Errorf("with the old cluster's ID: %v", err)
	}
	if _, err := consensus.Recover(fs, "/nothing", "/backup", newConfig(), &journal{}); !errors.Is(err, wal.ErrNoLog) {
		t.Errorf("without a log: %v", err)
	}
	if !fs.FlipBit("raft/00000000000000000001.wal", 8*(2*512+100)) {
		t.Fatal("no such bit")
	}
	_, err := consensus.Recover(fs, "raft", "/backup", newConfig(), &journal{})
	if _, damage := errors.AsType[*wal.CorruptError](err); !damage {
		t.Errorf("over a damaged log: %v", err)
	}
	if names, err := fs.ReadDir("/backup"); err != nil || len(names) > 0 {
		t.Errorf("a refusal wrote %q, %v", names, err)
	}
}
