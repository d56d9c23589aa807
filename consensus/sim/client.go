package sim

import (
	"errors"

	"muster/consensus"
	"muster/consensus/core"
)

// opKind is what an operation does to its register.
type opKind byte

const (
	read opKind = iota
	write
	compareAndSet
)

// readMode is a way to read.
type readMode struct {
	name string
	met  Situation
	ask  func(k *call)
}

// readModes lists the ways to read that must be linearizable under the faults
// of a plan.
func (p *Plan) readModes() []readMode {
	byRound := readMode{"by a round", ReadAnswered, func(k *call) { k.server.in.Confirms = append(k.server.in.Confirms, k) }}
	if !p.clocksAgree() {
		return []readMode{byRound}
	}
	return []readMode{byRound, {"under a lease", ReadAnswered, askUnderLease}}
}

// askUnderLease asks as consensus.Node does: at once if that can be, else by a
// Turn.
func askUnderLease(k *call) {
	s, sim := k.server, k.client.sim
	if s.paused {
		s.stopped = append(s.stopped, k) // it was about to look when everything stopped
		return
	}
	if index, ok := s.engine.ReadNow(s.clock); ok {
		sim.met(ReadUnderLease)
		k.Done(consensus.Result{ID: core.EntryID{Index: index}})
		return
	}
	if leads, _ := s.engine.Leads(); leads && !s.engine.Leased(s.clock()) {
		sim.met(LeaseRefused)
	}
	s.in.Reads = append(s.in.Reads, k)
}

// client does one operation after the other, on the server that it believes to
// be the leader, at times on any.
type client struct {
	sim    *Sim
	number int
	dice
	at    *server  // where it turned to last
	plans int      // counts what it planned to do; only the newest plan is acted on
	busy  bool     // an operation is under way
	known []uint64 // by key, the index that it saw last
}

// call is one operation under way. It implements consensus.Waiter.
type call struct {
	command
	client *client
	server *server
	life   int
	mode   readMode
	past   int    // its place in the history
	floor  uint64 // checker's floor when it began
	asked  any    // of the passenger
	over   bool   // answered, or given up
}

// think plans the next operation: soon under load, else after a while.
func (c *client) think() {
	mean := c.sim.plan.Think
	if c.sim.now >= c.sim.busyUntil {
		mean = 100*mean + c.sim.plan.scaled(second)
	}
	c.plans++
	plan := c.plans
	c.sim.after(c.around(mean), func() {
		if plan == c.plans {
			c.act()
		}
	})
}

// hurry plans anew, now that there is load.
func (c *client) hurry() {
	if !c.busy {
		c.think()
	}
}

func (c *client) act() {
	s := c.choose()
	if s == nil {
		c.think()
		return
	}
	sim := c.sim
	k := &call{client: c, server: s, life: s.life, floor: sim.check.floor}
	k.key = (c.number + c.IntN(2)) % sim.plan.Keys
	switch x := c.Float64(); {
	case x < 0.3:
		modes := sim.plan.readModes()
		k.mode = modes[c.IntN(len(modes))]
		if sim.passenger != nil {
			k.asked = sim.passenger.Asked()
		}
	case x < 0.5:
		k.kind, k.expect = compareAndSet, c.known[k.key]
	default:
		k.kind = write
	}
	if k.kind != read {
		sim.ops++
		k.op = sim.ops
	}
	c.busy = true
	k.past = sim.history.begin(k, sim.now)
	if sim.mark(markCall, k.op, uint64(k.kind), uint64(k.key), ordinal(s.id), k.floor) {
		sim.print("call client=%d op=%d kind=%d key=%d expect=%d on %s floor=%d", c.number, k.op, k.kind, k.key, k.expect, s.id, k.floor)
	}
	if k.kind == read {
		k.mode.ask(k)
	} else {
		s.in.Proposals = append(s.in.Proposals, consensus.Proposal{Data: k.encode(c.payload()), Waiter: k})
	}
	s.wake()
	sim.after(sim.plan.scaled(c.between(300*millisecond, 2*second)), func() { k.giveUp() })
}

