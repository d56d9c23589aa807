package consensus

import (
	"strings"
	"testing"
	"time"

	"muster/consensus/core"
)

func asID(id core.ServerID) string { return string(id) }

const second = core.Instant(time.Second)

// healthy is the status of the leader a of three voters, all of them sound, with
// changes made to it.
func healthy(changes ...func(*Status)) Status {
	s := Status{}
	s.ID, s.Role, s.Term, s.AppliedTerm = "a", core.Leader, 3, 3
	s.LastIndex, s.LastTerm, s.Commit, s.ConfigIndex = 100, 3, 100, 1
	s.Config.Timing = core.DefaultTiming()
	for _, id := range []core.ServerID{"a", "b", "c"} {
		s.Config.Servers = append(s.Config.Servers, core.Server{ID: id, Suffrage: core.Voter})
		if id != "a" {
			s.Progress = append(s.Progress, core.Progress{ID: id, Match: 100, MatchTerm: 3, LastContact: 10 * second, CaughtUp: true})
		}
	}
	for _, change := range changes {
		change(&s)
	}
	return s
}

func TestStopSafe_CountsOnlyVotersThatCanBeCountedOn(t *testing.T) {
	c := func(change func(p *core.Progress)) func(*Status) {
		return func(s *Status) { change(&s.Progress[1]) }
	}
	learner := func(s *Status) { s.Config.Servers[2].Suffrage = core.Learner }
	for name, tc := range map[string]struct {
		changes []func(*Status)
		stop    core.ServerID
		safe    bool
		reason  string
	}{
		"a follower of three":    {nil, "b", true, "2 voters are sound and 2 are needed"},
		"the leader of three":    {nil, "a", true, "2 voters are sound and 2 are needed"},
		"a stranger":             {nil, "x", true, "not in the Raft configuration"},
		"the one that is down":   {[]func(*Status){c(func(p *core.Progress) { p.LastContact = 0 })}, "c", true, "2 voters are sound"},
		"while another is down":  {[]func(*Status){c(func(p *core.Progress) { p.LastContact = 9 * second })}, "b", false, "c: it has not answered for 1s"},
		"while another lags":     {[]func(*Status){c(func(p *core.Progress) { p.CaughtUp, p.Match = false, 40 })}, "b", false, "c: it lacks 60 entries"},
		"while another is stuck": {[]func(*Status){c(func(p *core.Progress) { p.StuckSince, p.Match = 8*second, 99 })}, "b", false, "c: it answers, but has stored nothing for 2s though it lacks 1 entries"},
		"while another is full":  {[]func(*Status){c(func(p *core.Progress) { p.Full = true })}, "a", false, "c: its disk is full"},
		"while one lost its log": {[]func(*Status){c(func(p *core.Progress) { p.OtherLog = 7 })}, "b", false, "c: it came back with another log"},
		"while one is voteless":  {[]func(*Status){c(func(p *core.Progress) { p.Voteless = true })}, "b", false, "c: its log may have lost entries"},
		"with a full leader":     {[]func(*Status){func(s *Status) { s.Disk.Full = true }}, "b", false, "a: its disk is full"},
		"with a hung leader":     {[]func(*Status){func(s *Status) { s.Disk.Hung = true }}, "b", false, "a: its disk hangs"},
		"the hung leader":        {[]func(*Status){func(s *Status) { s.Disk.Hung = true }}, "a", true, "2 voters are sound"},
		"one of two voters":      {[]func(*Status){learner}, "b", false, "1 voters would be sound, and 2 are needed"},
		"a learner":              {[]func(*Status){learner}, "c", true, "it has no vote"},
		"a learner on its way":   {[]func(*Status){learner, c(func(p *core.Progress) { p.CaughtUp = false })}, "c", false, "being brought up to date"},
		"during a transfer":      {[]func(*Status){func(s *Status) { s.Transfer = "b" }}, "c", false, "leadership is being handed to b"},
		"during a change":        {[]func(*Status){func(s *Status) { s.ConfigIndex = 101 }}, "c", false, "change of membership, at index 101"},
		"the only voter":         {[]func(*Status){func(s *Status) { s.Config.Servers, s.Progress = s.Config.Servers[:1], nil }}, "a", false, "0 voters would be sound, and 1 are needed"},
	} {
		t.Run(name, func(t *testing.T) {
			s := healthy(tc.changes...)
			safe, reason := s.health(10*second+1).StopSafe(tc.stop, asID)
			if safe != tc.safe || !strings.Contains(reason, tc.reason) {
				t.Errorf("%v, %q; want %v, %q", safe, reason, tc.safe, tc.reason)
			}
		})
	}
}

func TestHealth_ToleratesWhatAMajorityLeaves(t *testing.T) {
	s := healthy()
	if h := s.health(10 * second); h.Tolerance() != 1 || h.Sound != 3 || h.Quorum != 2 {
		t.Errorf("%+v", h)
	}
	s = healthy(func(s *Status) { s.Progress[0].LastContact, s.Progress[1].LastContact = 0, 0 })
	if h := s.health(10 * second); h.Tolerance() != 0 || h.Sound != 1 {
		t.Errorf("with two of three down: %+v", h)
	}
}

func TestRemoveSafe_LeavesAMajorityThatCanCommit(t *testing.T) {
	down := func(s *Status) { s.Progress[1].LastContact = 0 }
	for name, tc := range map[string]struct {
		changes []func(*Status)
		remove  core.ServerID
		safe    bool
	}{
		"one of three":                  {nil, "b", true},
		"the leader":                    {nil, "a", true},
		"the one that is down":          {[]func(*Status){down}, "c", true},
		"another than the one down":     {[]func(*Status){down}, "b", false},
		"the leader while one is down":  {[]func(*Status){down}, "a", false},
		"the last voter but a learner":  {[]func(*Status){func(s *Status) { s.Config.Servers = s.Config.Servers[:1] }}, "a", false},
		"a learner while one is down":   {[]func(*Status){down, func(s *Status) { s.Config.Servers[1].Suffrage = core.Learner }}, "b", false},
		"a learner while all are sound": {[]func(*Status){func(s *Status) { s.Config.Servers[1].Suffrage = core.Learner }}, "b", true},
	} {
		s := healthy(tc.changes...)
		if safe, reason := s.health(10*second).RemoveSafe(tc.remove, asID); safe != tc.safe || safe != (reason == "") {
			t.Errorf("%s: %v, %q", name, safe, reason)
		}
	}
}
