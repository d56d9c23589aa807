package core_test

import (
	"errors"
	"testing"

	"muster/consensus/core"
)

// Property 39: a server whose disk hangs does not stand, and does again when the
// disk works.
func TestDisk_AHungOneKeepsAServerFromStanding(t *testing.T) {
	l := newLone(t, voters("a", "b", "c"))
	l.SetDisk(l.now, core.DiskHung)
	for range 10 {
		if out := l.passes(300 * ms); len(out.Send) > 0 {
			t.Fatalf("it asks for votes: %+v", out.Send)
		}
	}
	l.hear(core.Message{Kind: core.MsgHeartbeat, From: "b", Term: 2, Round: 1})
	l.hear(core.Message{Kind: core.MsgTimeoutNow, From: "b", Term: 2})
	if s := l.Status(); s.Term != 2 || s.Role != core.Follower {
		t.Errorf("asked to stand, it is %v in term %d", s.Role, s.Term)
	}
	l.SetDisk(l.now, core.DiskGood)
	if out := l.passes(900 * ms); len(out.SendAfter)+len(out.Send) == 0 {
		t.Error("it does not stand with a disk that works again")
	}
}

// A server with a full disk says so, and lets others stand first.
func TestDisk_AFullOneIsTold(t *testing.T) {
	l := newLone(t, voters("a", "b", "c"))
	l.SetDisk(l.now, core.DiskFull)
	if out := l.passes(299 * ms); len(out.Send) > 0 {
		t.Errorf("it stands before the others: %+v", out.Send)
	}
	if out := l.passes(300 * ms); len(out.Send) == 0 {
		t.Error("it does not stand though no other does")
	}
	l.hear(core.Message{Kind: core.MsgHeartbeat, From: "b", Term: 1, Round: 1})
	out := l.hear(core.Message{Kind: core.MsgHeartbeat, From: "b", Term: 1, Round: 2})
	if len(out.Send) != 1 || !out.Send[0].Full {
		t.Errorf("answer to a heartbeat: %+v", out.Send)
	}
}

// A leader takes commands while a majority has room for them, and does not make
// a full server its successor.
func TestDisk_ALeaderHeedsThoseOfOthers(t *testing.T) {
	l := newLone(t, voters("a", "b", "c"))
	l.elect("b", "c")
	for _, from := range []core.ServerID{"b", "c"} {
		l.hear(core.Message{Kind: core.MsgAppendReply, From: from, Term: 2, Match: 2, Round: 1})
	}
	outcome := func() error { return l.Output().Outcomes[0].Err }
	token := uint64(0)
	propose := func() error {
		token++
		l.Propose(l.now, []core.Proposal{{Token: token, Data: []byte("x")}})
		return outcome()
	}
	full := func(from core.ServerID, is bool) {
		l.hear(core.Message{Kind: core.MsgHeartbeatReply, From: from, Term: 2, Round: 1, Full: is})
	}
	full("b", true)
	if err := propose(); err != nil {
		t.Errorf("with one of three full: %v", err)
	}
	full("c", true)
	if err := propose(); !errors.Is(err, core.ErrDiskFull) {
		t.Errorf("with two of three full: %v", err)
	}
	l.Transfer(l.now, 100, "")
	if err := outcome(); !errors.Is(err, core.ErrNotCaughtUp) {
		t.Errorf("transfer with no server that has room: %v", err)
	}
	full("b", false)
	if err := propose(); err != nil {
		t.Errorf("with room again: %v", err)
	}
	l.SetDisk(l.now, core.DiskFull)
	if err := propose(); !errors.Is(err, core.ErrDiskFull) {
		t.Errorf("with its own disk full: %v", err)
	}
}
