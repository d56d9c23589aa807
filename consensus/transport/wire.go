package transport

import (
	"fmt"

	"github.com/hashicorp/go-msgpack/v2/codec"

	"muster/consensus/core"
)

// What follows mirrors doc.go, element by element. The order is the format:
// append, never insert.

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
	Log      uint64
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
	snapshot *codec.Encoder
}

func newEncoder(maxFrame int) *encoder {
	return &encoder{snapshot: codec.NewEncoderBytes(nil, newHandle(maxFrame))}
}

// message encodes m into buf's storage. An append with more entries than a
// frame may have is cut: what is left is a valid append of its first entries.
//
// Messages and entries are most of what a busy server encodes, and so are
// written and read element by element: by reflection a round takes two to three
// times as long.
func (e *encoder) message(buf []byte, m *core.Message) ([]byte, error) {
	snapshot := []byte{nilValue}
	if m.Snapshot != nil {
		e.snapshot.ResetBytes(&snapshot)
		if err := e.snapshot.Encode(snapshotToWire(m.Snapshot)); err != nil {
			return nil, fmt.Errorf("encode message of kind %d: %w", m.Kind, err)
		}
	}
	b := appendArray(buf[:0], messageElements)
	b = appendUint(b, uint64(m.Kind))
	b = appendUint(b, m.Term)
	b = appendUint(b, m.Prev.Term)
	b = appendUint(b, m.Prev.Index)
	b = appendEntries(b, m.Entries[:min(len(m.Entries), MaxElements)])
	b = appendUint(b, m.Commit)
	b = appendUint(b, m.Round)
	b = appendBool(b, m.Reject)
	b = appendUint(b, m.Match)
	b = appendUint(b, m.Hint.Term)
	b = appendUint(b, m.Hint.Index)
	b = appendUint(b, uint64(m.Campaign))
	b = append(b, snapshot...)
	b = appendUint(b, m.Offset)
	b = appendBytes(b, m.Data)
	b = appendBool(b, m.Done)
	b = appendUint(b, m.Token)
	b = appendUint(b, m.Index)
	b = appendBool(b, m.Voteless)
	b = appendUint(b, m.Config)
	b = appendBool(b, m.ByRound)
	b = appendBool(b, m.Full)
	b = appendUint(b, uint64(m.Log))
	b = appendUint(b, m.Acknowledged.Term)
	b = appendUint(b, m.Acknowledged.Index)
	return appendUint(b, uint64(m.AcknowledgedBy)), nil
}

const (
	messageElements = 26
	entryElements   = 4
)

func appendEntries(b []byte, es []core.Entry) []byte {
	if len(es) == 0 {
		return append(b, nilValue)
	}
	b = appendArray(b, len(es))
	for i := range es {
		b = appendArray(b, entryElements)
		b = appendUint(b, es[i].Index)
		b = appendUint(b, es[i].Term)
		b = appendUint(b, uint64(es[i].Kind))
		b = appendBytes(b, es[i].Data)
	}
	return b
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
	if err := checkBounds(body); err != nil {
		return core.Message{}, fmt.Errorf("decode message: %w", err)
	}
	c := &cursor{rest: body}
	f := c.array()
	m := core.Message{Kind: core.MessageKind(f.small()), Term: f.uint()}
	m.Prev = core.EntryID{Term: f.uint(), Index: f.uint()}
	m.Entries = f.entries()
	m.Commit, m.Round, m.Reject, m.Match = f.uint(), f.uint(), f.bool(), f.uint()
	m.Hint = core.EntryID{Term: f.uint(), Index: f.uint()}
	m.Campaign = core.CampaignKind(f.small())
	snapshot := f.raw()
	m.Offset, m.Data, m.Done = f.uint(), f.bytes(), f.bool()
	m.Token, m.Index, m.Voteless = f.uint(), f.uint(), f.bool()
	m.Config, m.ByRound, m.Full = f.uint(), f.bool(), f.bool()
	m.Log = core.Incarnation(f.uint())
	m.Acknowledged = core.EntryID{Term: f.uint(), Index: f.uint()}
	m.AcknowledgedBy = core.Incarnation(f.uint())
	f.end()
	if c.err == nil && len(snapshot) > 0 {
		m.Snapshot, c.err = d.snapshot(snapshot)
	}
	if c.err != nil {
		return core.Message{}, fmt.Errorf("decode message: %w", c.err)
	}
	if m.Kind < core.MsgPreVote || m.Kind > core.MsgReadIndexReply {
		return core.Message{}, fmt.Errorf("decode message: unknown kind %d", m.Kind)
	}
	return m, nil
}

// entries reads the entries of a message.
func (f *fields) entries() []core.Entry {
	if !f.next() {
		return nil
	}
	list := f.array()
	if list.left == 0 {
		return nil
	}
	es := make([]core.Entry, 0, list.left)
	for list.next() {
		e := f.array()
		es = append(es, core.Entry{Index: e.uint(), Term: e.uint(), Kind: core.EntryKind(e.small()), Data: e.bytes()})
		e.end()
	}
	return es
}

func (d *decoder) snapshot(body []byte) (*core.SnapshotMeta, error) {
	var w *wireSnapshot
	d.dec.ResetBytes(body)
	if err := d.dec.Decode(&w); err != nil {
		return nil, err
	}
	return snapshotFromWire(w), nil
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
		w.Servers = append(w.Servers, wireServer{ID: string(s.ID), Addr: s.Addr, Suffrage: uint8(s.Suffrage), Log: uint64(s.Log)})
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
			Log: core.Incarnation(s.Log),
		})
	}
	return m
}
