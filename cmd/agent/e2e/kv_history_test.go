package e2e

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/anishathalye/porcupine"
)

// pairState is two entries of the key/value store that transactions change together:
// their values, each of which is written once only, and "" where there is none.
type pairState [2]string

type pairKind uint8

const (
	pairGet     pairKind = iota // one entry
	pairGetBoth                 // by a transaction
	pairPut
	pairPutBoth // by a transaction
	pairDelete
	pairCAS
	pairCASBoth // by a transaction that also puts the other entry
)

// pairAction is one operation on a pair. A compare-and-set has the index of a value
// that its client read before, which no other value of the key ever has: so it
// expects the value.
type pairAction struct {
	kind          pairKind
	key           int // 0 or 1
	expect, value string
}

func (a pairAction) String() string {
	kind := [...]string{"get", "get both", "put", "put both", "delete", "cas", "cas, put the other"}[a.kind]
	return fmt.Sprintf("%s %d %q for %q", kind, a.key, a.value, a.expect)
}

// pairAnswer is what the client was told.
type pairAnswer struct {
	known  bool // false: nothing
	values pairState
	met    bool // a compare-and-set's condition
}

// pairModel is the sequential specification of a pair.
var pairModel = porcupine.Model{
	Init: func() any { return pairState{} },
	Step: func(state, input, output any) (bool, any) {
		return stepPair(state.(pairState), input.(pairAction), output.(pairAnswer))
	},
}

func stepPair(s pairState, a pairAction, told pairAnswer) (bool, pairState) {
	both := pairState{a.value, a.value}
	one := s
	one[a.key] = a.value
	met := s[a.key] == a.expect
	switch a.kind {
	case pairGet:
		return told.values[a.key] == s[a.key], s
	case pairGetBoth:
		return told.values == s, s
	case pairPut, pairDelete:
		return true, one
	case pairPutBoth:
		return true, both
	}
	switch {
	case told.known && told.met != met:
		return false, s
	case !met:
		return true, s
	case a.kind == pairCASBoth:
		return true, both
	}
	return true, one
}

// pairHistory gathers what clients did to pairs.
type pairHistory struct {
	*history

	mu      sync.Mutex
	pairs   map[string][]porcupine.Operation
	total   int
	refused map[string]string // values told as never written, and by whom
}

func newPairHistory() *pairHistory {
	return &pairHistory{history: newHistory(), pairs: map[string][]porcupine.Operation{}, refused: map[string]string{}}
}

func (h *pairHistory) add(pair string, op porcupine.Operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pairs[pair] = append(h.pairs[pair], op)
	h.total++
}

func (h *pairHistory) refuse(value, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refused[value] = why
}

// judge fails the test unless the operations on each pair could have happened one
// after the other, each between its call and its end, transactions all or nothing,
// and nothing that was told as refused was ever seen.
func (h *pairHistory) judge(t testing.TB) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	open := 0
	for pair, ops := range h.pairs {
		for _, op := range ops {
			told := op.Output.(pairAnswer)
			if !told.known {
				open++
			}
			for _, value := range told.values {
				if why, ok := h.refused[value]; ok && value != "" {
					t.Errorf("%q of %s was read, which was refused: %s", value, pair, why)
				}
			}
		}
		switch verdict := porcupine.CheckOperationsTimeout(pairModel, ops, judgeLimit); verdict {
		case porcupine.Ok:
		case porcupine.Illegal:
			t.Errorf("no order explains what the clients of %s saw:\n%s", pair, pairListing(ops))
		default:
			t.Errorf("%s: no verdict within %v on %d operations", pair, judgeLimit, len(ops))
		}
	}
	t.Logf("%d operations on %d pairs (%d of unknown outcome, %d refused) judged", h.total, len(h.pairs), open, len(h.refused))
}

