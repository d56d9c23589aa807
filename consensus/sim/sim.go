package sim

import (
	"fmt"
	"slices"

	"muster/consensus"
	"muster/consensus/core"
	"muster/consensus/wal/memfs"
)

// Sim is one run.
type Sim struct {
	clockwork
	seed       uint64
	plan       Plan
	network    network
	servers    []*server // by ID
	check      *checker
	situations Situations

	ops      uint64 // operations that clients have begun to write
	progress uint64 // index of the last write that was acknowledged
	healed   bool   // second phase
	damaged  bool   // some server's log lost its end
}

// Report is what a run came to.
type Report struct {
	Seed       uint64
	Plan       Plan
	Err        error  // the invariant that broke, nil if none
	Hash       uint64 // of the trace
	Simulated  core.Duration
	Operations uint64
	Situations Situations
}

// Run runs one seed. With printf set each line of the trace goes there.
func Run(seed uint64, printf func(format string, args ...any)) Report {
	s := &Sim{clockwork: newClockwork(seed ^ 0x9e3779b97f4a7c15), seed: seed, plan: Draw(seed)}
	s.printf = printf
	s.check = newChecker(s)
	s.network.sim = s
	s.network.heal()
	s.boot()
	s.faults()
	s.progressAfterHealing()
	return Report{
		Seed: seed, Plan: s.plan, Err: s.check.err, Hash: s.hash.Sum64(),
		Simulated: core.Duration(s.now), Operations: s.ops, Situations: s.situations,
	}
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

// boot starts all servers and bootstraps the first ones from one of them.
func (s *Sim) boot() {
	cfg := core.Configuration{ClusterID: fmt.Sprintf("cluster-%d", s.seed)}
	for i := range s.plan.Servers + s.plan.Spares {
		srv := &server{
			sim: s, id: core.ServerID(fmt.Sprintf("s%d", i)), fs: memfs.NewFaulty(),
			offset: core.Instant(s.between(second, 1000*second)),
		}
		if s.plan.SkewPPM > 0 {
			srv.drift = s.rand.Int64N(2*s.plan.SkewPPM+1) - s.plan.SkewPPM
		}
		s.servers = append(s.servers, srv)
		if i < s.plan.Servers {
			cfg.Servers = append(cfg.Servers, core.Server{ID: srv.id, Addr: string(srv.id), Suffrage: core.Voter})
		}
	}
	for _, srv := range s.servers {
		srv.start()
	}
	first := s.servers[0]
	first.in.Bootstrap = append(first.in.Bootstrap, consensus.Bootstrap{Config: cfg, Waiter: &operator{s, "bootstrap", LeaderElected}})
	for range s.plan.Clients {
		(&client{sim: s}).think()
	}
}

// faults is the first phase.
func (s *Sim) faults() {
	s.until(core.Instant(second), nil) // a first leader
	s.after(s.around(s.plan.Trouble), s.trouble)
	s.until(s.now.Add(s.plan.Faults), nil)
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
// rest stays away. Within 20 election timeouts, and some time for replay and
// snapshots over what may be a slow network, a write that begins now must be
// acknowledged; then all of that majority must agree (9, 15, 27).
func (s *Sim) progressAfterHealing() {
	if s.check.err != nil {
		return
	}
	s.healed = true
	s.network.heal()
	s.network.fine = true
	away := s.leaveOut()
	for _, srv := range s.servers {
		srv.stall = 0
		if away[srv] {
			srv.crash()
			srv.life++ // voids a restart under way
			continue
		}
		srv.start()
	}
	s.trace("healed, %d away", len(away))
	before := uint64(len(s.check.terms))
	if !s.until(s.now.Add(30*second), func() bool { return s.progress > before }) {
		s.lament("no write was acknowledged within 30 s after healing")
		return
	}
	target := s.progress
	level := func() bool {
		for _, srv := range s.servers {
			if srv.engine != nil && s.inConfig(srv) && srv.engine.Applied() < target {
				return false
			}
		}
		return true
	}
	if !level() && !s.until(s.now.Add(60*second), level) {
		s.lament(fmt.Sprintf("a healed server did not reach index %d within 60 s", target))
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

// inConfig says whether the leader counts srv among its members.
func (s *Sim) inConfig(srv *server) bool {
	l := s.leader()
	return l != nil && suffrage(l.engine.Status().Config, srv.id) != 0
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
	voters := slices.DeleteFunc(slices.Clone(cfg.Servers), func(c core.Server) bool { return c.Suffrage != core.Voter })
	s.rand.Shuffle(len(voters), func(i, j int) { voters[i], voters[j] = voters[j], voters[i] })
	for _, v := range voters[:(len(voters)-1)/2] {
		away[s.server(v.ID)] = true
	}
	if len(away) > 0 {
		s.met(MinorityLeftOut)
	}
	return away
}
