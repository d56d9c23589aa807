package wal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"muster/consensus/core"
)

// Open opens the log in dir, or begins one there, and says what it found. It
// cuts a torn tail that was never acknowledged, reports Voteless where the log
// may have lost something acknowledged, and refuses with a CorruptError where
// it finds damage. All that it reports is durable when it returns.
//
// The caller holds the lock of the data directory (Lock).
func Open(fsys FS, dir string, cfg Config) (*Log, core.Restored, error) {
	l, restored, err := open(fsys, dir, cfg)
	var damage *CorruptError
	if errors.As(err, &damage) {
		err = fmt.Errorf("%w; restore the data-dir from a backup, or remove it and let this server join as a new one", err)
	}
	return l, restored, err
}

func open(fsys FS, dir string, cfg Config) (*Log, core.Restored, error) {
	var none core.Restored
	if err := cfg.Validate(); err != nil {
		return nil, none, err
	}
	if err := fsys.MkdirAll(dir); err != nil {
		return nil, none, fmt.Errorf("open log: %w", err)
	}
	names, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, none, fmt.Errorf("open log: %w", err)
	}
	snaps, err := openSnapshots(fsys, dir, names)
	if err != nil {
		return nil, none, fmt.Errorf("open snapshots: %w", err)
	}
	l := &Log{fsys: fsys, dir: dir, cfg: cfg, snaps: snaps, want: make(chan struct{}, 1), first: 1, seq: 1}
	r := recovery{l: l}
	if err := r.run(names); err != nil {
		for _, s := range append(r.found, l.segments...) {
			s.release()
		}
		return nil, none, fmt.Errorf("open log: %w", err)
	}
	return l, r.restored(), nil
}

// recovery rebuilds a Log from its directory.
type recovery struct {
	l       *Log
	found   []*segment   // opened, not yet in l
	void    []string     // paths of segments that no longer belong to the log
	configs []core.Entry // EntryConfig entries still in the log
	scratch []core.Entry // of the batch at hand, without data
	tail    tail         // of the last segment
	lost    bool         // acknowledged batches may be missing from the end
}

// tail is where a segment's batches end.
type tail struct {
	last int64 // offset of the last batch
	torn int64 // up to here lie remains of a batch that was never acknowledged
	file int64 // length of the file
}

// run goes from the file names to a log that is ready to be appended to.
func (r *recovery) run(names []string) error {
	l := r.l
	if err := r.openSegments(names); err != nil {
		return err
	}
	if len(r.found) == 0 {
		if meta, ok := l.snaps.Latest(); ok {
			return fmt.Errorf("%s holds a snapshot at entry %d but no log segments: term and vote are lost; remove the data-dir and let this server join as a new one", l.dir, meta.Index)
		}
		l.incarnation = l.cfg.Log
		s, err := l.startSegment(segmentHeader{number: 1, first: 1, seq: 1}, 0)
		if err != nil {
			return err
		}
		l.segments = []*segment{s}
		return nil
	}
	l.incarnation = r.found[0].log
	for len(r.found) > 0 {
		s := r.found[0]
		if s.log != l.incarnation {
			return &CorruptError{File: s.path, Reason: fmt.Sprintf("it belongs to log %x, the segments before it to log %x", s.log, l.incarnation)}
		}
		r.found = r.found[1:]
		if err := r.enter(s); err != nil {
			return err
		}
		if err := r.scan(s, len(r.found) == 0); err != nil {
			return err
		}
	}
	if err := r.connect(); err != nil {
		return err
	}
	if err := r.settle(); err != nil {
		return err
	}
	if r.lost {
		l.voteless = true
		if err := l.rotate(0); err != nil {
			return err
		}
	}
	if meta, ok := l.snaps.Latest(); ok {
		if err := l.resetTo(meta); err != nil {
			return err
		}
		r.configs = slices.DeleteFunc(r.configs, func(e core.Entry) bool { return e.Index > l.last })
	}
	return r.removeVoid()
}

