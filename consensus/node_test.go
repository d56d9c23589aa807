package consensus_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"muster/consensus"
	"muster/consensus/core"
	"muster/consensus/wal"
	"muster/consensus/wal/memfs"
)

func TestCluster_ElectsAnotherLeaderWhenOneIsKilled(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.propose("a")
	old := c.leader()
	term := old.Status().Term
	c.halt(old)
	c.propose("b")
	if l := c.leader(); l == old || l.Status().Term <= term {
		t.Errorf("leader %s of term %d after leader %s of term %d was killed", l.id, l.Status().Term, old.id, term)
	}
	c.start(old)
	c.agree([]string{"a", "b"})
}

func TestCluster_FindsAllAfterRestartFromDisk(t *testing.T) {
	c := newCluster(t, 3, nil)
	var lines []string
	for i := range 20 {
		lines = append(lines, fmt.Sprint("line ", i))
		c.propose(lines[i])
	}
	for _, p := range c.peers {
		c.halt(p)
	}
	for _, p := range c.peers {
		c.start(p)
	}
	c.agree(lines)
}

func TestCluster_RollsBackWhatADeposedLeaderHadNotCommitted(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.propose("before")
	old := c.leader()
	old.cut.Store(true)

	lost := make(chan error, 1)
	go func() {
		_, _, err := old.Propose(context.WithoutCancel(t.Context()), []byte("lost"))
		lost <- err
	}()
	c.propose("after")
	if err := <-lost; err == nil {
		t.Error("a leader without a majority acknowledged a write")
	} else if !errors.Is(err, consensus.ErrUnknown) && !errors.Is(err, core.ErrLeadershipLost) {
		t.Errorf("the deposed leader's client was told %v", err)
	}
	if old.IsLeader() {
		t.Error("a leader without a majority did not step down")
	}
	old.cut.Store(false)
	c.agree([]string{"before", "after"})
}

func TestPropose_IsRefusedByAFollower(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.propose("a")
	l := c.leader()
	for _, p := range c.peers {
		if p == l {
			continue
		}
		if _, _, err := p.Propose(t.Context(), []byte("x")); !errors.Is(err, core.ErrNotLeader) && !errors.Is(err, core.ErrNoLeader) {
			t.Errorf("%s: proposed as a follower: %v", p.id, err)
		}
	}
	c.agree([]string{"a"})
}

func TestReadIndex_ShowsWhatWasAcknowledgedOnEveryServer(t *testing.T) {
	c := newCluster(t, 3, nil)
	for i := range 10 {
		c.propose(fmt.Sprint(i))
		for _, p := range c.peers {
			if _, err := p.ReadIndex(t.Context(), core.ReadKind(i%2)); err != nil {
				t.Fatalf("%s: %v", p.id, err)
			}
			if got := len(p.fsm.all()); got < i+1 {
				t.Fatalf("%s: read %d lines after %d were acknowledged", p.id, got, i+1)
			}
		}
	}
}

func TestChange_AddsAndRemovesOneServerAtATime(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.propose("a")
	joiner := c.add(nil)
	change := func(ch core.Change) {
		t.Helper()
		wait(t, fmt.Sprintf("change %d of %s", ch.Kind, ch.ID), func() bool {
			err := c.leader().Change(t.Context(), ch)
			if err != nil && !errors.Is(err, core.ErrNotCaughtUp) && !errors.Is(err, core.ErrNotLeader) {
				t.Fatalf("change %d of %s: %v", ch.Kind, ch.ID, err)
			}
			return err == nil
		})
	}
	change(core.Change{Kind: core.AddLearner, ID: joiner.id, Addr: joiner.addr})
	change(core.Change{Kind: core.PromoteVoter, ID: joiner.id})
	c.agree([]string{"a"})
	leaver := c.peers[0]
	if leaver == c.leader() {
		leaver = c.peers[1]
	}
	change(core.Change{Kind: core.RemoveServer, ID: leaver.id})
	c.halt(leaver)
	c.propose("b")
	c.agree([]string{"a", "b"})
	wait(t, "the new configuration on the joiner", func() bool { return len(joiner.Status().Config.Servers) == 3 })
	for _, s := range joiner.Status().Config.Servers {
		if s.ID == leaver.id {
			t.Errorf("%s is still in the configuration", leaver.id)
		}
	}
}

