package consensus

import (
	"errors"
	"fmt"
	"time"

	"muster/consensus/core"
	"muster/consensus/wal"
)

// disk is the log as the lanes use it. The log itself allows reads beside its
// one writer, LaneDisk.
type disk struct {
	log   *wal.Log
	send  func(core.Message)
	batch []wal.Batch // scratch of LaneDisk's worker
	since int         // bytes written since it looked for room
	every int         // how many may be
}

// write is the durable part of one Output.
type write struct {
	disk  *disk
	batch wal.Batch
	marks bool // it also has the disk say that this server has its vote again
	bytes int  // of its entries
	seq   uint64
	last  core.EntryID   // end of the log after this write
	cuts  uint64         // Engine.cuts when it was queued
	after []core.Message // leave once it is durable
	room  wal.Room       // zero unless looked for after this write
}

// empty says that w only carries messages.
func (w *write) empty() bool {
	return w.batch.HardState == nil && len(w.batch.Entries) == 0 && !w.marks
}

func (w *write) run() error { return w.disk.append([]*write{w}) }

func (w *write) finish(e *Engine) {
	e.unwritten--
	e.progressed = e.now
	e.unwrittenBytes -= w.bytes
	if w.room != (wal.Room{}) {
		e.looked(w.room)
	}
	if w.seq == 0 {
		return
	}
	if w.cuts == e.cuts {
		e.durable = w.last.Index
	}
	if e.durable > 0 {
		e.waiting.begun()
	}
	e.core.Written(e.now, core.Written{Seq: w.seq, Last: w.last})
}

// append writes what queued up with one fsync, then lets go of the messages
// that waited for it. They leave from here, not from the loop: that saves a
// change of goroutine on the way to every acknowledgement.
func (d *disk) append(ws []*write) error {
	d.batch = d.batch[:0]
	for _, w := range ws {
		if !w.empty() {
			d.batch = append(d.batch, w.batch)
		}
	}
	if len(d.batch) > 0 {
		if err := d.log.AppendAll(d.batch); err != nil {
			return fmt.Errorf("write the Raft log: %w", err)
		}
	}
	clear(d.batch) // entries are not to be kept alive by the scratch
	for _, w := range ws {
		for _, m := range w.after {
			d.send(m)
		}
	}
	d.look(ws)
	return nil
}

// look looks for room now and then, behind a write and before anyone waits for
// the next.
func (d *disk) look(ws []*write) {
	for _, w := range ws {
		d.since += w.bytes
	}
	if d.since < d.every {
		return
	}
	d.since = 0
	if room, ok := d.log.Room(); ok {
		ws[len(ws)-1].room = room
	}
}

// leadingWrites gives the writes that tasks begins with.
func leadingWrites(tasks []task) []*write {
	var ws []*write
	for _, t := range tasks {
		w, ok := t.(*write)
		if !ok {
			break
		}
		ws = append(ws, w)
	}
	return ws
}

// fill puts log entries or a piece of a snapshot into a message, read from the
// disk for a follower that lags.
type fill struct {
	disk *disk
	cfg  *Config
	msg  core.Message
	err  error // why nothing was read
}

// needsFill says whether the core left the payload of m to the driver.
func needsFill(m core.Message) bool {
	return m.Kind == core.MsgAppend && m.Fill > 0 || m.Kind == core.MsgSnapshot && m.Snapshot != nil
}

// run reads. What is no longer there is not fatal: the log was compacted or
// truncated since the core asked, and the core asks again for what there is. Nor
// is a failed read: it says nothing about what this server acknowledged.
func (f *fill) run() error {
	if f.msg.Kind == core.MsgSnapshot {
		f.msg.Data, f.msg.Done, f.err = f.disk.log.Snapshots().ReadChunk(*f.msg.Snapshot, f.msg.Offset, f.cfg.ChunkBytes)
	} else {
		f.msg.Entries, f.err = f.disk.log.Entries(f.msg.Prev.Index+1, f.msg.Fill, f.cfg.MaxAppendBytes)
		f.msg.Fill = 0
	}
	if _, corrupt := errors.AsType[*wal.CorruptError](f.err); corrupt {
		return fmt.Errorf("read for server %s: %w", f.msg.To, f.err)
	}
	return nil
}

// finish sends the message if this server still leads in its term: only then
// has the log changed by nothing but appending since the core asked, so that
// Prev and what was read behind it are still those that the core meant.
func (f *fill) finish(e *Engine) {
	switch {
	case f.err == nil && e.leads(f.msg.Term):
		e.host.Send(f.msg)
	case f.err != nil && !gone(f.err) && e.now >= e.readWarnAt:
		e.readWarnAt = e.now + readWarnEvery
		e.log.Error("reading from disk what a server lacks failed; it is tried again", "server", f.msg.To, "dir", e.cfg.Dir, "error", f.err)
	}
}

// readWarnEvery bounds how often failed reads, which are tried again at once, are
// logged.
const readWarnEvery = core.Instant(time.Second)

// gone says whether what was to be read has been dropped or replaced meanwhile.
func gone(err error) bool {
	return errors.Is(err, wal.ErrCompacted) || errors.Is(err, wal.ErrBeyondEnd) || errors.Is(err, wal.ErrNoSnapshot)
}