// openSegments opens the segments that make up the log: from the newest one
// back to one that voids all before it, or to a hole in the numbers, where a
// removal was interrupted (connect sees whether that is so).
func (r *recovery) openSegments(names []string) error {
	l := r.l
	var numbers []uint64
	for _, name := range names {
		if n, ok := segmentNumber(name); ok {
			numbers = append(numbers, n)
		} else if strings.HasSuffix(name, segmentSuffix+tmpSuffix) {
			if err := l.fsys.Remove(filepath.Join(l.dir, name)); err != nil {
				return fmt.Errorf("remove %s: %w", name, err)
			}
		}
	}
	slices.Sort(numbers)
	i := len(numbers) - 1
	for ; i >= 0; i-- {
		s, err := openSegment(l.fsys, filepath.Join(l.dir, segmentName(numbers[i])), numbers[i])
		if err != nil {
			return err
		}
		r.found = append([]*segment{s}, r.found...)
		if s.reset || i > 0 && numbers[i-1] != numbers[i]-1 {
			break
		}
	}
	for ; i > 0; i-- {
		r.void = append(r.void, filepath.Join(l.dir, segmentName(numbers[i-1])))
	}
	return nil
}

// openSegment opens a segment file and reads its header.
func openSegment(fsys FS, path string, number uint64) (*segment, error) {
	f, err := fsys.OpenFile(path, os.O_RDWR, filePerm)
	if err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	sector := make([]byte, sectorSize)
	var h segmentHeader
	err = readFull(f, sector, 0)
	if err == nil {
		h, err = decodeSegmentHeader(sector)
		if err == nil && h.number != number {
			err = fmt.Errorf("it is segment %d by its header", h.number)
		}
		if errors.Is(err, ErrVersion) {
			err = fmt.Errorf("%s: %w", path, err)
		} else if err != nil {
			err = &CorruptError{File: path, Reason: err.Error()}
		}
	} else if err == io.ErrUnexpectedEOF {
		err = &CorruptError{File: path, Reason: "too short for a segment header"}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return newSegment(h, path, f), nil
}

// enter makes s the active segment after checking that it continues the one
// before. The oldest one says where the log begins.
func (r *recovery) enter(s *segment) error {
	l := r.l
	if len(l.segments) == 0 {
		l.seq, l.first, l.last = s.seq, s.first, s.first-1
		if s.first > 1 {
			l.terms = termRuns{{First: s.first - 1, Term: s.prevTerm}}
		}
	}
	l.segments = append(l.segments, s)
	if s.seq != l.seq || s.first != l.last+1 || s.prevTerm != l.terms.at(l.last) {
		before := l.segments[len(l.segments)-2]
		return &CorruptError{File: before.path, Offset: before.used, Reason: fmt.Sprintf(
			"its batches end before number %d with entry %d, and %s continues from number %d with entry %d",
			l.seq, l.last, s.path, s.seq, s.first)}
	}
	return nil
}

// take enters a verified batch of the active segment into the log.
func (r *recovery) take(b batchBody, off int64) error {
	l, h := r.l, b.head
	if h.term < l.hs.Term {
		return fmt.Errorf("batch: term %d after term %d", h.term, l.hs.Term)
	}
	if oldest := l.segments[0]; h.first < l.first && h.count > 0 && !oldest.reset && oldest.number > 1 {
		// The batch replaces entries that began in a segment compacted since.
		l.truncate(l.first)
		l.first, l.last = h.first, h.first-1
		l.terms = termRuns{{First: h.first - 1, Term: h.prevTerm}}
	}
	if h.first < l.first || h.first > l.last+1 || l.terms.at(h.first-1) != h.prevTerm {
		return fmt.Errorf("batch: entry %d after one of term %d does not follow entries %d to %d", h.first, h.prevTerm, l.first, l.last)
	}
	if h.count > 0 {
		r.configs = slices.DeleteFunc(r.configs, func(e core.Entry) bool { return e.Index >= h.first })
	}
	term, fallen := h.prevTerm, false
	r.scratch = r.scratch[:0]
	err := b.entries(func(e core.Entry) bool {
		if fallen = e.Term < term; fallen {
			return false
		}
		term = e.Term
		r.scratch = append(r.scratch, core.Entry{Index: e.Index, Term: e.Term})
		if e.Kind == core.EntryConfig {
			e.Data = slices.Clone(e.Data) // the buffer is reused
			r.configs = append(r.configs, e)
		}
		return true
	})
	if err != nil {
		return err
	}
	if fallen {
		return errors.New("batch: terms of its entries go back")
	}
	l.hs = core.HardState{Term: h.term, Vote: b.vote(), Commit: h.commit}
	l.onDisk, l.voteless, l.votelessOnDisk = l.hs, h.voteless, h.voteless
	l.seq++
	l.active().used = off + h.sectors()*sectorSize
	l.admit(h, off, r.scratch)
	return nil
}

// connect checks that log and snapshots leave no gap between them, passing over
// a damaged newest snapshot if the log reaches back to the one before.
func (r *recovery) connect() error {
	l := r.l
	meta, ok := l.snaps.Latest()
	if l.first <= meta.Index+1 { // meta.Index is 0 if there is none
		for _, d := range l.snaps.damaged {
			l.repairs = append(l.repairs, fmt.Sprintf("%v; the log still reaches back to entry %d and replaces it", d, l.first))
		}
		return nil
	}
	if d := l.snaps.damaged; len(d) > 0 {
		return d[0]
	}
	if !ok {
		return fmt.Errorf("the log in %s begins at entry %d and there is no snapshot of what came before", l.dir, l.first)
	}
	return fmt.Errorf("the log in %s begins at entry %d and the newest snapshot ends at entry %d: a segment is missing", l.dir, l.first, meta.Index)
}

// settle makes durable what was found, so that nothing can be acknowledged that
// only a page cache holds. The last batch is written once more, the same bytes
// to the same place: after a failed sync, some systems keep the page, call it
// clean, and would not write it. Remains of a torn batch are zeroed before
// anything is written over them.
func (r *recovery) settle() error {
	l, s := r.l, r.l.active()
	b := make([]byte, s.used-r.tail.last)
	if err := readFull(s.file, b, r.tail.last); err != nil {
		return fmt.Errorf("read %s: %w", s.path, err)
	}
	if _, err := s.file.WriteAt(b, r.tail.last); err != nil {
		return fmt.Errorf("write %s: %w", s.path, err)
	}
	end := min(r.tail.torn, r.tail.file) // a shortened segment keeps its length
	for off := s.used; off < end; {
		n := min(end-off, int64(len(zeros)))
		if _, err := s.file.WriteAt(zeros[:n], off); err != nil {
			return fmt.Errorf("cut torn tail of %s: %w", s.path, err)
		}
		off += n
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", s.path, err)
	}
	if err := l.fsys.SyncDir(l.dir); err != nil {
		return fmt.Errorf("sync directory %s: %w", l.dir, err)
	}
	return nil
}

// removeVoid deletes segments that no longer belong to the log, now that it is
// known whole without them.
func (r *recovery) removeVoid() error {
	if len(r.void) == 0 {
		return nil
	}
	for _, path := range r.void {
		if err := r.l.fsys.Remove(path); err != nil {
			return fmt.Errorf("remove %s: %w", path, err)
		}
	}
	return r.l.fsys.SyncDir(r.l.dir)
}

// restored is what the core starts from.
func (r *recovery) restored() core.Restored {
	l := r.l
	meta, _ := l.snaps.Latest()
	res := core.Restored{
		HardState: l.hs, Snapshot: meta,
		FirstIndex: l.first, LastIndex: l.last,
		Configs: r.configs, Voteless: l.voteless, Log: l.incarnation,
	}
	for _, t := range l.terms {
		if t.First = max(t.First, l.first); t.First <= l.last {
			if n := len(res.Terms); n > 0 && res.Terms[n-1].First == t.First {
				res.Terms = res.Terms[:n-1] // the run before ended below the log
			}
			res.Terms = append(res.Terms, t)
		}
	}
	return res
}
