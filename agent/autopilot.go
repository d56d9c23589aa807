package agent

import (
	"context"
	"fmt"
	"slices"
	"time"

	"muster/catalog"
	"muster/consensus"
	"muster/consensus/core"
	"muster/gossip"
)

// defaultDeadAfter is how long a server that gossip says has failed must have
// been silent in Raft, under one leader, before that leader takes it for dead.
const defaultDeadAfter = 10 * time.Second

// leastBeats is how many heartbeats a server may miss, whatever is set: with a
// high raft_multiplier they come less often than LastContactThreshold by default.
const leastBeats = 4

// unfit is why a server is not healthy, "" where it is: what consensus says,
// what gossip says, and what is beyond the limits that are set. What is only late
// is for those limits alone to judge.
func unfit(s consensus.ServerHealth, status gossip.Status, limits catalog.Autopilot, beat time.Duration) string {
	silence := max(limits.LastContactThreshold, leastBeats*beat)
	switch {
	case s.Trouble != "" && !s.Late:
		return s.Trouble
	case status != gossip.StatusAlive:
		return "gossip says: " + status.String()
	case s.Contact > silence:
		return fmt.Sprintf("it has not answered for %v, longer than %v", s.Contact.Round(10*time.Millisecond), silence)
	case s.Lacks > limits.MaxTrailingLogs:
		return fmt.Sprintf("it lacks %d entries, more than %d", s.Lacks, limits.MaxTrailingLogs)
	}
	return ""
}

// cleanup gives the changes, any of which may come first, that take dead servers
// out of the configuration, as far as the cluster can then bear more failures:
// where a majority of those who remain is smaller. With one of three servers dead
// nothing is gained, and it stays: when it comes back it may be needed. A learner
// counts in no majority and just goes.
func cleanup(h consensus.Health, limits catalog.Autopilot, dead func(consensus.ServerHealth) bool) (due []core.Change) {
	if !limits.CleanupDeadServers || h.Sound < h.Quorum {
		return nil
	}
	voters := 0
	var lost []core.Change
	for _, s := range h.Servers {
		if s.Suffrage == core.Voter {
			voters++
		}
		switch {
		case !dead(s):
		case s.Suffrage == core.Voter:
			lost = append(lost, core.Change{Kind: core.RemoveServer, ID: s.ID})
		default:
			due = append(due, core.Change{Kind: core.RemoveServer, ID: s.ID})
		}
	}
	for n := len(lost); n > 0; n-- {
		if left := voters - n; left/2+1 < h.Quorum && uint64(left) >= limits.MinQuorum {
			return append(due, lost[:n]...)
		}
	}
	return due
}

// deadServers are the changes that cleanup asks for now. It notes whether a
// server is on its way to be dead.
func (r *reconciler) deadServers(members []gossip.Member) []core.Change {
	health, leads := r.node.Health()
	r.failing = false
	if !leads {
		return nil
	}
	return cleanup(health, r.store.View().Autopilot(), func(s consensus.ServerHealth) bool {
		after := r.reapAfter // for one that gossip knows nothing of
		for _, m := range members {
			if m.ID != string(s.ID) {
				continue
			}
			if _, answers := r.doubts[m.Name]; answers || m.Status != gossip.StatusFailed {
				return false
			}
			after = r.deadAfter
		}
		if s.Leader || s.Trouble == "" {
			return false
		}
		r.failing = true
		return s.Contact >= after
	})
}

// setAutopilot gives a cluster without an autopilot configuration that of this
// server's files. From then on it is the cluster's.
func (r *reconciler) setAutopilot(ctx context.Context) error {
	if r.autopilot == nil {
		return nil
	}
	return r.apply(ctx, &catalog.SetAutopilot{Autopilot: *r.autopilot, CAS: true})
}

// mayVote says whether a learner has been healthy for long enough to get a vote.
func (r *reconciler) mayVote(id core.ServerID) bool {
	wait := r.store.View().Autopilot().ServerStabilizationTime
	if wait == 0 {
		return true
	}
	since, healthy := r.healthySince(id)
	return healthy && time.Since(since) >= wait
}

// withoutEarly leaves the promotions out that come too early. It says whether
// there were any.
func (r *reconciler) withoutEarly(due []core.Change) (now []core.Change, early bool) {
	now = slices.DeleteFunc(due, func(c core.Change) bool { return c.Kind == core.PromoteVoter && !r.mayVote(c.ID) })
	return now, len(now) < len(due)
}
