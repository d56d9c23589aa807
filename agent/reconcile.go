package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"muster/catalog"
	"muster/catalog/state"
	"muster/consensus"
	"muster/consensus/core"
	"muster/gossip"
)

const (
	// reconcileInterval is how often the leader compares gossip with the catalog
	// though nothing seems to have changed.
	reconcileInterval = time.Minute
	// reconcileRetry is the pause after a reconciliation that left something to do.
	reconcileRetry = 200 * time.Millisecond
	// defaultReapAfter is how long a node must be unknown to gossip, under one
	// leader, before that leader takes it for reaped. A leader that has just
	// started may not have met everyone yet.
	defaultReapAfter = time.Minute

	aliveOutput  = "Agent alive and reachable"
	failedOutput = "Agent not live or unreachable"

	// serversService is the name under which the servers themselves are found.
	serversService = "consul"
)

// reconciler is what a leader does about gossip: it gives every member its node
// and serfHealth check in the catalog, takes away nodes that have left, and
// makes the servers among the members the voters of the quorum, one change at a
// time. It holds no state that a new leader would miss.
type reconciler struct {
	self  core.ServerID
	pool  *gossip.Pool
	node  *consensus.Node
	store *state.Store
	// propose has a command committed and applied on this server.
	propose func(context.Context, catalog.Command) (catalog.Result, error)
	// reapAfter is how long a node must be unknown to gossip before it is
	// removed; see defaultReapAfter.
	reapAfter time.Duration
	// ask gives the members that answer this server; see doubted.
	ask            func(context.Context, []gossip.Member) map[string]bool
	doubtFor       time.Duration
	doubts         map[string]time.Time // failed members that answer, and since when; only run's goroutine uses it
	contradictions prometheus.Counter
	// met are the members that this leader saw when it looked last.
	met map[string]gossip.Status
	// deadAfter: see defaultDeadAfter. failing says that a server is silent which
	// may have to be taken for dead later; only run's goroutine uses it.
	deadAfter time.Duration
	failing   bool
	// healthySince says since when a server has been healthy.
	healthySince func(core.ServerID) (since time.Time, healthy bool)
	// autopilot is what the cluster is set to while nobody has set anything; nil
	// for the default.
	autopilot *catalog.Autopilot
	// entries are config entries of the files that this leader has yet to see in the
	// cluster, or to write; only run's goroutine uses it. One that is deleted later
	// stays so until the next leader.
	entries []*catalog.ConfigEntry
	// nudge asks for a look though neither gossip nor the quorum has changed.
	nudge  <-chan struct{}
	logger *slog.Logger
}

// run reconciles until ctx ends, as it does when this server leads no longer.
func (r *reconciler) run(ctx context.Context) {
	missing := map[string]time.Time{} // nodes unknown to gossip, and since when
	for ctx.Err() == nil {
		changed, roles := r.pool.Changed(), r.node.Changed()
		wait := reconcileInterval
		if err := r.reconcile(ctx, missing); err != nil && ctx.Err() == nil {
			wait = reconcileRetry
			if !errors.Is(err, errUnfinished) {
				r.logger.Warn("bringing the catalog in line with gossip", "error", err)
				wait = 5 * reconcileRetry
			}
		}
		if len(missing) > 0 {
			wait = min(wait, r.reapAfter/4)
		}
		if r.failing {
			wait = min(wait, r.deadAfter/4)
		}
		r.wait(ctx, wait, changed, roles)
	}
}

func (r *reconciler) wait(ctx context.Context, d time.Duration, changed, roles <-chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	select {
	case <-ctx.Done():
	case <-changed:
	case <-roles:
	case <-r.nudge:
	}
}

// errUnfinished says that a further round is due soon, without anything wrong.
var errUnfinished = errors.New("not finished yet")

func (r *reconciler) reconcile(ctx context.Context, missing map[string]time.Time) error {
	if _, err := r.node.ReadIndex(ctx, core.ReadUnderLease); err != nil {
		return err
	}
	members := r.pool.Members()
	doubted := r.doubted(ctx, members)
	var errs []error
	known := make(map[string]bool, len(members))
	for _, m := range members {
		known[m.Name] = true
		if doubted[m.Name] {
			errs = append(errs, errUnfinished)
			continue
		}
		if err := r.reconcileNode(ctx, m); err != nil {
			errs = append(errs, fmt.Errorf("node %s: %w", m.Name, err))
		}
	}
	errs = append(errs, r.reap(ctx, known, missing), r.setAutopilot(ctx), r.writeEntries(ctx), r.reconcileQuorum(ctx, members))
	r.met = make(map[string]gossip.Status, len(members))
	for _, m := range members {
		r.met[m.Name] = m.Status
	}
	return errors.Join(errs...)
}

