package agent

import (
	"context"
	"log/slog"

	"muster/catalog"
	"muster/gossip"
)

// usersQuorum is a server's quorum as the requests of users reach it: it
// implements api.Replica. It differs in that it says whose a thing is that was
// taken out of the catalog behind its agent's back: that agent puts it there again,
// and the leader, which is where commands are proposed, the node's own health.
type usersQuorum struct {
	*quorum
	pool   *gossip.Pool
	nudge  chan<- struct{} // has the leader look at once; see reconciler
	logger *slog.Logger
}

// Propose implements api.Replica.
func (q usersQuorum) Propose(ctx context.Context, cmd catalog.Command) (catalog.Result, error) {
	result, err := q.quorum.Propose(ctx, cmd)
	if d, ok := cmd.(*catalog.Deregister); ok && err == nil && result.Changed {
		q.noteOwner(d)
	}
	return result, err
}

func (q usersQuorum) noteOwner(d *catalog.Deregister) {
	for _, m := range q.pool.Members() {
		if m.Status == gossip.StatusAlive && catalog.Fold(m.Name) == catalog.Fold(d.Node) {
			q.logger.Warn("deregistered in the catalog what a living agent keeps there; it will be back soon, unless it is deregistered at that agent",
				"node", m.Name, "agent", m.Addr, "service", d.ServiceID, "check", d.CheckID)
			select {
			case q.nudge <- struct{}{}:
			default: // it has been told already
			}
			return
		}
	}
}
