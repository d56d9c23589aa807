package consensus

import (
	"errors"
	"fmt"
	"math"
	"syscall"
	"time"

	"muster/consensus/core"
	"muster/consensus/wal"
)

// A server foresees that its disk will be full. Below the reserve (wal.Room) it
// takes no new commands, hands leadership to a server with room, and tells its
// leader; below half of it, it drops commands that the leader sends. The rest of
// the reserve is for what it has accepted, for terms and votes, and for the
// snapshot by which room may come back: it drops what log it can do without, and
// takes a snapshot where that lets it drop some. It goes on by itself when there is a
// quarter more than the reserve again.

const (
	// lookEvery is how often a server with a full disk looks for room.
	lookEvery = core.Instant(time.Second)
	// looksPerSegment says how much is written between two looks.
	looksPerSegment = 64
	// relieveEvery is how often a leader with a full disk tries to hand over.
	relieveEvery = core.Instant(5 * time.Second)
)

// room is what the engine knows of the room on its disk.
type room struct {
	wal.Room
	left      int64        // Free and Ready, less what was accepted since
	full      bool         // left fell below Reserve, and has not recovered
	lookAt    core.Instant // while full
	looking   bool
	relieveAt core.Instant // while full and leading
}

// takes is how many of the proposals there is room for.
func (r *room) takes(ps []Proposal) int {
	if r.full {
		return 0
	}
	left := r.left - r.Reserve
	for i, p := range ps {
		if left -= int64(len(p.Data) + entryOverhead); left < 0 {
			return i
		}
	}
	return len(ps)
}

// err is what those are told whose command is refused.
func (r *room) err(dir string) error {
	return fmt.Errorf("%w: %s has %d bytes free and %d preallocated, of which %d are kept for terms, votes and snapshots; nothing was written: free some space, or retry at another server",
		core.ErrDiskFull, dir, r.Free, r.Ready, r.Reserve)
}

// Full says whether this server takes no new commands for want of room on its disk.
func (e *Engine) Full() bool { return e.room.full }

// looked takes in how much room there is.
func (e *Engine) looked(found wal.Room) {
	e.room.Room = found
	e.room.left = found.Free + min(found.Ready, math.MaxInt64-found.Free)
	e.spend(e.unwrittenBytes)
}

// spend takes bytes from the room that is left for what was just accepted.
func (e *Engine) spend(bytes int) {
	r := &e.room
	r.left -= int64(bytes)
	limit := r.Reserve
	if r.full {
		limit += r.Reserve / 4
	}
	e.mark(r.left < limit)
}

// mark notes whether the disk is full.
func (e *Engine) mark(full bool) {
	r := &e.room
	if full == r.full {
		return
	}
	r.full, r.lookAt, r.relieveAt = full, e.now, e.now
	if full {
		e.log.Error("the disk is nearly full: this server takes no new commands until there is room",
			"dir", e.cfg.Dir, "free_bytes", r.Free, "preallocated_bytes", r.Ready, "needed_bytes", r.Reserve)
	} else {
		e.log.Info("the disk has room again: this server takes commands", "dir", e.cfg.Dir, "free_bytes", r.Free)
	}
}

// look finds out about room on LaneRead, when nothing is written that would tell.
type look struct {
	log  *wal.Log
	room wal.Room
	ok   bool
}

func (l *look) run() error {
	l.room, l.ok = l.log.Room()
	return nil
}

func (l *look) finish(e *Engine) {
	e.room.looking = false
	if l.ok {
		e.looked(l.room)
	}
}

// keepRoom looks for room while there is none, makes some, and gives leadership
// away.
func (e *Engine) keepRoom() {
	r := &e.room
	if !r.full {
		return
	}
	if e.now >= r.lookAt && !r.looking {
		r.looking, r.lookAt = true, e.now+lookEvery
		e.submit(LaneRead, &look{log: e.disk.log})
		e.freeLog()
	}
	if e.status.Role == core.Leader && e.now >= r.relieveAt {
		r.relieveAt = e.now + relieveEvery
		e.handOver()
	}
}

func (r *room) deadline(leads bool) core.Instant {
	switch {
	case !r.full:
		return never
	case leads:
		return min(r.lookAt, r.relieveAt)
	}
	return r.lookAt
}

// hold takes from a message of the leader's what this server has no room for. An
// append is still a good one with fewer entries, and answered as such: what
// opens a term or changes members is taken, commands are not. Pieces of
// snapshots are dropped.
func (e *Engine) hold(m *core.Message) (drop bool) {
	left := e.room.left - e.room.Reserve/2
	for i, entry := range m.Entries {
		if left -= int64(cost(entry)); left < 0 && entry.Kind == core.EntryCommand {
			m.Entries = m.Entries[:i]
			e.held++
			break
		}
	}
	return m.Kind == core.MsgSnapshot && left-int64(len(m.Data)) < 0
}

// noSpace says whether an error is that of a full disk.
func noSpace(err error) bool { return errors.Is(err, syscall.ENOSPC) }
