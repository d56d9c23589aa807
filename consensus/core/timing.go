package core

import "fmt"

// Timing holds the times on which the servers of a cluster rely mutually. They
// stand in the replicated Configuration, so that no server counts on another's
// patience that this one, by flags of its own, does not have.
type Timing struct {
	// ElectionMin and ElectionMax bound the random time without a leader after
	// which a server stands for election. For ElectionMin after it heard its
	// leader a server votes for no other; a leader that no quorum has answered
	// for ElectionMax steps down. Defaults 150 and 300 ms.
	ElectionMin Duration
	ElectionMax Duration
	// Heartbeat is the leader's pause between heartbeats; default 50 ms.
	Heartbeat Duration
}

const millisecond = Duration(1_000_000)

// DefaultTiming is what counts where a Configuration does not say.
func DefaultTiming() Timing {
	return Timing{ElectionMin: 150 * millisecond, ElectionMax: 300 * millisecond, Heartbeat: 50 * millisecond}
}

// Scaled gives all times multiplied by n, as raft_multiplier does.
func (t Timing) Scaled(n int) Timing {
	m := Duration(n)
	return Timing{ElectionMin: m * t.ElectionMin, ElectionMax: m * t.ElectionMax, Heartbeat: m * t.Heartbeat}
}

// longestTiming bounds what a Timing may say, against slips of units.
const longestTiming = 60_000 * millisecond

// Validate says what is wrong with t. The zero Timing is valid: it stands for
// DefaultTiming.
func (t Timing) Validate() error {
	switch {
	case t == Timing{}:
	case t.Heartbeat <= 0:
		return fmt.Errorf("heartbeat of %d ns must be positive", t.Heartbeat)
	case t.ElectionMin < 2*t.Heartbeat:
		return fmt.Errorf("election timeout from %d ns must be at least twice the heartbeat of %d ns", t.ElectionMin, t.Heartbeat)
	case t.ElectionMax <= t.ElectionMin:
		return fmt.Errorf("election timeout to %d ns must be longer than its minimum of %d ns, or elections tie for ever", t.ElectionMax, t.ElectionMin)
	case t.ElectionMax > longestTiming:
		return fmt.Errorf("election timeout to %d ns is longer than %d ns", t.ElectionMax, longestTiming)
	}
	return nil
}

// orDefault replaces the zero Timing.
func (t Timing) orDefault() Timing {
	if t == (Timing{}) {
		return DefaultTiming()
	}
	return t
}

// timing is what the configuration says that counts.
func (c *Core) timing() Timing {
	if n := len(c.configs); n > 0 {
		return c.configs[n-1].config.Timing.orDefault()
	}
	return DefaultTiming()
}

// span gives the shortest heartbeat and the longest election timeout among the
// configurations that may yet turn out to be the committed one. While a change
// of timing is under way its leader beats as often as the least patient
// follower needs, and waits as long as the slowest may take.
func (c *Core) span() (heartbeat, patience Duration) {
	t := c.timing()
	heartbeat, patience = t.Heartbeat, t.ElectionMax
	for i := len(c.configs) - 1; i > 0 && c.configs[i].index > c.commit; i-- {
		t = c.configs[i-1].config.Timing.orDefault()
		heartbeat, patience = min(heartbeat, t.Heartbeat), max(patience, t.ElectionMax)
	}
	return heartbeat, patience
}
