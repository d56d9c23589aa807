package wal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"muster/consensus/core"
)

// Config says how much disk the log takes. The zero value is not valid; start
// from DefaultConfig.
type Config struct {
	// SegmentBytes is the preallocated size of a full-grown segment, default
	// 16 MiB. A new log begins with a sixteenth of it and each segment is four
	// times the one before, so that a fresh server starts at once.
	SegmentBytes int64
	// RetainBytes of entries stay in the log behind what Compact may drop, for
	// followers that lag; default 32 MiB.
	RetainBytes int64
	// Log is the incarnation that a log gets if there is none in the directory
	// yet: a number drawn at random by the caller.
	Log core.Incarnation
}

// minSegmentBytes holds a header, a first batch, two small batches and a seal.
const minSegmentBytes = 4 * sectorSize

// DefaultConfig gives the defaults that the fields of Config name.
func DefaultConfig() Config { return Config{SegmentBytes: 16 << 20, RetainBytes: 32 << 20} }

// Validate reports all that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	if c.SegmentBytes < minSegmentBytes || c.SegmentBytes > maxBody {
		errs = append(errs, fmt.Errorf("log segment size %d: must be between %d and %d bytes", c.SegmentBytes, minSegmentBytes, maxBody))
	}
	if c.RetainBytes < 0 {
		errs = append(errs, fmt.Errorf("retained log size %d: must not be negative", c.RetainBytes))
	}
	return errors.Join(errs...)
}

// nextSize is the size of the segment after one of size prev (0 for none) that
// has to hold a batch of need bytes.
func (c Config) nextSize(prev, need int64) int64 {
	size := min(prev*4, c.SegmentBytes)
	if prev == 0 {
		size = c.SegmentBytes / 16
	}
	// Header, first batch and seal take a sector each.
	size = max(size, minSegmentBytes, need+3*sectorSize)
	return (size + sectorSize - 1) / sectorSize * sectorSize
}

var (
	// ErrCompacted says that entries are asked for that the log no longer holds.
	ErrCompacted = errors.New("entries are no longer in the log")
	// ErrBeyondEnd says that entries are asked for that the log doesn't hold yet.
	ErrBeyondEnd = errors.New("entries are beyond the end of the log")
	// ErrClosed is returned by every call after Close.
	ErrClosed = errors.New("log is closed")
	// ErrFailed says that a write or sync failed. What the disk holds of it is
	// unknown, so nothing more is written: the process must stop and find out by
	// opening the log again. Every call returns the first failure.
	ErrFailed = errors.New("log has failed; the server must stop")
)

// ErrVersion says that a file is whole, and of a version of its format that this
// program doesn't know: another release wrote it, and that one can read it.
var ErrVersion = errors.New("another release wrote this file")

// CorruptError says that a file doesn't hold what was written to it.
type CorruptError struct {
	File   string
	Offset int64
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s is damaged at offset %d: %s", e.File, e.Offset, e.Reason)
}

// Batch is what one Output of the core wants durable.
type Batch struct {
	HardState *core.HardState // nil: unchanged
	// Entries are contiguous. They replace all that the log holds from
	// Entries[0].Index on.
	Entries []core.Entry
}

// Stats is a picture of the log for metrics.
type Stats struct {
	First, Last uint64 // indexes; First is Last+1 if the log is empty
	Segments    int
	Bytes       int64 // of disk, preallocated space included
	Used        int64 // of them written to
	// PrepareErr is why Run could not preallocate the next segment: the early
	// sign of a full disk. Nothing is lost by it yet.
	PrepareErr error
}

// Log is the durable log of one server, with its hard state and its snapshots.
// Append, AppendAll, Compact, ResetTo and Close are done one at a time, whoever
// calls; all other methods may run beside them and never wait for the disk
// writes of others.
type Log struct {
	fsys  FS
	dir   string
	cfg   Config
	snaps *Snapshots
	want  chan struct{} // has room for one: Run should prepare a segment

	// writing is held over the I/O of writers. It guards:
	writing sync.Mutex
	seq     uint64       // of the next batch
	buf     []byte       // encoded batch, reused
	merged  []core.Entry // scratch of AppendAll

	// mu guards what follows and is never held over I/O. All but voteless, blank
	// and blankErr change only under writing as well, so a writer reads freely.
	mu             sync.RWMutex
	err            error // ErrFailed with its cause, or ErrClosed
	hs             core.HardState
	onDisk         core.HardState // hs as of the last batch
	voteless       bool
	votelessOnDisk bool // voteless as of the last batch
	incarnation    core.Incarnation
	first          uint64 // index of the first entry; last+1 if there is none
	last           uint64
	terms          termRuns // of entries first-1 (if it has a term) to last
	segments       []*segment
	blank          *blank // prepared by Run; nil if there is none
	blankErr       error
	repairs        []string
}

// Snapshots gives the snapshots that lie in the log's directory.
func (l *Log) Snapshots() *Snapshots { return l.snaps }

// FirstIndex is the index of the first entry in the log, LastIndex+1 if it is empty.
func (l *Log) FirstIndex() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.first
}

// LastIndex is the index of the last durable entry, that of the snapshot the
// log follows if it is empty, or 0.
func (l *Log) LastIndex() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.last
}