// reconcileNode brings the catalog's node of one member in line with it.
func (r *reconciler) reconcileNode(ctx context.Context, m gossip.Member) error {
	view := r.store.View()
	old := view.Node(m.Name)
	switch m.Status {
	case gossip.StatusAlive:
		if err := r.makeRoom(ctx, view, old, m); err != nil {
			return err
		}
		if old != nil && old.ID != "" && old.ID != m.ID {
			old = nil
		}
		return r.apply(ctx, r.registration(old, m, catalog.StatusPassing, aliveOutput))
	case gossip.StatusFailed:
		if old != nil && old.ID != "" && old.ID != m.ID {
			return nil // the name has moved on
		}
		return r.apply(ctx, r.registration(old, m, catalog.StatusCritical, failedOutput))
	case gossip.StatusLeft:
		if old == nil || old.ID != m.ID || core.ServerID(m.ID) == r.self {
			return nil
		}
		r.logger.Info("node left", "node", m.Name)
		return r.apply(ctx, &catalog.Deregister{Node: m.Name})
	}
	return nil // leaving: wait for how it ends
}

// makeRoom takes away what stands in the way of a live member in the catalog:
// another machine's entry under its name, or its own entry under a former name.
// Gossip has already refused a member whose name or ID a live one holds.
func (r *reconciler) makeRoom(ctx context.Context, view *state.View, old *catalog.Node, m gossip.Member) error {
	if old != nil && old.ID != "" && old.ID != m.ID {
		r.logger.Info("node name has moved to another machine", "node", m.Name, "old_id", old.ID, "id", m.ID)
		if err := r.apply(ctx, &catalog.Deregister{Node: m.Name}); err != nil {
			return err
		}
	}
	if former := view.NodeByID(m.ID); former != nil && former.Node != m.Name {
		r.logger.Info("node has a new name", "old_node", former.Node, "node", m.Name, "id", m.ID)
		return r.apply(ctx, &catalog.Deregister{Node: former.Node})
	}
	return nil
}

// registration is the leader's command for a member: its node, its serfHealth
// check, and on a server the service by which servers are found. What the
// member's own agent says of the node (metadata, further addresses) is kept.
func (r *reconciler) registration(old *catalog.Node, m gossip.Member, status, output string) *catalog.Register {
	node := catalog.Node{ID: m.ID, Node: m.Name, Address: m.Addr, Datacenter: m.Tags["dc"]}
	if old != nil {
		node.TaggedAddresses, node.Meta, node.Locality = old.TaggedAddresses, old.Meta, old.Locality
	}
	cmd := &catalog.Register{
		Node: node,
		Checks: []catalog.Check{{
			Node: m.Name, CheckID: catalog.SerfHealth, Name: catalog.SerfHealthName,
			Status: status, Output: output,
		}},
	}
	cmd.Checks[0].Share()
	if m.Server && status == catalog.StatusPassing {
		cmd.Service = serversEntry(m)
	}
	return cmd
}

// serversEntry is the instance of the "consul" service that stands for a server.
func serversEntry(m gossip.Member) *catalog.Service {
	_, port, _ := net.SplitHostPort(m.ClusterAddr)
	n, _ := strconv.Atoi(port)
	return &catalog.Service{
		ID: serversService, Service: serversService, Port: n,
		Tags:    []string{},
		Weights: catalog.Weights{Passing: 1, Warning: 1},
		Meta: map[string]string{
			"non_voter":             "false",
			"raft_version":          m.Tags["raft_vsn"],
			"read_replica":          "false",
			"serf_protocol_current": strconv.Itoa(int(m.ProtocolCur)),
			"serf_protocol_max":     strconv.Itoa(int(m.ProtocolMax)),
			"serf_protocol_min":     strconv.Itoa(int(m.ProtocolMin)),
			"version":               version(m.Build),
		},
	}
}

// reap removes nodes that the leader keeps (they have a serfHealth check) but
// that gossip has forgotten.
func (r *reconciler) reap(ctx context.Context, known map[string]bool, missing map[string]time.Time) error {
	var errs []error
	gone := map[string]bool{}
	view := r.store.View()
	for _, n := range view.Nodes() {
		if known[n.Node] || !hasCheck(view.NodeChecks(n.Node), catalog.SerfHealth) {
			continue
		}
		gone[n.Node] = true
		since, seen := missing[n.Node]
		if last, met := r.met[n.Node]; met && last != gossip.StatusAlive {
			since, seen = time.Time{}, true // it has been declared gone, and is not just unknown
		}
		switch {
		case !seen:
			missing[n.Node] = time.Now()
		case time.Since(since) >= r.reapAfter:
			r.logger.Info("node is no longer in gossip; removing it", "node", n.Node)
			errs = append(errs, r.apply(ctx, &catalog.Deregister{Node: n.Node}))
		}
	}
	maps.DeleteFunc(missing, func(name string, _ time.Time) bool { return !gone[name] })
	return errors.Join(errs...)
}

func hasCheck(checks []*catalog.Check, id string) bool {
	return slices.ContainsFunc(checks, func(c *catalog.Check) bool { return c.CheckID == id })
}

