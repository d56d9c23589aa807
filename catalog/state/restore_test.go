package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"muster/catalog"
)

// backup is a store's backup.
func backup(t testing.TB, s *Store) []byte {
	t.Helper()
	return snapshotBytes(t, s.Backup())
}

// restoring gives the commands that restore a backup in parts of a size.
func restoring(t testing.TB, id string, archive []byte, size int) []catalog.Command {
	t.Helper()
	steps := []catalog.Command{&catalog.Restore{Step: catalog.RestoreBegin, ID: id}}
	part := uint64(0)
	err := Parts(bytes.NewReader(archive), size, func(data []byte) error {
		part++
		steps = append(steps, &catalog.Restore{Step: catalog.RestoreLoad, ID: id, Part: part, Data: bytes.Clone(data)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return append(steps, &catalog.Restore{Step: catalog.RestoreInstall, ID: id, Part: part})
}

// told is all that a restore replaces, in words, without the indexes that it sets.
func told(s *Store) string {
	r := s.read()
	var b strings.Builder
	say := func(what string, v any) {
		data, err := catalog.Marshal(v)
		fmt.Fprintf(&b, "%s %q %v\n", what, data, err)
	}
	for n := range each[*catalog.Node](r, tableNodes, byIDPrefix, "") {
		c := *n
		c.ModifyIndex = 0
		say("node", c)
	}
	for row := range each[*serviceRow](r, tableServices, byIDPrefix, "") {
		c := *row.service
		c.ModifyIndex = 0
		say("service on "+row.node, c)
	}
	for k := range each[*catalog.Check](r, tableChecks, byIDPrefix, "") {
		c := *k
		c.ModifyIndex = 0
		say("check", c)
	}
	for c := range each[*catalog.NodeCoordinate](r, tableCoords, byIDPrefix, "") {
		fmt.Fprintf(&b, "coordinate %s %+v\n", c.Node, *c.Coord)
	}
	for e := range each[*catalog.KVPair](r, tableKV, byIDPrefix, "") {
		c := *e
		c.ModifyIndex = 0
		say("entry", c)
	}
	for e := range each[*catalog.Session](r, tableSessions, byIDPrefix, "") {
		c := *e
		c.Indexes = catalog.Indexes{}
		say("session", c)
	}
	for d := range each[*catalog.LockDelay](r, tableDelays, byIDPrefix, "") {
		fmt.Fprintf(&b, "delay %s %s\n", d.Key, d.Delay)
	}
	for q := range each[*catalog.PreparedQuery](r, tableQueries, byIDPrefix, "") {
		c := *q
		c.ModifyIndex = 0
		say("query", c)
	}
	if a := r.autopilot(); a != nil {
		c := *a
		c.ModifyIndex = 0
		say("autopilot", c)
	}
	for e := range each[*catalog.ConfigEntry](r, tableConfigs, byIDPrefix, "") {
		c := *e
		c.ModifyIndex = 0
		say("config", &c)
	}
	return b.String()
}

// everything is populated with keys, sessions and what goes with them.
func everything(t testing.TB) *fixture {
	f := populated(t)
	for _, c := range []catalog.Command{
		set("a/b", "1"), set("held", "2"), session("s1", 0), session("s2", time.Second), lock("held", "s1"), lock("delayed", "s2"),
		configured("mesh", "mesh", `{"Kind":"mesh"}`),
		trusting(0, "r1"), &catalog.DestroySession{ID: "s2"}, &catalog.SetAutopilot{Autopilot: catalog.Autopilot{MinQuorum: 3}},
		&catalog.ChangeQuery{Verb: catalog.QueryCreate, Query: catalog.PreparedQuery{ID: idB, Name: "q", Session: "s1", Service: catalog.ServiceQuery{Service: "web"}}},
	} {
		f.must(c)
	}
	return f
}

func TestRestore_ReplacesTheCatalogAtOneIndex(t *testing.T) {
	from := everything(t)
	for name, c := range map[string]struct{ before int }{"an archive that is ahead": {1}, "a cluster that is ahead": {100}} {
		t.Run(name, func(t *testing.T) {
			to := newFixture(t, register("other", withID(idB), withService("w9", "other"), withSource(idB, 9)), set("gone", "x"))
			for i := range c.before {
				to.must(set("gone", fmt.Sprint(i)))
			}
			topics := []Topic{{TopicKV, "gone"}, {TopicKVPrefix, "go"}, {TopicKV, "never"}, {TopicService, "other"}, {TopicNode, "n1"}, {Kind: TopicSessions}}
			woken := make(chan error, len(topics))
			for _, topic := range topics {
				index := to.Index()
				go func() { woken <- to.Wait(context.Background(), []Topic{topic}, index) }()
			}
			before := told(to.Store)
			steps := restoring(t, "r", backup(t, from.Store), 100)
			last := len(steps) - 1
			for _, s := range steps[:last] {
				to.must(s)
			}
			if told(to.Store) != before || to.Restoring() != "r" {
				t.Fatal("what is loaded is seen before it is installed")
			}
			r := to.apply(steps[last])
			at, _ := r.Value.(uint64)
			if r.Err != nil || at != max(to.index, from.Index()+1) || to.Index() != at || to.Restoring() != "" {
				t.Fatalf("installed at %d of %d: %v", at, to.Index(), r.Err)
			}
			if got := told(to.Store); got != told(from.Store) {
				t.Errorf("the catalog is now\n%s\nnot\n%s", got, told(from.Store))
			}
			for range topics {
				if err := <-woken; err != nil {
					t.Error(err)
				}
			}
			v := to.View()
			for _, topic := range append(topics, Topic{TopicKV, "held"}, Topic{TopicService, "web"}, Topic{TopicMesh, "web"}, Topic{TopicNodeChecks, "n1"}, Topic{TopicChecks, "passing"}) {
				if index := v.indexOf(topic); index != at {
					t.Errorf("topic %v is at %d, not %d", topic, index, at)
				}
			}
			if s := v.Session("s1"); s.CreateIndex != at || v.LockDelays()[0].Index != at || v.KV("held").Session != "s1" {
				t.Errorf("session %+v, delays %+v, held %+v", s, v.LockDelays()[0], v.KV("held"))
			}
			// What counts is counted, and goes on.
			if got, want := fmt.Sprint(v.Counts()), fmt.Sprint(from.View().Counts()); got != want {
				t.Errorf("counts %s, not %s", got, want)
			}
			to.mustKeep(register("other", withSource(idB, 9)))
			to.must(set("after", "x"))
			if e := to.View().KV("after"); e.CreateIndex != at+2 {
				t.Errorf("the second entry after it is written at %d, not %d", e.CreateIndex, at+2)
			}
			again := New()
			if err := again.Restore(bytes.NewReader(snapshotBytes(t, to.Snapshot()))); err != nil || again.Index() != to.Index() {
				t.Errorf("its snapshot comes back at %d, not %d: %v", again.Index(), to.Index(), err)
			}
		})
	}
}

func TestRestore_IsRefusedAndGivenUpWithoutATrace(t *testing.T) {
	archive := backup(t, everything(t).Store)
	steps := restoring(t, "r", archive, 200)
	begin, first, install := steps[0], steps[1].(*catalog.Restore), steps[len(steps)-1].(*catalog.Restore)
	record := func(kind byte, body any) []byte {
		var b bytes.Buffer
		w := newRecordWriter(&b)
		w.record(kind, body)
		if _, err := w.end(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()[len(snapshotMagic)+1 : b.Len()-13]
	}
	meta := record(recordMeta, metaRecord{Applied: 5})
	load := func(records ...[]byte) *catalog.Restore {
		return &catalog.Restore{Step: catalog.RestoreLoad, ID: "r", Part: 1, Data: bytes.Join(records, nil)}
	}
	pair := func(key, session string, index uint64) catalog.KVPair {
		return catalog.KVPair{Key: key, Session: session, Indexes: catalog.Indexes{CreateIndex: index, ModifyIndex: index}}
	}
	for name, c := range map[string]struct {
		steps []catalog.Command
		text  string
	}{
		"no ID":           {[]catalog.Command{&catalog.Restore{Step: catalog.RestoreBegin}}, "must have an ID"},
		"no begin":        {[]catalog.Command{first}, "given up"},
		"another's part":  {[]catalog.Command{begin, &catalog.Restore{Step: catalog.RestoreBegin, ID: "other"}, first}, "given up"},
		"a part twice":    {[]catalog.Command{begin, first, first}, "part 1 of the restore follows part 1"},
		"a part too few":  {[]catalog.Command{begin, first, install}, "parts, of which 1 are loaded"},
		"cut in a record": {[]catalog.Command{begin, first, &catalog.Restore{Step: catalog.RestoreInstall, ID: "r", Part: 1}}, "it ends within a record"},
		"nothing":         {[]catalog.Command{begin, &catalog.Restore{Step: catalog.RestoreInstall, ID: "r"}}, "it ends within a record, or has none"},
		"unknown step":    {[]catalog.Command{begin, &catalog.Restore{Step: 99, ID: "r"}}, "unknown step 99"},
		"given up":        {[]catalog.Command{begin, first, &catalog.Restore{Step: catalog.RestoreAbandon, ID: "r"}, install}, "given up"},
		"no meta":         {[]catalog.Command{begin, load(record(recordKV, pair("k", "", 1)))}, "must come first is missing"},
		"too far":         {[]catalog.Command{begin, load(record(recordMeta, metaRecord{Applied: 1 << 60}))}, "above the 9007199254740992"},
		"index to come":   {[]catalog.Command{begin, load(meta, record(recordKV, pair("k", "", 6)))}, "index 6 is not from 1"},
		"staged staging":  {[]catalog.Command{begin, load(meta, record(recordStaging, stagingRecord{ID: "x"}))}, "has no place in an archive"},
		"wrong order":     {[]catalog.Command{begin, load(meta, record(recordKV, pair("k", "", 1)), record(recordNode, catalog.Node{}))}, "follows one of kind 8"},
		"large record":    {[]catalog.Command{begin, load([]byte{8, 255, 255, 255, 255})}, "4294967295 bytes, more than"},
		"not msgpack":     {[]catalog.Command{begin, load(meta, []byte{8, 0, 0, 0, 1, 0xc1})}, "malformed"},
		"nobody's lock": {[]catalog.Command{begin, load(meta, record(recordKV, pair("k", "s", 1))),
			&catalog.Restore{Step: catalog.RestoreInstall, ID: "r", Part: 1}}, `held by a session "s" that isn't there`},
	} {
		f := newFixture(t, register("n1"), set("k", "v"))
		before := told(f.Store)
		last := len(c.steps) - 1
		for _, s := range c.steps[:last] {
			f.must(s)
		}
		preview := f.Preview(c.steps[last])
		r := f.apply(c.steps[last])
		if r.Err == nil || !strings.Contains(r.Err.Error(), c.text) || preview.Err == nil || preview.Err.Error() != r.Err.Error() {
			t.Errorf("%s: %v (preview %v), not %q", name, r.Err, preview.Err, c.text)
		}
		if told(f.Store) != before {
			t.Errorf("%s: the catalog is another one", name)
		}
		if id := f.Restoring(); id != "" && id != "other" {
			t.Errorf("%s: the restore %q goes on", name, id)
		}
	}
	f := newFixture(t, register("n1"))
	f.mustKeep(&catalog.Restore{Step: catalog.RestoreAbandon, ID: "r"})
}

// TestRestore_OfALaterReleaseEndsTheServer: whoever led has let a record pass that
// this build doesn't know, and so the others will restore it.
func TestRestore_OfALaterReleaseEndsTheServer(t *testing.T) {
	f := newFixture(t)
	f.must(&catalog.Restore{Step: catalog.RestoreBegin, ID: "r"})
	r := f.apply(&catalog.Restore{Step: catalog.RestoreLoad, ID: "r", Part: 1, Data: []byte{lastRecord + 1, 0, 0, 0, 0}})
	if !errors.Is(r.Err, catalog.ErrLaterRelease) {
		t.Errorf("it says %v", r.Err)
	}
	var later bytes.Buffer
	w := newRecordWriter(&later)
	w.record(lastRecord+1, metaRecord{})
	if _, err := w.end(); err != nil {
		t.Fatal(err)
	}
	if err := Parts(&later, 10, func([]byte) error { return nil }); err == nil || errors.Is(err, catalog.ErrLaterRelease) {
		t.Errorf("a leader lets pass what it doesn't know: %v", err)
	}
}

// TestBackup_HasNothingOfARestore: an archive is of the catalog alone.
func TestBackup_HasNothingOfARestore(t *testing.T) {
	f := everything(t)
	want := backup(t, f.Store)
	f.must(&catalog.Restore{Step: catalog.RestoreBegin, ID: "r"})
	snapshot := New()
	if err := snapshot.Restore(bytes.NewReader(backup(t, f.Store))); err != nil || snapshot.Restoring() != "" {
		t.Errorf("a restore %q is in a backup: %v", snapshot.Restoring(), err)
	}
	f.must(&catalog.Restore{Step: catalog.RestoreAbandon, ID: "r"})
	if got := backup(t, f.Store); len(got) != len(want) {
		t.Errorf("a restore that was given up leaves %d bytes for %d", len(got), len(want))
	}
}

// TestRestore_SameLogSameBytes restores the catalog that one log made within
// another log, in between that log's commands, and perhaps only in part. Two
// stores take it: in one batch, and in several with the store brought back from its
// own snapshot in between.
func TestRestore_SameLogSameBytes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		from := &fixture{TB: t, Store: New()}
		for _, c := range rapid.SliceOfN(commands(), 1, 20).Draw(rt, "archive") {
			from.apply(c)
		}
		steps := restoring(t, "r", backup(t, from.Store), rapid.SampledFrom([]int{7, 60, 1000}).Draw(rt, "part size"))
		steps = steps[:rapid.OneOf(rapid.Just(len(steps)), rapid.IntRange(0, len(steps))).Draw(rt, "steps")]
		var log []Entry
		add := func(c catalog.Command) {
			log = append(log, Entry{uint64(len(log) + 1), encode(t, c)})
		}
		for _, s := range steps {
			for range rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(rt, "others") {
				add(commands().Draw(rt, "other"))
			}
			add(s)
		}
		installed := len(log)
		for _, c := range rapid.SliceOfN(commands(), 0, 5).Draw(rt, "after") {
			add(c)
		}
		whole := New()
		if full := len(steps) > 0 && steps[len(steps)-1].(*catalog.Restore).Step == catalog.RestoreInstall; full {
			whole.Apply(log[:installed-1])
			highest := indexes(whole)
			whole.Apply(log[installed-1 : installed])
			if told(whole) != told(from.Store) {
				rt.Fatalf("restored\n%s\nnot\n%s", told(whole), told(from.Store))
			}
			for name, index := range indexes(whole) {
				if index <= highest[name] || index <= from.Index() {
					rt.Fatalf("%s went from %d to %d, with an archive of %d", name, highest[name], index, from.Index())
				}
			}
			whole.Apply(log[installed:])
		} else {
			whole.Apply(log)
		}

		split := New()
		for rest := log; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(rt, "batch")
			split.Apply(rest[:n])
			rest = rest[n:]
			if rapid.Bool().Draw(rt, "reopen") {
				if err := split.Restore(bytes.NewReader(snapshotBytes(t, split.Snapshot()))); err != nil {
					rt.Fatal(err)
				}
			}
		}
		if !bytes.Equal(snapshotBytes(t, whole.Snapshot()), snapshotBytes(t, split.Snapshot())) {
			rt.Fatal("the same log gave two snapshots")
		}
	})
}

// indexes are those of all reads.
func indexes(s *Store) map[string]uint64 {
	all := map[string]uint64{}
	for name, read := range reads {
		v := s.View()
		read(v)
		all[name] = v.Index()
	}
	for _, key := range []string{"k", "", "a/b"} {
		v := s.View()
		all["key "+key] = max(v.indexOf(Topic{TopicKV, key}), 1)
		all["prefix "+key] = max(v.indexOf(Topic{TopicKVPrefix, key}), 1)
	}
	return all
}

func TestParts_CutAnywhereAreTheSameRecords(t *testing.T) {
	archive := backup(t, everything(t).Store)
	var want []byte
	for _, size := range []int{1 << 20, 1, 5, 100} {
		var got []byte
		err := Parts(bytes.NewReader(archive), size, func(part []byte) error {
			if len(part) > size {
				t.Errorf("a part has %d bytes, more than %d", len(part), size)
			}
			got = append(got, part...)
			return nil
		})
		if want == nil {
			want = slices.Clone(got)
		}
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("parts of %d bytes are others: %v", size, err)
		}
	}
	stop := errors.New("stop")
	if err := Parts(bytes.NewReader(archive), 10, func([]byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("it goes on though a part was refused: %v", err)
	}
}

// FuzzRestoreParts loads what may be no records: it is refused or restored, and what
// is restored can be saved and read again.
func FuzzRestoreParts(f *testing.F) {
	archive := backup(f, everything(f).Store)
	for _, s := range restoring(f, "r", archive, 1<<20) {
		if data := s.(*catalog.Restore).Data; data != nil {
			f.Add(data, uint8(7))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, cut uint8) {
		s := newFixture(t, register("n1"), &catalog.Restore{Step: catalog.RestoreBegin, ID: "r"})
		part := uint64(0)
		for piece := range slices.Chunk(data, int(cut)*16+64) {
			part++
			if r := s.apply(&catalog.Restore{Step: catalog.RestoreLoad, ID: "r", Part: part, Data: piece}); r.Err != nil {
				return
			}
		}
		if err := New().Restore(bytes.NewReader(snapshotBytes(t, s.Snapshot()))); err != nil {
			t.Fatalf("what is loaded can't be read again: %v", err)
		}
		s.apply(&catalog.Restore{Step: catalog.RestoreInstall, ID: "r", Part: part})
		if err := New().Restore(bytes.NewReader(snapshotBytes(t, s.Snapshot()))); err != nil {
			t.Fatalf("what was restored can't be read again: %v", err)
		}
	})
}
