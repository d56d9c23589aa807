package local

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"

	"muster/catalog"
	"muster/consensus/core"
	"muster/consensus/wal"
)

const (
	journalDir = "registrations"
	// journalTerm is the term of all entries: nobody else writes to this log.
	journalTerm = 1
	// readAtOnce bounds the entries that are in memory at a time while they are read.
	readAtOnce = 4 << 20
	// maxRecord bounds one record in bytes. It is above all that a request body,
	// which is smaller, can bring.
	maxRecord = 16 << 20
)

// openJournal opens the journal below an agent's data directory, or begins it;
// "" gives one that keeps nothing. What agents before it kept in a file each
// is taken over.
func openJournal(fsys wal.FS, dataDir string, log *slog.Logger) (*journal, error) {
	if dataDir == "" {
		return nil, nil
	}
	j := &journal{
		fsys: fsys, dir: filepath.Join(dataDir, journalDir), log: log, wake: make(chan struct{}, 1),
		minGrowth: 1 << 20, live: map[recordKey]json.RawMessage{}, reports: map[recordKey]struct{}{},
	}
	j.idle = sync.NewCond(&j.mu)
	err := j.restore()
	if err == nil {
		err = j.takeOver(dataDir)
	}
	if err != nil {
		if j.disk != nil {
			err = errors.Join(err, j.disk.Close())
		}
		return nil, fmt.Errorf("open what is registered with this agent: %w", err)
	}
	return j, nil
}

// openLog opens the log and sees to it that it has an entry at least, for all
// records written together stand in the place of the entries up to one.
func (j *journal) openLog() (*wal.Log, core.Restored, error) {
	cfg := wal.DefaultConfig()
	cfg.SegmentBytes, cfg.RetainBytes = 1<<20, 0
	disk, found, err := wal.Open(j.fsys, j.dir, cfg)
	var damage *wal.CorruptError
	if errors.As(err, &damage) {
		err = fmt.Errorf("%w; restore %s from a backup, or move it away, and what was registered over HTTP has to be registered again", damage, j.dir)
	}
	if err != nil {
		return nil, found, err
	}
	for _, repair := range disk.Repairs() {
		j.log.Warn("repaired what is registered with this agent", "repair", repair)
	}
	disk.SetVoteless(false) // no vote hangs on it
	if found.LastIndex == 0 {
		found.LastIndex = 1
		if err := disk.Append(entriesOf(core.Entry{Index: 1, Term: journalTerm, Kind: core.EntryCommand})); err != nil {
			return nil, found, errors.Join(err, disk.Close())
		}
	}
	return disk, found, nil
}

func entriesOf(entries ...core.Entry) wal.Batch {
	return wal.Batch{HardState: &core.HardState{Term: journalTerm}, Entries: entries}
}

// restore opens the log and reads all records from it.
func (j *journal) restore() error {
	disk, found, err := j.openLog()
	if err != nil {
		return err
	}
	j.disk, j.last = disk, found.LastIndex
	if found.Voteless {
		j.log.Error("a file was cut short: what was registered last may be lost; register it again if it is", "directory", j.dir)
	}
	if at := found.Snapshot; at.Index > 0 {
		r, err := disk.Snapshots().Open(at)
		if err != nil {
			return err
		}
		err = errors.Join(j.read(r), r.Close())
		if err != nil {
			return fmt.Errorf("records as of entry %d in %s: %w", at.Index, j.dir, err)
		}
	}
	for next := max(found.FirstIndex, found.Snapshot.Index+1); next <= j.last; {
		entries, err := disk.Entries(next, j.last, readAtOnce)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := j.read(bytes.NewReader(e.Data)); err != nil {
				return fmt.Errorf("entry %d in %s: %w", e.Index, j.dir, err)
			}
			j.grown += int64(len(e.Data))
		}
		next += uint64(len(entries))
	}
	return nil
}

// read makes the changes that r holds.
func (j *journal) read(r io.Reader) error {
	for dec := json.NewDecoder(r); ; {
		var c change
		switch err := dec.Decode(&c); {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("%w; if another release wrote this, that one can read it", err)
		}
		j.apply(c)
	}
}

