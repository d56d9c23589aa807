package agent

import (
	"testing"

	"muster/consensus/core"
	"muster/gossip"
)

// The times change when all live servers want it, and not with each leader of a
// rolling restart.
func TestTimingDue_WaitsUntilAllLiveServersAgree(t *testing.T) {
	server := func(multiplier int, status gossip.Status) gossip.Member {
		return gossip.Member{Server: true, RaftMultiplier: multiplier, Status: status}
	}
	now := core.Configuration{Timing: core.DefaultTiming()}
	for name, c := range map[string]struct {
		members []gossip.Member
		want    int // 0: no change
	}{
		"as it is":       {[]gossip.Member{server(1, gossip.StatusAlive), server(1, gossip.StatusAlive)}, 0},
		"some restarted": {[]gossip.Member{server(5, gossip.StatusAlive), server(1, gossip.StatusAlive)}, 0},
		"all restarted":  {[]gossip.Member{server(5, gossip.StatusAlive), server(5, gossip.StatusAlive)}, 5},
		"one is down":    {[]gossip.Member{server(5, gossip.StatusAlive), server(1, gossip.StatusFailed)}, 5},
		"client agents":  {[]gossip.Member{server(1, gossip.StatusAlive), {RaftMultiplier: 5, Status: gossip.StatusAlive}}, 0},
		"nobody":         {nil, 0},
	} {
		change, due := timingDue(now, c.members)
		if due != (c.want > 0) || due && change.Timing != core.DefaultTiming().Scaled(c.want) {
			t.Errorf("%s: due %v, %+v; want times scaled by %d", name, due, change, c.want)
		}
	}
}
