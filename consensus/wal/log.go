package wal

import (
	"context"
	"errors"
	"io"

	"muster/consensus/core"
)

const tmpSuffix = ".tmp"

type Config struct {
	SegmentBytes int64
	RetainBytes  int64
}

func DefaultConfig() Config { return Config{SegmentBytes: 16 << 20, RetainBytes: 32 << 20} }

func (c Config) Validate() error { return nil }

var (
	ErrCompacted = errors.New("entries are no longer in the log")
	ErrClosed    = errors.New("log is closed")
)

type CorruptError struct {
	File   string
	Offset int64
	Reason string
}

func (e *CorruptError) Error() string { return e.File + e.Reason }

type Batch struct {
	HardState *core.HardState
	Entries   []core.Entry
}

type Stats struct {
	Bytes    int64 // of disk taken by segments, preallocated space included
	Used     int64 // of them holding batches
	Segments int
}

type Log struct{}

func Open(fsys FS, dir string, cfg Config) (*Log, core.Restored, error) {
	return nil, core.Restored{}, errors.ErrUnsupported
}
func (l *Log) Run(ctx context.Context) error { return errors.ErrUnsupported } // prepares segments ahead; optional
func (l *Log) Append(b Batch) error          { return errors.ErrUnsupported }
func (l *Log) AppendAll(bs []Batch) error    { return errors.ErrUnsupported }
func (l *Log) Entries(lo, hi uint64, maxBytes int) ([]core.Entry, error) {
	return nil, errors.ErrUnsupported
}
func (l *Log) Compact(upTo uint64) (first uint64, err error) { return 0, errors.ErrUnsupported }
func (l *Log) ResetTo(meta core.SnapshotMeta) error          { return errors.ErrUnsupported }
func (l *Log) SetVoteless(v bool)                            {}
func (l *Log) FirstIndex() uint64                            { return 0 }
func (l *Log) LastIndex() uint64                             { return 0 }
func (l *Log) Stats() Stats                                  { return Stats{} }
func (l *Log) Close() error                                  { return nil }
func (l *Log) Snapshots() *Snapshots                         { return nil }

type Snapshots struct{}

type SnapshotWriter struct{}

func (s *Snapshots) Create(meta core.SnapshotMeta) (*SnapshotWriter, error) {
	return nil, errors.ErrUnsupported
}
func (s *Snapshots) Latest() (core.SnapshotMeta, bool) { return core.SnapshotMeta{}, false }
func (s *Snapshots) Open(meta core.SnapshotMeta) (io.ReadCloser, error) {
	return nil, errors.ErrUnsupported
}
func (s *Snapshots) ReadChunk(meta core.SnapshotMeta, offset uint64, n int) (data []byte, last bool, err error) {
	return nil, false, errors.ErrUnsupported
}
func (s *Snapshots) Receive(meta core.SnapshotMeta) (r *Receiver, next uint64, err error) {
	return nil, 0, errors.ErrUnsupported
}

func (w *SnapshotWriter) Write(p []byte) (int, error) { return 0, errors.ErrUnsupported }
func (w *SnapshotWriter) Commit() (core.SnapshotMeta, error) {
	return core.SnapshotMeta{}, errors.ErrUnsupported
}
func (w *SnapshotWriter) Abort() error { return nil }

type Receiver struct{}

func (r *Receiver) WriteAt(offset uint64, data []byte) (next uint64, err error) {
	return 0, errors.ErrUnsupported
}
func (r *Receiver) Finish() error { return errors.ErrUnsupported }
func (r *Receiver) Close() error  { return nil }
