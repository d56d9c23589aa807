package consensus

import (
	"errors"
	"strings"
	"testing"

	"muster/consensus/core"
)

type waiter struct{ results []Result }

func (w *waiter) Done(r Result) { w.results = append(w.results, r) }

func (w *waiter) only(t *testing.T) Result {
	t.Helper()
	if len(w.results) != 1 {
		t.Fatalf("told %d times: %v", len(w.results), w.results)
	}
	return w.results[0]
}

func newTestWaiting() waiting { return newWaiting(func(uint64) uint64 { return 100 }) }

// placeOne proposes one command that the core appends at (term, index).
func placeOne(w *waiting, term, index uint64) *waiter {
	wt := new(waiter)
	ps := w.ask([]Proposal{{Waiter: wt}}, 0)
	w.outcome(core.Outcome{Token: ps[0].Token, ID: core.EntryID{Term: term, Index: index}}, 0, true, 0)
	return wt
}

func TestTell_ResultGoesByTermAndIndex(t *testing.T) {
	w := newTestWaiting()
	kept := placeOne(&w, 2, 5)
	lost := placeOne(&w, 2, 6)
	w.orphan(1000)
	own := placeOne(&w, 4, 6) // the same server leads again, and another entry stands at 6
	es := []core.Entry{
		{Index: 5, Term: 2, Kind: core.EntryCommand},
		{Index: 6, Term: 4, Kind: core.EntryCommand},
	}
	a := apply{waiting: w.upTo(6)}
	a.tell(es, es, []any{"five", "six"})
	if r := kept.only(t); r.Err != nil || r.Value != "five" {
		t.Errorf("committed entry of the lost leadership: %+v", r)
	}
	if r := own.only(t); r.Err != nil || r.Value != "six" {
		t.Errorf("own entry: %+v", r)
	}
	if r := lost.only(t); !errors.Is(r.Err, core.ErrLeadershipLost) || errors.Is(r.Err, ErrUnknown) {
		t.Errorf("overwritten entry: %+v", r)
	}
}

// refusing is a state machine that can't go on.
type refusing struct{ FSM }

func (refusing) Apply([]core.Entry) ([]any, error) { return nil, errors.New("too old for this") }

func TestApply_EndsWhereTheStateMachineCanNotFollow(t *testing.T) {
	w := newTestWaiting()
	wt := placeOne(&w, 2, 5)
	m := &machine{fsm: refusing{}, at: core.EntryID{Term: 2, Index: 4}}
	a := apply{machine: m, lo: 5, hi: 5, entries: []core.Entry{{Index: 5, Term: 2, Kind: core.EntryCommand}}, waiting: w.upTo(5)}
	if err := a.run(); err == nil || !strings.Contains(err.Error(), "too old for this") {
		t.Errorf("the server goes on: %v", err)
	}
	if m.at.Index != 4 || len(wt.results) != 0 {
		t.Errorf("the state is at %d, who waits was told %v", m.at.Index, wt.results)
	}
}

func TestExpire_OrphansLearnThatNobodyKnows(t *testing.T) {
	w := newTestWaiting()
	wt := placeOne(&w, 2, 5)
	w.orphan(1000)
	if w.expire(999); len(wt.results) != 0 {
		t.Fatalf("told early: %v", wt.results)
	}
	if w.deadline() != 1000 {
		t.Errorf("deadline %d", w.deadline())
	}
	w.expire(1000)
	if r := wt.only(t); !errors.Is(r.Err, ErrUnknown) {
		t.Errorf("%+v", r)
	}
}

func TestSkipped_SnapshotOverAnEntryLeavesItUnknown(t *testing.T) {
	w := newTestWaiting()
	wt := placeOne(&w, 2, 5)
	later := placeOne(&w, 2, 9)
	w.orphan(1000)
	w.skipped(7)
	if r := wt.only(t); !errors.Is(r.Err, ErrUnknown) {
		t.Errorf("%+v", r)
	}
	if len(later.results) != 0 {
		t.Errorf("entry behind the snapshot: %v", later.results)
	}
}

func TestRead_WaitsUntilItsIndexIsApplied(t *testing.T) {
	w := newTestWaiting()
	one, two := new(waiter), new(waiter)
	token := w.read([]Waiter{one, two})
	w.released(core.ReadReady{Token: token, Index: 8}, 7)
	if w.applied(7); len(one.results) != 0 {
		t.Fatal("released before its index was applied")
	}
	w.applied(8)
	for _, wt := range []*waiter{one, two} {
		if r := wt.only(t); r.Err != nil || r.ID.Index != 8 {
			t.Errorf("%+v", r)
		}
	}
}

func TestStop_TellsApartWhatMayHaveHappened(t *testing.T) {
	w := newTestWaiting()
	placed := placeOne(&w, 2, 5)
	asked, reading := new(waiter), new(waiter)
	w.ask([]Proposal{{Waiter: asked}}, 0)
	w.read([]Waiter{reading})
	w.stop()
	if r := placed.only(t); !errors.Is(r.Err, ErrUnknown) {
		t.Errorf("entry in the log: %+v", r)
	}
	for _, wt := range []*waiter{asked, reading} {
		if r := wt.only(t); !errors.Is(r.Err, ErrStopped) {
			t.Errorf("not yet in the log: %+v", r)
		}
	}
}

func entries(term uint64, lo, hi uint64, size int) (es []core.Entry) {
	for i := lo; i <= hi; i++ {
		es = append(es, core.Entry{Index: i, Term: term, Kind: core.EntryCommand, Data: make([]byte, size)})
	}
	return es
}

func TestTail_ForgetsOnlyWhatIsOnDisk(t *testing.T) {
	var tl tail
	tl.reset(1)
	tl.append(entries(1, 1, 10, 100))
	tl.trim(3*(100+entryOverhead), 4)
	if es, missing := tl.upTo(1, 10, 1<<20); es != nil || missing != 4 {
		t.Fatalf("%d entries, missing up to %d", len(es), missing)
	}
	es, missing := tl.upTo(5, 10, 2*(100+entryOverhead))
	if missing != 0 || len(es) != 2 || es[0].Index != 5 {
		t.Fatalf("%d entries, missing up to %d", len(es), missing)
	}
	if es, _ = tl.upTo(7, 8, 1); len(es) != 1 || es[0].Index != 7 {
		t.Fatalf("a bound below one entry gives %v", es)
	}
}

func TestTail_ReplacesWhatAConflictOverwrites(t *testing.T) {
	var tl tail
	tl.reset(1)
	tl.append(entries(1, 1, 6, 0))
	tl.append(entries(2, 4, 5, 0))
	es, _ := tl.upTo(1, 9, 1<<20)
	if len(es) != 5 || es[2].Term != 1 || es[3].Term != 2 || tl.bytes != 0 {
		t.Fatalf("%v, %d bytes left", es, tl.bytes)
	}
	tl.append(entries(2, 6, 7, 0))
	tl.trim(0, 7)
	tl.append(entries(3, 7, 7, 0)) // below what was forgotten
	if es, missing := tl.upTo(7, 7, 1); missing != 0 || len(es) != 1 || es[0].Term != 3 {
		t.Fatalf("%v, missing %d", es, missing)
	}
}
