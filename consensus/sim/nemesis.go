package sim

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"muster/consensus"
	"muster/consensus/core"
	"muster/consensus/wal/memfs"
)

// action is one kind of trouble. do is called with the dice of its step alone.
type action struct {
	name   string
	weight int // how often it is drawn; 0 for what a plan places by itself
	do     func(s *Sim, d dice)
}

// actions lists all trouble there is.
func actions() []action {
	return []action{
		{"load", 0, (*Sim).load},
		{"fill disks", 0, (*Sim).fillDisks},
		{"crash", 2, (*Sim).crashOne},
		{"crash many", 1, (*Sim).crashMany},
		{"pause", 1, func(s *Sim, d dice) { s.target(d).pause(s.plan.scaled(d.between(50*millisecond, second))) }},
		{"stall disk", 1, func(s *Sim, d dice) { s.target(d).stallDisk(d) }},
		{"split", 2, (*Sim).split},
		{"isolate", 1, (*Sim).isolate},
		{"one-way cut", 1, (*Sim).oneWay},
		{"heal", 1, (*Sim).healNet},
		{"change members", 1, (*Sim).changeMembers},
		{"transfer", 1, (*Sim).transfer},
		{"change timing", 1, (*Sim).changeTiming},
		{"old copy", 2, (*Sim).oldCopy},
		{"wipe", 1, (*Sim).wipeOne},
		{"wipe two", 1, (*Sim).wipeTwo},
		{"wipe again", 1, (*Sim).wipeAgain},
	}
}

// drawAction draws a name from actions.
func drawAction(d dice) string {
	sum := 0
	for _, a := range actions() {
		sum += a.weight
	}
	n := d.IntN(sum)
	for _, a := range actions() {
		if n -= a.weight; n < 0 {
			return a.name
		}
	}
	panic("weights do not add up")
}

// carryOut schedules the steps of the plan.
func (s *Sim) carryOut() {
	for _, st := range s.plan.Steps {
		i := slices.IndexFunc(actions(), func(a action) bool { return a.name == st.Action })
		do := actions()[i].do
		s.after(st.At, func() {
			if !s.healed {
				do(s, newDice(st.Seed, st.Action, 0))
			}
		})
	}
}

// target draws a server.
func (s *Sim) target(d dice) *server { return s.servers[d.IntN(len(s.servers))] }

// load makes all clients busy for a while.
func (s *Sim) load(d dice) {
	s.busyUntil = s.now.Add(min(s.plan.scaled(d.between(second, 4*second)), 8*second))
	s.trace("load until %d", s.busyUntil)
	for _, c := range s.clients {
		c.hurry()
	}
}

func (s *Sim) crashOne(d dice) {
	target := s.target(d)
	target.crash(d)
	target.restartIn(s.plan.scaled(d.between(20*millisecond, 2*second)))
}

func (s *Sim) split(d dice) {
	k := d.Uint64()
	s.cutNet("split", func(i int) bool { return k>>(uint(i)%64)&1 == 1 })
}

func (s *Sim) isolate(d dice) {
	target := s.target(d)
	s.cutNet("isolate", func(i int) bool { return s.servers[i] == target })
}

func (s *Sim) healNet(dice) {
	s.network.heal()
	s.trace("heal")
}

// cutNet parts the servers for which side gives true from the rest.
func (s *Sim) cutNet(what string, side func(i int) bool) {
	s.network.heal()
	at := make(map[*server]bool, len(s.servers))
	for i, srv := range s.servers {
		at[srv] = side(i)
	}
	s.network.part(func(srv *server) bool { return at[srv] })
	s.trace("%s", what)
	s.met(Partitioned)
}

// oneWay lets a server only speak, or only listen.
func (s *Sim) oneWay(d dice) {
	s.network.heal()
	target, deaf := s.target(d), d.chance(0.5)
	for _, o := range s.servers {
		if o == target {
			continue
		}
		if deaf {
			s.network.sever(o.id, target.id)
		} else {
			s.network.sever(target.id, o.id)
		}
	}
	s.trace("one-way cut %s deaf=%v", target.id, deaf)
	s.met(OneWayCut)
}

// crashMany takes down more than a minority at once, at times everyone.
func (s *Sim) crashMany(d dice) {
	for _, srv := range s.servers {
		if d.chance(0.7) {
			srv.crash(d)
			srv.restartIn(s.plan.scaled(d.between(20*millisecond, second)))
		}
	}
	s.met(MajorityCrashed)
}

// crash takes a server down, often in the middle of a lane's work: its file
// system stops at some operation, and what was not synced suffers one of the
// laws of memfs.
func (s *server) crash(d dice) {
	if s.engine == nil {
		return
	}
	s.sim.met(Crashed)
	for _, l := range consensus.Lanes() {
		if s.lanes[l].busy && d.chance(0.5) {
			s.tear(l, d.IntN(6))
			break
		}
	}
	laws := memfs.Laws()
	law := laws[d.IntN(len(laws))]
	s.sim.trace("crash %s law=%v", s.id, law)
	s.down()
	s.fs = s.fs.Crash(law, d.Rand)
	if d.chance(0.2) {
		s.loseTail(d)
	}
}

