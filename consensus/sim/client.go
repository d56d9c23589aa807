package sim

import (
	"errors"

	"muster/consensus"
	"muster/consensus/core"
)

// client does one operation after the other, on the server that it believes to
// be the leader, at times on any.
type client struct {
	sim *Sim
	at  *server // where it turned to last
}

// call is one operation under way. It implements consensus.Waiter.
type call struct {
	client *client
	server *server
	life   int
	op     uint64 // 0 for a read
	floor  uint64 // checker's floor when it began
	over   bool   // answered, or given up
}

func (c *client) think() {
	c.sim.after(c.sim.around(c.sim.plan.Think), c.act)
}

func (c *client) act() {
	s := c.choose()
	if s == nil {
		c.think()
		return
	}
	k := &call{client: c, server: s, life: s.life, floor: c.sim.check.floor}
	if c.sim.chance(0.3) {
		s.in.Reads = append(s.in.Reads, k)
	} else {
		c.sim.ops++
		k.op = c.sim.ops
		data := command(k.op, c.sim.rand.IntN(c.sim.plan.Padding+1))
		s.in.Proposals = append(s.in.Proposals, consensus.Proposal{Data: data, Waiter: k})
	}
	c.sim.trace("call op=%d on %s floor=%d", k.op, s.id, k.floor)
	s.wake()
	c.sim.after(c.sim.between(300*millisecond, 2*second), func() { k.giveUp() })
}

// choose turns to a leader, if there is one that the client can see, but now and
// then to any server that is up.
func (c *client) choose() *server {
	if c.at != nil && c.at.engine != nil && c.sim.chance(0.7) {
		return c.at
	}
	var up []*server
	for _, s := range c.sim.servers {
		if s.engine == nil {
			continue
		}
		up = append(up, s)
		if leads, _ := s.engine.Leads(); leads && c.sim.chance(0.7) {
			c.at = s
			return s
		}
	}
	if len(up) == 0 {
		return nil
	}
	c.at = up[c.sim.rand.IntN(len(up))]
	return c.at
}

// giveUp ends the client's waiting; what becomes of the operation it won't know.
func (k *call) giveUp() {
	if k.over {
		return
	}
	k.over = true
	k.client.sim.trace("gave up op=%d", k.op)
	if k.op != 0 {
		k.client.sim.met(GaveUp)
	}
	k.client.think()
}

// Done implements consensus.Waiter.
func (k *call) Done(r consensus.Result) {
	sim := k.client.sim
	sim.trace("answer op=%d id=%d/%d err=%v", k.op, r.ID.Term, r.ID.Index, r.Err)
	switch {
	case k.server.engine == nil || k.server.life != k.life:
		return // the process that would have answered is gone
	case k.op != 0:
		k.wrote(r)
	case r.Err == nil:
		sim.check.read(k.server, k.server.machine.state, k.floor)
		sim.met(ReadAnswered)
		if leads, _ := k.server.engine.Leads(); !leads {
			sim.met(FollowerRead)
		}
	}
	if r.Err != nil && k.client.at == k.server {
		k.client.at = nil
	}
	if !k.over {
		k.over = true
		k.client.think()
	}
}

func (k *call) wrote(r consensus.Result) {
	sim := k.client.sim
	switch {
	case r.Err == nil && !k.over:
		sim.check.wrote(k.op, r.ID, r.Value, k.floor)
		sim.met(WriteAnswered)
		sim.progress = r.ID.Index
	case r.Err == nil:
	case errors.Is(r.Err, consensus.ErrUnknown):
		sim.met(OutcomeUnknown)
	default:
		sim.check.denied(k.op)
		if r.ID.Index > 0 && errors.Is(r.Err, core.ErrLeadershipLost) {
			sim.met(RolledBack)
		}
	}
}
