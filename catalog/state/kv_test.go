package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"muster/catalog"
)

// modelKeys are keys, and prefixes, that meet each other.
var modelKeys = []string{"", "a", "a/", "a/b", "a//b", "A", "b\x00"}

// kvCommands draws changes of the key/value store.
func kvCommands() *rapid.Generator[catalog.Command] {
	return rapid.Custom(func(t *rapid.T) catalog.Command {
		return &catalog.KV{
			Verb:    catalog.KVVerb(rapid.IntRange(1, 7).Draw(t, "verb")),
			Key:     rapid.SampledFrom(modelKeys[1:]).Draw(t, "key"),
			Value:   rapid.SliceOfN(rapid.Byte(), 0, 1).Draw(t, "value"),
			Flags:   rapid.Uint64Range(0, 1).Draw(t, "flags"),
			Session: rapid.SampledFrom(modelSessions).Draw(t, "session"),
			Index:   rapid.Uint64Range(0, 12).Draw(t, "index"),
		}
	})
}

// changeKV is what a KV command does, as plainly as it can be said.
func (m model) changeKV(index uint64, c *catalog.KV) error {
	old := m.kv[c.Key]
	switch c.Verb {
	case catalog.KVCAS:
		if old.ModifyIndex != c.Index {
			return nil
		}
		fallthrough
	case catalog.KVSet:
		m.set(index, c, old.Session, old.LockIndex)
	case catalog.KVLock:
		_, lives := m.sessions[c.Session]
		_, delayed := m.delays[c.Key]
		switch {
		case !lives:
			return fmt.Errorf("invalid session")
		case old.Session == c.Session:
			m.set(index, c, c.Session, old.LockIndex)
		case old.Session == "" && !delayed:
			m.set(index, c, c.Session, old.LockIndex+1)
		}
	case catalog.KVUnlock:
		if c.Session == "" {
			return fmt.Errorf("missing session")
		}
		if old.Session == c.Session {
			m.set(index, c, "", old.LockIndex)
		}
	case catalog.KVDeleteCAS:
		if old.ModifyIndex == c.Index {
			delete(m.kv, c.Key)
		}
	case catalog.KVDelete:
		delete(m.kv, c.Key)
	case catalog.KVDeleteTree:
		for key := range m.kv {
			if strings.HasPrefix(key, c.Key) {
				delete(m.kv, key)
			}
		}
	}
	return nil
}

func set(key, value string) *catalog.KV {
	return &catalog.KV{Verb: catalog.KVSet, Key: key, Value: []byte(value)}
}

func remove(key string) *catalog.KV { return &catalog.KV{Verb: catalog.KVDelete, Key: key} }

func TestKV_SaysWhetherTheConditionWasMet(t *testing.T) {
	f := newFixture(t)
	index := f.must(set("k", "1"))
	for _, c := range []struct {
		name string
		cmd  *catalog.KV
		want bool
	}{
		{"create what is there", &catalog.KV{Verb: catalog.KVCAS, Key: "k"}, false},
		{"set at a wrong index", &catalog.KV{Verb: catalog.KVCAS, Key: "k", Index: index + 1}, false},
		{"set what isn't there", &catalog.KV{Verb: catalog.KVCAS, Key: "none", Index: index}, false},
		{"delete at a wrong index", &catalog.KV{Verb: catalog.KVDeleteCAS, Key: "k", Index: index + 1}, false},
		{"delete what isn't there", &catalog.KV{Verb: catalog.KVDeleteCAS, Key: "none", Index: index}, true},
		{"delete a tree that isn't there", &catalog.KV{Verb: catalog.KVDeleteTree, Key: "none"}, true},
		{"set the same", set("k", "1"), true},
		{"set the same at its index", &catalog.KV{Verb: catalog.KVCAS, Key: "k", Value: []byte("1"), Index: index}, true},
	} {
		f.mustKeep(c.cmd)
		if got := f.apply(c.cmd).Value; got != c.want {
			t.Errorf("%s: got %v, want %t", c.name, got, c.want)
		}
	}
	f.must(&catalog.KV{Verb: catalog.KVCAS, Key: "k", Value: []byte("2"), Index: index})
	for _, bad := range []*catalog.KV{set("", "x"), {Verb: 99, Key: "k"}, {Key: "k"}} {
		if r := f.apply(bad); catalog.KindOf(r.Err) != catalog.Invalid || r.Changed {
			t.Errorf("%+v: %+v", bad, r)
		}
	}
}

