package transport

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net"
	"reflect"
	"runtime"
	"testing"
	"time"

	"pgregory.net/rapid"

	"muster/consensus/core"
)

const testFrame = 1 << 20

// fullMessage has something in every field, so that a golden of it shows them all.
func fullMessage() core.Message {
	return core.Message{
		Kind: core.MsgAppend, Term: 7,
		Prev:    core.EntryID{Term: 6, Index: 300},
		Entries: []core.Entry{{Index: 301, Term: 7, Kind: core.EntryCommand, Data: []byte("ab")}, {Index: 302, Term: 7, Kind: core.EntryNoop}},
		Commit:  299, Round: 70000, Reject: true, Match: 5,
		Hint: core.EntryID{Term: 2, Index: 4}, Campaign: core.CampaignTransfer,
		Snapshot: &core.SnapshotMeta{
			Index: 9, Term: 3, ConfigIndex: 1, Size: 1 << 33, Checksum: 1<<64 - 1,
			Config: core.Configuration{ClusterID: "c", Servers: []core.Server{{ID: "s1", Addr: "h:1", Suffrage: core.Voter, Log: 15}}, Timing: core.Timing{ElectionMin: 4, ElectionMax: 5, Heartbeat: 2}},
		},
		Offset: 10, Data: []byte{1, 2, 3}, Done: true, Token: 11, Index: 12, Voteless: true, Config: 13, ByRound: true, Full: true, Log: 14,
		Acknowledged: core.EntryID{Term: 16, Index: 17}, AcknowledgedBy: 18,
	}
}

func TestWire_GoldenBytes(t *testing.T) {
	for _, c := range []struct {
		name, want string
		message    core.Message
	}{
		{"heartbeat", "dc001a" + "0703" + "0204" + "c0" + "0405" + "c2" + "00" + "0000" + "00" + "c0" + "00" + "c0" + "c2" + "0000" + "c2" + "00c2c200" + "000000",
			core.Message{Kind: core.MsgHeartbeat, Term: 3, Prev: core.EntryID{Term: 2, Index: 4}, Commit: 4, Round: 5}},
		{"all fields", "dc001a" + "0507" + "06cd012c" +
			"92" + "94cd012d0702c4026162" + "94cd012e0701c0" +
			"cd012b" + "ce00011170" + "c3" + "05" + "0204" + "01" +
			"9a090301a16391" + "94a27331a3683a31020f" + "cf0000000200000000" + "cfffffffffffffffff" + "040502" +
			"0a" + "c403010203" + "c3" + "0b0c" + "c3" + "0dc3c30e" + "101112", fullMessage()},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := newEncoder(testFrame).message(nil, &c.message)
			if err != nil {
				t.Fatal(err)
			}
			if hex.EncodeToString(got) != c.want {
				t.Errorf("encoded\n got %x\nwant %s", got, c.want)
			}
		})
	}
}

// A field that is added to core.Message must be added to the wire too, or it is
// lost between real servers though every simulated one gets it.
func TestWire_CarriesEveryFieldOfAMessage(t *testing.T) {
	local := map[string]bool{"From": true, "To": true, "Fill": true} // known from the stream; never sent
	want := fullMessage()
	v := reflect.ValueOf(want)
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; v.Field(i).IsZero() != local[name] {
			t.Errorf("fullMessage: field %s is not as it should be; set it, and see that the wire carries it", name)
		}
	}
	body, err := newEncoder(testFrame).message(nil, &want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := newDecoder(testFrame).message(body)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
	}
}

func TestWire_GoldenHandshake(t *testing.T) {
	var out bytes.Buffer
	if err := writeHandshake(bufio.NewWriter(&out), &wireHello{Protocol: 1, Cluster: "c", From: "a", To: "b", Role: "server", Lane: 2}); err != nil {
		t.Fatal(err)
	}
	if want := "0000001096" + "01a163a161a162a6736572766572" + "02"; hex.EncodeToString(out.Bytes()) != want {
		t.Errorf("hello: got %x, want %s", out.Bytes(), want)
	}
	out.Reset()
	if err := writeHandshake(bufio.NewWriter(&out), &wireReply{Protocol: 1, Cluster: "c", ID: "b", Code: 2, Text: "no"}); err != nil {
		t.Fatal(err)
	}
	if want := "0000000a95" + "01a163a16202a26e6f"; hex.EncodeToString(out.Bytes()) != want {
		t.Errorf("reply: got %x, want %s", out.Bytes(), want)
	}
}

