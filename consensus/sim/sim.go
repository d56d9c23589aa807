package sim

import (
	"fmt"
	"runtime/debug"
	"slices"

	"muster/consensus"
	"muster/consensus/core"
	"muster/consensus/wal/memfs"
)

// Sim is one run.
type Sim struct {
	clockwork
	plan       Plan
	network    network
	history    history
	passenger  Passenger // nil for none
	dice                 // of what belongs to the run as a whole
	servers    []*server // by ID
	clients    []*client
	check      *checker
	situations Situations

	busyUntil core.Instant // clients are under load

	ops      uint64 // operations that clients have begun to write
	progress uint64 // index of the last write that was acknowledged
	healed   bool   // second phase
	damaged  bool   // some server's log lost its end

	lastWipe   core.Instant // of a server's disk; see wipe.go
	lastShrink core.Instant // when it was last asked that a voter be none any more
}

// Report is what a run came to.
type Report struct {
	Plan       Plan
	Err        error         // the invariant that broke, nil if none
	Rule       string        // which one it is, without numbers
	Hash       uint64        // of the trace
	Ended      core.Duration // simulated time
	Writes     uint64        // that clients have begun
	Judged     int           // operations that Porcupine has judged
	Situations Situations
}

// Run runs the plan of one seed. With printf set each line of the trace goes there.
func Run(seed uint64, printf func(format string, args ...any)) Report {
	return RunPlan(Draw(seed), nil, printf)
}

// RunPlan runs a plan, with a Passenger unless it is nil.
func RunPlan(p Plan, passenger Passenger, printf func(format string, args ...any)) Report {
	s := &Sim{clockwork: newClockwork(), dice: newDice(p.Seed, "run", 0), plan: p, passenger: passenger}
	s.printf = printf
	s.check = newChecker(s)
	s.network = network{sim: s, links: make(map[link]dice)}
	s.network.heal()
	s.phases()
	judged := s.judge()
	return Report{
		Plan: p, Err: s.check.err, Rule: s.check.rule, Hash: uint64(s.hash), Ended: core.Duration(s.now),
		Writes: s.ops, Judged: judged, Situations: s.situations,
	}
}

// phases runs both phases. A server that panics is a failure like any other, and
// can be made smaller.
func (s *Sim) phases() {
	defer func() {
		if what := recover(); what != nil {
			s.check.fail("panic: %v\n%s", what, debug.Stack())
		}
	}()
	s.boot()
	s.faults()
	s.progressAfterHealing()
	if s.passenger != nil && s.check.err == nil {
		s.passenger.Finish()
		s.ask(s.passenger)
	}
}

// judge gives the history to Porcupine.
func (s *Sim) judge() (judged int) {
	if s.check.err != nil {
		return 0
	}
	judged, err := s.history.judge(s.check.took)
	if err != nil {
		s.check.fail("%v", err)
		s.check.rule = "linearizability"
	}
	return judged
}

// ask lets the passenger say what it has found.
func (s *Sim) ask(p Passenger) {
	if err := p.Err(); err != nil {
		s.check.fail("%v", err)
		s.check.rule = "passenger"
	}
}

// Marks of what is traced as numbers.
const (
	markSend uint64 = iota + 1
	markWork
	markCall
	markAnswer
)

// ordinal is a server's ID as a number, for the trace.
func ordinal(id core.ServerID) uint64 { return uint64(id[len(id)-1]) }

