package local

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"muster/consensus/core"
	"muster/consensus/wal"
)

// recordKind says what a record is of.
type recordKind string

const (
	serviceRecords recordKind = "service"
	checkRecords   recordKind = "check"
	reportRecords  recordKind = "report"
)

// recordKey names a record by the folded ID of what it is of.
type recordKey struct {
	kind recordKind
	id   string
}

// change is what becomes of one record, a line of JSON in the journal.
type change struct {
	Kind   recordKind
	ID     string          // folded
	Record json.RawMessage `json:",omitempty"` // absent: there is none any more
}

// reportDelay is how long reports on TTL checks that say no new status wait for
// others to be written with, unless something else is written before. A killed
// agent has forgotten those of that time.
const reportDelay = 100 * time.Millisecond

// journal keeps records durably: changes are appended to a log, many in one
// write, and now and then all records together take the place of the log. A nil
// journal keeps nothing.
//
// Changes that belong together, those between two calls of end, are found again
// all or none. One goroutine at a time writes, for all whose changes are
// complete by then; the next one writes for those who came meanwhile.
type journal struct {
	fsys wal.FS
	dir  string
	log  *slog.Logger
	wake chan struct{} // tells run that reports wait
	// minGrowth is how many bytes of changes there are at least before all records
	// are written together, to forget what became of them on the way. There are
	// also twice as many as the records themselves have.
	minGrowth int64

	mu   sync.Mutex // guards all below; not held over I/O
	idle *sync.Cond // tells that writing has become false
	// live are all records as they are to be found again; complete changes are in it.
	live     map[recordKey]json.RawMessage
	size     int64                  // bytes of them
	begun    []change               // those that end makes complete
	queue    [][]byte               // complete, and to be written: an entry each
	reports  map[recordKey]struct{} // in live, and to be written
	complete uint64                 // how often end completed changes
	durable  uint64                 // how many of these are on disk
	failed   uint64                 // how many of these were written, or failed to be
	fault    error                  // why they failed
	writing  bool
	closed   bool

	// disk is nil after a failed write, until it has been opened anew. It and the
	// fields below change under both mu and writing.
	disk  *wal.Log
	last  uint64 // index of the last entry
	grown int64  // bytes of entries since all records were last written together
}

// put begins to keep a record. The caller sees to it that put, remove and end
// are called one at a time.
func (j *journal) put(kind recordKind, id string, record any) error {
	if j == nil {
		return nil
	}
	data, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("write %s %q as JSON: %w", kind, id, err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.begun = append(j.begun, change{Kind: kind, ID: id, Record: data})
	return nil
}

// remove begins to forget a record, if there is one.
func (j *journal) remove(kind recordKind, id string) {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	_, known := j.live[recordKey{kind, id}]
	if known || slices.ContainsFunc(j.begun, func(c change) bool { return c.Kind == kind && c.ID == id }) {
		j.begun = append(j.begun, change{Kind: kind, ID: id})
	}
}

// later keeps a record that the next write brings along, run's if there is no
// other. Until then a crash takes it.
func (j *journal) later(kind recordKind, id string, record any) error {
	if j == nil {
		return nil
	}
	data, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("write %s %q as JSON: %w", kind, id, err)
	}
	key := recordKey{kind, id}
	j.mu.Lock()
	j.apply(change{Kind: kind, ID: id, Record: data})
	j.reports[key] = struct{}{}
	j.mu.Unlock()
	select {
	case j.wake <- struct{}{}:
	default: // it has been told already
	}
	return nil
}

// end completes the changes since the last call. Wait with its ticket tells
// whether they are on disk, and all before them.
func (j *journal) end() (ticket uint64) {
	if j == nil {
		return 0
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.begun) > 0 {
		j.queue = append(j.queue, encodeChanges(j.begun))
		for _, c := range j.begun {
			j.apply(c)
		}
		j.begun = nil
		j.complete++
	}
	return j.complete
}

// apply makes a change in live. The caller holds mu, or has the journal alone.
func (j *journal) apply(c change) {
	key := recordKey{c.Kind, c.ID}
	j.size += int64(len(c.Record)) - int64(len(j.live[key]))
	if c.Record == nil {
		delete(j.live, key)
		delete(j.reports, key)
	} else {
		j.live[key] = c.Record
	}
}

