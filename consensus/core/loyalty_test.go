package core_test

import (
	"testing"

	"muster/consensus/core"
)

// Properties 6 and 7: a request for votes in a later term changes nothing on a
// server that hears its leader, unless that leader has asked for it.
func TestFollower_IsNotMovedByAVoteRequestWhileItHearsItsLeader(t *testing.T) {
	for kind, want := range map[core.CampaignKind]uint64{core.CampaignTimeout: 2, core.CampaignTransfer: 5} {
		l := newLone(t, voters("a", "b", "c"))
		l.hear(core.Message{Kind: core.MsgHeartbeat, From: "b", Term: 2, Round: 1})
		l.hear(core.Message{Kind: core.MsgVote, From: "c", Term: 5, Prev: at(2, 9), Campaign: kind})
		if got := l.Status().Term; got != want {
			t.Errorf("campaign of kind %d: term %d, want %d", kind, got, want)
		}
	}
}
