package sim

import (
	"muster/consensus"
	"muster/consensus/core"
	"muster/consensus/wal/memfs"
)

// server is one simulated machine: a disk that outlives crashes, and while it is
// up an Engine.
type server struct {
	sim    *Sim
	number int // place in Sim.servers
	id     core.ServerID
	fs     *memfs.FS
	dice

	// The clock: it started at offset and runs drift millionths too fast.
	offset core.Instant
	drift  int64

	engine  *consensus.Engine // nil while down
	machine *machine
	life    int // counts starts; what was scheduled in an earlier life is void
	in      consensus.Input
	turning bool         // a turn is scheduled
	alarm   core.Instant // in simulated time, when a timer goes off; 0: none is set
	heard   core.Instant // by its clock, when it last knew a leader, or started
	paused  bool
	lanes   [4]laneState
	stall   core.Duration // what each disk write takes longer
	stopped []*call       // reads that go on with the paused process

	log    core.Incarnation // of what is on the disk; 0: nothing
	wiped  bool             // it was a voter when it lost its disk, and is not again
	lostAt core.Instant     // when it last lost its disk; 0: never
	known  known

	image image // of the disk at an earlier time
	aged  bool  // an older copy of its disk was put back just now

	capacity int64 // of its disk; 0: no bound
	full     bool  // it says that its disk is full
	ranOut   bool  // it stopped since there was no room at all

	// What the checker has seen of this life.
	voteless        bool
	marked          bool // its disk says that it comes back voteless, or is about to say so
	commit, applied uint64
	wasLeader       uint64 // term
	cuts            uint64
	configIndex     uint64
}

type laneState struct{ busy, more bool }

// clock is this server's reading of the time.
func (s *server) clock() core.Instant {
	now := s.sim.now
	return s.offset + now + core.Instant(int64(now)/1e6*s.drift)
}

// real turns a span on this server's clock into simulated time, rounded up.
func (s *server) real(d core.Instant) core.Duration {
	return core.Duration(float64(d)/(1+float64(s.drift)/1e6)) + 1
}

func (s *server) start() {
	if s.engine != nil {
		return
	}
	s.life++
	s.machine = newMachine(s)
	s.in, s.turning, s.paused, s.lanes = consensus.Input{}, false, false, [4]laneState{}
	s.alarm, s.heard = 0, s.clock()
	s.stopped = nil
	s.commit, s.applied, s.wasLeader, s.cuts, s.configIndex = 0, 0, 0, 0, 0
	s.full, s.ranOut = false, false
	s.fs.SetCapacity(s.capacity)
	e, err := consensus.OpenEngine(s.config(), s.machine, s, s.clock())
	if err != nil && s.outOfRoom(err) {
		return
	}
	if err != nil {
		s.sim.check.fail("%s cannot start: %v", s.id, err)
		return
	}
	s.engine = e
	st := e.Status()
	s.log, s.voteless, s.marked = st.Incarnation, st.Voteless, st.Voteless
	if s.voteless {
		s.sim.met(CameBackVoteless)
	}
	s.sim.trace("start %s term=%d last=%d/%d commit=%d voteless=%v", s.id, st.Term, st.LastTerm, st.LastIndex, st.Commit, st.Voteless)
	s.wake()
}

func (s *server) config() consensus.Config {
	p := &s.sim.plan
	c := consensus.DefaultConfig()
	c.ID = s.id
	c.FS, c.Dir = s.fs, "raft"
	c.SnapshotEntries = p.SnapshotEntries
	c.SegmentBytes, c.RetainBytes = p.SegmentBytes, p.RetainBytes
	c.ChunkBytes, c.MaxAppendBytes = p.ChunkBytes, p.MaxAppendBytes
	c.CacheBytes, c.MaxPendingBytes = p.CacheBytes, p.MaxPendingBytes
	c.Rand = s.Uint64N
	c.Log = core.Incarnation(s.number+1)<<32 | core.Incarnation(s.life)
	if s.number == 0 { // it bootstraps; what the others are told to go by must not matter
		c.Timing = c.Timing.Scaled(p.Multiplier)
	}
	return c
}

// later schedules run unless this server has stopped by then.
func (s *server) later(d core.Duration, run func()) {
	life := s.life
	s.sim.after(d, func() {
		if s.life == life && s.engine != nil {
			run()
		}
	})
}

