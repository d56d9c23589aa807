package sim

import (
	"strings"
	"testing"

	"muster/consensus/core"
)

// TestHistory_JudgesAsARegister: what Porcupine is asked is what is meant.
func TestHistory_JudgesAsARegister(t *testing.T) {
	w := func(client int, op, index uint64, begun, end int64) pastOp {
		return pastOp{command: command{op: op, kind: write}, client: client, index: index, done: true, begun: core.Instant(begun), end: core.Instant(end)}
	}
	r := func(client int, op, index uint64, begun, end int64) pastOp {
		return pastOp{client: client, seen: register{op: op, index: index}, begun: core.Instant(begun), end: core.Instant(end)}
	}
	cas := func(op, expect, index uint64, done bool, begun, end int64) pastOp {
		p := w(1, op, index, begun, end)
		p.kind, p.expect, p.done = compareAndSet, expect, done
		return p
	}
	unknown := w(0, 9, 0, 30, 0)
	unknown.end = never
	for _, test := range []struct {
		name  string
		past  []pastOp
		took  uint64 // index of operation 9, 0 if it is nowhere in the log
		wrong string
	}{
		{name: "reads follow writes", past: []pastOp{w(0, 1, 5, 0, 10), r(1, 1, 5, 11, 12), w(0, 2, 7, 20, 30), r(1, 2, 7, 21, 29)}},
		{name: "a stale read", past: []pastOp{w(0, 1, 5, 0, 10), w(0, 2, 7, 20, 30), r(1, 1, 5, 31, 32)}, wrong: "read: 1 at 5"},
		{name: "reads that go back", past: []pastOp{w(0, 1, 5, 0, 10), w(0, 2, 7, 20, 60), r(1, 2, 7, 31, 32), r(2, 1, 5, 33, 34)}, wrong: "read: 1 at 5"},
		{name: "a compare-and-set", past: []pastOp{w(0, 1, 5, 0, 10), cas(2, 5, 6, true, 11, 12), cas(3, 5, 7, false, 13, 14)}},
		{name: "two that both win", past: []pastOp{w(0, 1, 5, 0, 10), cas(2, 5, 6, true, 11, 14), cas(3, 5, 7, true, 12, 15)}, wrong: "cas 2 at 6"},
		{name: "one that loses to nobody", past: []pastOp{w(0, 1, 5, 0, 10), cas(2, 5, 6, false, 11, 14)}, wrong: "cas 2 at 6"},
		{name: "an unknown write that is seen late", took: 8, past: []pastOp{w(0, 1, 5, 0, 10), unknown, r(1, 1, 5, 40, 41), r(1, 9, 8, 50, 51)}},
		{name: "an unknown write that comes and goes", took: 8, past: []pastOp{w(0, 1, 5, 0, 10), unknown, r(1, 9, 8, 40, 41), r(1, 1, 5, 50, 51)}, wrong: "read: 1 at 5"},
		{name: "an unknown write that is seen by a failure only", took: 8, past: []pastOp{w(0, 1, 5, 0, 10), unknown, r(1, 1, 5, 40, 41), cas(2, 5, 9, false, 42, 43)}},
		{name: "an unknown write that a failure saw and a read doesn't", took: 8, past: []pastOp{w(0, 1, 5, 0, 10), unknown, cas(2, 5, 9, false, 40, 41), r(1, 1, 5, 42, 43)}, wrong: "read: 1 at 5"},
		{name: "an unknown write seen though nowhere in the log", past: []pastOp{w(0, 1, 5, 0, 10), unknown, r(1, 9, 8, 40, 41)}, wrong: "read: 9 at 8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := history{past: test.past}
			_, err := h.judge(func(op uint64) (uint64, bool, bool) { return test.took, true, test.took > 0 })
			switch {
			case err == nil && test.wrong != "":
				t.Error("judged to be linearizable")
			case err != nil && (test.wrong == "" || !strings.Contains(err.Error(), test.wrong)):
				t.Errorf("judged %v, want the culprit %q", err, test.wrong)
			}
		})
	}
}
