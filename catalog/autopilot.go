package catalog

import "time"

// Autopilot is how the leader judges the servers and what it does about those
// that are dead (https://developer.hashicorp.com/consul/api-docs/operator/autopilot).
// One value holds for the whole cluster.
type Autopilot struct {
	// CleanupDeadServers lets the leader take dead servers out of the Raft
	// configuration where the cluster can then bear more failures.
	CleanupDeadServers bool
	// LastContactThreshold is how long a healthy server may leave the leader
	// without an answer.
	LastContactThreshold time.Duration
	// MaxTrailingLogs is how many entries a healthy server may be behind.
	MaxTrailingLogs uint64
	// MinQuorum is how many voters stay, dead or not, whatever CleanupDeadServers
	// says.
	MinQuorum uint64
	// ServerStabilizationTime is how long a new server must have been healthy
	// before it gets a vote.
	ServerStabilizationTime time.Duration

	// Those of Consul Enterprise are kept and given back; nothing acts on them.
	RedundancyZoneTag       string
	DisableUpgradeMigration bool
	UpgradeVersionTag       string

	Indexes
}

// DefaultAutopilot is what holds until somebody sets something else: Consul's
// defaults, but for ServerStabilizationTime, which is 0. A server gets its vote
// when rounds of replication have shown that it keeps up, and needs no further
// wait to be trusted with it.
func DefaultAutopilot() Autopilot {
	return Autopilot{CleanupDeadServers: true, LastContactThreshold: 200 * time.Millisecond, MaxTrailingLogs: 250}
}

// Validate says what is wrong with a.
func (a *Autopilot) Validate() error {
	if a.LastContactThreshold < 0 || a.ServerStabilizationTime < 0 {
		return Errorf(Invalid, "LastContactThreshold and ServerStabilizationTime must not be negative")
	}
	return nil
}

// Same reports whether both say the same, whatever their indexes.
func (a *Autopilot) Same(o *Autopilot) bool {
	x, y := *a, *o
	x.Indexes, y.Indexes = Indexes{}, Indexes{}
	return x == y
}

// SetAutopilot replaces the cluster's Autopilot. With CAS it does so only where
// the present one's ModifyIndex is Index; 0 is that of the default. Its result's
// Value is a bool: whether that was so.
type SetAutopilot struct {
	Autopilot Autopilot
	CAS       bool
	Index     uint64
}

// Op implements Command.
func (*SetAutopilot) Op() Op { return OpSetAutopilot }