// A step that is already made has no entry of its own: its ID lies in the past,
// often in another term, and nothing that is applied later tells of it.
func TestChange_ThatIsAlreadySoSucceedsAtOnce(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.propose("a")
	self := c.leader()
	same := core.Change{Kind: core.UpdateAddr, ID: self.id, Addr: self.addr}
	for i := range 3 { // the first in the term after the configuration's
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if err := self.Change(ctx, same); err != nil {
			t.Fatalf("change %d that alters nothing: %v", i, err)
		}
		cancel()
		c.propose("b")
	}
}

func TestSnapshot_BringsAWipedServerBack(t *testing.T) {
	c := newCluster(t, 3, func(cfg *consensus.Config) {
		cfg.SnapshotEntries, cfg.RetainBytes, cfg.SegmentBytes = 20, 0, 8<<10
		cfg.ChunkBytes = 100
	})
	var lines []string
	for i := range 200 {
		lines = append(lines, fmt.Sprint("line ", i, " ", strings.Repeat("x", 100)))
		c.propose(lines[i])
	}
	p := c.peers[0]
	if p == c.leader() {
		p = c.peers[1]
	}
	c.halt(p)
	if err := c.leader().Change(t.Context(), core.Change{Kind: core.RemoveServer, ID: p.id}); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(p.dir); err != nil {
		t.Fatal(err)
	}
	wait(t, "a compacted log", func() bool { return c.leader().Status().FirstIndex > 1 })
	c.start(p)
	if err := c.leader().Change(t.Context(), core.Change{Kind: core.AddLearner, ID: p.id, Addr: p.addr}); err != nil {
		t.Fatal(err)
	}
	c.agree(lines)
	if p.Status().Snapshot.Index == 0 {
		t.Error("the wiped server caught up without a snapshot")
	}
}

