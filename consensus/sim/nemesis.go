package sim

import (
	"path/filepath"
	"strings"

	"muster/consensus"
	"muster/consensus/core"
	"muster/consensus/wal/memfs"
)

// trouble does one bad thing, and schedules the next.
func (s *Sim) trouble() {
	if s.healed {
		return
	}
	target := s.servers[s.rand.IntN(len(s.servers))]
	switch s.rand.IntN(12) {
	case 0, 1:
		target.crash()
		target.restartIn(s.between(20*millisecond, 2*second))
	case 2:
		s.crashMany()
	case 3:
		target.pause(s.between(50*millisecond, second))
	case 4:
		target.stallDisk(s.between(100*millisecond, second))
	case 5, 6:
		s.network.heal()
		k := s.rand.Uint64()
		s.cutNet("split", func(i int) bool { return k>>(uint(i)%64)&1 == 1 })
	case 7:
		s.network.heal()
		s.cutNet("isolate", func(i int) bool { return s.servers[i] == target })
	case 8:
		s.oneWay(target)
	case 9:
		s.network.heal()
		s.trace("heal")
	case 10:
		s.changeMembers()
	case 11:
		s.transfer()
	}
	s.after(s.around(s.plan.Trouble), s.trouble)
}

func (s *Sim) cutNet(what string, side func(i int) bool) {
	at := make(map[*server]bool, len(s.servers))
	for i, srv := range s.servers {
		at[srv] = side(i)
	}
	s.network.part(func(srv *server) bool { return at[srv] })
	s.trace("%s", what)
	s.met(Partitioned)
}

// oneWay lets a server only speak, or only listen.
func (s *Sim) oneWay(target *server) {
	s.network.heal()
	deaf := s.chance(0.5)
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
func (s *Sim) crashMany() {
	for _, srv := range s.servers {
		if s.chance(0.7) {
			srv.crash()
			srv.restartIn(s.between(20*millisecond, second))
		}
	}
	s.met(MajorityCrashed)
}

// crash takes a server down, often in the middle of a lane's work: its file
// system stops at some operation, and what was not synced suffers one of the
// laws of memfs.
func (s *server) crash() {
	if s.engine == nil {
		return
	}
	s.sim.met(Crashed)
	for _, l := range consensus.Lanes() {
		if s.lanes[l].busy && s.sim.chance(0.5) {
			s.tear(l)
			break
		}
	}
	laws := memfs.Laws()
	law := laws[s.sim.rand.IntN(len(laws))]
	s.sim.trace("crash %s law=%v", s.id, law)
	s.life++ // voids all that was scheduled
	s.engine = nil
	s.fs = s.fs.Crash(law, s.sim.rand)
	if s.sim.chance(0.2) {
		s.loseTail()
	}
}

// loseTail cuts the newest log segment short, as a disk does that lied about a
// sync. It happens to one server in a run, since more could take what was
// acknowledged with them.
func (s *server) loseTail() {
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
		if s.fs.Truncate(filepath.Join("raft", names[i]), int64(3+s.sim.rand.IntN(4))*512) {
			s.sim.damaged = true
			s.sim.trace("damage %s: %s cut", s.id, names[i])
		}
		return
	}
}

// tear runs a lane's work until some operation on the disk, after which nothing
// reaches it.
func (s *server) tear(l consensus.Lane) {
	left := s.sim.rand.IntN(6)
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
func (s *server) stallDisk(d core.Duration) {
	s.stall = s.sim.between(20*millisecond, 400*millisecond)
	s.sim.trace("stall %s by %d", s.id, s.stall)
	s.sim.met(DiskStalled)
	s.sim.after(d, func() { s.stall = 0 })
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
	if r.Err == nil {
		o.sim.met(o.met)
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
func (s *Sim) changeMembers() {
	l := s.leader()
	if l == nil {
		return
	}
	cfg := l.engine.Status().Config
	target := s.servers[s.rand.IntN(len(s.servers))]
	ch := core.Change{ID: target.id, Addr: string(target.id)}
	switch suffrage(cfg, target.id) {
	case 0:
		ch.Kind = core.AddLearner
	case core.Learner:
		ch.Kind = core.PromoteVoter
		if s.chance(0.3) {
			ch.Kind = core.RemoveServer
		}
	case core.Voter:
		ch.Kind = core.DemoteVoter
		if s.chance(0.3) {
			ch.Kind = core.RemoveServer
		}
	}
	if shrinks := ch.Kind == core.DemoteVoter || ch.Kind == core.RemoveServer; shrinks && s.plan.LosesTail {
		return // of two voters with one voteless nobody could ever be elected
	}
	s.trace("change %d of %s on %s", ch.Kind, ch.ID, l.id)
	l.in.Changes = append(l.in.Changes, consensus.Change{Change: ch,
		Waiter: &operator{s, "change", MembersChanged}})
	l.wake()
}

func suffrage(cfg core.Configuration, id core.ServerID) core.Suffrage {
	for _, srv := range cfg.Servers {
		if srv.ID == id {
			return srv.Suffrage
		}
	}
	return 0
}

func (s *Sim) transfer() {
	l := s.leader()
	if l == nil {
		return
	}
	var to core.ServerID
	if s.chance(0.5) {
		to = s.servers[s.rand.IntN(len(s.servers))].id
	}
	s.trace("transfer from %s to %q", l.id, to)
	l.in.Transfers = append(l.in.Transfers, consensus.Transfer{To: to,
		Waiter: &operator{s, "transfer", Transferred}})
	l.wake()
}
