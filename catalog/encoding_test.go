package catalog

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/serf/coordinate"
	"pgregory.net/rapid"
)

// TestEncodeCommand_Golden keeps the bytes of the log. A change here is a change
// of the format: it needs a new version.
func TestEncodeCommand_Golden(t *testing.T) {
	full := valid(on(*fullService()), with(Check{Name: "c", ServiceID: "f1", Status: StatusPassing,
		Definition: &CheckDefinition{HTTP: "http://x", Interval: time.Second}}))
	full.Node.Meta = map[string]string{"b": "2", "a": "1"}
	full.Source = Source{NodeID: "id", Seq: 300}
	for name, c := range map[string]Command{
		"register": full,
		"small":    valid(),
		"coordinates": &Coordinates{Updates: []NodeCoordinate{{Node: "n1", Coord: &coordinate.Coordinate{
			Vec: []float64{0, 1.5, -2, 0, 0, 0, 0, 1}, Error: 1.5, Adjustment: -0.25, Height: 1e-05}}}},
		"kv":   &KV{Verb: KVCAS, Key: "a//\xff\x00", Value: []byte{0, 1}, Flags: 1 << 63, Index: 7},
		"lock": &KV{Verb: KVLock, Key: "k", Session: "s"},
		"create-session": &CreateSession{Session{ID: "s", Node: "n", LockDelay: time.Second, Behavior: BehaviorDelete, TTL: "10s",
			NodeChecks: []string{SerfHealth}, ServiceChecks: []ServiceCheck{{ID: "c"}}}},
		"destroy-session": &DestroySession{ID: "s"},
		"end-lock-delays": &EndLockDelays{Delays: []LockDelay{{Key: "k", Delay: time.Second, Index: 9}}},
		"set-autopilot":   &SetAutopilot{Autopilot: DefaultAutopilot(), CAS: true, Index: 7},
		"set-ca": &SetCA{Index: 7, CA: CA{ClusterID: "c", Config: []byte(`{"a":1}`), Roots: []CARoot{{ID: "i", Name: "n", Serial: 3, KeyID: "k", KeyType: "ec",
			KeyBits: 256, NotBefore: 1 << 33, NotAfter: 1 << 34, Cert: "cert", Link: "link", Key: "key", LeavesUntil: 9}}}},
		"set-config": &SetConfig{Verb: ConfigCAS, Kind: "mesh", Name: "mesh", Body: []byte(`{"Kind":"mesh"}`), Index: 7},
		"txn": &Txn{Ops: []TxnOp{
			{KV: &KV{Verb: KVCheckIndex, Key: "k", Index: 7}},
			{Node: &TxnNode{Verb: TxnGet, Node: Node{ID: "id"}}},
			{Service: &TxnService{Verb: TxnDelete, Node: "n", Service: Service{ID: "s", Proxy: NoProxy()}}},
			{Check: &TxnCheck{Verb: TxnDeleteCAS, Index: 9, Check: Check{Node: "n", CheckID: "c", Definition: NoDefinition()}}},
			{Session: &TxnSession{ID: "s"}},
		}},
		"batch":      BatchOf([]Command{valid(), &Deregister{Node: "n1", CheckID: "c", Source: Source{"id", 302}}}),
		"deregister": &Deregister{Node: "n1", ServiceID: "s", CheckID: "c", Source: Source{"id", 301}},
	} {
		path := filepath.Join("testdata", name+"-v1.golden")
		got, err := EncodeCommand(c)
		if err != nil {
			t.Fatal(err)
		}
		if os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(path, []byte(hex.Dump(got)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if hex.Dump(got) != string(want) {
			t.Errorf("%s is not as in %s:\n%s", name, path, hex.Dump(got))
		}
		if again, err := DecodeCommand(got); err != nil || asJSON(t, again) != asJSON(t, c) {
			t.Errorf("%s was read back as %s (%v)", name, asJSON(t, again), err)
		}
	}
}

// What is not in this release's list is not passed over, and all that is in it is
// known.
func TestCheckRelease_TellsCommandsOfLaterReleases(t *testing.T) {
	for op := range 256 {
		known := newCommand(Op(op)) != nil
		for _, version := range []byte{commandVersion, commandVersion + 1} {
			err := CheckRelease([]byte{byte(op), version, 0x80})
			later := op != 0 && !known || version > commandVersion
			if errors.Is(err, ErrLaterRelease) != later {
				t.Errorf("operation %d (known: %v), version %d: %v", op, known, version, err)
			}
		}
	}
}

// Every server decodes each command before it can go on to the next: a large one
// may cost what its size explains, no more.
func TestDecodeCommand_AllocatesAFewTimesItsInput(t *testing.T) {
	names := make([]string, 20_000)
	for name, c := range map[string]Command{
		"one large value": &KV{Verb: KVSet, Key: "k", Value: make([]byte, 512<<10)},
		"a long text":     &Register{Node: Node{Node: "n"}, Checks: []Check{{Output: strings.Repeat("x", 512<<10)}}},
		"a long list":     &Register{Node: Node{Node: "n"}, Service: &Service{Tags: names}},
	} {
		b, err := EncodeCommand(c)
		if err != nil {
			t.Fatal(err)
		}
		before := allocated()
		if _, err := DecodeCommand(b); err != nil {
			t.Fatal(err)
		}
		// A string's header is sixteen times the byte that an empty one takes.
		if took, most := allocated()-before, uint64(20*len(b)+64<<10); took > most {
			t.Errorf("%s: %d bytes were decoded with %d bytes of memory; at most %d are due", name, len(b), took, most)
		}
	}
}

// Property 42: whatever the bytes of a command are, reading them takes no more than
// four times what a command may have.
func TestBounds_HostileCommandsTakeLittleMemory(t *testing.T) {
	command := func(op Op, field string, value []byte) []byte {
		b := append([]byte{byte(op), commandVersion, 0x81, 0xa0 | byte(len(field))}, field...)
		return append(b, value...)
	}
	list := func(n int, member ...byte) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{0xdd}, uint32(n)), bytes.Repeat(member, n)...)
	}
	table := func(n int) []byte {
		b := binary.BigEndian.AppendUint32([]byte{0xdf}, uint32(n))
		for i := range n {
			b = append(binary.BigEndian.AppendUint32(append(b, 0xa4), uint32(i)), 0xc0)
		}
		return b
	}
	service := func(field string, value []byte) []byte {
		return command(OpRegister, "Service", append(append([]byte{0x81, 0xa0 | byte(len(field))}, field...), value...))
	}
	proxy := func(config []byte) []byte { return service("Proxy", append([]byte("\x81\xa6Config"), config...)) }
	const maxMaps = (maxValues - 40) / mapValues
	for name, b := range map[string][]byte{
		"a million empty tags":         service("Tags", list(1<<20-64, 0xa0)),
		"as many empty tags as may be": service("Tags", list(maxValues-40, 0xa0)),
		"many checks of nothing":       command(OpRegister, "Checks", list(1<<20-64, 0x80)),
		"as many checks as may be":     command(OpRegister, "Checks", list(maxMaps, 0x80)),
		"many updates of nothing":      command(OpCoordinates, "Updates", list(maxMaps, 0x80)),
		"many operations of nothing":   command(OpTxn, "Ops", list(maxMaps, 0x80)),
		"a large table":                proxy(table((maxValues - 40) / 2)),
		"a list of lists":              proxy([]byte("\x81\xa1a" + string(list((maxValues-40)/2, 0x91, 0xc0)))),
		"a list of tables":             proxy([]byte("\x81\xa1a" + string(list((maxValues-40)/(mapValues+2), 0x81, 0xa0, 0xc0)))),
		"an announced list":            service("Tags", []byte{0xdd, 0x7f, 0xff, 0xff, 0xff}),
		"an announced table":           service("Meta", []byte{0xdf, 0x7f, 0xff, 0xff, 0xff}),
		"an announced text":            command(OpKV, "Key", []byte{0xdb, 0x7f, 0xff, 0xff, 0xff}),
	} {
		before := allocated()
		_, err := DecodeCommand(b)
		t.Logf("%s: %d bytes, %d allocated, %v", name, len(b), allocated()-before, err)
		if took, most := allocated()-before, uint64(4*MaxCommandSize); took > most {
			t.Errorf("%s: %d bytes were read with %d bytes of memory (error: %v); at most %d are due", name, len(b), took, err, most)
		}
	}
}

