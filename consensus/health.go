package consensus

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"muster/consensus/core"
)

// Health is a leader's judgement of the servers of its configuration.
type Health struct {
	// Servers are those of the configuration, in its order.
	Servers []ServerHealth
	// Quorum is how many voters make a majority, Sound how many voters there are
	// whose vote and disk can be counted on at this moment.
	Quorum, Sound int

	// unsettled is why nobody should be stopped at this moment, whoever it is.
	unsettled string
}

// ServerHealth is one server as its leader sees it.
type ServerHealth struct {
	core.Server
	Leader bool
	// Contact is how long ago the server answered, 0 for the leader itself.
	Contact time.Duration
	// Last is the last entry that is known to be on the server's disk; its term is
	// 0 where the leader's log no longer tells it.
	Last core.EntryID
	// Trouble is why the server can't be counted on, "" where it can: it answers,
	// has the log that its vote belongs to, keeps up, and its disk takes writes.
	Trouble string
	// Late says that the trouble is one of time alone: the server has been silent,
	// or has yet to catch up. Contact and Lacks tell by how much.
	Late bool
	// Lacks is how many of the leader's entries are not known to be on its disk.
	Lacks uint64
}

// Tolerance is how many more servers may fail before nothing can be committed.
func (h Health) Tolerance() int { return max(0, h.Sound-h.Quorum) }

// Health judges the servers of the configuration. It reports false unless this
// server leads: nobody else knows how the others are.
func (n *Node) Health() (Health, bool) {
	s := n.Status()
	return s.health(clock()), s.Leading()
}

func (s *Status) health(now core.Instant) Health {
	h := Health{Quorum: voters(s.Config)/2 + 1}
	for _, server := range s.Config.Servers {
		one := ServerHealth{Server: server, Leader: server.ID == s.ID}
		if one.Leader {
			one.Last = core.EntryID{Term: s.LastTerm, Index: s.LastIndex}
			one.Trouble = s.Disk.trouble()
		} else if i := slices.IndexFunc(s.Progress, func(p core.Progress) bool { return p.ID == server.ID }); i >= 0 {
			p := &s.Progress[i]
			one.Contact = time.Duration(max(0, now-p.LastContact))
			one.Last = core.EntryID{Term: p.MatchTerm, Index: p.Match}
			one.Lacks = s.LastIndex - min(p.Match, s.LastIndex)
			one.Trouble, one.Late = s.troubleWith(p, now)
		} else {
			one.Trouble = "this server does not lead it"
		}
		if one.sound() {
			h.Sound++
		}
		h.Servers = append(h.Servers, one)
	}
	switch {
	case s.Transfer != "":
		h.unsettled = fmt.Sprintf("leadership is being handed to %s; ask again in a moment", s.Transfer)
	case s.ConfigIndex > s.Commit:
		h.unsettled = fmt.Sprintf("a change of membership, at index %d, is not committed yet; ask again in a moment", s.ConfigIndex)
	}
	return h
}

// trouble is what keeps a leader from being counted on.
func (d *DiskStatus) trouble() string {
	switch {
	case d.Hung:
		return "its disk hangs"
	case d.Full:
		return "its disk is full"
	}
	return ""
}

// troubleWith is what keeps a follower from being counted on, and whether it is
// just late.
func (s *Status) troubleWith(p *core.Progress, now core.Instant) (trouble string, late bool) {
	seconds := func(since core.Instant) string {
		return time.Duration(max(0, now-since)).Round(10 * time.Millisecond).String()
	}
	lag := s.LastIndex - min(p.Match, s.LastIndex)
	switch {
	case p.OtherLog != 0:
		return "it came back with another log than its vote belongs to", false
	case now-p.LastContact >= core.Instant(s.Config.Timing.ElectionMax):
		return "it has not answered for " + seconds(p.LastContact), true
	case p.Voteless:
		return "its log may have lost entries, and it casts no vote until it has them again", false
	case p.Full:
		return "its disk is full", false
	case p.StuckSince != 0:
		return fmt.Sprintf("it answers, but has stored nothing for %s though it lacks %d entries", seconds(p.StuckSince), lag), false
	case !p.CaughtUp:
		return fmt.Sprintf("it lacks %d entries and has yet to catch up", lag), true
	}
	return "", false
}

// StopSafe says whether the cluster can go on committing without a server, and
// why it can, or can't. Stopping the leader counts as safe where another server
// can lead: one that is told to end hands leadership over first. A server of
// which the configuration knows nothing is safe to stop. The reason speaks of
// servers by name.
func (h Health) StopSafe(id core.ServerID, name func(core.ServerID) string) (safe bool, reason string) {
	i := slices.IndexFunc(h.Servers, func(s ServerHealth) bool { return s.ID == id })
	if i < 0 {
		return true, "it is not in the Raft configuration"
	}
	target, left := h.Servers[i], h.Sound
	if target.sound() {
		left--
	}
	switch {
	case target.Suffrage != core.Voter && target.Trouble != "":
		return false, "it has no vote yet and is being brought up to date: " + target.Trouble
	case h.unsettled != "":
		return false, h.unsettled
	case target.Suffrage != core.Voter:
		return true, "it has no vote"
	case left >= h.Quorum:
		return true, fmt.Sprintf("without it %d voters are sound and %d are needed", left, h.Quorum)
	}
	return false, fmt.Sprintf("without it %d voters would be sound, and %d are needed%s", left, h.Quorum, h.troubles(id, name))
}

// RemoveSafe says whether those who remain can go on committing once a server
// was taken out of the configuration, and if not why. A change that they could
// not commit would be in force all the same.
func (h Health) RemoveSafe(id core.ServerID, name func(core.ServerID) string) (safe bool, reason string) {
	voters, sound := 0, 0
	for _, s := range h.Servers {
		if s.ID == id || s.Suffrage != core.Voter {
			continue
		}
		voters++
		if s.sound() {
			sound++
		}
	}
	if quorum := voters/2 + 1; sound < quorum {
		return false, fmt.Sprintf("of the %d voters that would remain %d are sound, and %d are needed%s", voters, sound, quorum, h.troubles(id, name))
	}
	return true, ""
}

// sound says whether a server's vote and disk can be counted on.
func (s ServerHealth) sound() bool { return s.Suffrage == core.Voter && s.Trouble == "" }

// Troubles lists what is wrong with the voters, in the form "; name: trouble", by
// the names that name gives; "" if nothing is.
func (h Health) Troubles(name func(core.ServerID) string) string { return h.troubles("", name) }

// troubles lists what is wrong with the voters but one.
func (h Health) troubles(but core.ServerID, name func(core.ServerID) string) string {
	var b strings.Builder
	for _, s := range h.Servers {
		if s.ID != but && s.Suffrage == core.Voter && s.Trouble != "" {
			fmt.Fprintf(&b, "; %s: %s", name(s.ID), s.Trouble)
		}
	}
	return b.String()
}
