package state

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"muster/catalog"
)

// onceOf wraps a command; its hash tells it from others.
func onceOf(t testing.TB, caller, key string, c catalog.Command) *catalog.Once {
	t.Helper()
	inner, err := catalog.EncodeCommand(c)
	if err != nil {
		t.Fatal(err)
	}
	return &catalog.Once{Caller: caller, Key: key, Hash: inner, Inner: inner}
}

// onceCommands draws commands under few keys, retries among them, and some that
// forget.
func onceCommands() *rapid.Generator[catalog.Command] {
	return rapid.Custom(func(t *rapid.T) catalog.Command {
		if rapid.IntRange(0, 5).Draw(t, "forget") == 0 {
			return &catalog.ForgetOutcomes{Through: rapid.Uint64Range(0, 30).Draw(t, "through")}
		}
		inner, err := catalog.EncodeCommand(rapid.OneOf(kvCommands(), txns(), sessionCommands()).Draw(t, "inner"))
		if err != nil {
			t.Fatal(err)
		}
		return &catalog.Once{
			Caller: rapid.SampledFrom([]string{"", "c"}).Draw(t, "caller"), Key: rapid.SampledFrom([]string{"k", "K"}).Draw(t, "key"),
			Hash: []byte(rapid.SampledFrom([]string{"1", "2"}).Draw(t, "hash")), Inner: inner,
		}
	})
}

// modelOutcome is what a request was answered first.
type modelOutcome struct {
	index  uint64
	hash   string
	answer string
}

// once carries out a command unless its key has an outcome.
func (m *model) once(index uint64, c *catalog.Once) error {
	key := onceKey(c.Caller, c.Key)
	if o, ok := m.outcomes[key]; ok {
		if o.hash != string(c.Hash) {
			return fmt.Errorf("reused")
		}
		return nil
	}
	inner, err := catalog.DecodeCommand(c.Inner)
	if err != nil {
		return err
	}
	next, _ := m.apply(index, inner) // a refusal is an outcome
	*m = next
	m.outcomes[key] = modelOutcome{index: index, hash: string(c.Hash)}
	return nil
}

// remember notes what a request was answered, and demands the same of its retry. It
// tells whether the store must have refused it.
func (m model) remember(t *rapid.T, before model, c *catalog.Once, got catalog.Result) error {
	t.Helper()
	key := onceKey(c.Caller, c.Key)
	answer := fmt.Sprint(asJSON(got.Value), got.Err)
	first, retried := before.outcomes[key]
	if !retried {
		o := m.outcomes[key]
		o.answer = answer
		m.outcomes[key] = o
		return got.Err
	}
	if first.hash != string(c.Hash) {
		return fmt.Errorf("reused")
	}
	if first.answer != answer || got.Changed {
		t.Fatalf("a retry is answered %s (changed: %t), the request was %s", answer, got.Changed, first.answer)
	}
	return got.Err
}

func TestOnce_OutcomesAreInSnapshotsAndOutliveARestore(t *testing.T) {
	f := newFixture(t)
	put := onceOf(t, "c", "k", &catalog.KV{Verb: catalog.KVCAS, Key: "a", Value: []byte("1")})
	refused := onceOf(t, "c", "r", &catalog.CreateSession{Session: catalog.Session{ID: "s", Node: "nobody", Behavior: catalog.BehaviorRelease}})
	f.apply(put)
	first := f.apply(refused)
	if first.Err == nil {
		t.Fatal("a session on no node")
	}
	again := func(s *Store, what string) {
		t.Helper()
		if r := s.Preview(put); r.Changed || r.Value != true || r.Err != nil {
			t.Errorf("%s: the retry is answered %+v", what, r)
		}
		if r := s.Preview(refused); r.Changed || r.Err == nil || r.Err.Error() != first.Err.Error() {
			t.Errorf("%s: the retry is answered %+v, the request was %v", what, r, first.Err)
		}
	}
	again(f.Store, "at once")

	var snapshot, twice bytes.Buffer
	if _, err := f.Snapshot().WriteTo(&snapshot); err != nil {
		t.Fatal(err)
	}
	restored := New()
	if err := restored.Restore(bytes.NewReader(snapshot.Bytes())); err != nil {
		t.Fatal(err)
	}
	again(restored, "from a snapshot")
	if _, err := restored.Snapshot().WriteTo(&twice); err != nil || !bytes.Equal(snapshot.Bytes(), twice.Bytes()) {
		t.Errorf("its own snapshot is another one: %v", err)
	}
}

