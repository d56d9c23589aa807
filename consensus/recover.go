package consensus

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"muster/consensus/core"
	"muster/consensus/wal"
)

// ErrSameCluster says that a recovery would leave the cluster its old ID.
var ErrSameCluster = errors.New("a recovered cluster needs a cluster ID of its own")

// Recover gives the stopped server whose log is in dir a new configuration, for
// a cluster whose majority is lost for good, and copies what was in dir to
// backup first. fsm must be empty; it is used to make a snapshot. The caller has
// locked the data directory. It returns the snapshot that the server will start
// from.
//
// All entries of the log are kept and count as committed from then on: those
// that were committed as far as this server knows, and those that the lost
// servers may or may not have committed. What only the lost servers had is lost.
//
// The new configuration goes into a snapshot behind the log's last entry, in a
// later term. It can't be an entry behind the old ones: a server that joins
// would first learn the old cluster's ID from them, and so refuse the leader.
// Renaming that snapshot's file into place is the one step that counts: a start
// finds the directory as it was before, or resets log and term to the snapshot,
// as after one that a leader sent. Only the permission of a server without a
// vote to vote again is written later; if that is missing, so is the vote, and
// Recover is to be run again.
//
// The old and the recovered cluster can never mix: config.ClusterID is another,
// and transport compares them before it reads a message. So the new term need
// not be above those of servers that this one knows nothing of.
func Recover(fsys wal.FS, dir, backup string, config core.Configuration, fsm FSM) (core.SnapshotMeta, error) {
	var none core.SnapshotMeta
	found, err := wal.Inspect(fsys, dir)
	if err != nil {
		return none, err
	}
	switch {
	case found.Damage != nil:
		return none, found.Damage
	case config.ClusterID == "" || config.ClusterID == found.Config.ClusterID:
		return none, fmt.Errorf("%w: %q", ErrSameCluster, config.ClusterID)
	}
	if err := config.Validate(); err != nil {
		return none, fmt.Errorf("configuration to recover with: %w", err)
	}
	if err := copyFiles(fsys, dir, backup); err != nil {
		return none, fmt.Errorf("back up %s: %w", dir, err)
	}
	l, restored, err := wal.Open(fsys, dir, wal.DefaultConfig())
	if err != nil {
		return none, err
	}
	meta, err := restart(l, restored, config, fsm)
	if cerr := l.Close(); err == nil {
		err = cerr
	}
	return meta, err
}

// RecoveredAt is the entry at whose place Recover puts the configuration, given
// what a server would start from.
func RecoveredAt(r core.Restored) core.EntryID {
	return core.EntryID{Term: max(r.HardState.Term, r.Snapshot.Term) + 1, Index: r.LastIndex + 1}
}

// restart makes log continue behind a snapshot of all that it holds.
func restart(l *wal.Log, r core.Restored, config core.Configuration, fsm FSM) (core.SnapshotMeta, error) {
	m := machine{fsm: fsm, log: l}
	if err := m.restore(r.Snapshot); err != nil {
		return r.Snapshot, err
	}
	replay := apply{machine: &m, lo: m.at.Index + 1, hi: r.LastIndex}
	if err := replay.run(); err != nil {
		return r.Snapshot, err
	}
	state, err := fsm.Snapshot()
	if err != nil {
		return r.Snapshot, fmt.Errorf("capture the state at index %d: %w", m.at.Index, err)
	}
	defer state.Close()
	at := RecoveredAt(r)
	s := save{
		snapshots: l.Snapshots(), state: state,
		meta: core.SnapshotMeta{Index: at.Index, Term: at.Term, Config: config, ConfigIndex: at.Index},
	}
	meta, err := s.write()
	if err != nil {
		return meta, err
	}
	if err := l.ResetTo(meta); err != nil {
		return meta, err
	}
	l.SetVoteless(false)
	return meta, l.Append(wal.Batch{HardState: &core.HardState{Term: at.Term, Commit: at.Index}})
}

// copyFiles copies the plain files of a directory, durably, into one that is
// empty or isn't there yet.
func copyFiles(fsys wal.FS, from, to string) error {
	if err := fsys.MkdirAll(to); err != nil {
		return err
	}
	switch names, err := fsys.ReadDir(to); {
	case err != nil:
		return err
	case len(names) > 0:
		return fmt.Errorf("%s is not empty", to)
	}
	names, err := fsys.ReadDir(from)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := copyFile(fsys, filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	return fsys.SyncDir(to)
}

func copyFile(fsys wal.FS, from, to string) (err error) {
	in, err := fsys.OpenFile(from, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := fsys.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	size, err := in.Size()
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.NewOffsetWriter(out, 0), io.NewSectionReader(in, 0, size)); err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	return out.Sync()
}
