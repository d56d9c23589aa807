package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/hashicorp/serf/coordinate"

	"muster/catalog"
)

// populated is a store with something in every table.
func populated(t testing.TB) *fixture {
	f := newFixture(t,
		register("n1", withID(idA), withService("w1", "web", "a", "b"), withCheck("cw", "w1", "passing"), withCheck("cn", "", "critical"), withSource(idA, 7)),
		register("n2", withProxy("p", "web-proxy", "web")),
		register("n2", withService("gone", "gone")),
		&catalog.Deregister{Node: "n2", ServiceID: "gone"},
	)
	full := register("n3", withService("full", "full"))
	full.Service.Proxy = &catalog.Proxy{Config: map[string]any{"a": int64(1), "b": 1.5, "c": []any{"x", nil, true, map[string]any{"d": "e"}}}}
	full.Service.Locality = &catalog.Locality{Region: "r", Zone: "z"}
	full.Node.Meta = map[string]string{"k": "v"}
	f.must(full)
	return f
}

func TestSnapshot_RestoresToTheSame(t *testing.T) {
	f := populated(t)
	placed := register("placed")
	placed.Node.Locality = &catalog.Locality{Region: "r", Zone: "z"}
	f.must(placed)
	want := snapshotBytes(t, f.Snapshot())
	restored := newFixture(t, register("other"))
	if err := restored.Restore(bytes.NewReader(want)); err != nil {
		t.Fatal(err)
	}
	if got := snapshotBytes(t, restored.Snapshot()); !bytes.Equal(got, want) {
		t.Error("the restored state has another snapshot")
	}
	if n := restored.View().Node("placed"); n == nil || n.Locality == nil || *n.Locality != *placed.Node.Locality {
		t.Errorf("the restored node runs at %+v", n)
	}
	if restored.Index() != f.Index() || *restored.read().meta() != *f.read().meta() || restored.View().Node("other") != nil {
		t.Errorf("restored at %+v, want %+v", restored.read().meta(), f.read().meta())
	}
	for name, read := range reads {
		v, w := f.View(), restored.View()
		read(v)
		read(w)
		if v.Index() != w.Index() {
			t.Errorf("%s is at %d, want %d", name, w.Index(), v.Index())
		}
	}
}

func TestSnapshot_StaysAtItsMoment(t *testing.T) {
	f := populated(t)
	s := f.Snapshot()
	before := snapshotBytes(t, s)
	f.must(register("later"))
	if !bytes.Equal(snapshotBytes(t, s), before) {
		t.Error("a later write is seen in the snapshot")
	}
	s.Close()
	if _, err := s.WriteTo(io.Discard); err == nil {
		t.Error("a closed snapshot was written")
	}
}

// TestSnapshot_SameLogSameBytes draws a log and splits it in two ways, one of
// them with a restore from its own snapshot between batches.
func TestSnapshot_SameLogSameBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var log []Entry
		for i, c := range rapid.SliceOfN(commands(), 1, 40).Draw(t, "log") {
			data, err := catalog.EncodeCommand(c)
			if err != nil {
				t.Fatal(err)
			}
			log = append(log, Entry{uint64(i+1) * 3, data})
		}
		whole := New()
		whole.Apply(log)

		split := New()
		for rest := log; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "batch")
			split.Apply(rest[:n])
			rest = rest[n:]
			if rapid.Bool().Draw(t, "restore") {
				var b bytes.Buffer
				if _, err := split.Snapshot().WriteTo(&b); err != nil {
					t.Fatal(err)
				}
				if err := split.Restore(&b); err != nil {
					t.Fatal(err)
				}
			}
		}
		var a, b bytes.Buffer
		_, err1 := whole.Snapshot().WriteTo(&a)
		_, err2 := split.Snapshot().WriteTo(&b)
		if err1 != nil || err2 != nil || !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Fatalf("the same log gave two snapshots (%v, %v)", err1, err2)
		}
	})
}

