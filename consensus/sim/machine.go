package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"muster/consensus"
	"muster/consensus/core"
)

// machine is the replicated state: a few registers, how many commands were
// applied, and a hash over all of them in order, so that two machines that are
// equal have seen the same.
type machine struct {
	server    *server
	state     state
	registers []register
	passenger consensus.FSM // nil for none
}

// register is what was last written under a key, and where in the log.
type register struct{ op, index uint64 }

type state struct {
	index uint64 // of the last command
	count uint64
	chain digest
	fold  digest // of all registers, in any order
}

// outcome is what applying a command gave.
type outcome struct {
	count uint64 // its place among all commands
	done  bool   // false: a compare-and-set found another index
}

func (r register) digest(key int) digest {
	h := newDigest()
	h.add(uint64(key), r.op, r.index)
	return h
}

func fold(registers []register) (sum digest) {
	for key, r := range registers {
		sum ^= r.digest(key)
	}
	return sum
}

func newMachine(s *server) *machine {
	m := &machine{server: s, registers: make([]register, s.sim.plan.Keys)}
	m.state.fold = fold(m.registers)
	if p := s.sim.passenger; p != nil {
		m.passenger = p.Board(s.number)
	}
	return m
}

// Apply implements consensus.FSM.
func (m *machine) Apply(es []core.Entry) ([]any, error) {
	results := make([]any, len(es))
	for i, e := range es {
		c, err := decodeCommand(e.Data)
		if err != nil || c.key >= len(m.registers) {
			m.server.sim.check.fail("%s: entry %d holds no command of a client: %v", m.server.id, e.Index, err)
			return results, nil
		}
		results[i] = m.apply(e, c)
		m.server.sim.check.applied(m.server, e, c.op, results[i].(outcome).done, m.state)
	}
	if m.passenger != nil {
		own := slices.Clone(es)
		for i := range own {
			own[i].Data = own[i].Data[commandHead:]
		}
		if _, err := m.passenger.Apply(own); err != nil {
			return nil, err
		}
	}
	return results, nil
}

func (m *machine) apply(e core.Entry, c command) outcome {
	r := &m.registers[c.key]
	done := c.kind != compareAndSet || r.index == c.expect
	if done {
		m.state.fold ^= r.digest(c.key)
		*r = register{op: c.op, index: e.Index}
		m.state.fold ^= r.digest(c.key)
	}
	m.state.index = e.Index
	m.state.count++
	m.state.chain.add(e.Index, e.Term, truth(done))
	m.state.chain.bytes(e.Data)
	return outcome{count: m.state.count, done: done}
}

// Snapshot implements consensus.FSM.
func (m *machine) Snapshot() (consensus.Snapshot, error) {
	m.server.sim.met(SnapshotTaken)
	s := snapshot{state: m.state, registers: slices.Clone(m.registers)}
	if m.passenger == nil {
		return s, nil
	}
	var err error
	s.passenger, err = m.passenger.Snapshot()
	return s, err
}

// snapshot is a machine at one moment.
type snapshot struct {
	state     state
	registers []register
	passenger consensus.Snapshot
}

// WriteTo implements consensus.Snapshot.
func (s snapshot) WriteTo(w io.Writer) (int64, error) {
	b := binary.LittleEndian.AppendUint64(nil, s.state.index)
	b = binary.LittleEndian.AppendUint64(b, s.state.count)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.state.chain))
	for _, r := range s.registers {
		b = binary.LittleEndian.AppendUint64(b, r.op)
		b = binary.LittleEndian.AppendUint64(b, r.index)
	}
	n, err := w.Write(b)
	if err != nil || s.passenger == nil {
		return int64(n), err
	}
	more, err := s.passenger.WriteTo(w)
	return int64(n) + more, err
}

// Close implements consensus.Snapshot.
func (s snapshot) Close() {
	if s.passenger != nil {
		s.passenger.Close()
	}
}

// Restore implements consensus.FSM.
func (m *machine) Restore(r io.Reader) error {
	b := make([]byte, 24+16*len(m.registers))
	if _, err := io.ReadFull(r, b); err != nil {
		return fmt.Errorf("snapshot of %d bytes: %w", len(b), err)
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	for i := range m.registers {
		m.registers[i] = register{op: word(3 + 2*i), index: word(4 + 2*i)}
	}
	m.state = state{index: word(0), count: word(1), chain: digest(word(2)), fold: fold(m.registers)}
	m.server.sim.check.restored(m.server, m.state)
	if m.server.engine != nil {
		m.server.sim.met(SnapshotInstalled)
	}
	if m.passenger != nil {
		return m.passenger.Restore(r)
	}
	if n, err := r.Read(b); n > 0 || !errors.Is(err, io.EOF) {
		return fmt.Errorf("snapshot is longer than %d bytes (%w)", len(b), err)
	}
	return nil
}

// command is what a client writes.
type command struct {
	op     uint64 // its number
	key    int
	kind   opKind
	expect uint64 // compareAndSet: the index that the key must have
}

const commandHead = 18

// encode gives the data of the command's entry.
func (c command) encode(payload []byte) []byte {
	b := make([]byte, commandHead, commandHead+len(payload))
	binary.LittleEndian.PutUint64(b, c.op)
	b[8], b[9] = byte(c.key), byte(c.kind)
	binary.LittleEndian.PutUint64(b[10:], c.expect)
	return append(b, payload...)
}

var errShort = errors.New("command without a head")

func decodeCommand(b []byte) (command, error) {
	if len(b) < commandHead {
		return command{}, errShort
	}
	return command{
		op: binary.LittleEndian.Uint64(b), key: int(b[8]), kind: opKind(b[9]),
		expect: binary.LittleEndian.Uint64(b[10:]),
	}, nil
}