func TestWire_EveryMessageSurvives(t *testing.T) {
	enc, dec := newEncoder(testFrame), newDecoder(testFrame)
	rapid.Check(t, func(t *rapid.T) {
		want := drawMessage(t)
		body, err := enc.message(nil, &want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := dec.message(body)
		if err != nil {
			t.Fatalf("decode %x: %v", body, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v\nwant %+v", got, want)
		}
	})
}

func drawMessage(t *rapid.T) core.Message {
	u := rapid.Uint64()
	blob := rapid.Custom(func(t *rapid.T) []byte {
		if b := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "bytes"); len(b) > 0 {
			return b
		}
		return nil
	})
	m := core.Message{
		Kind: core.MessageKind(rapid.Uint8Range(1, 13).Draw(t, "kind")), Term: u.Draw(t, "term"),
		Prev:   core.EntryID{Term: u.Draw(t, "prev term"), Index: u.Draw(t, "prev index")},
		Commit: u.Draw(t, "commit"), Round: u.Draw(t, "round"), Reject: rapid.Bool().Draw(t, "reject"),
		Match: u.Draw(t, "match"), Hint: core.EntryID{Term: u.Draw(t, "hint term"), Index: u.Draw(t, "hint index")},
		Campaign: core.CampaignKind(rapid.Uint8().Draw(t, "campaign")), Offset: u.Draw(t, "offset"),
		Data: blob.Draw(t, "data"), Done: rapid.Bool().Draw(t, "done"), Token: u.Draw(t, "token"), Index: u.Draw(t, "index"),
	}
	for range rapid.IntRange(0, 20).Draw(t, "entries") {
		m.Entries = append(m.Entries, core.Entry{
			Index: u.Draw(t, "index"), Term: u.Draw(t, "term"),
			Kind: core.EntryKind(rapid.Uint8().Draw(t, "kind")), Data: blob.Draw(t, "data"),
		})
	}
	if rapid.Bool().Draw(t, "snapshot") {
		m.Snapshot = &core.SnapshotMeta{Index: u.Draw(t, "index"), Checksum: u.Draw(t, "checksum")}
		for range rapid.IntRange(0, 20).Draw(t, "servers") {
			m.Snapshot.Config.Servers = append(m.Snapshot.Config.Servers, core.Server{
				ID: core.ServerID(rapid.String().Draw(t, "id")), Addr: rapid.String().Draw(t, "addr"), Suffrage: core.Voter,
			})
		}
	}
	return m
}

func TestWire_NewerElementsAreSkipped(t *testing.T) {
	m := core.Message{Kind: core.MsgVote, Term: 4}
	body, err := newEncoder(testFrame).message(nil, &m)
	if err != nil {
		t.Fatal(err)
	}
	newer := append([]byte{0xdc, 0, body[2] + 2}, body[3:]...)
	newer = append(newer, 0x92, 0x01, 0xa1, 'x', 0xc3) // [1, "x"] and true
	got, err := newDecoder(testFrame).message(newer)
	if err != nil || got.Term != 4 || got.Kind != core.MsgVote {
		t.Errorf("message of a later version: %+v, %v", got, err)
	}
}

func TestWire_AppendIsCutToMaxElements(t *testing.T) {
	m := core.Message{Kind: core.MsgAppend, Entries: make([]core.Entry, MaxElements+5)}
	for i := range m.Entries {
		m.Entries[i] = core.Entry{Index: uint64(i + 1), Term: 1, Kind: core.EntryNoop}
	}
	body, err := newEncoder(testFrame).message(nil, &m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := newDecoder(testFrame).message(body)
	if err != nil || len(got.Entries) != MaxElements || got.Entries[MaxElements-1].Index != MaxElements {
		t.Errorf("%d entries, %v", len(got.Entries), err)
	}
}

func TestBounds_HostileBodiesAreRefused(t *testing.T) {
	u32 := func(first byte, n uint32, rest ...byte) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{first}, n), rest...)
	}
	for name, body := range map[string][]byte{
		"nothing":                nil,
		"truncated array":        {0x92, 0x01},
		"truncated header":       {0xdd, 0x00},
		"array of 2^32-1":        u32(0xdd, 1<<32-1, 1),
		"array past its frame":   u32(0xdd, 1000, 1, 2, 3),
		"more than MaxElements":  u32(0xdd, MaxElements+1, make([]byte, MaxElements+1)...),
		"bin of 2^32-1":          u32(0xc6, 1<<32-1),
		"str past its frame":     {0xd9, 0xff, 'a'},
		"a million arrays deep":  bytes.Repeat([]byte{0x91}, 1_000_000),
		"map":                    {0x81, 0x01, 0x01},
		"extension":              {0xd4, 0x01, 0x00},
		"float":                  {0xcb, 0, 0, 0, 0, 0, 0, 0, 0},
		"bytes after the value":  {0x90, 0x90},
		"never used type":        {0xc1},
		"array where uint is":    {0x91, 0x91, 0x01},
		"unknown kind":           {0x91, 0x7f},
		"text where a number is": {0x91, 0xa1, 'x'},
	} {
		t.Run(name, func(t *testing.T) {
			if m, err := newDecoder(testFrame).message(body); err == nil {
				t.Errorf("decoded to %+v", m)
			}
		})
	}
}