// An index of a key or a prefix may go up when tombstones are forgotten, and
// never back.
func TestKV_IndexesNeverGoBackWhenTombstonesAreForgotten(t *testing.T) {
	f := newFixture(t, set("a/kept", "1"), set("a/gone", "1"), remove("a/gone"))
	deleted := f.index
	read := func() (indexes []uint64) {
		for _, ask := range []func(*View){
			func(v *View) { v.KV("a/gone") }, func(v *View) { v.KV("never") },
			func(v *View) { v.KVBelow("a/") }, func(v *View) { v.KVBelow("none/") }, func(v *View) { v.KVBelow("") },
		} {
			v := f.View()
			ask(v)
			indexes = append(indexes, v.Index())
		}
		return indexes
	}
	before := read()
	if before[0] != deleted || before[1] != 1 || before[2] != deleted || before[3] != 1 {
		t.Fatalf("indexes %v, deleted at %d", before, deleted)
	}
	for n := 0; f.kvFloor() == 0; n++ {
		if n > maxKVGone {
			t.Fatalf("after %d deletions no tombstone is forgotten", n)
		}
		key := fmt.Sprint("b/", n)
		f.must(set(key, ""))
		f.must(remove(key))
		if n%256 != 0 && f.kvFloor() == 0 {
			continue // reading looks through all tombstones
		}
		now := read()
		for i := range now {
			if now[i] < before[i] {
				t.Fatalf("after %d deletions an index went back: %v, before %v", n, now, before)
			}
		}
		before = now
	}
	if v := f.View(); v.KV("a/kept").ModifyIndex != v.Index() {
		t.Errorf("the floor changed the index of a key that is there: %d", v.Index())
	}
	data := snapshotBytes(t, f.Snapshot())
	again := New()
	if err := again.Restore(bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, snapshotBytes(t, again.Snapshot())) || again.read().meta().KVGone != f.read().meta().KVGone {
		t.Error("a restored state is another one")
	}
}

func (f *fixture) kvFloor() uint64 { return f.read().meta().KVFloor }

func TestKV_AWriteWakesItsKeyAndPrefixesOnly(t *testing.T) {
	f := newFixture(t, set("a/1", ""), set("b", ""))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	topics := []Topic{
		{TopicKV, "a/1"}, {TopicKV, "a/2"}, {TopicKV, "a"},
		{TopicKVPrefix, ""}, {TopicKVPrefix, "a/"}, {TopicKVPrefix, "a/2/x"}, {TopicKVPrefix, "b"},
	}
	woken := make([]chan error, len(topics))
	for i, topic := range topics {
		woken[i] = make(chan error, 1)
		go func() { woken[i] <- f.Wait(ctx, []Topic{topic}, f.index) }()
	}
	f.waiters.await(len(topics))
	f.must(set("a/2", "")) // wakes its key, "" and "a/"
	f.waiters.await(len(topics) - 3)
	for _, i := range []int{1, 3, 4} {
		if err := <-woken[i]; err != nil {
			t.Errorf("%+v: %v", topics[i], err)
		}
	}
	cancel()
	for _, i := range []int{0, 2, 5, 6} {
		if err := <-woken[i]; !errors.Is(err, context.Canceled) {
			t.Errorf("%+v was woken: %v", topics[i], err)
		}
	}
	if n := len(f.waiters.prefixes); n != 0 {
		t.Errorf("%d lengths of prefixes are left", n)
	}
}

// Many writes elsewhere make a prefix be looked through instead of them.
func TestKV_APrefixHasNotMovedByWritesElsewhere(t *testing.T) {
	f := newFixture(t, set("a/1", ""))
	index := f.index
	for i := range recentWrites + 1 {
		f.must(set(fmt.Sprint("b/", i), ""))
	}
	if f.View().Moved([]Topic{{TopicKVPrefix, "a/"}}, index) || !f.View().Moved([]Topic{{TopicKVPrefix, "b/"}}, index) {
		t.Error("the wrong prefix moved")
	}
	f.must(remove("a/1"))
	if !f.View().Moved([]Topic{{TopicKVPrefix, "a/"}}, index) {
		t.Error("a deletion moved nothing")
	}
}
