package core_test

import (
	"testing"

	"muster/consensus/core"
)

// Appends and heartbeats travel on streams of their own. A commit index that
// overtakes the entries it speaks of must not wait for the next heartbeat.
func TestFollower_HeedsACommitIndexThatOvertookItsEntries(t *testing.T) {
	l := newLone(t, voters("a", "b", "c"))
	l.hear(core.Message{Kind: core.MsgHeartbeat, From: "b", Term: 2, Commit: 3, Prev: at(2, 3)})
	if c := l.Status().Commit; c != 0 {
		t.Fatalf("commit %d before the entries came, want 0", c)
	}
	l.hear(core.Message{Kind: core.MsgAppend, From: "b", Term: 2, Round: 1, Commit: 1, Prev: at(1, 1), Entries: entries(at(2, 2))})
	if c := l.Status().Commit; c != 1 {
		t.Fatalf("commit %d with only the first of the entries, want 1", c)
	}
	l.hear(core.Message{Kind: core.MsgAppend, From: "b", Term: 2, Round: 1, Commit: 1, Prev: at(2, 2), Entries: entries(at(2, 3), at(2, 4))})
	if c := l.Status().Commit; c != 3 {
		t.Fatalf("commit %d after the entries that the heartbeat spoke of, want 3", c)
	}
}

// What was said of another leader's entry does not hold for the one that took its
// place.
func TestFollower_ForgetsANoticeOfEntriesThatNeverCame(t *testing.T) {
	l := newLone(t, voters("a", "b", "c"))
	l.hear(core.Message{Kind: core.MsgHeartbeat, From: "b", Term: 2, Commit: 3, Prev: at(2, 3)})
	l.hear(core.Message{Kind: core.MsgAppend, From: "c", Term: 3, Round: 1, Commit: 1, Prev: at(1, 1), Entries: entries(at(3, 2), at(3, 3))})
	if c := l.Status().Commit; c != 1 {
		t.Fatalf("commit %d, want 1: the notice was about (2, 3)", c)
	}
}