// Whatever a body claims, decoding it costs no more than the most elements that
// a frame may have, and its own bytes.
func TestBounds_DecodingAllocatesInProportion(t *testing.T) {
	hostile := map[string][]byte{
		"entries of nil": append([]byte{0x95, 5, 0, 0, 0, 0xdd, 0, 1, 0, 0}, bytes.Repeat([]byte{0xc0}, MaxElements)...),
		"one big entry":  append([]byte{0x95, 5, 0, 0, 0, 0x91, 0x94, 1, 1, 2, 0xc6, 0, 0xf, 0, 0}, make([]byte, 0xf0000)...),
	}
	for name, body := range hostile {
		t.Run(name, func(t *testing.T) {
			dec := newDecoder(testFrame)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if _, err := dec.message(body); err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; got > 4*testFrame {
				t.Errorf("decoding %d bytes allocated %d", len(body), got)
			}
		})
	}
}

// A frame that announces all that it may, and then falls silent or says too little,
// has what it sent. A hello is small, whatever it claims.
func TestBounds_AnnouncedFramesTakeNoMemory(t *testing.T) {
	announce := func(n uint32, body ...byte) []byte { return append(binary.BigEndian.AppendUint32(nil, n), body...) }
	for name, c := range map[string]struct {
		limit int
		sent  []byte
	}{
		"a frame that does not come": {64 << 20, announce(64<<20, make([]byte, 100)...)},
		"a frame beyond the bound":   {64 << 20, announce(1<<32-1, make([]byte, 100)...)},
		"a hello of long lists":      {maxHandshake, announce(maxHandshake, append([]byte{0xdd, 0x7f, 0xff, 0xff, 0xff}, make([]byte, maxHandshake-5)...)...)},
		"a hello with a long name":   {maxHandshake, announce(9, 0x96, 1, 0xdb, 0x7f, 0xff, 0xff, 0xff, 'x', 'x')},
		"a hello of nested lists":    {maxHandshake, announce(maxHandshake, bytes.Repeat([]byte{0x91}, maxHandshake)...)},
	} {
		near, far := net.Pipe()
		go func() {
			_, _ = far.Write(c.sent)
			_ = far.Close()
		}()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		body, err := newFrameReader(near, c.limit, time.Minute, time.Minute).next()
		if err == nil {
			err = newDecoder(c.limit).into(body, new(wireHello))
		}
		runtime.ReadMemStats(&after)
		_ = near.Close()
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > uint64(4*len(c.sent)+2*readStep) {
			t.Errorf("%s: %d bytes cost %d (%v)", name, len(c.sent), got, err)
		}
	}
}

func FuzzMessage(f *testing.F) {
	full := fullMessage()
	body, err := newEncoder(testFrame).message(nil, &full)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte{0x90})
	f.Add(bytes.Repeat([]byte{0x91}, 100))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := newDecoder(testFrame).message(body)
		if err != nil {
			return
		}
		again, err := newEncoder(testFrame).message(nil, &m)
		if err != nil {
			t.Fatalf("decoded message does not encode: %v", err)
		}
		m2, err := newDecoder(testFrame).message(again)
		if err != nil {
			t.Fatalf("own encoding does not decode: %v", err)
		}
		normalize(&m)
		normalize(&m2)
		if !reflect.DeepEqual(m, m2) {
			t.Fatalf("changed by a round trip:\n%+v\n%+v", m, m2)
		}
	})
}

// normalize drops the difference between empty and absent bytes.
func normalize(m *core.Message) {
	if len(m.Data) == 0 {
		m.Data = nil
	}
	for i := range m.Entries {
		if len(m.Entries[i].Data) == 0 {
			m.Entries[i].Data = nil
		}
	}
}

func FuzzHandshake(f *testing.F) {
	f.Add([]byte{0x96, 1, 0xa0, 0xa1, 'a', 0xa1, 'b', 0xa6, 's', 'e', 'r', 'v', 'e', 'r', 1})
	f.Fuzz(func(t *testing.T, body []byte) {
		var h wireHello
		if newDecoder(maxHandshake).into(body, &h) == nil {
			tr := &Transport{cfg: Config{ID: "me"}}
			if err := tr.judge(h, "cluster"); err == nil && (h.To != "me" || h.From == "me" || h.From == "") {
				t.Fatalf("let in %+v", h)
			}
		}
	})
}

func BenchmarkWire_Append(b *testing.B) {
	m := core.Message{Kind: core.MsgAppend, Term: 3, Prev: core.EntryID{Term: 3, Index: 100}}
	for i := range 64 {
		m.Entries = append(m.Entries, core.Entry{Index: 101 + uint64(i), Term: 3, Kind: core.EntryCommand, Data: make([]byte, 300)})
	}
	enc, dec := newEncoder(testFrame), newDecoder(testFrame)
	var body []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if body, err = enc.message(body, &m); err != nil {
			b.Fatal(err)
		}
		if _, err := dec.message(body); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(body)))
}
