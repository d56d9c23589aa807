package docs_test

import (
	"context"
	"encoding/binary"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"

	"muster/consensus/core"
	"muster/consensus/transport"
)

// patience is how long a message may take.
const patience = 10 * time.Second

// tape is a stream whose dialer's and acceptor's bytes are kept.
type tape struct {
	net.Conn // the dialer's end

	mu   sync.Mutex
	sent []byte
	got  []byte
}

func (c *tape) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.sent = append(c.sent, p...) // before anybody can have heard it
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func (c *tape) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, p[:n]...)
	return n, err
}

func (c *tape) both() (sent, got []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent, c.got
}

// wire is two servers, a and b, and all streams that a opened to b.
type wire struct {
	a     *transport.Transport
	heard chan core.Message

	mu    sync.Mutex
	tapes []*tape
}

// newWire runs both servers until the test ends.
func newWire(t testing.TB) *wire {
	t.Helper()
	w := &wire{heard: make(chan core.Message)}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	start := func(id core.ServerID, dial func(context.Context, string) (net.Conn, error)) *transport.Transport {
		tr, err := transport.New(transport.Config{
			ID:        id,
			ClusterID: func() string { return clusterID },
			Resolve:   func(id core.ServerID) (string, bool) { return string(id), true },
			Dial:      dial,
			Handler: func(m core.Message) {
				select {
				case w.heard <- m:
				case <-ctx.Done():
				}
			},
		})
		must(t, err)
		running.Go(func() { tr.Run(ctx) })
		return tr
	}
	b := start("b", nil)
	w.a = start("a", func(context.Context, string) (net.Conn, error) {
		near, far := net.Pipe()
		running.Go(func() { b.Accept(far) })
		c := &tape{Conn: near}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.tapes = append(w.tapes, c)
		return c, nil
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return w
}

// send has a send m until b hears it, since both may yet be starting.
func (w *wire) send(t testing.TB, m core.Message) {
	t.Helper()
	late := time.After(patience)
	for {
		w.a.Send(m)
		select {
		case got := <-w.heard:
			if got.Kind == m.Kind {
				return
			}
		case <-time.After(20 * time.Millisecond):
		case <-late:
			t.Fatalf("message of kind %d does not arrive", m.Kind)
		}
	}
}

// streams are the bytes of all streams, of both directions, but for those that b
// ended without a reply because it was not yet running.
func (w *wire) streams() (sent, got [][]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.tapes {
		if s, g := c.both(); len(g) > 0 {
			sent, got = append(sent, s), append(got, g)
		}
	}
	return sent, got
}

// frame finds on the streams the first frame with a message of a kind.
func (w *wire) frame(t testing.TB, kind core.MessageKind) []byte {
	t.Helper()
	sent, _ := w.streams()
	for _, s := range sent {
		at := 5 + int(binary.BigEndian.Uint32(s[1:])) // behind the hello
		for at+4 <= len(s) {
			n := int(binary.BigEndian.Uint32(s[at:]))
			if body := s[at+4:]; len(body) >= n && len(elements(t, body[:n])) > 0 && elements(t, body[:n])[0][0] == byte(kind) {
				return s[at : at+4+n]
			}
			at += 4 + n
		}
	}
	t.Fatalf("no message of kind %d was sent", kind)
	return nil
}

// elements are the elements of a msgpack array, as they are encoded.
func elements(t testing.TB, array []byte) []codec.Raw {
	t.Helper()
	h := &codec.MsgpackHandle{WriteExt: true}
	h.Raw = true
	var all []codec.Raw
	must(t, codec.NewDecoderBytes(array, h).Decode(&all))
	for i := range all {
		if len(all[i]) == 0 {
			all[i] = codec.Raw{0xc0} // nil, which the library gives as nothing
		}
	}
	return all
}

// array shows a msgpack array, element by element. A nested array has an element
// of inner.
func (b *table) array(t testing.TB, what string, names []string, inner map[string][]string) {
	t.Helper()
	all := elements(t, b.all[b.at:])
	if len(all) != len(names) {
		t.Fatalf("%s has %d elements, %d are named", what, len(all), len(names))
	}
	head := 1
	if len(all) > 15 {
		head = 3
	}
	b.field(t, head, "%s: array of %d", what, len(all))
	for i, e := range all {
		switch nested := inner[names[i]]; {
		case nested == nil || e[0] == 0xc0:
			b.field(t, len(e), "%s", names[i])
		case len(nested) == 1: // a list of arrays
			list := elements(t, e)
			b.field(t, 1, "%s: array of %d", names[i], len(list))
			for range list {
				b.array(t, nested[0], inner[nested[0]], inner)
			}
		default:
			b.array(t, names[i], nested, inner)
		}
	}
}

var (
	helloFields = []string{"protocol 1", "cluster", "from", "to", "role", "lane"}
	replyFields = []string{"protocol 1", "cluster", "id of the acceptor", "code", "text"}
	// messageFields are those of a message in their order.
	messageFields = []string{
		"kind", "term", "prevTerm", "prevIndex", "entries", "commit", "round", "reject", "match", "hintTerm", "hintIndex",
		"campaign", "snapshot", "offset", "data", "done", "token", "index", "voteless", "config", "byRound", "full", "log",
		"ackTerm", "ackIndex", "ackLog",
	}
	messageParts = map[string][]string{
		"entries":  {"entry"},
		"entry":    {"index", "term", "kind", "data"},
		"snapshot": {"index", "term", "configIndex", "cluster", "servers", "size", "checksum", "electionMin", "electionMax", "heartbeat"},
		"servers":  {"server"},
		"server":   {"id", "addr", "suffrage", "log"},
	}
)

func streamExamples(t testing.TB, made map[string]*table) {
	const log = 0x1122334455667788
	w := newWire(t)
	w.send(t, core.Message{Kind: core.MsgVote, To: "b", Term: 4, Log: log, Prev: core.EntryID{Term: 3, Index: 300}, Campaign: core.CampaignTimeout})
	w.send(t, core.Message{Kind: core.MsgHeartbeat, To: "b", Term: 4, Log: log, Prev: core.EntryID{Term: 4, Index: 301}, Commit: 301,
		Acknowledged: core.EntryID{Term: 4, Index: 300}, AcknowledgedBy: log})
	w.send(t, core.Message{
		Kind: core.MsgAppend, To: "b", Term: 4, Log: log, Prev: core.EntryID{Term: 3, Index: 300}, Commit: 300, Round: 17,
		Entries: []core.Entry{{Index: 301, Term: 4, Kind: core.EntryCommand, Data: []byte("hello")}},
	})
	w.send(t, core.Message{
		Kind: core.MsgSnapshot, To: "b", Term: 4, Log: log, Offset: 0, Data: []byte("hello"), Done: true,
		Snapshot: &core.SnapshotMeta{Index: 300, Term: 3, Config: oneServer(), ConfigIndex: 1, Size: 5, Checksum: 0x89},
	})
	sent, got := w.streams()
	hello := sent[0][:5+binary.BigEndian.Uint32(sent[0][1:])]
	b := newTable(hello)
	b.field(t, 1, "first byte of every Raft stream")
	b.field(t, 4, "length of the hello")
	b.array(t, "hello", helloFields, nil)
	made["hello"] = b
	made["reply"] = reply(t, got[0])
	for name, kind := range map[string]core.MessageKind{
		"vote-request": core.MsgVote, "commit-notice": core.MsgHeartbeat, "append": core.MsgAppend, "snapshot-chunk": core.MsgSnapshot,
	} {
		b := newTable(w.frame(t, kind))
		b.field(t, 4, "length of the message")
		b.array(t, "message", messageFields, messageParts)
		made[name] = b
	}
}

func reply(t testing.TB, bytes []byte) *table {
	t.Helper()
	b := newTable(bytes)
	b.field(t, 4, "length of the reply")
	b.array(t, "reply", replyFields, nil)
	return b
}
