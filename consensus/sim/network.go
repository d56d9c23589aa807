package sim

import "muster/consensus/core"

// network carries messages between servers, badly.
type network struct {
	sim *Sim
	// cut[a][b]: what a sends to b is lost.
	cut   map[core.ServerID]map[core.ServerID]bool
	links map[link]dice
	// fine: no loss and no doubles any more.
	fine bool
}

type link struct{ from, to core.ServerID }

// dice gives the stream of chance of the way from one server to another.
func (n *network) dice(from, to core.ServerID) dice {
	l := link{from, to}
	d, ok := n.links[l]
	if !ok {
		d = newDice(n.sim.plan.Seed, string(from)+">"+string(to), 0)
		n.links[l] = d
	}
	return d
}

func (n *network) heal() { n.cut = make(map[core.ServerID]map[core.ServerID]bool) }

// sever cuts the way from a to b.
func (n *network) sever(a, b core.ServerID) {
	if n.cut[a] == nil {
		n.cut[a] = make(map[core.ServerID]bool)
	}
	n.cut[a][b] = true
}

// part cuts both ways between the servers for which side gives true and the
// rest.
func (n *network) part(side func(*server) bool) {
	for _, a := range n.sim.servers {
		for _, b := range n.sim.servers {
			if side(a) != side(b) {
				n.sever(a.id, b.id)
			}
		}
	}
}

// send takes a message from a server. What becomes of it is drawn now; whether
// the way is cut is looked up when it leaves.
func (n *network) send(m core.Message) {
	p := &n.sim.plan
	if n.sim.mark(markSend, ordinal(m.From), ordinal(m.To), uint64(m.Kind), m.Term, m.Prev.Term, m.Prev.Index, uint64(len(m.Entries)), m.Commit, m.Match, truth(m.Reject)) {
		n.sim.print("send %s>%s kind=%d term=%d prev=%d/%d n=%d commit=%d match=%d reject=%v",
			m.From, m.To, m.Kind, m.Term, m.Prev.Term, m.Prev.Index, len(m.Entries), m.Commit, m.Match, m.Reject)
	}
	n.sim.check.sent(m)
	if n.cut[m.From][m.To] {
		n.sim.met(MessageCut)
		return
	}
	d, copies := n.dice(m.From, m.To), 1
	if !n.fine && d.chance(p.Loss) {
		copies = 0
	} else if !n.fine && d.chance(p.Double) {
		copies = 2
	}
	for range copies {
		delay := d.between(p.DelayMin, p.DelayMax)
		if !n.fine && d.chance(p.DelayTail) {
			delay *= 10
		}
		n.sim.after(delay, func() { n.deliver(m) })
	}
}

func (n *network) deliver(m core.Message) {
	if n.cut[m.From][m.To] {
		n.sim.met(MessageCut)
		return
	}
	if to := n.sim.server(m.To); to != nil && to.engine != nil {
		to.in.Messages = append(to.in.Messages, m)
		to.wake()
	}
}
