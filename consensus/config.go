package consensus

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"muster/consensus/core"
	"muster/consensus/wal"
)

// Config describes one server of a Raft cluster.
type Config struct {
	// ID names this server for good; Addr is its cluster address, host:port.
	ID   core.ServerID
	Addr string

	// FS and Dir hold the log, the hard state and the snapshots. Default for FS
	// is the operating system's; memfs keeps all in memory. The caller has
	// locked the directory against other processes.
	FS  wal.FS
	Dir string

	// Net carries messages to other servers. It may be nil for a cluster of one.
	Net Net

	// Timing is written into the first configuration if this server bootstraps a
	// cluster; default core.DefaultTiming. What a running cluster goes by is in
	// its configuration, and changed there (core.SetTiming).
	Timing core.Timing

	// A snapshot is taken after SnapshotEntries applied entries, default 16384,
	// or SnapshotBytes of applied commands, default 64 MiB, since the last one.
	SnapshotEntries uint64
	SnapshotBytes   int64
	// RetainBytes of log are kept behind a snapshot for followers that lag;
	// default 64 MiB.
	RetainBytes int64
	// SegmentBytes is the size of one log file; default 16 MiB.
	SegmentBytes int64
	// ChunkBytes is how much of a snapshot travels in one message; default
	// 256 KiB.
	ChunkBytes int
	// SnapshotRate bounds, in bytes a second, how fast a snapshot goes to one
	// server, so that one that catches up leaves disk and network to the others;
	// default 64 MiB, 0 is no bound.
	SnapshotRate int
	// MaxAppendBytes bounds the entries of one message; default 1 MiB.
	MaxAppendBytes int
	// CacheBytes of the log's tail stay in memory for followers; what is older is
	// read back from the disk. Default 16 MiB.
	CacheBytes int
	// MaxPendingBytes bounds what waits in memory to be applied; beyond it
	// entries are read back from the log. Default 32 MiB.
	MaxPendingBytes int
	// MaxUnwrittenBytes bounds what waits for this server's disk; beyond it
	// proposals are refused with core.ErrOverloaded. Default 64 MiB.
	MaxUnwrittenBytes int
	// MaxCommandBytes bounds one proposal; a larger one is refused with
	// ErrTooLarge. Default 8 MiB.
	MaxCommandBytes int
	// MaxInbox bounds queued proposals and, separately, queued messages; what
	// comes on top is refused with core.ErrOverloaded or dropped. Default 16384.
	MaxInbox int

	// Log is the incarnation of a log that is begun in Dir; a number that no
	// other log has. 0 draws one from Rand.
	Log core.Incarnation

	// Rand gives election timeouts their jitter: a number in [0, n). Default is
	// the runtime's generator.
	Rand func(n uint64) uint64

	// Registerer gets the metrics; nil for none.
	Registerer prometheus.Registerer
	// Logger defaults to one that discards.
	Logger *slog.Logger
}

// DefaultConfig returns a Config that lacks only ID, Addr, Dir and Net.
func DefaultConfig() Config {
	return Config{
		FS:                wal.OS(),
		Timing:            core.DefaultTiming(),
		SnapshotEntries:   16384,
		SnapshotBytes:     64 << 20,
		RetainBytes:       64 << 20,
		SegmentBytes:      16 << 20,
		ChunkBytes:        256 << 10,
		SnapshotRate:      64 << 20,
		MaxAppendBytes:    1 << 20,
		CacheBytes:        16 << 20,
		MaxPendingBytes:   32 << 20,
		MaxUnwrittenBytes: 64 << 20,
		MaxCommandBytes:   8 << 20,
		MaxInbox:          16384,
		Rand:              runtimeRand,
		Logger:            slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

// Validate reports every fault of c at once.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("consensus: "+format, args...))
		}
	}
	check(c.ID != "", "ID is empty; give this server's node ID")
	check(c.FS != nil, "FS is nil; start from DefaultConfig")
	check(c.Dir != "", "Dir is empty; name the directory for the Raft log")
	check(c.Rand != nil, "Rand is nil; start from DefaultConfig")
	check(c.Logger != nil, "Logger is nil; start from DefaultConfig")
	err := c.Timing.Validate()
	check(err == nil, "Timing: %w", err)
	check(c.SnapshotEntries > 0, "SnapshotEntries is 0; it must be above zero")
	check(c.SnapshotBytes > 0, "SnapshotBytes is %d; it must be above zero", c.SnapshotBytes)
	check(c.RetainBytes >= 0, "RetainBytes is %d; it must not be negative", c.RetainBytes)
	check(c.SegmentBytes > 0, "SegmentBytes is %d; it must be above zero", c.SegmentBytes)
	check(c.ChunkBytes > 0, "ChunkBytes is %d; it must be above zero", c.ChunkBytes)
	check(c.SnapshotRate == 0 || c.SnapshotRate >= minChunkRate*c.ChunkBytes,
		"SnapshotRate is %d; it must be 0 or at least %d times ChunkBytes", c.SnapshotRate, minChunkRate)
	check(c.MaxAppendBytes > 0, "MaxAppendBytes is %d; it must be above zero", c.MaxAppendBytes)
	check(c.CacheBytes > 0, "CacheBytes is %d; it must be above zero", c.CacheBytes)
	check(c.MaxPendingBytes > 0, "MaxPendingBytes is %d; it must be above zero", c.MaxPendingBytes)
	check(c.MaxUnwrittenBytes > 0, "MaxUnwrittenBytes is %d; it must be above zero", c.MaxUnwrittenBytes)
	check(c.MaxCommandBytes > 0 && c.MaxCommandBytes <= 16<<20,
		"MaxCommandBytes is %d; it must be from 1 to 16 MiB, so that a command fits a message", c.MaxCommandBytes)
	check(c.MaxInbox > 0, "MaxInbox is %d; it must be above zero", c.MaxInbox)
	return errors.Join(errs...)
}

func (c Config) core() core.Config {
	return core.Config{
		ID:             c.ID,
		MaxAppendBytes: c.MaxAppendBytes,
		CacheBytes:     c.CacheBytes,
		Rand:           c.Rand,
	}
}