func TestRestore_RefusesAllDamage(t *testing.T) {
	f := newFixture(t, register("n1", withService("", "web"), withCheck("c", "web", "passing"), withSource(idA, 7)))
	good := snapshotBytes(t, f.Snapshot())
	refuse := func(b []byte, what string, at int) {
		t.Helper()
		if err := f.Restore(bytes.NewReader(b)); err == nil {
			t.Fatalf("restored with %s at %d", what, at)
		}
	}
	for i := range good {
		refuse(good[:i], "an end", i)
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			refuse(bad, "a flipped bit", i)
		}
	}
	refuse(append(bytes.Clone(good), 0), "a byte too many", len(good))
	if !bytes.Equal(snapshotBytes(t, f.Snapshot()), good) {
		t.Error("a refused restore changed the state")
	}
}

// TestRestore_RefusesWhatApplyCannotWrite has snapshots that are well formed and
// still no state.
func TestRestore_RefusesWhatApplyCannotWrite(t *testing.T) {
	type rec struct {
		kind byte
		row  any
	}
	at := catalog.Indexes{CreateIndex: 1, ModifyIndex: 2}
	meta := rec{recordMeta, metaRecord{Applied: 9}}
	node := rec{recordNode, catalog.Node{Node: "n", ID: idA, Indexes: at}}
	service := rec{recordService, serviceRecord{"n", catalog.Service{ID: "s", Service: "web", Indexes: at}}}
	for _, c := range []struct {
		want    string
		records []rec
	}{
		{"no records", nil},
		{"must come first is missing", []rec{node}},
		{"kind 1 follows", []rec{meta, meta}},
		{"kind 2 follows one of kind 3", []rec{meta, node, service, node}},
		{"unknown kind 99", []rec{meta, {99, 1}}},
		{"floor 10 is above", []rec{{recordMeta, metaRecord{Applied: 9, Floor: 10}}}},
		{`"n\x00" is not above "n\x00"`, []rec{meta, node, {recordNode, catalog.Node{Node: "N", Indexes: at}}}},
		{"two nodes have the ID", []rec{meta, node, {recordNode, catalog.Node{Node: "o", ID: idA, Indexes: at}}}},
		{"index 10 is not from 1", []rec{meta, {recordNode, catalog.Node{Node: "n", Indexes: catalog.Indexes{CreateIndex: 1, ModifyIndex: 10}}}}},
		{"index 0 is not from 1", []rec{meta, {recordNode, catalog.Node{Node: "n"}}}},
		{"node name must not be empty", []rec{meta, {recordNode, catalog.Node{Indexes: at}}}},
		{`on a node "n" that isn't there`, []rec{meta, service}},
		{"service name must not be empty", []rec{meta, node, {recordService, serviceRecord{"n", catalog.Service{ID: "s", Indexes: at}}}}},
		{"of a service \"x\" that isn't there", []rec{meta, node, {recordCheck, catalog.Check{Node: "n", CheckID: "c", ServiceID: "x", Indexes: at}}}},
		{`service name "lie" in place of "web"`, []rec{meta, node, service, {recordCheck, catalog.Check{Node: "n", CheckID: "c", ServiceID: "s", ServiceName: "lie", Indexes: at}}}},
		{"index 10 is not from 1", []rec{meta, {recordAutopilot, catalog.Autopilot{Indexes: catalog.Indexes{CreateIndex: 1, ModifyIndex: 10}}}}},
		{"is not above", []rec{meta, {recordAutopilot, catalog.Autopilot{Indexes: at}}, {recordAutopilot, catalog.Autopilot{Indexes: at}}}},
		{"index 10 is not from 1", []rec{meta, {recordCA, catalog.CA{ClusterID: "c", Config: []byte(`{"a":1}`), Roots: []catalog.CARoot{{ID: "r", Indexes: catalog.Indexes{CreateIndex: 1, ModifyIndex: 10}}}, Indexes: at}}}},
		{"a cluster ID, settings and a root", []rec{meta, {recordCA, catalog.CA{ClusterID: "c", Config: []byte(`{"a":1}`), Indexes: at}}}},
		{"the index 10 of a list", []rec{{recordMeta, metaRecord{Applied: 9, Lists: []uint64{1, 10}}}}},
		{fmt.Sprint(lists+1, " topics of lists"), []rec{{recordMeta, metaRecord{Applied: 9, Lists: make([]uint64, lists+1)}}}},
		{"has no record of its own", []rec{meta, {recordTopic, topicRow{Topic: Topic{Kind: TopicNodes}, Index: 1}}}},
		{"has no record of its own", []rec{meta, {recordTopic, topicRow{Index: 1}}}},
		{"gone = false", []rec{meta, {recordTopic, topicRow{Topic: Topic{TopicNode, "n"}, Index: 1}}}},
		{"gone = true", []rec{meta, node, {recordTopic, topicRow{Topic: Topic{TopicNode, "n"}, Index: 1, Gone: true}}}},
		{"not folded", []rec{meta, {recordTopic, topicRow{Topic: Topic{TopicNode, "N"}, Index: 1, Gone: true}}}},
		{`no node "n" that it belongs to`, []rec{meta, {recordCoord, catalog.NodeCoordinate{Node: "n", Coord: &coordinate.Coordinate{}}}}},
		{"there is no coordinate", []rec{meta, node, {recordCoord, catalog.NodeCoordinate{Node: "n"}}}},
		{"source must not be empty", []rec{meta, {recordSource, sourceRow{Index: 1}}}},
	} {
		var b bytes.Buffer
		w := newRecordWriter(&b)
		for _, r := range c.records {
			w.record(r.kind, r.row)
		}
		if _, err := w.end(); err != nil {
			t.Fatal(err)
		}
		if err := New().Restore(&b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want it to say %q", err, c.want)
		}
	}
}

