package core_test

import (
	"testing"

	"muster/consensus/core"
)

// leased is the leader of term 2 among a, b and c at t = 150 ms, with its first
// entry on disk and round 1, an append, sent at that moment.
func leased(t *testing.T) *lone {
	l := newLone(t, voters("a", "b", "c"))
	l.stored(l.elect("b", "c"), at(2, 2))
	return l
}

// answers is b's word for round, with a promise under the configuration at config.
func (l *lone) answers(round, config uint64) core.Output {
	return l.hear(core.Message{Kind: core.MsgAppendReply, From: "b", Term: 2, Round: round, Match: 2, Config: config})
}

func (l *lone) wantLease(what string, want core.Instant) {
	l.t.Helper()
	if end, _ := l.Lease(); end != want {
		l.t.Errorf("%s: lease until %d ms, want %d ms", what, end/core.Instant(ms), want/core.Instant(ms))
	}
}

// Property 30: from the sending of the round, for less than the promise.
func TestLease_BeginsWhenTheRoundWasSentAndEndsBeforeThePromise(t *testing.T) {
	l := leased(t)
	l.wantLease("nobody has answered", 0)
	l.now = l.now.Add(30 * ms)
	l.answers(1, 1)
	l.wantLease("round 1 is answered 30 ms later", core.Instant(150*ms+135*ms))
	l.passes(50 * ms)
	l.wantLease("nothing new is answered", core.Instant(150*ms+135*ms))
}

func TestLease_NeedsACommittedEntryOfItsTerm(t *testing.T) {
	l := leased(t)
	l.hear(core.Message{Kind: core.MsgHeartbeatReply, From: "b", Term: 2, Round: 1, Config: 1})
	l.wantLease("a quorum promises but nothing of term 2 is committed", 0)
	l.answers(1, 1)
	l.wantLease("then it is", core.Instant(150*ms+135*ms))
}

func TestLease_EndsAtStepDown(t *testing.T) {
	l := leased(t)
	l.answers(1, 1)
	l.hear(core.Message{Kind: core.MsgHeartbeatReply, From: "c", Term: 9, Reject: true})
	l.wantLease("another term has begun", 0)
}

// Property 25. Whoever was told to stand may get the message at any later time.
func TestLease_IsGivenUpBeforeAnotherIsToldToStand(t *testing.T) {
	l := leased(t)
	l.answers(1, 1)
	l.Transfer(l.now, 7, "b")
	l.wantLease("a transfer has begun, nothing was sent", 0)
	if out := l.Output(); len(out.Send) == 0 || out.Send[len(out.Send)-1].Kind != core.MsgTimeoutNow {
		t.Fatalf("sends %+v, want b told to stand", out.Send)
	}
	for range 8 { // the transfer fails, and b goes on answering
		for _, m := range l.passes(50 * ms).Send {
			if m.Kind == core.MsgHeartbeat && m.To == "b" {
				l.answers(m.Round, 1)
			}
		}
	}
	if st := l.Status(); st.Role != core.Leader || st.Transfer != "" {
		t.Fatalf("role %v, transfer to %q; want a leader without one", st.Role, st.Transfer)
	}
	l.wantLease("b was told to stand and may yet do so", 0)
}

// A transfer that never got as far as telling its target leaves nothing behind.
func TestLease_ComesBackAfterATransferThatToldNobody(t *testing.T) {
	l := leased(t)
	l.answers(1, 1)
	l.Transfer(l.now, 7, "c") // which lags
	l.Output()
	l.wantLease("a transfer has begun", 0)
	var sent core.Instant
	for range 7 {
		for _, m := range l.passes(50 * ms).Send {
			if m.Kind == core.MsgHeartbeat && m.To == "b" {
				sent = l.now
				l.answers(m.Round, 1)
			}
		}
	}
	l.wantLease("the transfer was given up", sent.Add(135*ms))
}

// Whoever promises by other times than the leader's does not count.
func TestLease_CountsOnlyPromisesUnderTheLeadersConfiguration(t *testing.T) {
	l := leased(t)
	l.answers(1, 1)
	l.Change(l.now, 8, core.Change{Kind: core.SetTiming, Timing: core.DefaultTiming().Scaled(4)})
	out := l.Output()
	l.wantLease("the times have changed", 0)
	round := out.Send[len(out.Send)-1].Round
	l.answers(round, 1)
	l.wantLease("b still goes by the old times", 0)
	l.stored(out, at(2, 3))
	l.hear(core.Message{Kind: core.MsgAppendReply, From: "b", Term: 2, Round: round, Match: 3})
	l.wantLease("b has the new times but may lose them", 0)
	l.hear(core.Message{Kind: core.MsgHeartbeatReply, From: "b", Term: 2, Round: round, Config: 3})
	l.wantLease("b promises by the new times", core.Instant(150*ms+540*ms))
}

// A clock that is slow by the bound shows the end of the lease no later than a
// right one shows the end of the promise.
func TestLease_LeavesRoomForDrift(t *testing.T) {
	l := leased(t)
	l.answers(1, 1)
	end, _ := l.Lease()
	lease := end.Sub(core.Instant(150 * ms)) // on the leader's clock, slow by a DriftShare-th
	if real := lease + lease/(core.DriftShare-1); real > 150*ms {
		t.Errorf("the lease lasts %d ms when the leader's clock is slow, the promise 150 ms", real/ms)
	}
}

// Property 6: for as long as the configuration says, and after a restart anew.
func TestFollower_PromisesByTheTimesOnItsDisk(t *testing.T) {
	config := configurationOf("a", "b", "c")
	config.Timing = core.DefaultTiming().Scaled(4)
	disk := voters("a", "b", "c")
	disk.Configs[0].Data = core.EncodeConfiguration(config)
	refuses := func(l *lone) bool {
		out := l.hear(core.Message{Kind: core.MsgPreVote, From: "c", Term: 9, Prev: at(1, 1)})
		return len(out.Send) == 1 && out.Send[0].Reject
	}
	l := newLone(t, disk)
	for range 2 {
		if l.passes(599 * ms); !refuses(l) {
			t.Error("votes 599 ms after its start or its leader's word; the configuration says 600")
		}
		if l.passes(ms); refuses(l) {
			t.Error("refuses its vote after 600 ms")
		}
		out := l.hear(core.Message{Kind: core.MsgHeartbeat, From: "b", Term: 2, Round: 1, Prev: at(1, 1)})
		if config := append(out.Send, out.SendAfter...)[0].Config; config != 0 {
			t.Errorf("promises by the configuration at %d, which is not known to be committed", config)
		}
		l.stored(out, at(1, 1))
	}
	out := l.hear(core.Message{Kind: core.MsgHeartbeat, From: "b", Term: 2, Round: 2, Commit: 1, Prev: at(1, 1)})
	if len(out.Send) != 1 || out.Send[0].Config != 1 {
		t.Errorf("answers %+v, want a promise by the configuration at 1", out.Send)
	}
}
