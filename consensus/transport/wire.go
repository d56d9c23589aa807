package transport

import (
	"fmt"

	"github.com/hashicorp/go-msgpack/v2/codec"

	"muster/consensus/core"
)

// The wire structs mirror doc.go, element by element. Their order is the
// format: append, never insert.

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
}

type wireEntry struct {
	Index uint64
	Term  uint64
	Kind  uint8
	Data  []byte
}

type wireSnapshot struct {
	Index       uint64
	Term        uint64
	ConfigIndex uint64
	ClusterID   string
	Servers     []wireServer
	Size        uint64
	Checksum    uint64
	ElectionMin int64 // these three are the configuration's Timing
	ElectionMax int64
	Heartbeat   int64
}

type wireServer struct {
	ID       string
	Addr     string
	Suffrage uint8
}

// newHandle returns the msgpack dialect of the format: structs as arrays of
// their fields in order, bin and str apart, and slices made in one go, since
// checkBounds has seen their counts.
func newHandle(maxFrame int) *codec.MsgpackHandle {
	h := &codec.MsgpackHandle{WriteExt: true}
	h.StructToArray = true
	h.MaxInitLen = maxFrame
	h.MaxDepth = maxDepth + 1
	return h
}

// encoder turns messages into frame bodies; it is not safe for concurrent use.
type encoder struct {
	enc     *codec.Encoder
	wire    wireMessage
	entries []wireEntry
}

func newEncoder(maxFrame int) *encoder {
	return &encoder{enc: codec.NewEncoderBytes(nil, newHandle(maxFrame))}
}

// message encodes m into buf's storage. An append with more entries than a
// frame may have is cut: what is left is a valid append of its first entries.
func (e *encoder) message(buf []byte, m *core.Message) ([]byte, error) {
	e.entries = e.entries[:0]
	for i := range m.Entries[:min(len(m.Entries), MaxElements)] {
		x := &m.Entries[i]
		e.entries = append(e.entries, wireEntry{Index: x.Index, Term: x.Term, Kind: uint8(x.Kind), Data: x.Data})
	}
	e.wire = wireMessage{
		Kind: uint8(m.Kind), Term: m.Term,
		PrevTerm: m.Prev.Term, PrevIndex: m.Prev.Index,
		Commit: m.Commit, Round: m.Round, Reject: m.Reject, Match: m.Match,
		HintTerm: m.Hint.Term, HintIndex: m.Hint.Index,
		Campaign: uint8(m.Campaign), Snapshot: snapshotToWire(m.Snapshot),
		Offset: m.Offset, Data: m.Data, Done: m.Done,
		Token: m.Token, Index: m.Index, Voteless: m.Voteless,
		Config: m.Config, ByRound: m.ByRound, Full: m.Full,
	}
	if len(e.entries) > 0 {
		e.wire.Entries = e.entries
	}
	out := buf[:0]
	e.enc.ResetBytes(&out)
	err := e.enc.Encode(&e.wire)
	clear(e.entries) // let go of the payloads
	e.wire = wireMessage{}
	if err != nil {
		return nil, fmt.Errorf("encode message of kind %d: %w", m.Kind, err)
	}
	return out, nil
}

// decoder turns frame bodies into messages; it is not safe for concurrent use.
type decoder struct {
	dec *codec.Decoder
}

func newDecoder(maxFrame int) *decoder {
	return &decoder{dec: codec.NewDecoderBytes(nil, newHandle(maxFrame))}
}

// message decodes one frame body. The result shares no storage with body.
func (d *decoder) message(body []byte) (core.Message, error) {
	var w wireMessage
	if err := d.into(body, &w); err != nil {
		return core.Message{}, fmt.Errorf("decode message: %w", err)
	}
	if k := core.MessageKind(w.Kind); k < core.MsgPreVote || k > core.MsgReadIndexReply {
		return core.Message{}, fmt.Errorf("decode message: unknown kind %d", w.Kind)
	}
	m := core.Message{
		Kind: core.MessageKind(w.Kind), Term: w.Term,
		Prev:   core.EntryID{Term: w.PrevTerm, Index: w.PrevIndex},
		Commit: w.Commit, Round: w.Round, Reject: w.Reject, Match: w.Match,
		Hint:     core.EntryID{Term: w.HintTerm, Index: w.HintIndex},
		Campaign: core.CampaignKind(w.Campaign), Snapshot: snapshotFromWire(w.Snapshot),
		Offset: w.Offset, Data: w.Data, Done: w.Done,
		Token: w.Token, Index: w.Index, Voteless: w.Voteless,
		Config: w.Config, ByRound: w.ByRound, Full: w.Full,
	}
	if len(w.Entries) > 0 {
		m.Entries = make([]core.Entry, len(w.Entries))
		for i, x := range w.Entries {
			m.Entries[i] = core.Entry{Index: x.Index, Term: x.Term, Kind: core.EntryKind(x.Kind), Data: x.Data}
		}
	}
	return m, nil
}

// into decodes a whole body, checked for its bounds, into v.
func (d *decoder) into(body []byte, v any) error {
	if err := checkBounds(body); err != nil {
		return err
	}
	d.dec.ResetBytes(body)
	return d.dec.Decode(v)
}

func snapshotToWire(m *core.SnapshotMeta) *wireSnapshot {
	if m == nil {
		return nil
	}
	w := &wireSnapshot{
		Index: m.Index, Term: m.Term, ConfigIndex: m.ConfigIndex,
		ClusterID: m.Config.ClusterID, Size: m.Size, Checksum: m.Checksum,
		ElectionMin: int64(m.Config.Timing.ElectionMin),
		ElectionMax: int64(m.Config.Timing.ElectionMax),
		Heartbeat:   int64(m.Config.Timing.Heartbeat),
	}
	for _, s := range m.Config.Servers {
		w.Servers = append(w.Servers, wireServer{ID: string(s.ID), Addr: s.Addr, Suffrage: uint8(s.Suffrage)})
	}
	return w
}

func snapshotFromWire(w *wireSnapshot) *core.SnapshotMeta {
	if w == nil {
		return nil
	}
	m := &core.SnapshotMeta{
		Index: w.Index, Term: w.Term, ConfigIndex: w.ConfigIndex,
		Size: w.Size, Checksum: w.Checksum,
		Config: core.Configuration{ClusterID: w.ClusterID, Timing: core.Timing{
			ElectionMin: core.Duration(w.ElectionMin),
			ElectionMax: core.Duration(w.ElectionMax),
			Heartbeat:   core.Duration(w.Heartbeat),
		}},
	}
	for _, s := range w.Servers {
		m.Config.Servers = append(m.Config.Servers, core.Server{
			ID: core.ServerID(s.ID), Addr: s.Addr, Suffrage: core.Suffrage(s.Suffrage),
		})
	}
	return m
}
