package agent

import (
	"errors"
	"fmt"
	"io"

	"muster/catalog"
	"muster/catalog/state"
	"muster/consensus"
	"muster/consensus/core"
)

// stateMachine joins consensus, which knows bytes, and the catalog's store,
// which knows what they mean. It is the only place where the two meet.
type stateMachine struct {
	store *state.Store
}

// Apply implements consensus.FSM: a batch of committed entries becomes one
// transaction of the store. Each result is a catalog.Result. Commands that only
// a later release knows, or what they restore, end this server.
func (m stateMachine) Apply(entries []core.Entry) ([]any, error) {
	batch := make([]state.Entry, len(entries))
	for i, e := range entries {
		if err := catalog.CheckRelease(e.Data); err != nil {
			return nil, fmt.Errorf("entry %d: %w", e.Index, err)
		}
		batch[i] = state.Entry{Index: e.Index, Data: e.Data}
	}
	out := make([]any, len(entries))
	for i, r := range m.store.Apply(batch) {
		if errors.Is(r.Err, catalog.ErrLaterRelease) {
			return nil, fmt.Errorf("entry %d: %w", entries[i].Index, r.Err)
		}
		out[i] = r
	}
	return out, nil
}

// Snapshot implements consensus.FSM.
func (m stateMachine) Snapshot() (consensus.Snapshot, error) { return m.store.Snapshot(), nil }

// Restore implements consensus.FSM.
func (m stateMachine) Restore(r io.Reader) error { return m.store.Restore(r) }

// resultOf is what applying a command gave, as consensus handed it back.
func resultOf(v any) catalog.Result {
	if r, ok := v.(catalog.Result); ok {
		return r
	}
	return catalog.Result{Err: catalog.Errorf(catalog.Internal, "the state machine answered %T instead of a result", v)}
}