// append makes entries durable, and then, where all is given, writes all records
// together. Only the goroutine that set writing calls it.
func (j *journal) append(entries []core.Entry, all []change) error {
	if len(entries) > 0 {
		if err := j.disk.Append(entriesOf(entries...)); err != nil {
			j.abandon()
			return err
		}
	}
	last, grown := j.last+uint64(len(entries)), j.grown
	for _, e := range entries {
		grown += int64(len(e.Data))
	}
	if all != nil {
		grown = 0 // if it fails, it is tried again when as much has come anew
		if err := writeTogether(j.disk, last, all); err != nil {
			j.log.Warn("can't write the registrations anew; the journal of their changes goes on growing", "directory", j.dir, "error", err)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last, j.grown = last, grown
	return nil
}

// begin opens the log anew after a failed write, and has all records take the
// place of whatever is in it. Only the goroutine that set writing calls it.
func (j *journal) begin(all []change) error {
	disk, found, err := j.openLog()
	if err != nil {
		return err
	}
	if err := writeTogether(disk, found.LastIndex, all); err != nil {
		return errors.Join(err, disk.Close())
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.disk, j.last, j.grown = disk, found.LastIndex, 0
	return nil
}

// abandon closes the log after a failed write, of which nobody knows what
// reached the disk.
func (j *journal) abandon() {
	_ = j.disk.Close() // its failure is the one that is known
	j.mu.Lock()
	defer j.mu.Unlock()
	j.disk = nil
}

// writeTogether writes all records as they are after entry last or later, and
// drops the files with older entries.
func writeTogether(disk *wal.Log, last uint64, all []change) error {
	w, err := disk.Snapshots().Create(core.SnapshotMeta{Index: last, Term: journalTerm})
	if err != nil {
		return err
	}
	if _, err := w.Write(encodeChanges(all)); err != nil {
		return errors.Join(err, w.Abort())
	}
	if _, err := w.Commit(); err != nil {
		return err
	}
	_, err = disk.Compact(last)
	return err
}

// takeOver moves the records of older agents, each a file of JSON, into the
// journal. One that can't be read is logged and stays where it is.
func (j *journal) takeOver(dataDir string) error {
	var done, dirs []string
	for _, old := range []struct {
		dir  string
		kind recordKind
		id   func(record []byte) (string, error)
	}{
		{"services", serviceRecords, idOfService},
		{"checks/state", reportRecords, idOfReport},
		{"checks", checkRecords, idOfCheck},
	} {
		dir := filepath.Join(dataDir, old.dir)
		names, err := j.fsys.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		dirs = append(dirs, dir)
		for _, name := range names {
			path := filepath.Join(dir, name)
			if !strings.HasSuffix(name, ".tmp") { // else its writing was interrupted
				if err := j.takeFile(path, old.kind, old.id); err != nil {
					j.log.Error("a registration can't be restored; register it again, or repair or remove the file", "file", path, "error", err)
					continue
				}
			}
			done = append(done, path)
		}
	}
	if err := j.wait(j.end()); err != nil {
		return err
	}
	return j.dispose(done, dirs)
}

func (j *journal) takeFile(path string, kind recordKind, idOf func([]byte) (string, error)) error {
	data, err := wal.ReadFile(j.fsys, path, maxRecord)
	if err != nil {
		return err
	}
	id, err := idOf(data)
	if err != nil {
		return err
	}
	return j.put(kind, id, json.RawMessage(data))
}

// dispose removes files durably, for they would come before what is in the
// journal by then, and directories that are empty.
func (j *journal) dispose(files, dirs []string) error {
	for _, path := range files {
		if err := j.fsys.Remove(path); err != nil {
			return fmt.Errorf("remove a registration that has been taken over: %w", err)
		}
	}
	for _, dir := range dirs {
		if err := j.fsys.SyncDir(dir); err != nil {
			return fmt.Errorf("sync directory %s: %w", dir, err)
		}
		_ = j.fsys.Remove(dir) // it stays if there is something in it
	}
	return nil
}

func idOfService(data []byte) (string, error) {
	var r serviceRecord
	err := json.Unmarshal(data, &r)
	if err == nil && r.Service == nil {
		err = errors.New("holds no service")
	}
	if err != nil {
		return "", err
	}
	return catalog.Fold(r.Service.ID), nil
}

func idOfCheck(data []byte) (string, error) {
	var r checkRecord
	err := json.Unmarshal(data, &r)
	if err == nil && r.Definition.CheckID == "" {
		err = errors.New("holds no check")
	}
	return catalog.Fold(r.Definition.CheckID), err
}

func idOfReport(data []byte) (string, error) {
	var r ttlRecord
	err := json.Unmarshal(data, &r)
	if err == nil && r.CheckID == "" {
		err = errors.New("holds no report")
	}
	return catalog.Fold(r.CheckID), err
}