// reconcileQuorum makes at most one change of membership.
func (r *reconciler) reconcileQuorum(ctx context.Context, members []gossip.Member) error {
	var unfinished, refused error
	status := r.node.Status()
	due, early := r.withoutEarly(slices.Concat(votersWithoutLog(status), changesDue(r.self, status.Config, members), r.deadServers(members)))
	if early {
		unfinished = errUnfinished
	}
	for _, change := range due {
		unfinished = errUnfinished
		switch err := r.node.Change(ctx, change); {
		case err == nil:
			r.logger.Info("quorum changed", "change", describe(change))
			return errUnfinished // what else is due is computed afresh
		case errors.Is(err, core.ErrNotCaughtUp):
			continue
		case errors.Is(err, core.ErrNoQuorumAfter):
			refused = fmt.Errorf("change the quorum (%s): %w", describe(change), err)
		case errors.Is(err, core.ErrChangePending):
			return errUnfinished
		default:
			return fmt.Errorf("change the quorum (%s): %w", describe(change), err)
		}
	}
	if refused != nil {
		return refused
	}
	return unfinished
}

// changesDue are the steps, any of which may come first, from the configuration
// in force to one whose voters are the live servers of gossip. One that left
// goes. A server that failed stays: it may come back, and without it a majority
// means something else; when it goes all the same is for cleanup to say.
func changesDue(self core.ServerID, cfg core.Configuration, members []gossip.Member) []core.Change {
	current := map[core.ServerID]core.Server{}
	for _, s := range cfg.Servers {
		current[s.ID] = s
	}
	alive := map[core.ServerID]bool{}
	for _, m := range members {
		if m.Server && m.Status == gossip.StatusAlive {
			alive[core.ServerID(m.ID)] = true
		}
	}
	var due []core.Change
	for _, m := range members {
		id := core.ServerID(m.ID)
		s, in := current[id]
		switch {
		case in && m.Server && m.Status == gossip.StatusLeft && !alive[id] && id != self:
			due = append(due, core.Change{Kind: core.RemoveServer, ID: id})
		case !m.Server || m.Status != gossip.StatusAlive:
		case !in:
			due = append(due, core.Change{Kind: core.AddLearner, ID: id, Addr: m.ClusterAddr})
		case s.Addr != m.ClusterAddr:
			due = append(due, core.Change{Kind: core.UpdateAddr, ID: id, Addr: m.ClusterAddr})
		case s.Suffrage == core.Learner:
			due = append(due, core.Change{Kind: core.PromoteVoter, ID: id})
		}
	}
	slices.SortFunc(due, func(a, b core.Change) int { return strings.Compare(string(a.ID), string(b.ID)) })
	if change, ok := timingDue(cfg, members); ok {
		due = append(due, change)
	}
	return due
}

// timingDue brings the replicated times of consensus in line with
// performance.raft_multiplier, once all live servers announce the same one. While
// they differ, as in a rolling restart, the times stay as they are, whoever leads.
func timingDue(cfg core.Configuration, members []gossip.Member) (core.Change, bool) {
	multiplier := 0
	for _, m := range members {
		switch {
		case !m.Server || m.Status != gossip.StatusAlive:
		case multiplier != 0 && m.RaftMultiplier != multiplier:
			return core.Change{}, false
		default:
			multiplier = m.RaftMultiplier
		}
	}
	want := core.DefaultTiming().Scaled(multiplier)
	return core.Change{Kind: core.SetTiming, Timing: want}, multiplier > 0 && cfg.Timing != want
}

// votersWithoutLog are the changes that make learners of voters that came back
// with another log than the one that their vote belongs to. As learners they
// catch up, and are promoted like new ones.
func votersWithoutLog(status consensus.Status) (due []core.Change) {
	for _, p := range status.Progress {
		if p.OtherLog != 0 {
			due = append(due, core.Change{Kind: core.DemoteVoter, ID: p.ID})
		}
	}
	return due
}

func describe(c core.Change) string {
	switch c.Kind {
	case core.AddLearner:
		return fmt.Sprintf("add %s at %s as a learner", c.ID, c.Addr)
	case core.PromoteVoter:
		return fmt.Sprintf("make %s a voter", c.ID)
	case core.SetTiming:
		return fmt.Sprintf("election timeout from %v", time.Duration(c.Timing.ElectionMin))
	case core.RemoveServer:
		return fmt.Sprintf("remove %s", c.ID)
	case core.DemoteVoter:
		return fmt.Sprintf("make %s a learner", c.ID)
	case core.UpdateAddr:
		return fmt.Sprintf("%s is now at %s", c.ID, c.Addr)
	default:
		return fmt.Sprintf("change %d of %s", c.Kind, c.ID)
	}
}

// apply proposes a command unless it would change nothing.
func (r *reconciler) apply(ctx context.Context, cmd catalog.Command) error {
	if preview := r.store.Preview(cmd); !preview.Changed {
		return preview.Err
	}
	result, err := r.propose(ctx, cmd)
	return errors.Join(err, result.Err)
}

// version is the release in a member's build tag, which adds details after a colon.
func version(build string) string {
	v, _, _ := strings.Cut(build, ":")
	return v
}
