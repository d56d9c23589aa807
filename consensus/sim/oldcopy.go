package sim

import (
	"slices"

	"muster/consensus"
	"muster/consensus/core"
	"muster/consensus/wal/memfs"
)

// A server whose disk is put back to what it was at an earlier time has forgotten
// what it acknowledged since (23). Its leader knows, and the server must give up
// its vote before anything else comes of it. So the step puts a copy back only
// where the leader knows all of it, and has the server hear that first; whatever
// happens from then on must cost nothing that was acknowledged.

// image is a copy of a disk.
type image struct {
	fs     *memfs.FS // nil: none was made
	log    core.Incarnation
	config uint64 // where the newest configuration in it stands
}

// oldCopy puts an older copy of a server's disk back, if it can, and copies those
// of all that are up.
func (s *Sim) oldCopy(d dice) {
	if target := s.target(d); target.image.fs != nil {
		if reminder, ok := s.reminder(target); ok {
			target.putBack(d, reminder)
		}
	}
	for _, srv := range s.servers {
		if srv.engine != nil {
			srv.image = image{srv.fs.Crash(memfs.LoseAll, nil), srv.log, srv.engine.Status().ConfigIndex}
		}
	}
}

// reminder is what its leader would now tell a server, if that is all the server
// has to be told: it follows that leader, nobody else stands or leads, and its whole
// log is acknowledged. Nothing else may be missing anywhere, and three voters at
// least must be left for one to lead without it.
func (s *Sim) reminder(to *server) (core.Message, bool) {
	l := s.leader()
	if l == nil || l == to || to.engine == nil || s.plan.LosesTail {
		return core.Message{}, false
	}
	st, own := l.engine.Status(), to.engine.Status()
	bad := slices.ContainsFunc(s.servers, func(o *server) bool {
		return o.wiped || o != l && o.engine != nil && o.engine.Status().Role != core.Follower
	})
	i := slices.IndexFunc(st.Progress, func(p core.Progress) bool { return p.ID == to.id })
	if bad || s.voteless() || i < 0 || own.Leader != l.id || own.Term != st.Term ||
		st.Config.Voters() < 3 || st.ConfigIndex > st.Commit || to.image.config != st.ConfigIndex || to.image.log != to.log {
		return core.Message{}, false
	}
	p := st.Progress[i]
	return core.Message{
		Kind: core.MsgHeartbeat, From: l.id, To: to.id, Term: st.Term, Log: st.Incarnation,
		Acknowledged: core.EntryID{Term: p.MatchTerm, Index: p.Match}, AcknowledgedBy: p.Log,
	}, p.Match == own.LastIndex && p.Log == own.Incarnation
}

// voteless says whether some server has no vote, or would have none if it crashed.
func (s *Sim) voteless() bool {
	return slices.ContainsFunc(s.servers, func(o *server) bool { return o.voteless || o.marked })
}

// putBack restarts a server on the copy of its disk, and lets it hear a message of
// its leader before all else.
func (s *server) putBack(d dice, reminder core.Message) {
	s.crash(d)
	s.fs = s.image.fs.Crash(memfs.LoseAll, nil)
	s.aged = true
	s.sim.trace("old copy %s", s.id)
	s.sim.met(OldCopy)
	s.start()
	if s.engine == nil {
		return
	}
	lost := s.engine.Status().LastIndex < reminder.Acknowledged.Index
	s.in.Messages = append(s.in.Messages, reminder)
	s.turn()
	s.work(consensus.LaneDisk)
	s.turn()
	s.aged = false
	if lost && !s.voteless {
		s.sim.check.fail("%s: keeps its vote with an older copy of its disk, though its leader told it what it lacks", s.id)
	}
}
