package agent

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"muster/api/operatorapi"
	"muster/catalog"
	"muster/consensus"
	"muster/consensus/core"
	"muster/gossip"
)

// removeWait bounds taking a server out of the configuration, which takes as
// long as a majority of the others needs to store that.
const removeWait = 5 * time.Second

// quorumAPI is what the routes below /v1/status and /v1/operator see of Raft: it
// implements operatorapi.Quorum.
type quorumAPI struct{ agent *Agent }

// LeaderAddr implements operatorapi.Quorum.
func (q quorumAPI) LeaderAddr() string { return q.agent.quorum.LeaderAddr() }

// Peers implements operatorapi.Quorum.
func (q quorumAPI) Peers() []string {
	var out []string
	for _, s := range q.agent.quorum.node.Status().Config.Servers {
		if s.Suffrage == core.Voter {
			out = append(out, s.Addr)
		}
	}
	return out
}

// Configuration implements operatorapi.Quorum.
func (q quorumAPI) Configuration() ([]operatorapi.Server, uint64) {
	status := q.agent.quorum.node.Status()
	match := map[core.ServerID]uint64{status.ID: status.LastIndex}
	for _, p := range status.Progress {
		match[p.ID] = p.Match
	}
	var out []operatorapi.Server
	for _, s := range status.Config.Servers {
		out = append(out, operatorapi.Server{
			ID: string(s.ID), Node: q.nodeName(s.ID), Address: s.Addr, Leader: s.ID == status.Leader,
			ProtocolVersion: "3", Voter: s.Suffrage == core.Voter, LastIndex: match[s.ID],
		})
	}
	return out, status.ConfigIndex
}

// nodeName gives a server's node name.
func (q quorumAPI) nodeName(id core.ServerID) string {
	return cmp.Or(q.member(id).Name, "(unknown)")
}

// member is what gossip knows of a server; without a name if nothing. Of several
// members with its ID it is the one that lives.
func (q quorumAPI) member(id core.ServerID) (found gossip.Member) {
	for _, m := range q.agent.pool.Members() {
		if m.ID == string(id) && (found.Name == "" || m.Status == gossip.StatusAlive) {
			found = m
		}
	}
	return found
}

// errLeadsNoLonger has a request passed on to whoever leads now.
var errLeadsNoLonger = catalog.Errorf(catalog.Unavailable, "%v", core.ErrNotLeader)

// Health implements operatorapi.Quorum.
func (q quorumAPI) Health() ([]operatorapi.ServerHealth, error) {
	health, leads := q.agent.quorum.node.Health()
	if !leads {
		return nil, errLeadsNoLonger
	}
	reasons := q.reasons(health)
	since := q.agent.steady.note(reasons, time.Now())
	view := q.agent.quorum.store.View()
	out := []operatorapi.ServerHealth{}
	for _, s := range health.Servers {
		m := q.member(s.ID)
		one := operatorapi.ServerHealth{
			ID: string(s.ID), Name: q.nodeName(s.ID), Address: s.Addr, SerfStatus: m.Status.String(), Version: version(m.Build),
			Leader: s.Leader, LastContact: s.Contact, LastTerm: s.Last.Term, LastIndex: s.Last.Index,
			Voter: s.Suffrage == core.Voter, Reason: reasons[s.ID], StableSince: since[s.ID], Meta: map[string]string{},
		}
		if n := view.NodeByID(string(s.ID)); n != nil {
			maps.Copy(one.Meta, n.Meta)
		}
		out = append(out, one)
	}
	return out, nil
}

// reasons are why servers are not healthy, "" for those that are.
func (q quorumAPI) reasons(health consensus.Health) map[core.ServerID]string {
	out := map[core.ServerID]string{}
	limits := q.agent.quorum.store.View().Autopilot()
	beat := time.Duration(q.agent.quorum.node.Status().Config.Timing.Heartbeat)
	for _, s := range health.Servers {
		out[s.ID] = unfit(s, q.member(s.ID).Status, limits, beat)
	}
	return out
}

