package sim

import (
	"fmt"
	"strings"
	"time"

	"muster/consensus/core"
)

const (
	microsecond core.Duration = 1000
	millisecond               = 1000 * microsecond
	second                    = 1000 * millisecond
)

// Plan is all that a seed decides before its run begins: sizes, how bad network
// and disks are, and the steps of trouble. Draw makes one from a seed, a Mask
// takes parts of it away.
type Plan struct {
	Seed    uint64 // of what is drawn while the run goes on
	Servers int    // first voters: 1, 3, 5 or 7
	Spares  int    // more servers that membership changes may add
	Clients int
	Keys    int // registers that the clients share

	// Multiplier scales the time-outs of Raft, as raft_multiplier does, and with
	// them how long trouble lasts.
	Multiplier int
	Faults     core.Duration // how long the first phase lasts
	Steps      []Step        // what happens in it, by time

	Loss, Double       float64 // of messages
	DelayMin, DelayMax core.Duration
	DelayTail          float64 // messages that take ten times as long
	DiskMin, DiskMax   core.Duration
	ApplyMax           core.Duration
	SkewPPM            int64 // clocks run up to this much apart, in millionths

	LosesTail bool          // some server's log loses its end in a crash
	Think     core.Duration // mean time between a client's operations under load
	Padding   int           // commands have up to this many bytes more

	SnapshotEntries uint64
	SegmentBytes    int64
	RetainBytes     int64
	ChunkBytes      int
	MaxAppendBytes  int
	CacheBytes      int
	MaxPendingBytes int
}

// Step is one thing that is done to the cluster.
type Step struct {
	At     core.Duration // since the start of the run
	Action string        // a name in actions
	Seed   uint64        // of all that the action draws
}

// Draw makes the plan of a seed. Some runs are calm, some a storm, some starve
// of memory and log. Trouble comes in bursts, mostly under load, with quiet time
// between, in which what is left behind must be made good.
func Draw(seed uint64) Plan {
	d := newDice(seed, "plan", 0)
	p := Plan{
		Seed:       seed,
		Servers:    d.pick(1, 3, 3, 3, 5, 5, 7),
		Spares:     d.pick(0, 1, 2),
		Clients:    d.pick(1, 2, 4, 8),
		Multiplier: d.pick(1, 1, 2, 5, 10),
		DelayMin:   core.Duration(d.pick(20, 100, 500)) * microsecond,
		DelayMax:   core.Duration(d.pick(1, 5, 20)) * millisecond,
		DiskMin:    core.Duration(d.pick(50, 200, 1000)) * microsecond,
		DiskMax:    core.Duration(d.pick(1, 5, 30)) * millisecond,
		ApplyMax:   core.Duration(d.pick(0, 1, 10)) * millisecond,
		SkewPPM:    int64(d.pick(0, 1000, boundPPM, boundPPM, 4*boundPPM)),
		Think:      core.Duration(d.pick(2, 10, 50)) * millisecond,
		Padding:    d.pick(0, 50, 400),

		SnapshotEntries: uint64(d.pick(1, 3, 10, 50, 1000)),
		SegmentBytes:    int64(d.pick(2, 8, 64)) << 10,
		RetainBytes:     int64(d.pick(0, 0, 4, 64)) << 10,
		ChunkBytes:      d.pick(7, 64, 4096),
		MaxAppendBytes:  d.pick(100, 1000, 100_000),
		CacheBytes:      d.pick(200, 2000, 1_000_000),
		MaxPendingBytes: d.pick(100, 10_000, 1_000_000),
	}
	p.Keys = (p.Clients + 1) / 2
	p.LosesTail = p.Servers > 1 && d.chance(0.2)
	if d.chance(0.7) {
		p.Loss = d.Float64() * 0.1
		p.Double = d.Float64() * 0.1
		p.DelayTail = d.Float64() * 0.05
	}
	p.schedule(d)
	p.withFullDisks()
	return p
}

// schedule draws the steps of trouble. Gaps scale with the time-outs of Raft.
func (p *Plan) schedule(d dice) {
	unit := core.Duration(p.Multiplier) * second
	trouble := core.Duration(d.pick(150, 400, 1000)) * millisecond * core.Duration(p.Multiplier)
	at := second // a first leader
	for range 2 + d.IntN(3) {
		at += d.between(unit, 6*unit)
		if d.chance(0.8) {
			p.Steps = append(p.Steps, Step{At: at, Action: "load", Seed: d.Uint64()})
		}
		for range 3 + d.IntN(14) {
			at += d.around(trouble)
			p.Steps = append(p.Steps, Step{At: at, Action: drawAction(d), Seed: d.Uint64()})
		}
	}
	p.Faults = at + d.between(unit, 3*unit)
}

// scaled is a span that grows with Raft's time-outs.
func (p *Plan) scaled(d core.Duration) core.Duration { return d * core.Duration(p.Multiplier) }

// boundPPM is the largest skew with which no two clocks drift apart by more than
// core.DriftShare allows.
const boundPPM = 50_000

// clocksAgree says whether reads under a lease must be linearizable.
func (p *Plan) clocksAgree() bool { return p.SkewPPM <= boundPPM }

// String shows the plan in a failing test's output, apart from its steps.
func (p Plan) String() string {
	type plain Plan // without this method
	steps := len(p.Steps)
	p.Steps = nil
	return fmt.Sprintf("%+v, %d steps within %v", plain(p), steps, time.Duration(p.Faults).Round(time.Millisecond))
}

// Describe lists the steps, a line each.
func (p Plan) Describe() string {
	var b strings.Builder
	for _, st := range p.Steps {
		fmt.Fprintf(&b, "%12.6f %s\n", float64(st.At)/1e9, st.Action)
	}
	return b.String()
}
