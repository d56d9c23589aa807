package consensus

import (
	"errors"
	"fmt"
	"time"

	"muster/consensus/core"
	"muster/consensus/wal"
)

// snapshotPause is how long a snapshot that could not be written waits for the
// next attempt.
const snapshotPause = core.Instant(10 * time.Second)

// considerSnapshot starts a snapshot when enough was applied since the last. It
// is three tasks, so that nothing waits for it: capture the state between two
// batches (LaneApply), write the file (LaneSnapshot), drop log behind it
// (LaneDisk).
func (e *Engine) considerSnapshot() {
	if e.applied-e.snapshot.Index >= e.cfg.SnapshotEntries || e.sinceBytes >= e.cfg.SnapshotBytes {
		e.takeSnapshot()
	}
}

// freeLog drops what log it can while the disk is nearly full, whatever lags: what
// the newest snapshot covers, else what a newer one would.
func (e *Engine) freeLog() {
	switch log := e.disk.log; {
	case e.snapshot.Index > 0 && log.Frees(e.droppable()):
		e.dropLog()
	case e.applied > e.snapshot.Index && log.Frees(e.applied):
		e.takeSnapshot()
	}
}

func (e *Engine) takeSnapshot() {
	if e.snapshotting || e.installing || e.now < e.snapshotAfter {
		return
	}
	if sent, ok := e.transfers.oldest(e.now); ok && sent < e.snapshot.Index {
		return // one more would remove the file that is being sent
	}
	e.snapshotting = true
	e.sinceBytes = 0
	e.submit(LaneApply, &capture{machine: &e.machine})
}

// capture takes the state machine's state at one point of the log.
type capture struct {
	machine *machine
	meta    core.SnapshotMeta
	state   Snapshot
}

func (c *capture) run() (err error) {
	m := c.machine
	c.meta = core.SnapshotMeta{Index: m.at.Index, Term: m.at.Term, Config: m.config, ConfigIndex: m.configIndex}
	if c.state, err = m.fsm.Snapshot(); err != nil {
		return fmt.Errorf("capture the state at index %d: %w", m.at.Index, err)
	}
	return nil
}

func (c *capture) finish(e *Engine) {
	e.submit(LaneSnapshot, &save{snapshots: e.disk.log.Snapshots(), meta: c.meta, state: c.state})
}

// save writes a captured state to a snapshot file.
type save struct {
	snapshots *wal.Snapshots
	meta      core.SnapshotMeta
	state     Snapshot
	err       error
}

// run writes the file. Failing leaves the log and the older snapshots as they
// were, so it is not fatal.
func (s *save) run() error {
	defer s.state.Close()
	if newest, ok := s.snapshots.Latest(); ok && newest.Index >= s.meta.Index {
		s.err = fmt.Errorf("a newer one, at index %d, came from the leader meanwhile", newest.Index)
		return nil
	}
	s.meta, s.err = s.write()
	return nil
}

func (s *save) write() (core.SnapshotMeta, error) {
	w, err := s.snapshots.Create(s.meta)
	if err != nil {
		return s.meta, err
	}
	if _, err := s.state.WriteTo(w); err != nil {
		return s.meta, errors.Join(err, w.Abort())
	}
	return w.Commit()
}

func (s *save) finish(e *Engine) {
	e.snapshotting = false
	if s.err != nil {
		e.snapshotAfter = e.now + snapshotPause
		e.log.Warn("no snapshot was taken; the log is kept", "error", s.err)
		return
	}
	e.snapshot = s.meta
	e.log.Info("snapshot taken", "index", s.meta.Index, "bytes", s.meta.Size)
	e.dropLog()
}

// dropLog drops the log behind the newest snapshot: all of it if room is wanted.
func (e *Engine) dropLog() {
	e.submit(LaneDisk, &compact{disk: &e.disk, meta: e.snapshot, upTo: e.droppable(), all: e.room.full})
}

// droppable is up to where the newest snapshot, and those that are being sent,
// make the log dispensable.
func (e *Engine) droppable() uint64 {
	upTo := e.snapshot.Index
	if sent, ok := e.transfers.oldest(e.now); ok {
		upTo = min(upTo, sent)
	}
	return upTo
}

// compact drops log that a snapshot covers.
type compact struct {
	disk  *disk
	meta  core.SnapshotMeta
	upTo  uint64
	all   bool // nothing is kept for followers that lag
	first uint64
}

func (c *compact) run() (err error) {
	drop := c.disk.log.Compact
	if c.all {
		drop = c.disk.log.CompactAll
	}
	if c.first, err = drop(c.upTo); err != nil {
		return fmt.Errorf("compact the Raft log up to %d: %w", c.upTo, err)
	}
	return nil
}

func (c *compact) finish(e *Engine) {
	if c.meta.Index < e.snapshot.Index {
		return
	}
	e.core.Compacted(c.meta, c.first)
	e.log.Info("log compacted", "snapshot", c.meta.Index, "log_first", c.first, "disk_full", c.all)
}

// receiver assembles a snapshot that the leader sends. It belongs to
// LaneSnapshot's worker.
type receiver struct {
	snapshots *wal.Snapshots
	meta      core.SnapshotMeta
	file      *wal.Receiver // nil until the first chunk, and after the last
}

func (r *receiver) close() {
	if r.file != nil {
		_ = r.file.Close() // what is in it is found again by the next Receive
		r.file = nil
	}
}