func pairListing(ops []porcupine.Operation) string {
	ops = slices.SortedFunc(slices.Values(ops), func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	var text []byte
	for _, op := range ops {
		text = fmt.Appendf(text, "  %10.3fms to %20.3fms  client %2d  %-40v %+v\n", float64(op.Call)/1e6, float64(op.Return)/1e6, op.ClientId, op.Input, op.Output)
	}
	return string(text)
}

// Histories of known verdict each way: the judge can fail.
func TestPairModel_TellsLinearizableFromNot(t *testing.T) {
	op := func(a pairAction, told pairAnswer, call, end int64) porcupine.Operation {
		return porcupine.Operation{Input: a, Output: told, Call: call, Return: end}
	}
	put := func(key int, value string, call, end int64) porcupine.Operation {
		return op(pairAction{kind: pairPut, key: key, value: value}, pairAnswer{known: true}, call, end)
	}
	putBoth := func(value string, call, end int64) porcupine.Operation {
		return op(pairAction{kind: pairPutBoth, value: value}, pairAnswer{known: true}, call, end)
	}
	both := func(a, b string, call, end int64) porcupine.Operation {
		return op(pairAction{kind: pairGetBoth}, pairAnswer{known: true, values: pairState{a, b}}, call, end)
	}
	get := func(key int, value string, call, end int64) porcupine.Operation {
		told := pairAnswer{known: true}
		told.values[key] = value
		return op(pairAction{kind: pairGet, key: key}, told, call, end)
	}
	cas := func(kind pairKind, expect, value string, told pairAnswer, call, end int64) porcupine.Operation {
		return op(pairAction{kind: kind, expect: expect, value: value}, told, call, end)
	}
	yes, no, unknown := pairAnswer{known: true, met: true}, pairAnswer{known: true}, pairAnswer{}
	for name, c := range map[string]struct {
		ops  []porcupine.Operation
		want porcupine.CheckResult
	}{
		"a stale get":                        {[]porcupine.Operation{put(0, "a", 0, 1), put(0, "b", 2, 3), get(0, "a", 4, 5)}, porcupine.Illegal},
		"half a transaction":                 {[]porcupine.Operation{putBoth("a", 0, 9), both("a", "", 1, 2)}, porcupine.Illegal},
		"half a transaction, by two gets":    {[]porcupine.Operation{putBoth("a", 0, 9), get(1, "a", 1, 2), get(0, "", 3, 4)}, porcupine.Illegal},
		"a whole one":                        {[]porcupine.Operation{putBoth("a", 0, 9), get(0, "", 1, 2), get(1, "a", 3, 4)}, porcupine.Ok},
		"two that were both first":           {[]porcupine.Operation{cas(pairCAS, "", "a", yes, 0, 9), cas(pairCAS, "", "b", yes, 0, 9)}, porcupine.Illegal},
		"one that was first":                 {[]porcupine.Operation{cas(pairCAS, "", "a", yes, 0, 9), cas(pairCAS, "", "b", no, 0, 9)}, porcupine.Ok},
		"a condition that was met":           {[]porcupine.Operation{put(0, "a", 0, 1), cas(pairCAS, "a", "b", no, 2, 3)}, porcupine.Illegal},
		"a condition that was not":           {[]porcupine.Operation{cas(pairCASBoth, "a", "b", no, 0, 1), both("b", "b", 2, 3)}, porcupine.Illegal},
		"of unknown outcome, and seen":       {[]porcupine.Operation{cas(pairCASBoth, "", "b", unknown, 0, never), both("b", "b", 2, 3)}, porcupine.Ok},
		"of unknown outcome, and never seen": {[]porcupine.Operation{cas(pairCASBoth, "", "b", unknown, 0, never), both("", "", 2, 3)}, porcupine.Ok},
		"a delete that was undone":           {[]porcupine.Operation{put(0, "a", 0, 1), op(pairAction{kind: pairDelete}, yes, 2, 3), get(0, "a", 4, 5)}, porcupine.Illegal},
	} {
		if got := porcupine.CheckOperationsTimeout(pairModel, c.ops, judgeLimit); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