// wait returns when changes are on disk, or can't be put there: then they are
// lost at the next restart, unless a later write succeeds, which brings them along.
func (j *journal) wait(ticket uint64) error {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.durable < ticket {
		switch {
		case j.writing:
			j.idle.Wait()
		case j.failed >= ticket:
			return j.fault
		case j.closed:
			return errJournalClosed
		default:
			_ = j.write() // it is fault
		}
	}
	return nil
}

// ready tries to write what failed to be written, if anything did, and says why
// that can't be.
func (j *journal) ready() error {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.disk == nil && j.writing {
		j.idle.Wait()
	}
	if j.disk != nil {
		return nil
	}
	return j.write()
}

// flush writes all that waits, if anything does.
func (j *journal) flush() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.writing {
		j.idle.Wait()
	}
	if len(j.queue) == 0 && len(j.reports) == 0 && j.disk != nil {
		return nil
	}
	return j.write()
}

// run writes reports that nothing else took along, until ctx ends.
func (j *journal) run(ctx context.Context) {
	if j == nil {
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-j.wake:
		}
		timer.Reset(reportDelay)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if err := j.flush(); err != nil {
			j.log.Error("can't keep the reports on TTL checks", "error", err)
		}
	}
}

// close writes what waits and closes the files. Nothing may be kept after that.
func (j *journal) close() error {
	if j == nil {
		return nil
	}
	err := j.flush()
	if errors.Is(err, errJournalClosed) {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	if j.disk != nil {
		err = errors.Join(err, j.disk.Close())
		j.disk = nil
	}
	return err
}

var errJournalClosed = errors.New("this agent has stopped and keeps no more registrations")

// write writes all that waits. The caller holds mu, which is released
// meanwhile, and has seen that nobody else is writing.
func (j *journal) write() error {
	if j.closed {
		return errJournalClosed
	}
	j.writing = true
	upTo, batch, anew := j.complete, j.batch(), j.disk == nil
	var all []change
	if anew || j.grown >= max(j.minGrowth, 2*j.size) {
		all = j.all() // which batch is in
	}
	j.mu.Unlock()
	var err error
	if anew {
		err = j.begin(all)
	} else {
		err = j.append(batch, all)
	}
	j.mu.Lock()
	j.writing = false
	j.failed = upTo
	if err == nil {
		j.durable = upTo
	} else {
		j.fault = fmt.Errorf("keep a registration on disk: %w", err)
		err = j.fault
	}
	j.idle.Broadcast()
	return err
}

// batch takes what waits, as entries. The caller holds mu.
func (j *journal) batch() (entries []core.Entry) {
	queue := j.queue
	if len(j.reports) > 0 {
		var late []change
		for key := range j.reports {
			late = append(late, change{Kind: key.kind, ID: key.id, Record: j.live[key]})
		}
		queue = append(queue, encodeChanges(sorted(late)))
	}
	for i, data := range queue {
		entries = append(entries, core.Entry{Index: j.last + 1 + uint64(i), Term: journalTerm, Kind: core.EntryCommand, Data: data})
	}
	j.queue = nil
	clear(j.reports)
	return entries
}

// all lists all records, sorted. The caller holds mu.
func (j *journal) all() []change {
	changes := make([]change, 0, len(j.live))
	for key, record := range j.live {
		changes = append(changes, change{Kind: key.kind, ID: key.id, Record: record})
	}
	return sorted(changes)
}

// records gives all records of a kind by ID.
func (j *journal) records(kind recordKind) map[string]json.RawMessage {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	found := map[string]json.RawMessage{}
	for key, record := range j.live {
		if key.kind == kind {
			found[key.id] = record
		}
	}
	return found
}

func sorted(changes []change) []change {
	slices.SortFunc(changes, func(a, b change) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
	})
	return changes
}

// encodeChanges writes changes as lines. What put gave it can be written.
func encodeChanges(changes []change) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, c := range changes {
		_ = enc.Encode(c) // into memory, of JSON: can't fail
	}
	return b.Bytes()
}