// open continues or begins the file for meta.
func (r *receiver) open(meta core.SnapshotMeta) (err error) {
	if r.file != nil && sameSnapshot(r.meta, meta) {
		return nil
	}
	r.close()
	r.meta = meta
	r.file, _, err = r.snapshots.Receive(meta)
	return err
}

func sameSnapshot(a, b core.SnapshotMeta) bool {
	return a.Index == b.Index && a.Term == b.Term && a.Size == b.Size && a.Checksum == b.Checksum
}

// chunk writes one received piece of a snapshot and, with the last, verifies
// the whole and makes it durable.
type chunk struct {
	receiver *receiver
	core.SnapshotChunk
	next    uint64
	whole   bool
	refused error // what was sent cannot be used
}

func (e *Engine) receiveChunk(c core.SnapshotChunk) {
	e.submit(LaneSnapshot, &chunk{receiver: e.receiver, SnapshotChunk: c})
}

// run writes. Only a failure of the disk is fatal, not what another server sent.
func (c *chunk) run() error {
	if c.refused = c.check(); c.refused != nil {
		return nil
	}
	err := c.write()
	if errors.Is(err, wal.ErrChecksum) || noSpace(err) {
		if noSpace(err) {
			c.receiver.close() // its file has failed; what is whole in it is continued later
		}
		c.refused = err
		return nil
	}
	if err != nil {
		return fmt.Errorf("receive snapshot at index %d: %w", c.Meta.Index, err)
	}
	return nil
}

func (c *chunk) check() error {
	if newest, ok := c.receiver.snapshots.Latest(); ok && newest.Index > c.Meta.Index {
		return fmt.Errorf("a newer one, at index %d, was taken meanwhile", newest.Index)
	}
	if end := c.Offset + uint64(len(c.Data)); end < c.Offset || end > c.Meta.Size || c.Meta.Size > maxSnapshot {
		return fmt.Errorf("%d bytes at offset %d of %d", len(c.Data), c.Offset, c.Meta.Size)
	}
	return nil
}

// maxSnapshot is beyond what any disk holds.
const maxSnapshot = 1 << 50

func (c *chunk) write() (err error) {
	r := c.receiver
	if err := r.open(c.Meta); err != nil {
		return err
	}
	if c.next, err = r.file.WriteAt(c.Offset, c.Data); err != nil {
		return err
	}
	if !c.Last || c.next != c.Meta.Size {
		return nil
	}
	err = r.file.Finish()
	c.whole = err == nil
	r.close()
	return err
}

func (c *chunk) finish(e *Engine) {
	switch {
	case c.refused != nil:
		e.log.Warn("received snapshot is of no use; asking again", "index", c.Meta.Index, "error", c.refused)
		e.core.SnapshotFailed(e.now, c.Meta)
	case c.whole:
		e.install(c.Meta)
	default:
		e.core.ChunkWritten(e.now, c.Meta, c.next)
	}
}

// install moves this server to a snapshot that is verified and durable: first
// the state machine, once it has finished what it was given (it may be reading
// the log for that), then the log, then the core. Until then the core appends
// nothing; nor does it ask for a snapshot whose last entry the log holds.
func (e *Engine) install(meta core.SnapshotMeta) {
	e.installing = true
	e.handed = meta.Index // nothing of the old log is applied any more
	e.submit(LaneApply, &restore{machine: &e.machine, meta: meta})
}

// restore replaces the state machine's state by a snapshot.
type restore struct {
	machine *machine
	meta    core.SnapshotMeta
}

func (r *restore) run() error { return r.machine.restore(r.meta) }

func (r *restore) finish(e *Engine) {
	e.submit(LaneDisk, &reset{disk: &e.disk, meta: r.meta})
}

// reset drops the whole log: it continues behind the snapshot.
type reset struct {
	disk *disk
	meta core.SnapshotMeta
}

func (r *reset) run() error {
	if err := r.disk.log.ResetTo(r.meta); err != nil {
		return fmt.Errorf("reset the Raft log to the snapshot at %d: %w", r.meta.Index, err)
	}
	return nil
}

func (r *reset) finish(e *Engine) {
	e.installing = false
	e.cut(r.meta.Index)
	e.durable = r.meta.Index
	e.tail.reset(r.meta.Index + 1)
	e.lastQueued = core.EntryID{Term: r.meta.Term, Index: r.meta.Index}
	e.snapshot, e.sinceBytes = r.meta, 0
	e.waiting.skipped(r.meta.Index)
	e.core.SnapshotInstalled(e.now, r.meta)
	e.commit = max(e.commit, r.meta.Index)
	e.advance(r.meta.Index, r.meta.Term)
	e.log.Info("snapshot installed", "index", r.meta.Index, "bytes", r.meta.Size)
}

func (m *machine) restore(meta core.SnapshotMeta) error {
	if meta.Index == 0 {
		return nil
	}
	file, err := m.log.Snapshots().Open(meta)
	if err != nil {
		return fmt.Errorf("open snapshot at index %d: %w", meta.Index, err)
	}
	err = m.fsm.Restore(file)
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("restore snapshot at index %d: %w", meta.Index, err)
	}
	m.moved(core.EntryID{Term: meta.Term, Index: meta.Index})
	m.config, m.configIndex = meta.Config, meta.ConfigIndex
	return nil
}
