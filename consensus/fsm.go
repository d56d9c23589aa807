package consensus

import (
	"io"

	"muster/consensus/core"
)

// FSM is the replicated state machine. Its methods are called by one goroutine,
// one after the other. Apply must be deterministic: the same entries, however
// they are cut into batches, leave the same state on every server.
type FSM interface {
	// Apply takes committed EntryCommand entries in log order and returns one
	// result for each. It must not keep the slice; Data is immutable and may be
	// kept. An error says that it can't follow what the cluster has committed,
	// and stops the server: to pass over an entry would make its state differ
	// from the others' for good.
	Apply(entries []core.Entry) ([]any, error)
	// Snapshot captures the state as it is now. It must be cheap: no entry is
	// applied meanwhile.
	Snapshot() (Snapshot, error)
	// Restore replaces the whole state, atomically for those who read it, by
	// what an earlier Snapshot wrote.
	Restore(r io.Reader) error
}

// Snapshot is a state at one point in time. WriteTo runs while later entries are
// applied. Close is called once, after WriteTo or instead of it.
type Snapshot interface {
	WriteTo(w io.Writer) (int64, error)
	Close()
}

// Net sends messages to other servers. Send never blocks and may lose messages;
// it is called from several goroutines.
type Net interface {
	Send(m core.Message)
}
