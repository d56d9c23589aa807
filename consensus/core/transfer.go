package core

import "fmt"

// transfer is a hand-over of leadership (dissertation §3.10): the leader stops
// taking proposals, brings its successor's log up to its own and tells it to
// stand at once. It ends within one election timeout, whatever happens.
type transfer struct {
	token    uint64
	to       ServerID
	deadline Instant
	told     bool // the successor was told to stand
}

// Transfer asks this server to hand leadership to another voter, or to the most
// advanced one if to is "". Its Outcome comes by token when it has ended: with
// Err nil this server leads no longer and the successor has stood for election.
func (c *Core) Transfer(now Instant, token uint64, to ServerID) {
	c.advance(now)
	target, err := c.transferTarget(to)
	switch {
	case err != nil:
		c.out.Outcomes = append(c.out.Outcomes, Outcome{Token: token, Err: err})
	case target == c.cfg.ID:
		c.out.Outcomes = append(c.out.Outcomes, Outcome{Token: token})
	default:
		c.lead.transfer = &transfer{token: token, to: target, deadline: c.now.Add(c.timing().ElectionMax)}
	}
}

func (c *Core) transferTarget(to ServerID) (ServerID, error) {
	switch {
	case c.lead == nil:
		return "", ErrNotLeader
	case c.lead.transfer != nil:
		return "", ErrTransferring
	case to == "":
		best := c.bestSuccessor()
		if best == nil {
			return "", fmt.Errorf("%w: no other voter answers", ErrNotCaughtUp)
		}
		return best.id, nil
	case !c.config().IsVoter(to):
		return "", fmt.Errorf("transfer to %q: %w as a voter", to, ErrUnknownServer)
	}
	return to, nil
}

// bestSuccessor is the reachable voter with the longest proven log; nil if there
// is none.
func (c *Core) bestSuccessor() *progress {
	var best *progress
	for _, pr := range c.lead.progress {
		reachable := pr.state == Replicate && !pr.full && c.now.Sub(pr.contact) < c.timing().ElectionMax
		if reachable && c.config().IsVoter(pr.id) && (best == nil || pr.match > best.match) {
			best = pr
		}
	}
	return best
}

// pushTransfer tells the successor to stand as soon as it has the whole log.
func (c *Core) pushTransfer() {
	t := c.lead.transfer
	if t == nil || t.told {
		return
	}
	if pr := c.lead.find(t.to); pr.match == c.log.last {
		t.told, c.lead.toldOther = true, true
		c.sendReminded(pr, Message{Kind: MsgTimeoutNow})
	}
}

// repeatTimeoutNow is called when a server that was told to stand still follows.
func (c *Core) repeatTimeoutNow(pr *progress) {
	if t := c.lead.transfer; t != nil && t.told && t.to == pr.id {
		c.sendReminded(pr, Message{Kind: MsgTimeoutNow})
	}
}

// abandonTransfer ends a transfer whose time is up; this server leads on.
func (c *Core) abandonTransfer() {
	t := c.lead.transfer
	err := fmt.Errorf("transfer to %q: %w", t.to, ErrTransferFailed)
	if !t.told {
		err = fmt.Errorf("transfer to %q: %w", t.to, ErrNotCaughtUp)
	}
	c.endTransfer(err)
}

// transferVerdict is the outcome of a transfer when leadership ends before its
// deadline: it has succeeded if a new term began after the successor was told.
func (c *Core) transferVerdict(term uint64) error {
	if c.lead.transfer.told && term > c.hard.Term {
		return nil
	}
	return ErrLeadershipLost
}

func (c *Core) endTransfer(err error) {
	c.out.Outcomes = append(c.out.Outcomes, Outcome{Token: c.lead.transfer.token, Err: err})
	c.lead.transfer = nil
}