// Repairs says in sentences for the operator what Open found and dealt with: a
// torn tail it cut, a damaged snapshot it passed over, a segment cut short.
func (l *Log) Repairs() []string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.Clone(l.repairs)
}

// SetVoteless keeps with the next batch whether the server has to come back
// without a vote; a change makes that batch durable whatever else it says. Open sets
// it when the log may have lost acknowledged entries, the driver when a leader
// says that it has; the driver clears it once a leader has caught the server up.
func (l *Log) SetVoteless(v bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.voteless = v
}

// Stats may be called at any time.
func (l *Log) Stats() Stats {
	l.mu.RLock()
	defer l.mu.RUnlock()
	st := Stats{First: l.first, Last: l.last, Segments: len(l.segments), PrepareErr: l.blankErr}
	for _, s := range l.segments {
		st.Bytes += s.size
		st.Used += s.used
	}
	if l.blank != nil {
		st.Bytes += l.blank.size
	}
	return st
}

// active is the segment that batches go to. The caller holds mu or writing.
func (l *Log) active() *segment { return l.segments[len(l.segments)-1] }

// failure is the sticky error, if any.
func (l *Log) failure() error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.err
}

// fail makes err the answer to this and every later call.
func (l *Log) fail(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = fmt.Errorf("%w: %w", ErrFailed, err)
	}
	return l.err
}

// Entries gives the entries lo to hi, both included and hi no further than the
// last one, or as many of the first of them as maxBytes hold: at least one.
// Their checksums have been verified. It may be called beside an Append, and
// then sees the log before or after it.
func (l *Log) Entries(lo, hi uint64, maxBytes int) ([]core.Entry, error) {
	pieces, err := l.plan(lo, hi, maxBytes)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, p := range pieces {
			p.seg.release()
		}
	}()
	var es []core.Entry
	budget := maxBytes
	for _, p := range pieces {
		if es, budget, err = p.seg.collect(es, p.ref, p.lo, p.hi, budget); err != nil {
			return nil, err
		}
		if budget < 0 {
			break
		}
	}
	return es, nil
}

// piece is a range of entries within one batch. Its segment is pinned.
type piece struct {
	seg    *segment
	ref    ref
	lo, hi uint64
}

// plan finds the batches that hold entries lo to hi, up to about maxBytes of
// them, and pins their segments. Files are never overwritten, so what the plan
// points to stays readable whatever is appended meanwhile.
func (l *Log) plan(lo, hi uint64, maxBytes int) ([]piece, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	switch {
	case l.err != nil:
		return nil, l.err
	case lo < l.first:
		return nil, fmt.Errorf("entries %d to %d: %w, which begins at %d", lo, hi, ErrCompacted, l.first)
	case lo > l.last || hi < lo:
		return nil, fmt.Errorf("entries %d to %d: %w, which is %d", lo, hi, ErrBeyondEnd, l.last)
	}
	hi = min(hi, l.last)
	var pieces []piece
	at := len(l.segments) - 1 // of the segment that holds lo
	i, ok := 0, false
	for ; at >= 0; at-- {
		if i, ok = l.segments[at].find(lo); ok {
			break
		}
	}
	for bytes := int64(0); at < len(l.segments); at, i = at+1, 0 {
		s := l.segments[at]
		for ; i < len(s.refs); i++ {
			r := s.refs[i]
			if len(pieces) > 0 {
				if prev := &pieces[len(pieces)-1]; r.first <= hi {
					prev.hi = r.first - 1
				}
			}
			if r.first > hi || bytes > int64(maxBytes) {
				return pieces, nil
			}
			if len(pieces) > 0 { // of the first batch perhaps only the end is wanted
				bytes += int64(r.sectors) * sectorSize
			}
			s.pins.Add(1)
			pieces = append(pieces, piece{s, r, max(lo, r.first), hi})
		}
	}
	return pieces, nil
}

// Run preallocates each next segment in the background while the current one
// fills, until ctx ends; it returns nil then. Without it Append does that work
// itself when a segment is full, and takes some milliseconds longer then.
func (l *Log) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.want:
			l.prepare()
		}
	}
}

// prepare makes the blank that the next rotation takes.
func (l *Log) prepare() {
	l.mu.RLock()
	var size int64
	if l.err == nil && l.blank == nil {
		size = l.cfg.nextSize(l.active().size, 0)
	}
	l.mu.RUnlock()
	if size == 0 {
		return
	}
	var b *blank
	err := l.noRoomFor(size)
	if err == nil {
		b, err = makeBlank(l.fsys, l.dir, preparedName, size)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blankErr = err
	if b == nil {
		return
	}
	if l.err != nil {
		_ = b.file.Close() // Open removes the file
		return
	}
	l.blank = b
}

// Close writes the newest commit index along and closes the files. Entries that
// Append has returned for are durable without it.
func (l *Log) Close() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	var err error
	if l.failure() == nil && l.hs.Commit != l.onDisk.Commit {
		err = l.write(nil)
	}
	l.mu.Lock()
	if l.err == nil {
		l.err = ErrClosed
	}
	segments, b := l.segments, l.blank
	l.segments, l.blank = nil, nil
	l.mu.Unlock()
	for _, s := range segments {
		s.release()
	}
	if b != nil {
		_ = b.file.Close()
		_ = l.fsys.Remove(b.path)
	}
	return err
}
