package sim

import (
	"slices"

	"muster/consensus"
	"muster/consensus/core"
	"muster/consensus/wal/memfs"
)

// A server whose disk is wiped comes back under its old identity with an empty
// one, and has forgotten its votes and what it acknowledged (23). What was
// acknowledged must survive as long as a majority of the voters keep their disks;
// no step wipes more, and the leaders' drivers do what an agent's does: make a
// learner of a voter that came back with another log, and promote it once it has
// caught up. In the end all are voters again.
//
// For a while a leader may take a wiped server for present. A change of voters
// that it makes then may cost the majority; that is two mishaps at once, and the
// steps leave it out (oversight). Whatever is asked of it later it must refuse by
// itself.

// wipeOne wipes any server, or the leader.
func (s *Sim) wipeOne(d dice) {
	target := s.target(d)
	if l := s.leader(); l != nil && d.chance(0.4) {
		target = l
	}
	s.wipe(d, target)
}

// wipeTwo wipes two voters at once, which five or more can bear.
func (s *Sim) wipeTwo(d dice) {
	cfg, ok := s.settled()
	if !ok {
		return
	}
	var voters []*server
	for _, row := range cfg.Servers {
		if row.Suffrage == core.Voter {
			voters = append(voters, s.server(row.ID))
		}
	}
	d.Shuffle(len(voters), func(i, j int) { voters[i], voters[j] = voters[j], voters[i] })
	if len(voters) >= 2 && s.wipe(d, voters[0], voters[1]) {
		s.met(TwoWiped)
	}
}

// wipeAgain wipes a server that has not become a voter again since it was wiped.
func (s *Sim) wipeAgain(d dice) {
	var lost []*server
	for _, srv := range s.servers {
		if srv.wiped {
			lost = append(lost, srv)
		}
	}
	if len(lost) > 0 && s.wipe(d, lost[d.IntN(len(lost))]) {
		s.met(WipedAgain)
	}
}

// wipe crashes servers and takes their disks, if a majority of the voters keep
// theirs without them. It says whether it did.
func (s *Sim) wipe(d dice, targets ...*server) bool {
	cfg, ok := s.settled()
	if !ok || s.plan.LosesTail || s.voteless() || s.now < s.lastShrink.Add(s.oversight()) || !s.spares(cfg, targets) {
		return false
	}
	leader := s.leader()
	for _, srv := range targets {
		srv.crash(d)
		srv.fs = memfs.NewFaulty()
		srv.log, srv.known, srv.lostAt = 0, known{}, s.now
		s.trace("wiped %s", srv.id)
		s.met(DiskWiped)
		if srv == leader {
			s.met(LeaderWiped)
		}
		srv.wiped = srv.wiped || suffrage(cfg, srv.id) == core.Voter
		srv.restartIn(s.plan.scaled(d.between(20*millisecond, 2*second)))
	}
	if s.lastWipe == 0 {
		s.mend()
	}
	s.lastWipe = s.now
	return true
}

// oversight is how long a leader may take a server for present at most after it
// has crashed: an election timeout, which changeTiming doubles at times.
func (s *Sim) oversight() core.Duration { return s.plan.scaled(second) }

// spares says whether a majority of the voters of cfg keep their disks when some
// servers lose theirs, and of what the voters will be if a leader that has not
// noticed promotes learners whose disks are gone.
func (s *Sim) spares(cfg core.Configuration, losing []*server) bool {
	voters := cfg.Voters()
	for _, row := range cfg.Servers {
		srv := s.server(row.ID)
		unnoticed := slices.Contains(losing, srv) || srv.lostAt > 0 && s.now < srv.lostAt.Add(s.oversight())
		if row.Suffrage == core.Learner && unnoticed {
			voters++
		}
	}
	return s.keepers(cfg, losing) > voters/2
}

// keepers counts the voters of cfg whose disk is the one that their vote belongs
// to, without those that are about to lose it.
func (s *Sim) keepers(cfg core.Configuration, losing []*server) (n int) {
	for _, row := range cfg.Servers {
		srv := s.server(row.ID)
		if row.Suffrage == core.Voter && row.Log == srv.log && !slices.Contains(losing, srv) {
			n++
		}
	}
	return n
}

// settled gives the configuration in force, unless some server, be it down, has
// one that may yet take its place.
func (s *Sim) settled() (cfg core.Configuration, ok bool) {
	newest := uint64(0)
	for _, srv := range s.servers {
		if srv.engine != nil {
			srv.note()
		}
		k := &srv.known
		committed := k.index <= uint64(len(s.check.terms)) && (k.term == 0 || k.term == s.check.terms[max(k.index, 1)-1])
		if !committed {
			return core.Configuration{}, false
		}
		if k.index > newest {
			cfg, newest = k.config, k.index
		}
	}
	return cfg, newest > 0
}

// known is the newest configuration of a server, as of its last crash if it is
// down.
type known struct {
	index, term uint64 // 0 for the term of one that is in a snapshot only
	config      core.Configuration
}

func (s *server) note() {
	st := s.engine.Status()
	term, _ := s.engine.Term(st.ConfigIndex)
	s.known = known{index: st.ConfigIndex, term: term, config: st.Config}
}

// mend does for servers that were wiped what an agent does that leads, again and
// again.
func (s *Sim) mend() {
	if l := s.leader(); l != nil {
		st := l.engine.Status()
		for _, p := range st.Progress {
			srv := s.server(p.ID)
			row, _ := st.Config.Find(p.ID)
			switch {
			case p.OtherLog != 0:
				s.change(l, core.Change{Kind: core.DemoteVoter, ID: p.ID}, MembersChanged)
			case srv.wiped && row.Suffrage == core.Learner:
				s.change(l, core.Change{Kind: core.PromoteVoter, ID: p.ID}, MembersChanged)
			case srv.wiped && row.Suffrage == core.Voter && row.Log == srv.log && st.ConfigIndex <= st.Commit:
				srv.wiped = false
				s.met(VoterAfterWipe)
			}
		}
	}
	s.after(s.plan.scaled(100*millisecond), s.mend)
}

// change has a leader change the membership.
func (s *Sim) change(l *server, ch core.Change, met Situation) {
	s.trace("change %d of %s on %s", ch.Kind, ch.ID, l.id)
	l.in.Changes = append(l.in.Changes, consensus.Change{Change: ch, Waiter: &operator{s, "change", met}})
	l.wake()
}

// whole says whether all servers that were wiped are voters again, as far as the
// leader and they hear each other.
func (s *Sim) whole() bool {
	l := s.leader()
	if l == nil {
		return s.lastWipe == 0
	}
	for _, srv := range s.servers {
		if srv.wiped && srv != l && s.follows(srv) {
			return false
		}
	}
	return true
}
