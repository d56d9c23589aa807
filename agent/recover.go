package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"

	"muster/catalog/state"
	"muster/consensus"
	"muster/consensus/core"
	"muster/consensus/wal"
)

// probeTimeout is how long a server may take to show that it is alive.
const probeTimeout = 2 * time.Second

// RaftRecovery is what RecoverRaft is about to do, or has done.
type RaftRecovery struct {
	// DataDir is that of the server to recover from, the most advanced of those
	// that were given; PassedOver says in sentences why not the others.
	DataDir    string
	PassedOver []string
	Report     *RaftReport // before the recovery
	// Others are the configuration's other servers, as they answered.
	Others []RaftPeer
	// Refusal says why this can't be done; empty where it can.
	Refusal string
	// What is written: this server alone, under a new cluster ID, at (Term, Index).
	ClusterID string
	Addr      string
	Term      uint64
	Index     uint64
	Backup    string // the directory that the old state is copied to
	Done      bool

	given    []*RaftRecovery // the other directories
	restored core.Restored
	config   core.Configuration
}

// RaftPeer is a server of the configuration that is to be replaced.
type RaftPeer struct {
	RaftReportServer
	Alive bool
	Says  string // how it answered
}

// RecoverRaft brings a cluster that lost its majority for good back to life, on
// one surviving server that is stopped: the one among dirs, which are data
// directories, whose log is most advanced. It makes that server the only voter
// of a new cluster with all that is in its log (see consensus.Recover). Unless
// write is set it only says what it would do. An error says that a directory
// could not be read, is in use or could not be written.
func RecoverRaft(ctx context.Context, dirs []string, write bool) (*RaftRecovery, error) {
	var given []*RaftRecovery
	for _, dir := range dirs {
		release, err := lockFor(dir, write)
		if err != nil {
			return nil, err
		}
		defer release()
		r, err := candidate(dir)
		if err != nil {
			return nil, err
		}
		given = append(given, r)
	}
	if len(given) == 0 {
		return nil, errors.New("no data directory is given")
	}
	slices.SortStableFunc(given, func(a, b *RaftRecovery) int { return b.compare(a) })
	best := given[0]
	best.given = given[1:]
	for _, r := range best.given {
		best.PassedOver = append(best.PassedOver, r.behind(best))
	}
	if err := best.plan(ctx); err != nil {
		return nil, err
	}
	if !write || best.Refusal != "" {
		return best, nil
	}
	_, err := consensus.Recover(wal.OS(), filepath.Join(best.DataDir, raftDir), best.Backup, best.config, stateMachine{state.New()})
	best.Done = err == nil
	return best, err
}

// lockFor keeps agents off a data directory, without a trace if it is only read.
func lockFor(dir string, write bool) (release func(), err error) {
	if _, err := os.Stat(filepath.Join(dir, raftDir)); err != nil {
		return nil, fmt.Errorf("%s is no server's data directory: %w", dir, err)
	}
	if write {
		return wal.Lock(dir)
	}
	return wal.LockToRead(dir)
}

// candidate looks at one locked data directory.
func candidate(dir string) (*RaftRecovery, error) {
	report, restored, config, err := inspectRaft(dir)
	if err != nil {
		return nil, err
	}
	return &RaftRecovery{DataDir: dir, Report: report, restored: restored, config: config}, nil
}

// compare orders by how advanced the logs are, as an election does; damaged ones
// come first.
func (r *RaftRecovery) compare(other *RaftRecovery) int {
	a, b := r.Report, other.Report
	switch {
	case a.Damage != "" && b.Damage == "":
		return -1
	case a.Damage == "" && b.Damage != "":
		return 1
	}
	return cmp.Or(cmp.Compare(a.LastTerm, b.LastTerm), cmp.Compare(a.LastIndex, b.LastIndex))
}

// behind says why r was not taken.
func (r *RaftRecovery) behind(best *RaftRecovery) string {
	if r.Report.Damage != "" {
		return fmt.Sprintf("%s is damaged", r.DataDir)
	}
	return fmt.Sprintf("%s ends at entry %d of term %d and holds no more than %s, which ends at entry %d of term %d",
		r.DataDir, r.Report.LastIndex, r.Report.LastTerm, best.DataDir, best.Report.LastIndex, best.Report.LastTerm)
}

// plan works out what is to be written, and whether it may be.
func (r *RaftRecovery) plan(ctx context.Context) error {
	if r.Report.Damage != "" {
		r.Refusal = "the log or a snapshot is damaged: " + r.Report.Damage + "; recover from another server, or from a backup of this data directory"
		return nil
	}
	own, member := r.config.Find(core.ServerID(r.Report.NodeID))
	if !member {
		r.Refusal = fmt.Sprintf("node %s is not a server of the configuration at entry %d; recover from a server that is, or let this one join", orUnknown(r.Report.NodeID), r.Report.ConfigIndex)
		return nil
	}
	for _, other := range r.given {
		if other.Report.Damage == "" && other.Report.ClusterID != r.Report.ClusterID {
			r.Refusal = fmt.Sprintf("%s is of cluster %s and %s of cluster %s; give the data directories of one cluster",
				r.DataDir, r.Report.ClusterID, other.DataDir, other.Report.ClusterID)
			return nil
		}
	}
	r.probe(ctx)
	r.Refusal = r.majority()
	id, err := uuid.NewRandom()
	if err != nil {
		return fmt.Errorf("make a cluster ID: %w", err)
	}
	at := consensus.RecoveredAt(r.restored)
	r.ClusterID, r.Addr, r.Term, r.Index = id.String(), own.Addr, at.Term, at.Index
	r.config = core.Configuration{
		ClusterID: r.ClusterID, Timing: r.config.Timing,
		Servers: []core.Server{{ID: own.ID, Addr: own.Addr, Suffrage: core.Voter, Log: r.restored.Log}},
	}
	r.Backup, err = freeName(filepath.Join(r.DataDir, "before-recovery"))
	return err
}