// StopSafe implements operatorapi.Quorum.
func (q quorumAPI) StopSafe() ([]operatorapi.StopSafe, error) {
	health, leads := q.agent.quorum.node.Health()
	if !leads {
		return nil, errLeadsNoLonger
	}
	all := []operatorapi.StopSafe{}
	for _, s := range health.Servers {
		safe, reason := health.StopSafe(s.ID, q.nodeName)
		all = append(all, operatorapi.StopSafe{ID: string(s.ID), Node: q.nodeName(s.ID), Safe: safe, Reason: reason})
	}
	return all, nil
}

// TransferLeadership implements operatorapi.Quorum.
func (q quorumAPI) TransferLeadership(ctx context.Context, id string) error {
	return operatorError(q.agent.quorum.node.TransferLeadership(ctx, core.ServerID(id)))
}

// RemovePeer implements operatorapi.Quorum.
func (q quorumAPI) RemovePeer(ctx context.Context, id string) error {
	health, leads := q.agent.quorum.node.Health()
	if !leads {
		return errLeadsNoLonger
	}
	if safe, reason := health.RemoveSafe(core.ServerID(id), q.nodeName); !safe {
		return catalog.Errorf(catalog.Conflict, "server %s stays, or the cluster could commit nothing any more: %s", q.nodeName(core.ServerID(id)), reason)
	}
	ctx, cancel := context.WithTimeout(ctx, removeWait)
	defer cancel()
	return operatorError(q.agent.quorum.node.Change(ctx, core.Change{Kind: core.RemoveServer, ID: core.ServerID(id)}))
}

// operatorError gives an error of a change or transfer its kind.
func operatorError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, consensus.ErrUnknown):
		return catalog.Wrap(catalog.Unknown, err)
	case errors.Is(err, core.ErrNotLeader), errors.Is(err, core.ErrTransferring), errors.Is(err, consensus.ErrStopped):
		return catalog.Wrap(catalog.Unavailable, err)
	case errors.Is(err, core.ErrNoQuorumAfter):
		return catalog.Wrap(catalog.Conflict, err)
	default:
		return catalog.Wrap(catalog.Internal, err)
	}
}

// steadyEvery is how often the leader looks how the servers are.
const steadyEvery = time.Second

// steady remembers since when each server has been healthy or not, while this
// server leads.
type steady struct {
	mu    sync.Mutex
	since map[core.ServerID]steadiness
}

type steadiness struct {
	healthy bool
	at      time.Time
}

// note takes in how the servers are now and gives since when they have been.
func (s *steady) note(reasons map[core.ServerID]string, now time.Time) map[core.ServerID]time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since == nil {
		s.since = map[core.ServerID]steadiness{}
	}
	maps.DeleteFunc(s.since, func(id core.ServerID, _ steadiness) bool { _, in := reasons[id]; return !in })
	out := map[core.ServerID]time.Time{}
	for id, reason := range reasons {
		was, known := s.since[id]
		if healthy := reason == ""; !known || was.healthy != healthy {
			was = steadiness{healthy, now}
			s.since[id] = was
		}
		out[id] = was.at
	}
	return out
}

// healthySince says since when a server has been healthy, as far as that was
// looked at.
func (s *steady) healthySince(id core.ServerID) (since time.Time, healthy bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	is := s.since[id]
	return is.at, is.healthy
}

// keepSteady looks how the servers are until ctx ends, as it does with this
// server's leadership, and logs what changes.
func (a *Agent) keepSteady(ctx context.Context) {
	a.steady.note(nil, time.Now()) // what an earlier leadership knew is out of date
	q, was := quorumAPI{a}, map[core.ServerID]string{}
	// A leader that has just been elected is about to learn how far the others are.
	for waitFor(ctx, steadyEvery, nil, nil); ctx.Err() == nil; waitFor(ctx, steadyEvery, nil, nil) {
		health, leads := a.quorum.node.Health()
		if leads {
			reasons := q.reasons(health)
			a.steady.note(reasons, time.Now())
			for _, id := range slices.Sorted(maps.Keys(reasons)) {
				switch healthy, before := reasons[id] == "", was[id] == ""; {
				case before && !healthy:
					a.logger.Warn("server is not healthy", "server", q.nodeName(id), "reason", reasons[id], "tolerates", health.Tolerance())
				case !before && healthy:
					a.logger.Info("server is healthy again", "server", q.nodeName(id), "tolerates", health.Tolerance())
				}
			}
			was = reasons
		}
	}
}
