package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"

	"muster/consensus"
	"muster/consensus/core"
)

// machine is the replicated state: how many commands were applied, and a hash
// over all of them in order, so that two machines that are equal have seen the
// same.
type machine struct {
	server *server
	state  state
}

type state struct {
	index uint64 // of the last command
	count uint64
	chain uint64
}

func (s state) next(e core.Entry) state {
	h := fnv.New64a()
	var head [24]byte
	binary.LittleEndian.PutUint64(head[0:], s.chain)
	binary.LittleEndian.PutUint64(head[8:], e.Index)
	binary.LittleEndian.PutUint64(head[16:], e.Term)
	_, _ = h.Write(head[:]) // a hash never fails
	_, _ = h.Write(e.Data)
	return state{index: e.Index, count: s.count + 1, chain: h.Sum64()}
}

// Apply implements consensus.FSM. The result of a command is its place among all
// commands.
func (m *machine) Apply(es []core.Entry) []any {
	results := make([]any, len(es))
	for i, e := range es {
		m.state = m.state.next(e)
		m.server.sim.check.applied(m.server, e, m.state)
		results[i] = m.state.count
	}
	return results
}

// Snapshot implements consensus.FSM.
func (m *machine) Snapshot() (consensus.Snapshot, error) {
	m.server.sim.met(SnapshotTaken)
	return m.state, nil
}

// WriteTo implements consensus.Snapshot.
func (s state) WriteTo(w io.Writer) (int64, error) {
	var b [24]byte
	binary.LittleEndian.PutUint64(b[0:], s.index)
	binary.LittleEndian.PutUint64(b[8:], s.count)
	binary.LittleEndian.PutUint64(b[16:], s.chain)
	n, err := w.Write(b[:])
	return int64(n), err
}

// Close implements consensus.Snapshot.
func (s state) Close() {}

// Restore implements consensus.FSM.
func (m *machine) Restore(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if len(b) != 24 {
		return fmt.Errorf("snapshot has %d bytes, not 24", len(b))
	}
	m.state = state{
		index: binary.LittleEndian.Uint64(b[0:]),
		count: binary.LittleEndian.Uint64(b[8:]),
		chain: binary.LittleEndian.Uint64(b[16:]),
	}
	m.server.sim.check.restored(m.server, m.state)
	if m.server.engine != nil {
		m.server.sim.met(SnapshotInstalled)
	}
	return nil
}

// command is the data of an operation's entry: its number, then padding.
func command(op uint64, padding int) []byte {
	b := make([]byte, 8+padding)
	binary.LittleEndian.PutUint64(b, op)
	return b
}

var errShort = errors.New("command without an operation number")

func operation(data []byte) (uint64, error) {
	if len(data) < 8 {
		return 0, errShort
	}
	return binary.LittleEndian.Uint64(data), nil
}