func (c *client) payload() []byte {
	if p := c.sim.passenger; p != nil {
		return p.Command(c.Rand)
	}
	return make([]byte, c.IntN(c.sim.plan.Padding+1))
}

// choose turns to a leader, if there is one that the client can see, but now and
// then to any server that is up.
func (c *client) choose() *server {
	if c.at != nil && c.at.engine != nil && c.chance(0.7) {
		return c.at
	}
	var up []*server
	for _, s := range c.sim.servers {
		if s.engine == nil {
			continue
		}
		up = append(up, s)
		if leads, _ := s.engine.Leads(); leads && c.chance(0.7) {
			c.at = s
			return s
		}
	}
	if len(up) == 0 {
		return nil
	}
	c.at = up[c.IntN(len(up))]
	return c.at
}

// giveUp ends the client's waiting; what becomes of the operation it won't know.
func (k *call) giveUp() {
	if k.over {
		return
	}
	k.client.sim.trace("gave up client=%d op=%d", k.client.number, k.op)
	if k.op != 0 {
		k.client.sim.met(GaveUp)
	}
	k.end()
}

func (k *call) end() {
	k.over = true
	k.client.busy = false
	k.client.think()
}

// Done implements consensus.Waiter.
func (k *call) Done(r consensus.Result) {
	sim := k.client.sim
	if sim.mark(markAnswer, k.op, r.ID.Term, r.ID.Index, truth(r.Err == nil)) {
		sim.print("answer client=%d op=%d id=%d/%d err=%v", k.client.number, k.op, r.ID.Term, r.ID.Index, r.Err)
	}
	if k.server.engine == nil || k.server.life != k.life {
		return // the process that would have answered is gone
	}
	if k.kind == read {
		k.saw(r)
	} else {
		k.wrote(r)
	}
	if r.Err != nil && k.client.at == k.server {
		k.client.at = nil
	}
	if !k.over {
		k.end()
	}
}

// saw takes the answer to a read: what the server's machine holds now.
func (k *call) saw(r consensus.Result) {
	sim := k.client.sim
	if r.Err != nil || k.over {
		sim.history.drop(k)
		return
	}
	m := k.server.machine
	sim.check.read(k.server, m.state, k.floor)
	sim.history.saw(k, m.registers[k.key], sim.now)
	k.client.known[k.key] = m.registers[k.key].index
	if sim.passenger != nil {
		sim.passenger.Answered(k.server.number, k.asked)
	}
	sim.met(k.mode.met)
	if leads, _ := k.server.engine.Leads(); !leads {
		sim.met(FollowerRead)
	}
}

func (k *call) wrote(r consensus.Result) {
	sim := k.client.sim
	switch {
	case r.Err == nil && !k.over:
		got, ok := r.Value.(outcome)
		if !ok {
			sim.check.fail("operation %d: result %v is none of a command", k.op, r.Value)
			return
		}
		sim.check.wrote(k.op, r.ID, got.count, k.floor)
		sim.history.wrote(k, got, r.ID.Index, sim.now)
		sim.met(WriteAnswered)
		if k.kind == compareAndSet {
			sim.met([2]Situation{CompareFailed, CompareSucceeded}[truth(got.done)])
		}
		if got.done {
			k.client.known[k.key] = r.ID.Index
		}
		sim.progress = r.ID.Index
	case r.Err == nil:
	case errors.Is(r.Err, consensus.ErrUnknown):
		sim.met(OutcomeUnknown)
	default:
		sim.check.denied(k.op)
		sim.history.drop(k)
		if errors.Is(r.Err, core.ErrDiskFull) {
			sim.met(RefusedForRoom)
		}
		if r.ID.Index > 0 && errors.Is(r.Err, core.ErrLeadershipLost) {
			sim.met(RolledBack)
		}
	}
}
