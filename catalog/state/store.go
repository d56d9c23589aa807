package state

import (
	"context"
	"io"

	"muster/catalog"
)

// Entry is one committed entry of the log: a command as catalog.EncodeCommand
// made it.
type Entry struct {
	Index uint64
	Data  []byte
}

// Store holds the replicated catalog.
type Store struct{}

// New returns an empty Store.
func New() *Store { return &Store{} }

// Apply carries out committed entries in order, in one transaction, and gives
// one result for each.
func (s *Store) Apply(es []Entry) []catalog.Result { return make([]catalog.Result, len(es)) }

// Preview tells what Apply would answer to cmd now, and changes nothing.
func (s *Store) Preview(cmd catalog.Command) catalog.Result { return catalog.Result{} }

// Index is the index of the last applied entry.
func (s *Store) Index() uint64 { return 0 }

// View returns a consistent view of the whole store as it is now.
func (s *Store) View() *View { return &View{} }

// Wait returns nil as soon as one of the topics has an index above the given
// one, and ctx's error where ctx ends first.
func (s *Store) Wait(ctx context.Context, topics []Topic, index uint64) error { return ctx.Err() }

// Snapshot returns the store's whole state as it is now.
func (s *Store) Snapshot() *Snapshot { return &Snapshot{} }

// Restore replaces the whole state by that of a snapshot, or changes nothing and
// says why it can't.
func (s *Store) Restore(r io.Reader) error { return nil }

// Snapshot is a point in time of the store.
type Snapshot struct{}

// WriteTo implements io.WriterTo.
func (s *Snapshot) WriteTo(w io.Writer) (int64, error) { return 0, nil }

// Close lets go of the point in time.
func (s *Snapshot) Close() {}