func orUnknown(id string) string {
	if id == "" {
		return "with unknown ID"
	}
	return id
}

// freeName gives the first of base-1, base-2, … that isn't there, with the place
// of a log in it: what is copied there is a data directory of its own.
func freeName(base string) (string, error) {
	for n := 1; ; n++ {
		dir := fmt.Sprintf("%s-%d", base, n)
		_, err := os.Stat(dir)
		if errors.Is(err, os.ErrNotExist) {
			return filepath.Join(dir, raftDir), nil
		}
		if err != nil {
			return "", err
		}
	}
}

// majority says which servers could still elect a leader without a recovery, ""
// if too few are left.
func (r *RaftRecovery) majority() string {
	need := r.config.Voters()/2 + 1
	var alive, stopped []string
	for _, p := range r.Others {
		if p.Alive && p.Voter {
			alive = append(alive, fmt.Sprintf("%s at %s", p.ID, p.Addr))
		}
	}
	if len(alive) >= need {
		return fmt.Sprintf("%d of %d voters are alive and a majority: %s; this server is to be started, or wiped to join them anew",
			len(alive), r.config.Voters(), strings.Join(alive, ", "))
	}
	for _, s := range append([]*RaftRecovery{r}, r.given...) {
		if r.votes(s) {
			stopped = append(stopped, fmt.Sprintf("%s in %s", s.Report.NodeID, s.DataDir))
		}
	}
	if len(alive)+len(stopped) >= need {
		return fmt.Sprintf("no majority of the %d voters is lost: there are %s; start those that are stopped instead",
			r.config.Voters(), strings.Join(append(stopped, alive...), ", "))
	}
	return ""
}

// votes says whether a stopped server would have its vote in the configuration.
func (r *RaftRecovery) votes(s *RaftRecovery) bool {
	own, _ := r.config.Find(core.ServerID(s.Report.NodeID))
	return s.Report.Damage == "" && !s.restored.Voteless && own.Suffrage == core.Voter && (own.Log == 0 || own.Log == s.restored.Log)
}

// probe asks the other servers at their last known addresses, all at once.
func (r *RaftRecovery) probe(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for _, s := range r.config.Servers {
		if s.ID != core.ServerID(r.Report.NodeID) {
			r.Others = append(r.Others, RaftPeer{RaftReportServer: reportServer(s)})
		}
	}
	for i := range r.Others {
		wg.Go(func() {
			p := &r.Others[i]
			p.Alive, p.Says = probe(ctx, p.Addr, r.config.ClusterID)
		})
	}
	wg.Wait()
}

// probe says whether a server of the cluster answers at addr. One that takes the
// connection and says nothing counts: it may be busy or stopped for a moment. One
// that is in no cluster, or in another, has been wiped or replaced.
func probe(ctx context.Context, addr, cluster string) (alive bool, says string) {
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+bootstrapStatePath, nil)
	if err != nil {
		return false, err.Error()
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		dial, ok := errors.AsType[*net.OpError](err)
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			return false, "nothing listens there"
		case ok && dial.Op == "dial":
			return false, "no connection: " + dial.Err.Error()
		}
		return ctx.Err() == nil || connects(addr), "no answer: " + err.Error()
	}
	defer resp.Body.Close()
	var s bootstrapState
	if err := json.NewDecoder(io.LimitReader(resp.Body, bootstrapLimit)).Decode(&s); err != nil || resp.StatusCode != http.StatusOK {
		return false, fmt.Sprintf("another program answers there (status %d)", resp.StatusCode)
	}
	switch {
	case s.Cluster == cluster:
		return true, "alive"
	case s.Empty && s.ClusterID() == cluster:
		return true, "alive and about to begin this cluster"
	case s.Cluster == "":
		return false, "an empty server answers there: it has been wiped"
	}
	return false, "a server of another cluster answers there: " + s.Cluster
}

// connects says whether a connection is taken at addr, by a process that may be
// stopped.
func connects(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, probeTimeout)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// refusePeersFile keeps a server from starting beside the file by which Consul's
// manual recovery works. It asks for a configuration by hand, which this program
// doesn't take, and whoever put it there counts on it.
func refusePeersFile(dir string) error {
	path := filepath.Join(dir, "peers.json")
	switch _, err := os.Stat(path); {
	case err == nil:
		return fmt.Errorf("%s: recovery by this file is not supported; remove it, and use `muster operator raft recover` if the cluster has lost its majority", path)
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	return nil
}
