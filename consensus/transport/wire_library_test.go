package transport

import (
	"reflect"
	"testing"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"pgregory.net/rapid"

	"muster/consensus/core"
)

// A message as the library encodes it by reflection: what the hand-written code
// is held against.

type wireMessage struct {
	Kind      uint8
	Term      uint64
	PrevTerm  uint64
	PrevIndex uint64
	Entries   []wireEntry
	Commit    uint64
	Round     uint64
	Reject    bool
	Match     uint64
	HintTerm  uint64
	HintIndex uint64
	Campaign  uint8
	Snapshot  *wireSnapshot
	Offset    uint64
	Data      []byte
	Done      bool
	Token     uint64
	Index     uint64
	Voteless  bool
	Config    uint64
	ByRound   bool
	Full      bool
	Log       uint64
	AckTerm   uint64
	AckIndex  uint64
	AckLog    uint64
}

type wireEntry struct {
	Index uint64
	Term  uint64
	Kind  uint8
	Data  []byte
}

func libraryMessage(m core.Message) wireMessage {
	w := wireMessage{
		Kind: uint8(m.Kind), Term: m.Term,
		PrevTerm: m.Prev.Term, PrevIndex: m.Prev.Index,
		Commit: m.Commit, Round: m.Round, Reject: m.Reject, Match: m.Match,
		HintTerm: m.Hint.Term, HintIndex: m.Hint.Index,
		Campaign: uint8(m.Campaign), Snapshot: snapshotToWire(m.Snapshot),
		Offset: m.Offset, Data: m.Data, Done: m.Done,
		Token: m.Token, Index: m.Index, Voteless: m.Voteless,
		Config: m.Config, ByRound: m.ByRound, Full: m.Full, Log: uint64(m.Log),
		AckTerm: m.Acknowledged.Term, AckIndex: m.Acknowledged.Index, AckLog: uint64(m.AcknowledgedBy),
	}
	for _, e := range m.Entries {
		w.Entries = append(w.Entries, wireEntry{Index: e.Index, Term: e.Term, Kind: uint8(e.Kind), Data: e.Data})
	}
	return w
}

func TestWire_BytesAreThoseOfTheLibrary(t *testing.T) {
	enc := newEncoder(testFrame)
	rapid.Check(t, func(t *rapid.T) { sameAsLibrary(t, enc, drawMessage(t)) })
	sameAsLibrary(t, enc, fullMessage())
}

// sameAsLibrary demands that both encode m to the same bytes.
func sameAsLibrary(t interface{ Fatalf(string, ...any) }, enc *encoder, m core.Message) {
	got, err := enc.message(nil, &m)
	if err != nil {
		t.Fatalf("encode %+v: %v", m, err)
	}
	var want []byte
	w := libraryMessage(m)
	if err := codec.NewEncoderBytes(&want, newHandle(testFrame)).Encode(&w); err != nil {
		t.Fatalf("the library: %v", err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("encoded %+v\n got %x\nwant %x", m, got, want)
	}
}

// FuzzMessage_AsTheLibrary: whatever is decoded by hand, the library decodes to
// the same, and both encode that alike.
func FuzzMessage_AsTheLibrary(f *testing.F) {
	enc, dec := newEncoder(testFrame), newDecoder(testFrame)
	full := fullMessage()
	body, err := enc.message(nil, &full)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte{0x95, 5, 0, 0, 0, 0x92, 0xc0, 0x91, 1})
	f.Add([]byte{0x92, 5, 0xcf, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := dec.message(body)
		if err != nil {
			return
		}
		var w wireMessage
		if err := newDecoder(testFrame).into(body, &w); err != nil {
			t.Fatalf("decoded to %+v, which the library refuses: %v", m, err)
		}
		got := libraryMessage(m)
		for _, v := range []*wireMessage{&got, &w} {
			if len(v.Entries) == 0 {
				v.Entries = nil
			}
			if v.Snapshot != nil && len(v.Snapshot.Servers) == 0 {
				v.Snapshot.Servers = nil
			}
		}
		if !reflect.DeepEqual(got, w) {
			t.Fatalf("decoded %x\n got %+v\nwant %+v", body, got, w)
		}
		sameAsLibrary(t, enc, m)
	})
}
