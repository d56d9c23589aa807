package sim

import (
	"cmp"
	"errors"
	"slices"
	"syscall"

	"muster/consensus/core"
)

// A disk becomes full by what others write to it, and they remove that again after
// a while. What is left then is less than the reserve that a server keeps for
// terms, votes and snapshots (8, 20, 39), so that it must refuse commands, hand
// leadership to one with room, and mostly run on. Where that little runs out too
// it stops with the reason, as at any failed write, and comes back with the room.

// fillDisks leaves little room on the leader's disk, on any one, or on all, for a while.
func (s *Sim) fillDisks(d dice) {
	targets := []*server{s.target(d)}
	if l := s.leader(); l != nil && d.chance(0.6) {
		targets[0] = l
	}
	if d.chance(0.3) {
		targets = s.servers
	}
	least := 2*s.plan.SegmentBytes + s.plan.SegmentBytes/16 // of the reserve
	for _, srv := range targets {
		left := int64(d.between(core.Duration(least)/4, core.Duration(least)))
		srv.bound(srv.fs.Used() + left)
		s.trace("fill the disk of %s up to %d bytes", srv.id, left)
	}
	s.met(DiskFilled)
	s.after(s.plan.scaled(d.between(second, 5*second)), func() {
		for _, srv := range targets {
			s.trace("room for %s", srv.id)
			srv.roomAgain()
		}
	})
}

// bound sets how much the disk holds in all; 0: whatever comes.
func (s *server) bound(bytes int64) {
	s.capacity = bytes
	s.fs.SetCapacity(bytes)
}

// roomAgain takes the bound away, and starts a server that stopped for want of room.
func (s *server) roomAgain() {
	s.bound(0)
	if s.ranOut {
		s.start()
	}
}

// outOfRoom says whether an error is that of a disk that was filled; if so the
// server has stopped with it.
func (s *server) outOfRoom(err error) bool {
	if s.capacity == 0 || !errors.Is(err, syscall.ENOSPC) {
		return false
	}
	s.sim.trace("%s is out of room: %v", s.id, err)
	s.sim.met(DiskRanOut)
	s.ranOut = true
	if s.engine != nil {
		s.down()
	}
	return true
}

// crowded counts a turn after which a server keeps its last room to itself.
func (s *server) crowded() {
	full := s.engine.Full()
	if full && !s.full {
		s.sim.met(DiskFull)
		s.sim.trace("%s takes no new commands for want of room", s.id)
	}
	s.full = full
}

// withFullDisks adds steps that fill disks to a third of all plans. They have dice
// of their own, so that everything else of a seed stays as it was.
func (p *Plan) withFullDisks() {
	d := newDice(p.Seed, "full disks", 0)
	if !d.chance(0.33) {
		return
	}
	for range 1 + d.IntN(3) {
		p.Steps = append(p.Steps, Step{At: d.between(second, p.Faults), Action: "fill disks", Seed: d.Uint64()})
	}
	slices.SortStableFunc(p.Steps, func(a, b Step) int { return cmp.Compare(a.At, b.At) })
}