// wake schedules a turn.
func (s *server) wake() {
	if s.turning || s.paused {
		return
	}
	s.turning = true
	s.later(s.between(0, 50*microsecond), s.turn)
}

func (s *server) turn() {
	s.turning = false
	if s.paused {
		return
	}
	in := s.in
	s.in = consensus.Input{}
	if err := s.engine.Turn(s.clock(), &in); err != nil {
		if s.outOfRoom(err) {
			return
		}
		s.sim.check.fail("%s: %v", s.id, err)
		return
	}
	s.sim.check.turned(s)
	s.notice()
	s.crowded()
	if p := s.sim.passenger; p != nil {
		s.tell(p)
		s.sim.ask(p)
	}
	s.setAlarm()
}

// tell lets the passenger know that stale reads are answered now, and whether this
// server has looked in vain for a leader as long as it has to.
func (s *server) tell(p Passenger) {
	st := s.engine.Status()
	if st.Leader != "" {
		s.heard = s.clock()
	}
	if s.engine.Ready() {
		patience := core.Instant(20 * st.Config.Timing.ElectionMax)
		p.Serving(s.number, s.clock() >= s.heard+patience)
	}
}

// setAlarm sees to it that a turn is taken when the engine wants one. A timer
// that is set for earlier stays, and looks again when it goes off.
func (s *server) setAlarm() {
	due := s.sim.now.Add(s.real(max(0, min(s.engine.Deadline()-s.clock(), core.Instant(10*second)))))
	if s.alarm != 0 && s.alarm <= due {
		return
	}
	s.alarm = due
	s.later(core.Duration(due-s.sim.now), func() {
		if s.alarm != due {
			return // another was set for earlier
		}
		s.alarm = 0
		if s.engine.Deadline() > s.clock() {
			s.setAlarm()
			return
		}
		s.wake()
	})
}

// notice counts the situations that a turn led to.
func (s *server) notice() {
	if cuts := s.engine.Cuts(); cuts != s.cuts {
		s.cuts = cuts
		s.sim.met(LogCut)
		if at := s.engine.Status().ConfigIndex; at < s.configIndex {
			s.sim.met(ConfigRolledBack)
		}
	}
	if leads, _ := s.engine.Leads(); leads || s.sim.now%16 == 0 {
		s.configIndex = s.engine.Status().ConfigIndex
	}
}

// Send implements consensus.Host.
func (s *server) Send(m core.Message) {
	s.sim.check.promised(s, m)
	s.sim.network.send(m)
}

// Wake implements consensus.Host: the lane's worker begins, or will go round
// once more.
func (s *server) Wake(l consensus.Lane) {
	if s.lanes[l].busy {
		s.lanes[l].more = true
		return
	}
	s.lanes[l].busy = true
	s.later(s.cost(l), func() { s.work(l) })
}

// cost draws how long a lane's work takes.
func (s *server) cost(l consensus.Lane) core.Duration {
	p := &s.sim.plan
	switch l {
	case consensus.LaneDisk:
		return s.between(p.DiskMin, p.DiskMax) + s.stall
	case consensus.LaneApply:
		return s.between(0, p.ApplyMax)
	default:
		return s.between(p.DiskMin, 2*p.DiskMax)
	}
}

func (s *server) work(l consensus.Lane) {
	done := s.engine.Work(l)
	if s.engine == nil {
		return // its disk took it down
	}
	if s.sim.mark(markWork, ordinal(s.id), uint64(l), uint64(len(done))) {
		s.sim.print("work %s %s %d", s.id, l, len(done))
	}
	if l == consensus.LaneRead && len(done) > 0 {
		s.sim.met(ReadForFollower)
	}
	if l == consensus.LaneDisk && !s.engine.Voteless() {
		s.marked = false
	}
	s.in.Done = append(s.in.Done, done...)
	s.lanes[l].busy = false
	if s.lanes[l].more {
		s.lanes[l].more = false
		s.Wake(l)
	}
	s.wake()
}

// pause stops the process for a while, as SIGSTOP or a suspended machine does:
// its clock and the network go on.
func (s *server) pause(d core.Duration) {
	if s.engine == nil || s.paused {
		return
	}
	s.paused = true
	s.sim.met(Paused)
	s.sim.trace("pause %s for %d", s.id, d)
	s.later(d, func() {
		s.paused = false
		stopped := s.stopped
		s.stopped = nil
		for _, k := range stopped {
			k.mode.ask(k)
		}
		s.wake()
	})
}