// down ends the process.
func (s *server) down() {
	s.life++ // voids all that was scheduled
	s.note()
	s.engine = nil
	if p := s.sim.passenger; p != nil {
		p.Leave(s.number)
	}
}

// loseTail cuts the newest log segment short, as a disk does that lied about a
// sync. It happens to one server in a run, since more could take what was
// acknowledged with them.
func (s *server) loseTail(d dice) {
	if !s.sim.plan.LosesTail || s.sim.damaged || s.sim.healed {
		return
	}
	names, err := s.fs.ReadDir("raft")
	if err != nil {
		s.sim.check.fail("%s: %v", s.id, err)
		return
	}
	for i := len(names) - 1; i >= 0; i-- {
		if !strings.HasSuffix(names[i], ".wal") {
			continue
		}
		// The first three sectors are the segment's header and first batch.
		if s.fs.Truncate(filepath.Join("raft", names[i]), int64(3+d.IntN(4))*512) {
			s.sim.damaged = true
			s.sim.trace("damage %s: %s cut", s.id, names[i])
		}
		return
	}
}

// tear runs a lane's work for as many changes of the disk as are left, after which
// nothing reaches it.
func (s *server) tear(l consensus.Lane, left int) {
	s.fs.Hook(func(op memfs.Op) error {
		if !op.Kind.Changes() {
			return nil
		}
		if left--; left < 0 {
			return memfs.ErrCrashed
		}
		return nil
	})
	s.engine.Work(l)
	if left < 0 {
		s.sim.met(TornWork)
	}
}

func (s *server) restartIn(d core.Duration) {
	s.sim.after(d, s.start)
}

// stallDisk makes each write slow for a while.
func (s *server) stallDisk(d dice) {
	s.stall = s.sim.plan.scaled(d.between(20*millisecond, 400*millisecond))
	s.sim.trace("stall %s by %d", s.id, s.stall)
	s.sim.met(DiskStalled)
	s.sim.after(s.sim.plan.scaled(d.between(100*millisecond, second)), func() { s.stall = 0 })
}

// operator is a Waiter that only keeps the trace.
type operator struct {
	sim  *Sim
	what string
	met  Situation
}

// Done implements consensus.Waiter.
func (o *operator) Done(r consensus.Result) {
	o.sim.trace("%s: err=%v", o.what, r.Err)
	switch {
	case r.Err == nil:
		o.sim.met(o.met)
	case errors.Is(r.Err, core.ErrNoQuorumAfter):
		o.sim.met(ChangeRefused)
	}
}

func (s *Sim) leader() *server {
	for _, srv := range s.servers {
		if srv.engine == nil {
			continue
		}
		if leads, _ := srv.engine.Leads(); leads {
			return srv
		}
	}
	return nil
}

// changeMembers asks a leader for one random step of membership.
func (s *Sim) changeMembers(d dice) {
	l := s.leader()
	if l == nil {
		return
	}
	cfg := l.engine.Status().Config
	target := s.target(d)
	ch := core.Change{ID: target.id, Addr: string(target.id)}
	switch suffrage(cfg, target.id) {
	case 0:
		ch.Kind = core.AddLearner
	case core.Learner:
		ch.Kind = core.PromoteVoter
		if d.chance(0.3) {
			ch.Kind = core.RemoveServer
		}
	case core.Voter:
		ch.Kind = core.DemoteVoter
		if d.chance(0.3) {
			ch.Kind = core.RemoveServer
		}
	}
	if suffrage(cfg, target.id) == core.Voter {
		if s.plan.LosesTail || s.voteless() || s.lastWipe > 0 && s.now < s.lastWipe.Add(s.oversight()) {
			return // of two voters with one voteless nobody could ever be elected
		}
		s.lastShrink = s.now
	}
	s.change(l, ch, MembersChanged)
}

func suffrage(cfg core.Configuration, id core.ServerID) core.Suffrage {
	for _, srv := range cfg.Servers {
		if srv.ID == id {
			return srv.Suffrage
		}
	}
	return 0
}

func (s *Sim) transfer(d dice) {
	l := s.leader()
	if l == nil {
		return
	}
	var to core.ServerID
	if d.chance(0.5) {
		to = s.target(d).id
	}
	s.trace("transfer from %s to %q", l.id, to)
	l.in.Transfers = append(l.in.Transfers, consensus.Transfer{To: to,
		Waiter: &operator{s, "transfer", Transferred}})
	l.wake()
}

// changeTiming has a leader go by other times, longer or shorter ones.
func (s *Sim) changeTiming(d dice) {
	l := s.leader()
	if l == nil {
		return
	}
	n := d.pick(1, 2, s.plan.Multiplier)
	s.trace("times of %s: %d-fold", l.id, n)
	l.in.Changes = append(l.in.Changes, consensus.Change{
		Change: core.Change{Kind: core.SetTiming, Timing: core.DefaultTiming().Scaled(n)},
		Waiter: &operator{s, "change timing", TimingChanged},
	})
	l.wake()
}
