package consensus

import (
	"fmt"
	"sync/atomic"
	"time"

	"muster/consensus/core"
	"muster/consensus/wal"
)

const (
	// applyBytes and applyEntries bound what one apply task takes, so that a
	// long replay is one of many steps.
	applyBytes   = 4 << 20
	applyEntries = 4096
)

// machine is the state machine as LaneApply's worker sees it.
type machine struct {
	fsm FSM
	log *wal.Log

	at          core.EntryID       // last entry applied
	applied     atomic.Uint64      // its index, for those outside
	config      core.Configuration // in force at it
	configIndex uint64
	commands    []core.Entry // scratch
}

// applyCommitted gives committed entries to the state machine, one task at a
// time: what is committed meanwhile makes the next, larger one.
func (e *Engine) applyCommitted() {
	if !e.applying && e.handed < e.commit {
		lo := e.handed + 1
		hi := min(e.commit, e.handed+applyEntries)
		a := &apply{machine: &e.machine, lo: lo, hi: hi}
		var missing uint64
		if a.entries, missing = e.tail.upTo(lo, hi, applyBytes); missing > 0 {
			a.hi = missing
		} else {
			a.hi = a.entries[len(a.entries)-1].Index
		}
		a.waiting = e.waiting.upTo(a.hi)
		if n := len(a.waiting); n > 0 {
			e.crowd = n
		}
		if e.Observe != nil {
			for _, p := range a.waiting {
				e.Observe(core.Duration(e.now - p.at))
			}
		}
		e.handed = a.hi
		e.applying, e.applyFrom, e.slowApply = true, e.now, false
		e.submit(LaneApply, a)
	}
	e.tail.trim(e.cfg.MaxPendingBytes, e.durable)
}

// apply gives the entries from lo to hi to the state machine and their results
// to those who wait.
type apply struct {
	machine *machine
	lo, hi  uint64
	entries []core.Entry // nil: to be read from the log
	waiting []placement
	bytes   int64
	term    uint64
}

func (a *apply) run() error {
	for lo := a.lo; lo <= a.hi; lo = a.machine.at.Index + 1 {
		es := a.entries
		if es == nil {
			var err error
			if es, err = a.machine.log.Entries(lo, a.hi, applyBytes); err != nil {
				return fmt.Errorf("read committed entries from %d to %d: %w", lo, a.hi, err)
			}
		}
		if err := a.apply(es); err != nil {
			return err
		}
	}
	a.term = a.machine.at.Term
	return nil
}

func (a *apply) apply(es []core.Entry) error {
	m := a.machine
	if es[0].Index != m.at.Index+1 {
		return fmt.Errorf("apply: entry %d follows %d", es[0].Index, m.at.Index)
	}
	cmds, err := m.split(es)
	if err != nil {
		return err
	}
	var results []any
	if len(cmds) > 0 {
		if results, err = m.fsm.Apply(cmds); err != nil {
			return fmt.Errorf("apply entries from %d to %d: %w", cmds[0].Index, cmds[len(cmds)-1].Index, err)
		}
	}
	last := es[len(es)-1]
	m.moved(core.EntryID{Term: last.Term, Index: last.Index})
	for _, c := range cmds {
		a.bytes += int64(cost(c))
	}
	a.tell(es, cmds, results)
	return nil
}

// moved notes how far the state is, before anyone is told of it.
func (m *machine) moved(to core.EntryID) {
	m.at = to
	m.applied.Store(to.Index)
}

// split separates commands from what is consensus' own.
func (m *machine) split(es []core.Entry) ([]core.Entry, error) {
	pure := true
	for _, e := range es {
		if e.Kind == core.EntryCommand {
			continue
		}
		pure = false
		if e.Kind != core.EntryConfig {
			continue
		}
		c, err := core.DecodeConfiguration(e.Data)
		if err != nil {
			return nil, fmt.Errorf("configuration in entry %d: %w", e.Index, err)
		}
		m.config, m.configIndex = c, e.Index
	}
	if pure {
		return es, nil
	}
	m.commands = m.commands[:0]
	for _, e := range es {
		if e.Kind == core.EntryCommand {
			m.commands = append(m.commands, e)
		}
	}
	return m.commands, nil
}

// tell gives results to those whose entry is among es. Where an entry of
// another term stands, theirs was rolled back.
func (a *apply) tell(es, cmds []core.Entry, results []any) {
	first, last := es[0].Index, es[len(es)-1].Index
	for _, p := range a.waiting {
		if p.id.Index < first || p.id.Index > last {
			continue
		}
		e := es[p.id.Index-first]
		switch {
		case e.Term != p.id.Term:
			p.waiter.Done(Result{ID: p.id, Err: notDone(p.id)})
		case e.Kind == core.EntryCommand:
			p.waiter.Done(Result{ID: p.id, Value: results[position(cmds, e.Index)]})
		default:
			p.waiter.Done(Result{ID: p.id})
		}
	}
}

// position finds the command with an index among ascending ones.
func position(cmds []core.Entry, index uint64) int {
	if i := index - cmds[0].Index; i < uint64(len(cmds)) && cmds[i].Index == index {
		return int(i) // no gap before it: nearly always
	}
	lo, hi := 0, len(cmds)
	for lo < hi {
		if mid := (lo + hi) / 2; cmds[mid].Index < index {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

func (a *apply) finish(e *Engine) {
	e.applying = false
	if e.slowApply {
		e.log.Warn("the state machine goes on", "applied", a.hi, "took", time.Duration(e.now-e.applyFrom))
	}
	e.sinceBytes += a.bytes
	e.advance(a.hi, a.term)
	e.considerSnapshot()
}

// advance notes that the state machine has reached an entry.
func (e *Engine) advance(index, term uint64) {
	e.applied, e.appliedTerm = index, term
	e.waiting.applied(index)
}
