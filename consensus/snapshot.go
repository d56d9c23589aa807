package consensus

import (
	"errors"
	"fmt"

	"muster/consensus/core"
	"muster/consensus/wal"
)

// considerSnapshot starts a snapshot when enough was applied since the last. It
// is three tasks, so that nothing waits for it: capture the state between two
// batches (LaneApply), write the file (LaneSnapshot), drop log behind it
// (LaneDisk).
func (e *Engine) considerSnapshot() {
	if e.snapshotting ||
		e.applied-e.snapshot.Index < e.cfg.SnapshotEntries && e.sinceBytes < e.cfg.SnapshotBytes {
		return
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
}

func (s *save) run() error {
	defer s.state.Close()
	w, err := s.snapshots.Create(s.meta)
	if err != nil {
		return fmt.Errorf("create snapshot at index %d: %w", s.meta.Index, err)
	}
	if _, err := s.state.WriteTo(w); err != nil {
		return errors.Join(fmt.Errorf("write snapshot at index %d: %w", s.meta.Index, err), w.Abort())
	}
	if s.meta, err = w.Commit(); err != nil {
		return fmt.Errorf("commit snapshot: %w", err)
	}
	return nil
}

func (s *save) finish(e *Engine) {
	e.snapshotting = false
	if s.meta.Index <= e.snapshot.Index {
		return // a leader's newer snapshot was installed meanwhile
	}
	e.snapshot = s.meta
	e.submit(LaneDisk, &compact{disk: &e.disk, meta: s.meta})
}

// compact drops log that a snapshot covers.
type compact struct {
	disk  *disk
	meta  core.SnapshotMeta
	first uint64
}

func (c *compact) run() (err error) {
	if c.first, err = c.disk.log.Compact(c.meta.Index); err != nil {
		return fmt.Errorf("compact the Raft log up to %d: %w", c.meta.Index, err)
	}
	return nil
}

func (c *compact) finish(e *Engine) {
	if c.meta.Index < e.snapshot.Index {
		return
	}
	e.core.Compacted(c.meta, c.first)
	e.log.Info("snapshot taken", "index", c.meta.Index, "bytes", c.meta.Size, "log_first", c.first)
}

// receiver assembles a snapshot that the leader sends. It belongs to
// LaneSnapshot's worker.
type receiver struct {
	snapshots *wal.Snapshots
	meta      core.SnapshotMeta
	file      *wal.Receiver
	next      uint64
}

func (r *receiver) close() {
	if r.file != nil {
		_ = r.file.Close() // what is in it is found again by the next Receive
		r.file = nil
	}
}

// open continues or begins the file for meta.
func (r *receiver) open(meta core.SnapshotMeta) (err error) {
	if r.file != nil && r.meta.Index == meta.Index && r.meta.Term == meta.Term && r.meta.Checksum == meta.Checksum {
		return nil
	}
	r.close()
	r.meta = meta
	r.file, r.next, err = r.snapshots.Receive(meta)
	return err
}

// chunk writes one received piece of a snapshot and, with the last, verifies
// the whole and makes it durable.
type chunk struct {
	receiver *receiver
	core.SnapshotChunk
	next  uint64
	whole bool
	bad   error // the file is not what Meta says
}

func (e *Engine) receiveChunk(c core.SnapshotChunk) {
	e.submit(LaneSnapshot, &chunk{receiver: e.receiver, SnapshotChunk: c})
}

func (c *chunk) run() error {
	if err := c.write(); err != nil {
		return fmt.Errorf("receive snapshot at index %d: %w", c.Meta.Index, err)
	}
	return nil
}

func (c *chunk) write() error {
	r := c.receiver
	if err := r.open(c.Meta); err != nil {
		return err
	}
	if c.Offset == r.next {
		var err error
		if r.next, err = r.file.WriteAt(c.Offset, c.Data); err != nil {
			return err
		}
	}
	c.next = r.next
	if !c.Last || c.next != c.Meta.Size {
		return nil
	}
	err := r.file.Finish()
	r.file = nil
	if _, corrupt := errors.AsType[*wal.CorruptError](err); corrupt {
		c.bad = err
		return nil
	}
	c.whole = err == nil
	return err
}

func (c *chunk) finish(e *Engine) {
	switch {
	case c.bad != nil:
		e.log.Warn("received snapshot is damaged; asking for it again", "index", c.Meta.Index, "error", c.bad)
		e.core.SnapshotFailed(e.now, c.Meta)
	case c.whole:
		e.install(c.Meta)
	default:
		e.core.ChunkWritten(e.now, c.Meta, c.next)
	}
}

// install moves this server to a snapshot that is verified and durable. From
// here on log and state machine follow it: their tasks are queued before any
// that could build on them. A log that holds the snapshot's last entry agrees
// with the snapshot and is kept (dissertation §5.1, property 26).
func (e *Engine) install(meta core.SnapshotMeta) {
	if meta.Index > e.handed {
		if t, ok := e.core.Term(meta.Index); ok && t == meta.Term {
			e.tail.drop(meta.Index + 1)
		} else {
			e.cut(meta.Index)
			e.durable = meta.Index
			e.tail.reset(meta.Index + 1)
			e.lastQueued = core.EntryID{Term: meta.Term, Index: meta.Index}
			e.submit(LaneDisk, &reset{disk: &e.disk, meta: meta})
		}
		e.waiting.skipped(meta.Index)
		e.snapshot, e.sinceBytes = meta, 0
		e.handed = meta.Index
		e.applying++
		e.submit(LaneApply, &restore{machine: &e.machine, meta: meta})
		e.log.Info("snapshot installed", "index", meta.Index, "bytes", meta.Size)
	}
	e.core.SnapshotInstalled(e.now, meta)
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

func (r *reset) finish(*Engine) {}

// restore replaces the state machine's state by a snapshot.
type restore struct {
	machine *machine
	meta    core.SnapshotMeta
}

func (r *restore) run() error { return r.machine.restore(r.meta) }

func (r *restore) finish(e *Engine) {
	e.applying--
	e.advance(r.meta.Index, r.meta.Term)
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
	m.at = core.EntryID{Term: meta.Term, Index: meta.Index}
	m.config, m.configIndex = meta.Config, meta.ConfigIndex
	return nil
}