func truth(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func (s *Sim) met(what Situation) { s.situations[what]++ }

func (s *Sim) server(id core.ServerID) *server {
	for _, srv := range s.servers {
		if srv.id == id {
			return srv
		}
	}
	return nil
}

const never = core.Instant(1<<63 - 1)

// boot starts all servers and bootstraps the first ones from one of them.
func (s *Sim) boot() {
	cfg := core.Configuration{ClusterID: fmt.Sprintf("cluster-%d", s.plan.Seed)}
	for i := range s.plan.Servers + s.plan.Spares {
		id := core.ServerID(fmt.Sprintf("s%d", i))
		srv := &server{
			sim: s, number: i, id: id, fs: memfs.NewFaulty(), dice: newDice(s.plan.Seed, "server", uint64(i)),
		}
		srv.offset = core.Instant(srv.between(second, 1000*second))
		if s.plan.SkewPPM > 0 {
			srv.drift = srv.Int64N(2*s.plan.SkewPPM+1) - s.plan.SkewPPM
		}
		s.servers = append(s.servers, srv)
		srv.start()
		if i < s.plan.Servers {
			cfg.Servers = append(cfg.Servers, core.Server{ID: srv.id, Addr: string(srv.id), Suffrage: core.Voter, Log: srv.log})
		}
	}
	first := s.servers[0]
	first.in.Bootstrap = append(first.in.Bootstrap, consensus.Bootstrap{Config: cfg, Waiter: &operator{s, "bootstrap", LeaderElected}})
	for i := range s.plan.Clients {
		c := &client{sim: s, number: i, known: make([]uint64, s.plan.Keys), dice: newDice(s.plan.Seed, "client", uint64(i))}
		s.clients = append(s.clients, c)
		c.think()
	}
	s.carryOut()
}

// faults is the first phase.
func (s *Sim) faults() {
	s.until(core.Instant(s.plan.Faults), nil)
}

// until runs until goal is met, or end has come, or an invariant broke. It says
// whether the goal was met.
func (s *Sim) until(end core.Instant, goal func() bool) bool {
	for s.check.err == nil && s.step(end) {
		if goal != nil && goal() {
			return true
		}
	}
	return false
}

// progressAfterHealing is the second phase: one majority is whole again, the
// rest stays away, or is there and badly connected. Within 20 election timeouts,
// and some time for replay and snapshots over what may be a slow network, a write
// that begins now must be acknowledged; then all of that majority must agree (9, 15, 27).
func (s *Sim) progressAfterHealing() {
	if s.check.err != nil {
		return
	}
	s.healed = true
	s.network.heal()
	s.network.fine = true
	s.busyUntil = never
	for _, c := range s.clients {
		c.hurry()
	}
	away := s.leaveOut()
	meddling := s.chance(0.5)
	for _, srv := range s.servers {
		srv.stall = 0
		srv.roomAgain()
		switch {
		case !away[srv]:
			srv.start()
		case meddling:
			srv.start()
			s.cutAtRandom(srv)
		default:
			srv.crash(s.dice)
			srv.life++ // voids a restart under way
		}
	}
	if len(away) > 0 {
		s.met([2]Situation{MinorityLeftOut, MinorityMeddles}[truth(meddling)])
	}
	s.trace("healed, %d away, meddling=%v", len(away), meddling)
	before := uint64(len(s.check.terms))
	if !s.until(s.now.Add(s.plan.scaled(30*second)), func() bool { return s.progress > before }) {
		s.lament("no write was acknowledged within 100 election timeouts after healing")
		return
	}
	target := s.progress
	level := func() bool {
		for _, srv := range s.servers {
			if srv.engine != nil && !away[srv] && s.follows(srv) && srv.engine.Applied() < target {
				return false
			}
		}
		return true
	}
	if !level() && !s.until(s.now.Add(s.plan.scaled(60*second)), level) {
		s.lament(fmt.Sprintf("a healed server did not reach index %d within 200 election timeouts", target))
		return
	}
	// Where a snapshot takes longer to send than the log behind it lasts, a learner
	// catches up once there is less load.
	s.busyUntil = s.now
	if !s.whole() && !s.until(s.now.Add(s.plan.scaled(60*second)), s.whole) {
		s.lament("a server that had lost its disk was no voter 200 election timeouts after healing")
	}
}

// cutAtRandom leaves a server some ways to and from others, often in one direction
// only: whatever it can reach, it must not keep a majority from its work.
func (s *Sim) cutAtRandom(srv *server) {
	for _, o := range s.servers {
		if o == srv {
			continue
		}
		if s.chance(0.5) {
			s.network.sever(srv.id, o.id)
		}
		if s.chance(0.5) {
			s.network.sever(o.id, srv.id)
		}
	}
}

func (s *Sim) lament(what string) {
	if s.check.err != nil {
		return
	}
	for _, srv := range s.servers {
		if srv.engine == nil {
			s.trace("%s is down", srv.id)
			continue
		}
		st := srv.engine.Status()
		s.trace("%s %v term=%d leader=%s last=%d/%d commit=%d applied=%d durable=%d voteless=%v config=%d %v progress=%+v",
			srv.id, st.Role, st.Term, st.Leader, st.LastTerm, st.LastIndex, st.Commit, srv.engine.Applied(), st.Durable, st.Voteless, st.ConfigIndex, st.Config.Servers, st.Progress)
	}
	s.check.fail("%s", what)
}

// follows says whether the leader counts srv among its members and they hear each
// other: a leader of the badly connected minority may lead another majority.
func (s *Sim) follows(srv *server) bool {
	l := s.leader()
	return l != nil && suffrage(l.engine.Status().Config, srv.id) != 0 &&
		!s.network.cut[l.id][srv.id] && !s.network.cut[srv.id][l.id]
}

// leaveOut draws a minority that is not healed. While a change of membership is
// under way it is nobody, since both configurations may have to decide.
func (s *Sim) leaveOut() map[*server]bool {
	away := make(map[*server]bool)
	var cfg core.Configuration
	index := uint64(0)
	for _, srv := range s.servers {
		srv.start()
		if srv.engine == nil {
			return away
		}
		st := srv.engine.Status()
		if st.Voteless || st.ConfigIndex > st.Commit {
			return away
		}
		if st.ConfigIndex > index {
			cfg, index = st.Config, st.ConfigIndex
		}
	}
	if s.keepers(cfg, nil) < cfg.Voters() {
		return away // some vote belongs to a disk that is lost
	}
	voters := slices.DeleteFunc(slices.Clone(cfg.Servers), func(c core.Server) bool { return c.Suffrage != core.Voter })
	s.Shuffle(len(voters), func(i, j int) { voters[i], voters[j] = voters[j], voters[i] })
	for _, v := range voters[:(len(voters)-1)/2] {
		away[s.server(v.ID)] = true
	}
	return away
}