func TestTransferLeadership_MovesItWithoutAnElectionTimeout(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.propose("a")
	old := c.leader()
	lead, term, err := old.LeaderContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if term != old.Status().Term {
		t.Errorf("leads in term %d, not %d", old.Status().Term, term)
	}
	if err := old.TransferLeadership(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	<-lead.Done()
	if !errors.Is(context.Cause(lead), core.ErrLeadershipLost) {
		t.Errorf("leadership ended with %v", context.Cause(lead))
	}
	c.propose("b")
	if c.leader() == old {
		t.Error("the old leader leads again")
	}
}

// alone starts a server of one in memory.
func alone(t *testing.T, fs *memfs.FS, reg prometheus.Registerer) (n *consensus.Node, fsm *journal, stop func() error) {
	t.Helper()
	cfg := consensus.DefaultConfig()
	cfg.ID, cfg.FS, cfg.Dir, cfg.Registerer = "one", fs, "raft", reg
	fsm = new(journal)
	n, err := consensus.New(cfg, fsm)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	stop = func() error {
		cancel()
		return <-done
	}
	return n, fsm, stop
}

func single(id string) core.Configuration {
	return core.Configuration{ClusterID: id, Servers: []core.Server{{ID: "one", Addr: "127.0.0.1:1", Suffrage: core.Voter}}}
}

func TestNode_ReplaysItsLogAfterRestart(t *testing.T) {
	fs := memfs.New()
	n, _, stop := alone(t, fs, nil)
	if err := n.Bootstrap(t.Context(), single("c")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := n.LeaderContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		got, _, err := n.Propose(t.Context(), []byte{byte('a' + i)})
		if err != nil || got != i+1 {
			t.Fatalf("proposal %d: %v, %v", i, got, err)
		}
	}
	if _, _, err := n.Propose(t.Context(), make([]byte, consensus.DefaultConfig().MaxCommandBytes+1)); !errors.Is(err, consensus.ErrTooLarge) {
		t.Errorf("too large a proposal: %v", err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := n.Propose(t.Context(), []byte("late")); !errors.Is(err, consensus.ErrStopped) {
		t.Errorf("proposal to a stopped node: %v", err)
	}
	n, fsm, stop := alone(t, fs, nil)
	wait(t, "replay", func() bool { return n.Status().Ready })
	if got := strings.Join(fsm.all(), ""); got != "abcde" {
		t.Errorf("replayed %q", got)
	}
	if err := n.Bootstrap(t.Context(), single("c")); !errors.Is(err, core.ErrAlreadyBootstrapped) {
		t.Errorf("second bootstrap: %v", err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

func TestRun_EndsWithTheReasonWhenTheDiskFails(t *testing.T) {
	fs := memfs.NewFaulty()
	n, _, stop := alone(t, fs, nil)
	if err := n.Bootstrap(t.Context(), single("c")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := n.LeaderContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("input/output error")
	fs.Hook(memfs.Nth(memfs.OpSync, 1, broken, true))
	if _, _, err := n.Propose(t.Context(), []byte("x")); !errors.Is(err, consensus.ErrUnknown) {
		t.Errorf("proposal while the disk failed: %v", err)
	}
	if err := stop(); !errors.Is(err, broken) {
		t.Errorf("Run ended with %v", err)
	}
}

// charter is one for the server "one", whose log is n's, and another that is
// never heard of.
func charter(n *consensus.Node, cluster string, turn uint64) *consensus.Charter {
	return &consensus.Charter{Config: core.Configuration{ClusterID: cluster, Servers: []core.Server{
		{ID: "one", Addr: "127.0.0.1:1", Suffrage: core.Voter, Log: n.Status().Incarnation},
		{ID: "zero", Addr: "127.0.0.1:2", Suffrage: core.Voter, Log: 7}}}, Turns: []uint64{turn, 0}}
}

func considered(t *testing.T, n *consensus.Node, r consensus.PromiseRequest) consensus.Standing {
	t.Helper()
	standing, err := n.Consider(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return standing
}

func TestPromise_HoldsAgainstAnotherClusterAndARestart(t *testing.T) {
	fs := memfs.New()
	n, _, stop := alone(t, fs, nil)
	first := consensus.PromiseRequest{Charter: charter(n, "first", 0), Willing: true}
	other := consensus.PromiseRequest{Charter: charter(n, "second", 0), Willing: true}
	considered(t, n, first)
	if s := considered(t, n, first); s.Stage != consensus.Promised || s.Turn != 0 {
		t.Fatalf("asked twice, it stands at %+v", s)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	n, _, stop = alone(t, fs, nil)
	if n.ClusterID() != "first" {
		t.Errorf("cluster ID after a restart: %q", n.ClusterID())
	}
	if s := considered(t, n, other); s.ClusterID() != "first" || s.On(other.Charter, "one") != consensus.Past {
		t.Errorf("asked for a second promise, it stands at %+v", s)
	}
	if err := n.Bootstrap(t.Context(), single("second")); !errors.Is(err, consensus.ErrPromised) {
		t.Errorf("bootstrap of another cluster: %v", err)
	}
	foreign := core.EncodeConfiguration(core.Configuration{ClusterID: "second", Servers: []core.Server{
		{ID: "one", Addr: "127.0.0.1:1", Suffrage: core.Voter}, {ID: "two", Addr: "127.0.0.1:2", Suffrage: core.Voter}}})
	n.Receive(core.Message{Kind: core.MsgAppend, From: "two", To: "one", Term: 7,
		Entries: []core.Entry{{Index: 1, Term: 1, Kind: core.EntryConfig, Data: foreign}}})
	first.Heard = map[core.ServerID]consensus.Stage{"zero": consensus.Past}
	if s := considered(t, n, first); s.Charter != nil || s.Turn != 1 { // in a later turn of the loop than the message
		t.Errorf("told that the other is elsewhere, it stands at %+v", s)
	}
	if st := n.Status(); st.LastIndex != 0 || st.Term != 0 {
		t.Errorf("took an entry of another cluster: last index %d, term %d", st.LastIndex, st.Term)
	}
	if s := considered(t, n, first); s.Charter != nil {
		t.Errorf("promised a charter of an earlier turn: %+v", s)
	}
	other.Charter = charter(n, "second", 1)
	other.Heard = map[core.ServerID]consensus.Stage{"zero": consensus.Sealed}
	if s := considered(t, n, other); s.Cluster != "second" {
		t.Errorf("after the other server sealed, it stands at %+v", s)
	}
	if s := considered(t, n, first); s.Cluster != "second" || n.Status().Empty {
		t.Errorf("with a configuration it stands at %+v", s)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// What used to be a dead end: a server that has voted for one that died before it
// sent the first configuration.
func TestBootstrap_BeginsWithATermAndAVote(t *testing.T) {
	fs := memfs.New()
	n, _, stop := alone(t, fs, nil)
	r := consensus.PromiseRequest{Charter: charter(n, "first", 0), Willing: true}
	considered(t, n, r)
	n.Receive(core.Message{Kind: core.MsgVote, From: "zero", To: "one", Term: 3, Prev: core.EntryID{Term: 1, Index: 1}})
	wait(t, "vote", func() bool { return n.Status().Vote == "zero" })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	n, _, stop = alone(t, fs, nil)
	r.Heard = map[core.ServerID]consensus.Stage{"zero": consensus.Sealed}
	if s := considered(t, n, r); s.Cluster != "first" {
		t.Errorf("it stands at %+v", s)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	n, _, stop = alone(t, fs, nil)
	if st := n.Status(); st.Config.ClusterID != "first" || st.Config.Voters() != 2 || st.Term < 3 || st.LastIndex != 1 {
		t.Errorf("after a restart: %+v", st.Status)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

func TestMetrics_TellWhoLeads(t *testing.T) {
	reg := prometheus.NewRegistry()
	n, _, stop := alone(t, memfs.New(), reg)
	if err := n.Bootstrap(t.Context(), single("c")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := n.LeaderContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := n.Propose(t.Context(), []byte("x")); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		m := f.GetMetric()[0]
		got[f.GetName()] = m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	for name, atLeast := range map[string]float64{
		"muster_raft_is_leader": 1, "muster_raft_term": 1, "muster_raft_commit_index": 3,
		"muster_raft_applied_index": 3, "muster_raft_commit_seconds": 1, "muster_raft_propose_seconds": 1,
		"muster_raft_log_segments": 1, "muster_raft_voters": 1,
	} {
		if got[name] < atLeast {
			t.Errorf("%s is %v, want at least %v", name, got[name], atLeast)
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if families, err := reg.Gather(); err != nil || len(families) != 0 {
		t.Errorf("a stopped node still shows %d metrics (%v)", len(families), err)
	}
}

func TestOpen_NamesAPromiseThatItCannotRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "promise")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := consensus.DefaultConfig()
	cfg.ID, cfg.Dir = "one", dir
	if _, err := consensus.New(cfg, new(journal)); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("New said %v", err)
	}
}

func TestValidate_ReportsAllFaultsAtOnce(t *testing.T) {
	err := consensus.Config{Timing: core.Timing{Heartbeat: 1}}.Validate()
	for _, field := range []string{"ID", "FS", "Dir", "Rand", "Timing: election timeout", "SnapshotEntries", "MaxInbox"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("Validate does not name %s: %v", field, err)
		}
	}
	cfg := consensus.DefaultConfig()
	cfg.ID, cfg.Dir = "x", "y"
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
}

func TestCluster_ManyProposersEachGetTheirOwnResult(t *testing.T) {
	c := newCluster(t, 3, func(cfg *consensus.Config) { cfg.SnapshotEntries = 100 })
	c.propose("0")
	const proposers, each = 16, 25
	errs := make(chan error, proposers)
	for i := range proposers {
		go func() {
			for j := range each {
				line := fmt.Sprint(i, "/", j)
				p, got, err := c.proposeWhereItIsTaken(line)
				if err != nil {
					errs <- err
					return
				}
				if at := got.(int) - 1; p.fsm.all()[at] != line {
					errs <- fmt.Errorf("%s got the result of %s", line, p.fsm.all()[at])
					return
				}
			}
			errs <- nil
		}()
	}
	for range proposers {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	last, _, err := c.proposeWhereItIsTaken("end") // nothing of unknown outcome can follow it
	if err != nil {
		t.Fatal(err)
	}
	all := last.fsm.all()
	c.agree(all)
	if lines := slices.Compact(slices.Sorted(slices.Values(all))); len(lines) != proposers*each+2 {
		t.Errorf("%d lines", len(lines))
	}
}

// A promise that can't be read, such as one that an earlier build left, keeps a
// server out of clusters, but not out of the one that it is part of.
func TestPromise_OneThatIsSpentNeedNotBeRead(t *testing.T) {
	for _, part := range []bool{false, true} {
		fs := memfs.New()
		n, _, stop := alone(t, fs, nil)
		if part {
			if err := n.Bootstrap(t.Context(), single("c")); err != nil {
				t.Fatal(err)
			}
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		old := []byte(`{"cluster_id":"c","coordinator":"one","members":["one"]}`)
		if err := wal.WriteFileAtomic(fs, "raft/promise", old, 0o600); err != nil {
			t.Fatal(err)
		}
		cfg := consensus.DefaultConfig()
		cfg.ID, cfg.FS, cfg.Dir = "one", fs, "raft"
		if _, err := consensus.New(cfg, new(journal)); (err == nil) != part {
			t.Errorf("part of a cluster: %v, started with %v", part, err)
		}
	}
}
