package state

import (
	"context"
	"sync"
	"sync/atomic"

	"muster/catalog"
)

// Entry is one committed entry of the log: a command as catalog.EncodeCommand
// made it.
type Entry struct {
	Index uint64
	Data  []byte
}

// Store holds the replicated catalog. All methods may be called at any time from
// any goroutine; those that read never wait for those that write.
type Store struct {
	writing sync.Mutex // held by Apply and Restore: one writer at a time
	db      atomic.Pointer[db]
	waiters waiters
}

// New returns an empty Store.
func New() *Store {
	s := &Store{}
	w := writer{reader: reader{newDB()}}
	w.insert(tableMeta, &metaRow{})
	s.db.Store(w.db.publish())
	return s
}

// read gives what is there now.
func (s *Store) read() reader { return reader{s.db.Load()} }

// Apply carries out committed entries in order, in one transaction, and gives
// one result for each. Each entry sees what those before it did. How a log is
// split into batches makes no difference to results or state. An entry that
// can't be decoded or is refused changes nothing and has its reason in its
// result, the same on every server.
func (s *Store) Apply(es []Entry) []catalog.Result {
	results := make([]catalog.Result, len(es))
	commands := make([]catalog.Command, len(es))
	for i, e := range es {
		commands[i], results[i].Err = catalog.DecodeCommand(e.Data)
	}

	s.writing.Lock()
	defer s.writing.Unlock()
	w := writer{reader: reader{s.db.Load().begin()}}
	w.meta = *w.reader.meta()
	for i, e := range es {
		if e.Index <= w.meta.Applied {
			results[i] = catalog.Result{Err: catalog.Errorf(catalog.Internal,
				"entry %d is given to a state that is at %d already", e.Index, w.meta.Applied)}
			continue
		}
		if results[i].Err == nil {
			results[i] = w.apply(e.Index+w.meta.Offset, commands[i])
		}
		w.meta.Applied = e.Index
	}
	w.insert(tableMeta, &w.meta)
	s.db.Store(w.db.publish())
	if w.restored {
		s.waiters.wakeAll()
	} else {
		s.waiters.wake(w.moves)
	}
	return results
}

// Preview tells what Apply would answer to cmd now. It changes nothing, also not
// cmd. A command whose preview says neither Changed nor Err needs no log entry
// if it was made of a state that a linearizable read may answer from.
func (s *Store) Preview(cmd catalog.Command) catalog.Result {
	switch cmd := cmd.(type) {
	case *catalog.Txn:
		w := s.copy()
		return w.transact(w.meta.index()+1, cmd)
	case *catalog.Restore:
		w := s.copy()
		return w.restore(w.meta.index()+1, cmd)
	case *catalog.Batch:
		return previewBatch(s.read(), cmd)
	case *catalog.Once:
		w := s.copy()
		return w.applyOnce(w.meta.index()+1, cmd)
	}
	p := planCommand(s.read(), cmd)
	return p.result()
}

// copy gives a writer to a copy that nobody keeps.
func (s *Store) copy() *writer {
	w := &writer{reader: s.read()}
	w.meta = *w.reader.meta()
	w.db = w.db.begin()
	return w
}

// Index is the index of the last applied entry, as the catalog counts: since a
// restore that may be above its index in the log, never below.
func (s *Store) Index() uint64 { return s.read().meta().index() }

// View returns a consistent view of the whole store as it is now.
func (s *Store) View() *View {
	r := s.read()
	return &View{reader: r, indexes: r.meta()}
}

// Wait returns nil as soon as one of the topics has an index above the given one:
// at once if it has already, also if a later write moved it on. It returns ctx's
// error where ctx ends first, and nil whenever the state is restored, as all may
// be different then. It starts no goroutine.
//
// A wake-up can't be lost: the waiter is entered before the topics are read, and
// a writer looks for waiters after its write can be read.
func (s *Store) Wait(ctx context.Context, topics []Topic, index uint64) error {
	if s.moved(topics, index) {
		return nil
	}
	w := s.waiters.enter(topics, index)
	if s.moved(topics, index) {
		s.waiters.leave(w)
		return nil
	}
	select {
	case <-w.woken: // whoever woke it has taken it off the lists
		return nil
	case <-ctx.Done():
		s.waiters.leave(w)
		return ctx.Err()
	}
}

// moved reports whether a topic's index is above the given one.
func (s *Store) moved(topics []Topic, index uint64) bool {
	return s.View().Moved(topics, index)
}
