package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"muster/consensus/core"
)

// Report is what Inspect finds in a directory.
type Report struct {
	// Restored is what a server would start from; zero if Damage is not nil.
	Restored core.Restored
	LastTerm uint64
	// Config is the newest configuration in log and snapshot, at ConfigIndex.
	Config      core.Configuration
	ConfigIndex uint64
	Segments    []SegmentReport
	Snapshots   []SnapshotReport
	// Repairs says in sentences what a start would find and deal with.
	Repairs []string
	// Damage is why a server would not start; nil if it would. A CorruptError in
	// its chain names file and offset.
	Damage error
}

// Whole says that a server would start, and that nothing in the directory is
// damaged, not even what a start would pass over or replace.
func (r *Report) Whole() bool {
	return r.Damage == nil && !r.Restored.Voteless &&
		!slices.ContainsFunc(r.Snapshots, func(s SnapshotReport) bool { return s.Damage != nil })
}

// SegmentReport describes one segment of the log.
type SegmentReport struct {
	File   string
	Number uint64
	First  uint64 // index that the next entry had when the segment was begun
	Bytes  int64  // its length
	Used   int64  // of them written to
}

// SnapshotReport describes one snapshot file, verified to its last byte.
type SnapshotReport struct {
	File   string
	Meta   core.SnapshotMeta // zero if Damage is not nil
	Damage error
}

// ErrNoLog says that a directory holds no log.
var ErrNoLog = errors.New("there is no Raft log here")

// Inspect reads the log and the snapshots in dir as Open does, all checksums
// included, and changes nothing: what Open would write goes into memory. An
// error says that the directory could not be read.
func Inspect(fsys FS, dir string) (*Report, error) {
	names, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("inspect %s: %w", dir, err)
	}
	if !slices.ContainsFunc(names, func(name string) bool {
		_, log := segmentNumber(name)
		_, snap := snapshotIndex(name, snapshotSuffix)
		return log || snap
	}) {
		return nil, fmt.Errorf("inspect %s: %w", dir, ErrNoLog)
	}
	over := newOverlay(fsys)
	defer over.close()
	r := new(Report)
	if r.Snapshots, err = inspectSnapshots(over, dir, names); err != nil {
		return nil, err
	}
	l, restored, err := open(over, dir, DefaultConfig())
	if _, unreadable := errors.AsType[*fs.PathError](err); unreadable {
		return nil, err
	}
	if err != nil {
		r.Damage = err
		return r, nil
	}
	defer l.Close()
	r.Restored, r.Repairs = restored, l.Repairs()
	r.LastTerm = l.terms.at(l.last)
	for _, s := range l.segments {
		if over.made(s.path) {
			continue // a start would add it
		}
		r.Segments = append(r.Segments, SegmentReport{File: s.path, Number: s.number, First: s.first, Bytes: s.size, Used: s.used})
	}
	return r, r.findConfig()
}

// findConfig takes the newest configuration from log or snapshot.
func (r *Report) findConfig() error {
	r.Config, r.ConfigIndex = r.Restored.Snapshot.Config, r.Restored.Snapshot.ConfigIndex
	n := len(r.Restored.Configs)
	if n == 0 || r.Restored.Configs[n-1].Index <= r.ConfigIndex {
		return nil
	}
	last := r.Restored.Configs[n-1]
	config, err := core.DecodeConfiguration(last.Data)
	if err != nil {
		r.Damage = fmt.Errorf("configuration in entry %d: %w", last.Index, err)
		return nil
	}
	r.Config, r.ConfigIndex = config, last.Index
	return nil
}

// inspectSnapshots verifies every snapshot, not the newest alone.
func inspectSnapshots(fsys FS, dir string, names []string) ([]SnapshotReport, error) {
	s := &Snapshots{fsys: fsys, dir: dir}
	var reports []SnapshotReport
	for _, name := range names {
		if _, ok := snapshotIndex(name, snapshotSuffix); !ok {
			continue
		}
		m, err := s.inspect(name, true)
		if _, unreadable := errors.AsType[*fs.PathError](err); unreadable {
			return nil, err
		}
		report := SnapshotReport{File: filepath.Join(dir, name), Meta: m, Damage: err}
		if err != nil {
			report.Meta = core.SnapshotMeta{}
		}
		reports = append(reports, report)
	}
	return reports, nil
}