func TestOnce_FullTableRefusesAndForgettingMakesRoom(t *testing.T) {
	s := New()
	w := writer{reader: reader{s.db.Load().begin()}}
	w.meta = *w.reader.meta()
	for i := range maxOutcomes {
		w.keepOutcome(&onceRow{Key: fmt.Sprint(i), Index: uint64(i/2 + 1)})
	}
	w.meta.Applied = maxOutcomes
	w.insert(tableMeta, &w.meta)
	s.db.Store(w.db.publish())
	index := uint64(maxOutcomes)
	apply := func(c catalog.Command) catalog.Result {
		data, err := catalog.EncodeCommand(c)
		if err != nil {
			t.Fatal(err)
		}
		index++
		return s.Apply([]Entry{{index, data}})[0]
	}
	put := onceOf(t, "", "new", &catalog.KV{Verb: catalog.KVSet, Key: "a"})
	if r := apply(put); catalog.KindOf(r.Err) != catalog.TooMany || s.View().KV("a") != nil {
		t.Fatalf("in a full table: %+v", r)
	}
	if r := apply(&catalog.ForgetOutcomes{Through: 10}); r.Value != false || !r.Changed {
		t.Fatalf("forget: %+v", r)
	}
	if n := s.read().meta().Outcomes; n != maxOutcomes-20 {
		t.Errorf("%d are kept", n)
	}
	if r := apply(put); r.Err != nil || s.View().KV("a") == nil {
		t.Errorf("with room: %+v", r)
	}
	if r := apply(&catalog.ForgetOutcomes{Through: index}); r.Value != true {
		t.Errorf("forgetting all at once: %+v", r)
	}
	for apply(&catalog.ForgetOutcomes{Through: index}).Value == true {
	}
	if m := s.read().meta(); m.Outcomes != 0 || m.OutcomeBytes != 0 {
		t.Errorf("%d outcomes of %d bytes are left", m.Outcomes, m.OutcomeBytes)
	}
}

func TestOnce_WhatCantBeKeptIsNotDone(t *testing.T) {
	f := newFixture(t)
	f.apply(&catalog.KV{Verb: catalog.KVSet, Key: "big", Value: slices.Repeat([]byte("x"), catalog.MaxOutcome)})
	tooLarge := onceOf(t, "", "k", &catalog.Txn{Ops: []catalog.TxnOp{
		{KV: &catalog.KV{Verb: catalog.KVSet, Key: "a"}}, {KV: &catalog.KV{Verb: catalog.KVGet, Key: "big"}},
	}})
	if r := f.apply(tooLarge); catalog.KindOf(r.Err) != catalog.TooLarge || f.View().KV("a") != nil {
		t.Errorf("too large an answer: %+v", r)
	}
	for _, inner := range []catalog.Command{catalog.BatchOf(nil), &catalog.Restore{Step: catalog.RestoreBegin, ID: "r"}, tooLarge, &catalog.ForgetOutcomes{}} {
		if r := f.apply(onceOf(t, "", "k", inner)); catalog.KindOf(r.Err) != catalog.Invalid || r.Changed {
			t.Errorf("%T under a key: %+v", inner, r)
		}
	}
	lost := onceOf(t, "", "k", &catalog.KV{Verb: catalog.KVCAS, Key: "big", Index: 99})
	lost.Edited, lost.Answer = true, []byte(`"made"`)
	if r := f.apply(lost); r.Value != false || r.Changed {
		t.Errorf("an edit that came too late: %+v", r)
	}
	if _, kept := f.View().Outcome(lost); kept {
		t.Error("an edit that had no effect is kept")
	}
	later := f.apply(&catalog.Once{Key: "k", Inner: []byte{250, 1, 0x80}})
	if later.Err == nil || !strings.Contains(later.Err.Error(), "later release") {
		t.Errorf("a command of a later release: %+v", later)
	}
}