// allocated is how many bytes the process has asked for since it began.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// values draws what JSON can hold, as normalised.
func values(depth int) *rapid.Generator[any] {
	plain := rapid.OneOf(
		rapid.Just[any](nil),
		rapid.Map(rapid.Bool(), func(v bool) any { return v }),
		rapid.Map(rapid.Int64(), func(v int64) any { return v }),
		rapid.Map(rapid.Float64(), func(v float64) any { return v }),
		rapid.Map(rapid.String(), func(v string) any { return v }),
	)
	if depth == 0 {
		return plain
	}
	inner := values(depth - 1)
	return rapid.OneOf(plain,
		rapid.Map(rapid.SliceOfN(inner, 0, 3), func(v []any) any { return v }),
		rapid.Map(rapid.MapOfN(rapid.String(), inner, 0, 3), func(v map[string]any) any { return v }),
	)
}

func TestEncodeCommand_RoundTrips(t *testing.T) {
	tags := rapid.SliceOfN(rapid.String(), 0, 3)
	meta := rapid.MapOfN(rapid.String(), rapid.String(), 0, 4)
	rapid.Check(t, func(t *rapid.T) {
		r := &Register{
			Node:           Node{ID: rapid.String().Draw(t, "id"), Node: rapid.String().Draw(t, "node"), Meta: meta.Draw(t, "meta")},
			SkipNodeUpdate: rapid.Bool().Draw(t, "skip"),
			Source:         Source{NodeID: rapid.String().Draw(t, "source"), Seq: rapid.Uint64().Draw(t, "seq")},
		}
		if rapid.Bool().Draw(t, "service") {
			r.Service = &Service{Service: rapid.String().Draw(t, "name"), Tags: tags.Draw(t, "tags"), Meta: meta.Draw(t, "smeta"),
				Port: rapid.Int().Draw(t, "port"), Proxy: &Proxy{Config: rapid.MapOfN(rapid.String(), values(3), 0, 4).Draw(t, "config")}}
		}
		for range rapid.IntRange(0, 3).Draw(t, "checks") {
			r.Checks = append(r.Checks, Check{Name: rapid.String().Draw(t, "check"), Output: rapid.String().Draw(t, "output"),
				Definition: &CheckDefinition{ScriptArgs: tags.Draw(t, "args"), TTL: time.Duration(rapid.Int64().Draw(t, "ttl"))}})
		}
		r.Normalize()
		first, err := EncodeCommand(r)
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeCommand(first)
		if err != nil {
			t.Fatal(err)
		}
		second, err := EncodeCommand(back)
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("encoded again it differs (%v)\n%x\n%x", err, first, second)
		}
		got := back.(*Register)
		same := got.Node.Same(&r.Node) && got.SkipNodeUpdate == r.SkipNodeUpdate && got.Source == r.Source &&
			(got.Service == nil) == (r.Service == nil) && (r.Service == nil || got.Service.Same(r.Service)) && len(got.Checks) == len(r.Checks)
		for i := 0; same && i < len(r.Checks); i++ {
			same = got.Checks[i].Same(&r.Checks[i])
		}
		if !same {
			t.Fatalf("decoded %+v\nfrom %+v", got, r)
		}
	})
}

