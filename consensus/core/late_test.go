package core_test

import (
	"testing"

	"muster/consensus/core"
)

// heartbeat is b's as the leader of term 2.
func (l *lone) heartbeat(round uint64) {
	l.hear(core.Message{Kind: core.MsgHeartbeat, From: "b", Term: 2, Round: round})
}

// Property 41. The election timeout is 150 ms here, a heartbeat interval 50.
func TestFollower_ThatIsLateWaitsOnceMore(t *testing.T) {
	tests := []struct {
		name  string
		spent func(*lone) // after a heartbeat at t = 0
		role  core.Role
	}{
		{"on time", func(l *lone) { l.oversleeps(150 * ms) }, core.PreCandidate},
		{"a little late", func(l *lone) { l.oversleeps(199 * ms) }, core.PreCandidate},
		{"a heartbeat interval late", func(l *lone) { l.oversleeps(200 * ms) }, core.Follower},
		{"then almost as much again", func(l *lone) { l.oversleeps(200 * ms); l.passes(49 * ms) }, core.Follower},
		{"then as much again", func(l *lone) { l.oversleeps(200 * ms); l.passes(50 * ms) }, core.PreCandidate},
		{"then late again", func(l *lone) { l.oversleeps(200 * ms); l.oversleeps(400 * ms) }, core.PreCandidate},
		{"late again after a sign of life", func(l *lone) {
			l.oversleeps(200 * ms)
			l.heartbeat(2)
			l.oversleeps(400 * ms)
		}, core.Follower},
	}
	for _, tt := range tests {
		l := newLone(t, voters("a", "b", "c"))
		l.heartbeat(1)
		if tt.spent(l); l.Status().Role != tt.role {
			t.Errorf("%s: %v, want %v", tt.name, l.Status().Role, tt.role)
		}
	}
}

// It waits with its own candidacy, not with its vote: whoever finds the leader
// gone in the meantime is elected.
func TestFollower_ThatIsLateVotes(t *testing.T) {
	l := newLone(t, voters("a", "b", "c"))
	l.heartbeat(1)
	l.oversleeps(200 * ms)
	out := l.hear(core.Message{Kind: core.MsgPreVote, From: "c", Term: 3, Prev: at(2, 9)})
	if answers := append(out.Send, out.SendAfter...); len(answers) != 1 || answers[0].Reject {
		t.Errorf("asked whether it would vote: %+v", answers)
	}
}

// A candidate's votes may be as late as it is.
func TestCandidate_ThatIsLateWaitsOnceMore(t *testing.T) {
	l := newLone(t, voters("a", "b", "c"))
	l.passes(150 * ms)
	l.hear(core.Message{Kind: core.MsgPreVoteReply, From: "b", Term: 2})
	l.Written(l.now, core.Written{Seq: 1, Last: at(1, 1)})
	if out := l.oversleeps(200 * ms); l.Status().Role != core.Candidate || len(out.Send) > 0 {
		t.Errorf("%v, sends %+v; want a candidate that waits", l.Status().Role, out.Send)
	}
	if l.hear(core.Message{Kind: core.MsgVoteReply, From: "b", Term: 2}); l.Status().Role != core.Leader {
		t.Errorf("with a majority it is %v", l.Status().Role)
	}
}

// A lone voter has nobody to wait for, however long its start took.
func TestLoneVoter_IsElectedHoweverLate(t *testing.T) {
	l := newLone(t, voters("a"))
	l.oversleeps(5_000 * ms)
	if l.Written(l.now, core.Written{Seq: 1, Last: at(1, 1)}); l.Status().Role != core.Leader {
		t.Errorf("it is %v", l.Status().Role)
	}
}

// Properties 8 and 41: a leader that was late asks its quorum once more before it
// gives up. Term 2 began at 150 ms; nobody has answered a round since.
func TestLeader_ThatIsLateAsksOnceMore(t *testing.T) {
	tests := []struct {
		name  string
		spent func(*lone)
		want  core.Role
	}{
		{"on time", func(l *lone) { l.passes(300 * ms) }, core.Follower},
		{"a little late", func(l *lone) { l.passes(250 * ms); l.oversleeps(99 * ms) }, core.Follower},
		{"a heartbeat interval late", func(l *lone) { l.passes(250 * ms); l.oversleeps(100 * ms) }, core.Leader},
		{"then almost a timeout more", func(l *lone) { l.oversleeps(400 * ms); l.passes(299 * ms) }, core.Leader},
		{"then a timeout more", func(l *lone) { l.oversleeps(400 * ms); l.passes(300 * ms) }, core.Follower},
		{"then late again", func(l *lone) { l.oversleeps(400 * ms); l.oversleeps(300 * ms) }, core.Follower},
		{"late early, then silence", func(l *lone) { l.oversleeps(200 * ms); l.passes(300 * ms) }, core.Follower},
		{"late again after a sign of life", func(l *lone) {
			for _, m := range l.oversleeps(400 * ms).Send {
				l.hear(core.Message{Kind: core.MsgHeartbeatReply, From: m.To, Term: 2, Round: m.Round})
			}
			l.oversleeps(400 * ms)
		}, core.Leader},
		{"too late", func(l *lone) { l.oversleeps(1_250 * ms) }, core.Follower},
	}
	for _, tt := range tests {
		l := newLone(t, voters("a", "b", "c"))
		l.elect("b", "c")
		if tt.spent(l); l.Status().Role != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, l.Status().Role, tt.want)
		}
	}
}

// Properties 6 and 30: its patience prolongs neither its lease nor its loyalty to
// itself.
func TestLeader_ThatIsLateHasNoLease(t *testing.T) {
	l := leased(t)
	l.answers(1, 1)
	end, _ := l.Lease()
	l.oversleeps(400 * ms)
	if l.Status().Role != core.Leader {
		t.Fatalf("it is %v, want a leader that asks once more", l.Status().Role)
	}
	l.wantLease("it was late", end)
	l.ReadIndex(l.now, 1, core.ReadUnderLease)
	if out := l.Output(); len(out.Reads) > 0 {
		t.Errorf("a read is released before a quorum has answered: %+v", out.Reads)
	}
	l.hear(core.Message{Kind: core.MsgVote, From: "c", Term: 3, Prev: at(2, 9)})
	if st := l.Status(); st.Term != 3 || st.Vote != "c" {
		t.Errorf("asked for its vote by another: term %d, vote %q", st.Term, st.Vote)
	}
}