// TestSnapshot_Golden keeps the format: a snapshot of an earlier build must go on
// to restore.
func TestSnapshot_Golden(t *testing.T) {
	path := filepath.Join("testdata", "snapshot-v1.golden")
	got := snapshotBytes(t, populated(t).Snapshot())
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the snapshot has %d bytes that differ from the %d in %s", len(got), len(want), path)
	}
	if err := New().Restore(bytes.NewReader(want)); err != nil {
		t.Error(err)
	}
}

// sealed puts the right end on the records of a damaged snapshot, so that a
// fuzzer gets past the checksum.
func sealed(records []byte, n uint64) []byte {
	b := append([]byte(snapshotMagic), snapshotVersion)
	b = append(b, records...)
	b = binary.BigEndian.AppendUint64(append(b, recordEnd), n)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// allocated is how many bytes the process has asked for since it began.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func FuzzRestore(f *testing.F) {
	good := snapshotBytes(f, populated(f).Snapshot())
	records := good[len(snapshotMagic)+1 : len(good)-13]
	f.Add(records, uint64(24))
	f.Add(records[:100], uint64(1))
	f.Add([]byte{recordMeta, 0, 0, 0, 1, 0x80}, uint64(1))
	f.Add([]byte{recordMeta, 0xff, 0xff, 0xff, 0xff}, uint64(1))
	f.Fuzz(func(t *testing.T, records []byte, n uint64) {
		s, file := New(), sealed(records, n)
		before := allocated()
		err := s.Restore(bytes.NewReader(file))
		// Property 42. What a record becomes is bound by catalog.Unmarshal.
		if took, most := allocated()-before, uint64(4*max(len(file), catalog.MaxCommandSize)); took > most {
			t.Errorf("%d bytes were restored with %d bytes of memory; at most %d are due", len(file), took, most)
		}
		if err != nil {
			return
		}
		// Whatever restores has one snapshot, and goes on to work.
		first := snapshotBytes(t, s.Snapshot())
		if err := s.Restore(bytes.NewReader(first)); err != nil {
			t.Fatalf("restored once and not again: %v", err)
		}
		if !bytes.Equal(first, snapshotBytes(t, s.Snapshot())) {
			t.Fatal("a state has two snapshots")
		}
		s.Apply([]Entry{{s.Index() + 1, encode(t, register("n1", withService("w", "web")))}})
	})
}
