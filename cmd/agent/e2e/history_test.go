package e2e

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// action is one operation on a key: a node of the catalog whose metadata
// carries the value. Each written value is written once only.
type action struct {
	kind  actionKind
	value string // of a write, or that a read was told; "" is no such node
}

type actionKind uint8

const (
	read actionKind = iota
	write
	remove
)

func (a action) String() string {
	return [...]string{"read ", "write ", "remove"}[a.kind] + a.value
}

// operation is an action as its client saw it. Instants are of the test's own
// monotonic clock.
type operation struct {
	key      string
	client   int
	what     action
	via      string // agent and mode, for people
	call     int64
	end      int64 // never, where the outcome is unknown
	answered string
}

// never is when an operation ends whose client was not told how it went.
const never = math.MaxInt64

// history gathers what many clients did.
type history struct {
	began time.Time

	mu      sync.Mutex
	ops     []operation
	refused map[string]operation // writes told as not done, by value
}

func newHistory() *history {
	return &history{began: time.Now(), refused: map[string]operation{}}
}

func (h *history) now() int64 { return int64(time.Since(h.began)) }

func (h *history) add(op operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, op)
}

// refuse notes a write that its client was told has had and will have no effect.
func (h *history) refuse(op operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refused[op.what.value] = op
}

func (h *history) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ops)
}

// nodeRegister is the sequential specification of one key.
var nodeRegister = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, _ any) (bool, any) {
		switch a := input.(action); a.kind {
		case write:
			return true, a.value
		case remove:
			return true, ""
		default:
			return state.(string) == a.value, state
		}
	},
}

// judgeLimit bounds the search for an order of one key. Its hundreds of
// operations take milliseconds.
const judgeLimit = time.Minute

// judge fails the test unless every key's operations could have happened one
// after the other, each between its call and its end (property 29), and nothing
// that was told as refused was ever seen (property 19).
func (h *history) judge(t testing.TB) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	byKey := map[string][]operation{}
	unknown := 0
	for _, op := range h.ops {
		byKey[op.key] = append(byKey[op.key], op)
		if op.end == never {
			unknown++
		}
		if told, ok := h.refused[op.what.value]; ok && op.what.kind == read && op.what.value != "" {
			t.Errorf("%s reads %q of %s, which %s refused with: %s", op.via, op.what.value, op.key, told.via, told.answered)
		}
	}
	for key, ops := range byKey {
		switch verdict := porcupine.CheckOperationsTimeout(nodeRegister, ended(ops), judgeLimit); verdict {
		case porcupine.Ok:
		case porcupine.Illegal:
			t.Errorf("no order explains what the clients of %s saw:\n%s", key, listing(ops))
		default:
			t.Errorf("%s: no verdict within %v on %d operations", key, judgeLimit, len(ops))
		}
	}
	t.Logf("%d operations on %d keys (%d of unknown outcome, %d writes refused) judged",
		len(h.ops), len(byKey), unknown, len(h.refused))
}

// ended gives Porcupine what it needs of one key's operations. A write of
// unknown outcome whose value nobody read is left out: it may never have taken
// effect, and no read would know the difference. One whose value was read took
// effect before the first such read ended. Either way the search stays small,
// and its verdict the same.
func ended(ops []operation) []porcupine.Operation {
	seen := map[string]int64{}
	for _, op := range ops {
		if op.what.kind == read && op.what.value != "" {
			if first, ok := seen[op.what.value]; !ok || op.end < first {
				seen[op.what.value] = op.end
			}
		}
	}
	var out []porcupine.Operation
	for _, op := range ops {
		end := op.end
		if end == never && op.what.kind == write {
			first, ok := seen[op.what.value]
			if !ok {
				continue
			}
			end = max(first, op.call)
		}
		out = append(out, porcupine.Operation{ClientId: op.client, Input: op.what, Call: op.call, Return: end})
	}
	return out
}

// listing shows operations in the order of their calls.
func listing(ops []operation) string {
	ops = slices.SortedFunc(slices.Values(ops), func(a, b operation) int { return cmp.Compare(a.call, b.call) })
	var text []byte
	for _, op := range ops {
		end := "unknown"
		if op.end != never {
			end = fmt.Sprintf("%.3fms", float64(op.end)/1e6)
		}
		text = fmt.Appendf(text, "  %10.3fms to %12s  client %2d  %-28s %s\n", float64(op.call)/1e6, end, op.client, op.via, op.what)
	}
	return string(text)
}

// A history of known verdict each way: the judge can fail.
func TestJudge_TellsLinearizableFromNot(t *testing.T) {
	op := func(what action, call, end int64) operation {
		return operation{key: "k", what: what, call: call, end: end}
	}
	for name, c := range map[string]struct {
		ops  []operation
		want porcupine.CheckResult
	}{
		"a stale read": {[]operation{
			op(action{write, "a"}, 0, 1), op(action{write, "b"}, 2, 3), op(action{read, "a"}, 4, 5),
		}, porcupine.Illegal},
		"a lost write": {[]operation{
			op(action{write, "a"}, 0, 1), op(action{read, ""}, 2, 3),
		}, porcupine.Illegal},
		"an unknown write that takes effect late": {[]operation{
			op(action{write, "a"}, 0, never), op(action{write, "b"}, 2, 3), op(action{read, "b"}, 4, 5), op(action{read, "a"}, 6, 7),
		}, porcupine.Ok},
		"an unknown write seen, then unseen": {[]operation{
			op(action{write, "b"}, 0, 1), op(action{write, "a"}, 2, never), op(action{read, "a"}, 3, 4), op(action{read, "b"}, 5, 6),
		}, porcupine.Illegal},
		"an unknown removal": {[]operation{
			op(action{write, "a"}, 0, 1), op(action{remove, ""}, 2, never), op(action{read, "a"}, 3, 4), op(action{read, ""}, 5, 6),
		}, porcupine.Ok},
		"concurrent writes read in both orders": {[]operation{
			op(action{write, "a"}, 0, 10), op(action{write, "b"}, 0, 10), op(action{read, "a"}, 11, 12), op(action{read, "b"}, 13, 14),
		}, porcupine.Illegal},
	} {
		if got := porcupine.CheckOperationsTimeout(nodeRegister, ended(c.ops), judgeLimit); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
