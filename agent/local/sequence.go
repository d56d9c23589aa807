package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"muster/consensus/wal"
)

const (
	sequenceFile = "sync-sequence"
	// sequenceBlock is how many numbers are reserved on disk at a time: one
	// second's worth of the clock that they begin with.
	sequenceBlock = 1_000_000
)

// sequence numbers an agent's writes to the catalog. It grows over restarts: it
// begins after all that a former run can have used, which is on disk, and not
// below the wall clock in microseconds, so that an agent which lost its disk but
// kept its node ID is not taken for a late message of its own past.
type sequence struct {
	fsys     wal.FS
	path     string // "": nothing is kept
	last     uint64
	reserved uint64 // on disk; the last number that may be used
}

type sequenceRecord struct{ Reserved uint64 }

// openSequence reads what was reserved. Only the Syncer's goroutine uses the
// sequence after that.
func openSequence(fsys wal.FS, dataDir string, now time.Time) (*sequence, error) {
	q := &sequence{fsys: fsys}
	if dataDir != "" {
		q.path = filepath.Join(dataDir, sequenceFile)
		var r sequenceRecord
		data, err := wal.ReadFile(fsys, q.path, maxRecord)
		if err == nil {
			err = json.Unmarshal(data, &r)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read %s: %w; if the file is damaged remove it: the clock takes its place", q.path, err)
		}
		q.last = r.Reserved
	}
	q.last = max(q.last, uint64(max(0, now.UnixMicro())))
	return q, q.reserve()
}

// next gives a number above all before it.
func (q *sequence) next() (uint64, error) {
	if q.last == q.reserved {
		if err := q.reserve(); err != nil {
			return 0, err
		}
	}
	q.last++
	return q.last, nil
}

func (q *sequence) reserve() error {
	reserved := q.last + sequenceBlock
	if q.path != "" {
		data, err := json.Marshal(sequenceRecord{Reserved: reserved})
		if err == nil {
			err = wal.WriteFileAtomic(q.fsys, q.path, data, 0o600)
		}
		if err != nil {
			return fmt.Errorf("reserve numbers for writes to the catalog: %w", err)
		}
	}
	q.reserved = reserved
	return nil
}
