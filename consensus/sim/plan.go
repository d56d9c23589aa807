package sim

import (
	"fmt"

	"muster/consensus/core"
)

const (
	microsecond core.Duration = 1000
	millisecond               = 1000 * microsecond
	second                    = 1000 * millisecond
)

// Plan is the mix of sizes and faults of one run. Draw makes one from a seed.
type Plan struct {
	Servers int // first voters: 1, 3, 5 or 7
	Spares  int // more servers that membership changes may add
	Clients int

	Faults core.Duration // how long the first phase lasts

	Loss, Double       float64 // of messages
	DelayMin, DelayMax core.Duration
	DelayTail          float64 // messages that take ten times as long
	DiskMin, DiskMax   core.Duration
	ApplyMax           core.Duration
	SkewPPM            int64 // clocks run up to this much apart, in millionths

	LosesTail bool          // some server's log loses its end in a crash
	Trouble   core.Duration // mean time between faults
	Think     core.Duration // mean time between a client's operations
	Padding   int           // commands have up to this many bytes

	SnapshotEntries uint64
	SegmentBytes    int64
	RetainBytes     int64
	ChunkBytes      int
	MaxAppendBytes  int
	CacheBytes      int
	MaxPendingBytes int
}

// Draw makes the plan of a seed. Some runs are calm, some a storm, some starve
// of memory and log.
func Draw(seed uint64) Plan {
	c := newClockwork(seed)
	pick := func(ns ...int) int { return ns[c.rand.IntN(len(ns))] }
	p := Plan{
		Servers:  pick(1, 3, 3, 3, 5, 5, 7),
		Spares:   pick(0, 1, 2),
		Clients:  pick(1, 2, 4, 8),
		Faults:   c.between(5*second, 15*second),
		DelayMin: core.Duration(pick(20, 100, 500)) * microsecond,
		DelayMax: core.Duration(pick(1, 5, 20)) * millisecond,
		DiskMin:  core.Duration(pick(50, 200, 1000)) * microsecond,
		DiskMax:  core.Duration(pick(1, 5, 30)) * millisecond,
		ApplyMax: core.Duration(pick(0, 1, 10)) * millisecond,
		SkewPPM:  int64(pick(0, 100, 1000)),
		Trouble:  core.Duration(pick(150, 400, 1000)) * millisecond,
		Think:    core.Duration(pick(2, 10, 50)) * millisecond,
		Padding:  pick(0, 50, 400),

		SnapshotEntries: uint64(pick(1, 3, 10, 50, 1000)),
		SegmentBytes:    int64(pick(2, 8, 64)) << 10,
		RetainBytes:     int64(pick(0, 0, 4, 64)) << 10,
		ChunkBytes:      pick(7, 64, 4096),
		MaxAppendBytes:  pick(100, 1000, 100_000),
		CacheBytes:      pick(200, 2000, 1_000_000),
		MaxPendingBytes: pick(100, 10_000, 1_000_000),
	}
	p.LosesTail = p.Servers > 1 && c.chance(0.2)
	if c.chance(0.7) {
		p.Loss = c.rand.Float64() * 0.1
		p.Double = c.rand.Float64() * 0.1
		p.DelayTail = c.rand.Float64() * 0.05
	}
	return p
}

// String shows the plan in a failing test's output.
func (p Plan) String() string {
	type plain Plan // without this method
	return fmt.Sprintf("%+v", plain(p))
}
