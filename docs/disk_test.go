package docs_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"hash/crc64"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"muster/agent/checks"
	"muster/agent/local"
	"muster/catalog"
	"muster/catalog/state"
	"muster/consensus"
	"muster/consensus/core"
	"muster/consensus/wal"
	"muster/consensus/wal/memfs"
)

const (
	raftDir   = "/raft"
	sector    = 512
	clusterID = "c0ffee"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sum32 checks a CRC-32C that the page speaks of against the bytes that it is
// said to cover.
func sum32(t testing.TB, what string, order binary.ByteOrder, stored []byte, covered ...[]byte) {
	t.Helper()
	if got, want := order.Uint32(stored), crc32.Checksum(bytes.Join(covered, nil), castagnoli); got != want {
		t.Errorf("%s: the checksum is %08x, of what it is said to cover %08x", what, got, want)
	}
}

func oneServer() core.Configuration {
	return core.Configuration{ClusterID: clusterID, Servers: []core.Server{
		{ID: "a", Addr: "10.0.0.1:8300", Suffrage: core.Voter, Log: 0x1122334455667788},
	}}
}

// openLog begins a log whose first segment has 4096 bytes.
func openLog(t testing.TB, fsys wal.FS) *wal.Log {
	t.Helper()
	l, _, err := wal.Open(fsys, raftDir, wal.Config{SegmentBytes: 64 << 10, Log: 0x1122334455667788})
	must(t, err)
	return l
}

func readFile(t testing.TB, fsys wal.FS, name string) []byte {
	t.Helper()
	b, err := wal.ReadFile(fsys, filepath.Join(raftDir, name), 1<<20)
	must(t, err)
	return b
}

func segmentExamples(t testing.TB, made map[string]*table) {
	fsys := memfs.New()
	l := openLog(t, fsys)
	must(t, l.Append(wal.Batch{
		HardState: &core.HardState{Term: 3, Vote: "a"},
		Entries: []core.Entry{
			{Index: 1, Term: 3, Kind: core.EntryNoop},
			{Index: 2, Term: 3, Kind: core.EntryCommand, Data: []byte("hello")},
		},
	}))
	must(t, l.Append(wal.Batch{
		HardState: &core.HardState{Term: 3, Vote: "a", Commit: 2},
		Entries:   []core.Entry{{Index: 3, Term: 3, Kind: core.EntryCommand, Data: bytes.Repeat([]byte("x"), 600)}},
	}))
	must(t, l.Append(wal.Batch{Entries: []core.Entry{
		{Index: 4, Term: 3, Kind: core.EntryCommand, Data: make([]byte, 2000)}, // has a segment of its own
	}}))
	must(t, l.Close())
	file := readFile(t, fsys, "00000000000000000001.wal")

	made["segment-header"] = segmentHeader(t, file[:sector])
	batch := newTable(file[2*sector : 3*sector])
	batchHead(t, batch, file[2*sector:3*sector], "1: a batch")
	batch.field(t, 1, `vote: "a"`)
	batch.field(t, 8, "entry 1: term 3")
	batch.field(t, 1, "kind 1, no-op")
	batch.field(t, 4, "no data")
	batch.field(t, 8, "entry 2: term 3")
	batch.field(t, 1, "kind 2, command")
	batch.field(t, 4, "5 bytes of data")
	batch.field(t, 5, `"hello"`)
	batch.field(t, sector-batch.at, "zeros to the sector's end")
	made["batch"] = batch

	long := newTable(file[3*sector : 5*sector])
	batchHead(t, long, file[3*sector:5*sector], "1: a batch")
	long.field(t, 1, `vote: "a"`)
	long.field(t, 8, "entry 3: term 3")
	long.field(t, 1, "kind 2, command")
	long.field(t, 4, "600 bytes of data")
	first := sector - long.at
	long.field(t, first, "the first %d of them", first)
	long.field(t, 1, "guard: goes on a batch")
	long.field(t, 600-first, "the other %d", 600-first)
	long.field(t, 2*sector-long.at, "zeros to the sector's end")
	made["long-batch"] = long

	seal := newTable(file[5*sector : 6*sector])
	batchHead(t, seal, file[5*sector:6*sector], "2: a seal")
	seal.field(t, sector-seal.at, "zeros to the sector's end")
	made["seal"] = seal
}

func segmentHeader(t testing.TB, head []byte) *table {
	b := newTable(head)
	b.field(t, 8, `magic "MUSTERWL"`)
	b.field(t, 4, "version 1")
	b.field(t, 4, "flags: none")
	b.field(t, 8, "number of the segment: 1")
	b.field(t, 8, "size of the file: %d bytes", binary.LittleEndian.Uint64(head[24:]))
	b.field(t, 8, "next entry: 1")
	b.field(t, 8, "term of the entry before it: 0, there is none")
	b.field(t, 8, "sequence number of the first batch: 1")
	b.field(t, 8, "incarnation of the log")
	b.field(t, 444, "zeros")
	sum32(t, "segment header", binary.LittleEndian, b.field(t, 4, "CRC-32C of bytes 0 to 507"), head[:508])
	return b
}

// batchHead shows the head of a batch or seal that takes all of raw.
func batchHead(t testing.TB, b *table, raw []byte, kind string) {
	var payload []byte
	for from := 0; from < len(raw); from += sector {
		payload = append(payload, raw[from+1:from+sector]...)
	}
	le := binary.LittleEndian
	b.field(t, 1, "guard: begins a batch")
	sum32(t, "batch head", le, b.field(t, 4, "CRC-32C of payload bytes 4 to 59"), payload[4:60])
	sum32(t, "batch body", le, b.field(t, 4, "CRC-32C of the payload from byte 60 on"), payload[60:])
	b.field(t, 1, "kind %s", kind)
	b.field(t, 1, "flags: none")
	b.field(t, 1, "length of the vote: %d", payload[10])
	b.field(t, 1, "zero")
	b.field(t, 4, "length of the body: %d", le.Uint32(payload[12:]))
	b.field(t, 8, "sequence number %d", le.Uint64(payload[16:]))
	b.field(t, 8, "next or first entry: %d", le.Uint64(payload[24:]))
	b.field(t, 8, "term of the entry before it: %d", le.Uint64(payload[32:]))
	b.field(t, 8, "hard state: term %d", le.Uint64(payload[40:]))
	b.field(t, 8, "hard state: commit %d", le.Uint64(payload[48:]))
	b.field(t, 4, "count of entries: %d", le.Uint32(payload[56:]))
}

func snapshotExamples(t testing.TB, made map[string]*table) {
	fsys := memfs.New()
	l := openLog(t, fsys)
	must(t, l.Append(wal.Batch{HardState: &core.HardState{Term: 3}, Entries: []core.Entry{{Index: 1, Term: 3, Kind: core.EntryNoop}}}))
	w, err := l.Snapshots().Create(core.SnapshotMeta{Index: 1, Term: 3, Config: oneServer(), ConfigIndex: 1})
	must(t, err)
	_, err = w.Write([]byte("hello"))
	must(t, err)
	meta, err := w.Commit()
	must(t, err)
	must(t, l.Close())
	if sum := crc64.Checksum([]byte("hello"), crc64.MakeTable(crc64.ECMA)); meta.Checksum != sum {
		t.Errorf("snapshot: checksum %x, CRC-64 of the data %x", meta.Checksum, sum)
	}

	file := readFile(t, fsys, "00000000000000000001-00000000000000000003.snap")
	b, le := newTable(file), binary.LittleEndian
	b.field(t, 5, `chunk 0: "hello"`)
	sum32(t, "snapshot chunk", le, b.field(t, 4, "CRC-32C of the chunk's number (eight bytes) and data"), make([]byte, 8), []byte("hello"))
	size := int(le.Uint32(file[len(file)-20:]))
	b.json(t, size, "description, JSON")
	b.field(t, 4, "its length: %d", size)
	b.field(t, 4, "version 1")
	b.field(t, 8, `magic "MUSTERSN"`)
	sum32(t, "snapshot description", le, b.field(t, 4, "CRC-32C from the description to the magic"), file[9:len(file)-4])
	made["snapshot-file"] = b
}

func entryExamples(t testing.TB, made map[string]*table) {
	config := core.EncodeConfiguration(oneServer())
	b := newTable(config)
	b.field(t, 1, "version 1")
	b.json(t, len(config)-1, "JSON")
	made["configuration"] = b

	command, err := catalog.EncodeCommand(&catalog.Deregister{Node: "web-1", ServiceID: "web"})
	must(t, err)
	b = newTable(command)
	b.field(t, 1, "operation 2, deregister")
	b.field(t, 1, "version 1")
	b.blob(t, len(command)-2, "msgpack: a map of the fields, sorted by name")
	made["command"] = b
}

func catalogExamples(t testing.TB, made map[string]*table) {
	store := state.New()
	command, err := catalog.EncodeCommand(&catalog.KV{Verb: catalog.KVSet, Key: "k", Value: []byte("v")})
	must(t, err)
	if r := store.Apply([]state.Entry{{Index: 7, Data: command}}); r[0].Err != nil {
		t.Fatal(r[0].Err)
	}
	var out bytes.Buffer
	snapshot := store.Snapshot()
	defer snapshot.Close()
	_, err = snapshot.WriteTo(&out)
	must(t, err)
	all, be := out.Bytes(), binary.BigEndian
	b := newTable(all)
	b.field(t, 8, `magic "MUSTERST"`)
	b.field(t, 1, "version 1")
	records := map[byte]string{1: "1: of the whole", 8: "8: key/value pair"}
	for all[b.at] != 0 {
		kind, ok := records[all[b.at]]
		if !ok {
			t.Fatalf("unexpected record of kind %d", all[b.at])
		}
		b.field(t, 1, "record of kind %s", kind)
		n := int(be.Uint32(b.field(t, 4, "length of its body")))
		b.blob(t, n, "msgpack")
	}
	b.field(t, 1, "end")
	b.field(t, 8, "number of records: 2")
	sum32(t, "catalog snapshot", be, b.field(t, 4, "CRC-32C of all before"), all[:len(all)-4])
	made["catalog-snapshot"] = b
}

func identityExamples(t testing.TB, made map[string]*table) {
	charter := &consensus.Charter{Config: core.Configuration{ClusterID: clusterID}, Turns: []uint64{1, 1}}
	for i, id := range []core.ServerID{"a", "b"} {
		charter.Config.Servers = append(charter.Config.Servers, core.Server{ID: id, Addr: "host:8300", Suffrage: core.Voter, Log: core.Incarnation(i + 5)})
	}
	promise, err := json.Marshal(consensus.Promise{Turn: 1, Stage: consensus.Promised, Charter: charter})
	must(t, err)
	b := newTable(promise)
	b.text.WriteString(strings.TrimSpace(string(promise)) + "\n")
	b.at = len(promise)
	made["promise"] = b
	made["registrations"] = registrations(t)
}

// registrations gives the entries of an agent with one service and its check.
func registrations(t testing.TB) *table {
	t.Helper()
	disk := memfs.New()
	cfg := local.DefaultConfig()
	cfg.Node, cfg.DataDir, cfg.FS = catalog.Node{Node: "n1"}, "/data", disk
	s, err := local.New(cfg)
	must(t, err)
	must(t, s.AddCheck(checks.Definition{Name: "disk", TTL: time.Minute}, local.Options{Token: "secret"}))
	must(t, s.RemoveCheck("disk"))
	must(t, s.Close())
	l, found, err := wal.Open(disk, "/data/registrations", wal.DefaultConfig())
	must(t, err)
	entries, err := l.Entries(1, found.LastIndex, 1<<20)
	must(t, err)
	must(t, l.Close())
	var all []byte
	for _, e := range entries {
		all = append(all, e.Data...)
	}
	b := newTable(all)
	b.text.Write(all)
	b.at = len(all)
	return b
}
