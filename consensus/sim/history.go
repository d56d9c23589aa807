package sim

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"muster/consensus/core"
)

// history is what clients have done and been told, for Porcupine: each key is a
// register that is read, written, or written if its index is as expected.
type history struct {
	past []pastOp
}

// pastOp is one operation of a client.
type pastOp struct {
	command
	client     int
	begun, end core.Instant // end is never where no answer came
	dropped    bool         // refused, or a read without an answer: it had no effect
	seen       register     // of a read
	done       bool         // of a write: it was carried out
	index      uint64       // of a write: of its entry
}

func (h *history) begin(k *call, now core.Instant) int {
	h.past = append(h.past, pastOp{command: k.command, client: k.client.number, begun: now, end: never})
	return len(h.past) - 1
}

func (h *history) drop(k *call) { h.past[k.past].dropped = true }

func (h *history) saw(k *call, r register, now core.Instant) {
	h.past[k.past].seen, h.past[k.past].end = r, now
}

func (h *history) wrote(k *call, o outcome, index uint64, now core.Instant) {
	p := &h.past[k.past]
	p.done, p.index, p.end = o.done, index, now
}

// operations gives what Porcupine is to judge. What became of an operation whose
// outcome is unknown is looked up in the committed log. If it was carried out, it
// happened before the first answer that shows it, or something later in the log, was
// given. Without such an answer, or if it changed nothing, nobody could tell when it
// happened, and it is left out. So the verdict is the same and the search for it short.
func (h *history) operations(took func(op uint64) (index uint64, done, ok bool)) []porcupine.Operation {
	shown := h.firstShown()
	ops := make([]porcupine.Operation, 0, len(h.past))
	for _, p := range h.past {
		if p.dropped || p.kind == read && p.end == never {
			continue
		}
		end := p.end
		if end == never {
			var ok bool
			if p.index, p.done, ok = took(p.op); !ok || !p.done {
				continue
			}
			if end = shown(p.key, p.index); end == never {
				continue
			}
		}
		ops = append(ops, porcupine.Operation{ClientId: p.client, Input: p, Output: p, Call: int64(p.begun), Return: int64(end)})
	}
	return ops
}

// firstShown gives a function that says when a client was first given an answer that
// shows a key as it was at an index or later; never if none was.
func (h *history) firstShown() func(key int, index uint64) core.Instant {
	type answer struct {
		index uint64
		end   core.Instant
	}
	answers := map[int][]answer{}
	for _, p := range h.past {
		switch {
		case p.dropped || p.end == never:
		case p.kind == read:
			answers[p.key] = append(answers[p.key], answer{p.seen.index, p.end})
		case p.done || p.kind == compareAndSet: // which shows by its failure that the key has changed
			answers[p.key] = append(answers[p.key], answer{p.index, p.end})
		}
	}
	for _, of := range answers {
		slices.SortFunc(of, func(a, b answer) int { return cmp.Compare(a.index, b.index) })
		for i := len(of) - 2; i >= 0; i-- {
			of[i].end = min(of[i].end, of[i+1].end) // the first from here on
		}
	}
	return func(key int, index uint64) core.Instant {
		of := answers[key]
		i, _ := slices.BinarySearchFunc(of, index, func(a answer, index uint64) int { return cmp.Compare(a.index, index) })
		if i == len(of) {
			return never
		}
		return of[i].end
	}
}

// registers is the model: what each key must do, one operation after the other.
var registers = porcupine.Model{
	Partition: func(ops []porcupine.Operation) [][]porcupine.Operation {
		var byKey [][]porcupine.Operation
		for _, op := range ops {
			key := op.Input.(pastOp).key
			for len(byKey) <= key {
				byKey = append(byKey, nil)
			}
			byKey[key] = append(byKey[key], op)
		}
		return byKey
	},
	Init: func() any { return register{} },
	Step: func(state, input, _ any) (bool, any) {
		r, p := state.(register), input.(pastOp)
		next := register{op: p.op, index: p.index}
		switch {
		case p.kind == read:
			return p.seen == r, r
		case p.kind == compareAndSet && p.done != (p.expect == r.index):
			return false, r
		case !p.done:
			return true, r
		}
		return p.index > r.index, next
	},
	Hash: func(state any) uint64 {
		return state.(register).index
	},
	DescribeOperation: func(input, _ any) string {
		p := input.(pastOp)
		switch p.kind {
		case read:
			return fmt.Sprintf("read: %d at %d", p.seen.op, p.seen.index)
		case compareAndSet:
			return fmt.Sprintf("cas %d at %d, expects %d: %v", p.op, p.index, p.expect, p.done)
		default:
			return fmt.Sprintf("write %d at %d", p.op, p.index)
		}
	},
}

// judge gives an error unless Porcupine finds the history linearizable. It is
// told how many operations it judged.
func (h *history) judge(took func(op uint64) (index uint64, done, ok bool)) (judged int, err error) {
	ops := h.operations(took)
	// Without an answer in a minute the verdict is "unknown", which fails too.
	switch porcupine.CheckOperationsTimeout(registers, ops, time.Minute) {
	case porcupine.Ok:
		return len(ops), nil
	case porcupine.Illegal:
		return len(ops), fmt.Errorf("the history is not linearizable (29): %s", h.culprit(ops))
	default:
		return len(ops), fmt.Errorf("no verdict of Porcupine on %d operations in a minute", len(ops))
	}
}

// culprit names the operation with whose answer the history became impossible.
func (h *history) culprit(ops []porcupine.Operation) string {
	var worst string
	for _, part := range registers.Partition(ops) {
		lo, hi := 0, len(part)
		legal := func(n int) bool {
			return porcupine.CheckOperationsTimeout(registers, answeredBefore(part, n), time.Minute) == porcupine.Ok
		}
		if legal(hi) {
			continue
		}
		for lo+1 < hi {
			if mid := (lo + hi) / 2; legal(mid) {
				lo = mid
			} else {
				hi = mid
			}
		}
		p := inOrderOfAnswers(part)[lo]
		in := p.Input.(pastOp)
		worst += fmt.Sprintf("key %d: client %d, asked at %.6f s, answered at %.6f s: %s; ",
			in.key, in.client, float64(p.Call)/1e9, float64(p.Return)/1e9, registers.DescribeOperation(p.Input, p.Output))
	}
	return worst
}

func inOrderOfAnswers(ops []porcupine.Operation) []porcupine.Operation {
	sorted := slices.Clone(ops)
	slices.SortStableFunc(sorted, func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) })
	return sorted
}

// answeredBefore is the history as it stood when n operations had been answered:
// writes under way then have no end, and reads under way had no answer.
func answeredBefore(ops []porcupine.Operation, n int) []porcupine.Operation {
	sorted := inOrderOfAnswers(ops)
	cut := slices.Clone(sorted[:n])
	for _, op := range sorted[n:] {
		if n > 0 && op.Call <= sorted[n-1].Return && op.Input.(pastOp).kind != read {
			op.Return = math.MaxInt64
			cut = append(cut, op)
		}
	}
	return cut
}
