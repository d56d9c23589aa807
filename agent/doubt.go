package agent

import (
	"context"
	"time"

	"muster/catalog"
	"muster/gossip"
)

// defaultDoubtFor is for how long a leader believes its own probe more than
// gossip. By then a member that lives has contradicted, or joined again.
const defaultDoubtFor = time.Minute

// doubted gives the members, by name, that gossip says have failed just now but
// that answer this leader: one busy or badly connected agent shall not be able to
// take others' services away. Each is doubted for doubtFor at most.
func (r *reconciler) doubted(ctx context.Context, members []gossip.Member) map[string]bool {
	view := r.store.View()
	before := r.doubts
	r.doubts = map[string]time.Time{}
	var failing []gossip.Member
	for _, m := range members {
		if m.Status != gossip.StatusFailed {
			continue
		}
		if since, asked := before[m.Name]; asked {
			r.doubts[m.Name] = since
			if time.Since(since) >= r.doubtFor {
				continue
			}
		}
		for _, c := range view.NodeChecks(m.Name) {
			if c.CheckID == catalog.SerfHealth && c.Status == catalog.StatusPassing {
				failing = append(failing, m)
			}
		}
	}
	if len(failing) == 0 {
		return nil
	}
	answered := r.ask(ctx, failing)
	for name := range answered {
		if _, again := r.doubts[name]; !again {
			r.doubts[name] = time.Now()
			r.contradictions.Inc()
			r.logger.Warn("gossip says that a node has failed, but it answers this server; it stays as it is for now", "node", name)
		}
	}
	return answered
}