func TestDecodeCommand_SkipsFieldsItDoesNotKnow(t *testing.T) {
	body, err := Marshal(map[string]any{"Node": "n1", "Later": map[string]any{"x": []any{1, "y"}}, "CheckID": "c"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := DecodeCommand(append([]byte{byte(OpDeregister), commandVersion}, body...))
	if d, ok := c.(*Deregister); err != nil || !ok || *d != (Deregister{Node: "n1", CheckID: "c"}) {
		t.Errorf("decoded %+v, %v", c, err)
	}
}

func TestDecodeCommand_Refuses(t *testing.T) {
	good, err := EncodeCommand(valid())
	if err != nil {
		t.Fatal(err)
	}
	deep := append(bytes.Repeat([]byte{0x91}, 1000), 0xc0)
	for _, c := range []struct {
		want string
		in   []byte
	}{
		{"too few", nil},
		{"too few", []byte{1}},
		{"unknown operation 0", []byte{0, 1, 0x80}},
		{"unknown operation 200", []byte{200, 1, 0x80}},
		{"unknown version 9", []byte{1, 9, 0x80}},
		{"malformed or truncated", []byte{1, 1}},
		{"malformed or truncated", good[:len(good)-1]},
		{"after the end", append(bytes.Clone(good), 0xc0)},
		{"nested deeper than 64", append([]byte{1, 1}, deep...)},
		{"4294967295 values announced", []byte{1, 1, 0xdd, 0xff, 0xff, 0xff, 0xff}},
		{"malformed or truncated", []byte{1, 1, 0xdb, 0xff, 0xff, 0xff, 0xff}},
		{"malformed or truncated", []byte{1, 1, 0xc1}},
		{"malformed or truncated", []byte{1, 1, 0xd4, 1, 1}},
		{"decode command 1", []byte{1, 1, 0xa1, 'x'}},
		{"more than the allowed", make([]byte, MaxCommandSize+1)},
	} {
		if _, err := DecodeCommand(c.in); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.20x: got %v, want it to say %q", c.in, err, c.want)
		}
	}
}

func TestEncodeCommand_Refuses(t *testing.T) {
	big := valid(with(Check{Name: "c", Output: strings.Repeat("x", MaxCommandSize)}))
	if _, err := EncodeCommand(big); err == nil || KindOf(err) != TooLarge {
		t.Errorf("a command beyond the limit: %v", err)
	}
	deep := valid(on(Service{Service: "w", Proxy: &Proxy{Config: nested(maxDepth)}}))
	if _, err := EncodeCommand(deep); err == nil || KindOf(err) != Invalid {
		t.Errorf("a command that no server could read: %v", err)
	}
}

func FuzzDecodeCommand(f *testing.F) {
	for _, c := range []Command{valid(), valid(on(*fullService()), with(Check{Name: "c"})), &Deregister{Node: "n", Source: Source{"i", 1}},
		&Txn{Ops: []TxnOp{{KV: &KV{Verb: KVSet, Key: "k"}}, {Session: &TxnSession{ID: "s"}}}}} {
		b, err := EncodeCommand(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	f.Add([]byte{1, 1, 0x81, 0xa6, 'C', 'h', 'e', 'c', 'k', 's', 0xdd, 0, 0, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := DecodeCommand(in)
		if err != nil {
			return
		}
		// What was read has one form, which reads as the same. Bodies that are
		// not canonical may grow when written out in full.
		first, err := EncodeCommand(c)
		if err != nil {
			if KindOf(err) != TooLarge {
				t.Fatalf("decoded and can't be encoded: %v", err)
			}
			return
		}
		again, err := DecodeCommand(first)
		if err != nil {
			t.Fatalf("decoded once and not again: %v", err)
		}
		if second, err := EncodeCommand(again); err != nil || !bytes.Equal(first, second) {
			t.Fatalf("two forms (%v):\n%x\n%x", err, first, second)
		}
		if r, ok := c.(*Register); ok {
			r.Normalize()
			_ = r.Validate()
		}
	})
}

func BenchmarkCommand(b *testing.B) {
	r := valid(on(Service{Service: "web", Tags: []string{"a"}, Port: 80}), with(Check{Name: "c", ServiceID: "web", Status: StatusPassing}))
	data, err := EncodeCommand(r)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := EncodeCommand(r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodeCommand(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
