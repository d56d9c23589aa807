package core_test

import (
	"testing"

	"muster/consensus/core"
)

// FuzzReceive feeds a Core messages that nobody sane would send, in any state: it
// may refuse them, but must neither panic nor move its commit index back.
func FuzzReceive(f *testing.F) {
	f.Add([]byte{1, 2, 3})
	f.Add([]byte("vote append heartbeat snapshot transfer read, over and over again, in every term"))
	for kind := byte(1); kind <= 13; kind++ {
		f.Add([]byte{200, kind, 0, 2, 1, 1, 2, 3, 1, 0, 1, 2, 201, kind, 1, 3, 0, 2, 1, 0, 2, 1, 1, 0})
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in := &fuzzInput{data: data}
		c, err := core.New(core.Config{ID: "a", Rand: func(n uint64) uint64 { return uint64(in.byte()) % n }}, voters("a", "b", "c"), 0)
		if err != nil {
			t.Fatal(err)
		}
		var now core.Instant
		log := diskLog{entries: voters("a", "b", "c").Configs}
		commit := uint64(0)
		for len(in.data) > 0 {
			switch op := in.byte(); {
			case op < 30:
				now = now.Add(core.Duration(op) * 10 * ms)
				c.Tick(now)
			case op < 40:
				c.Propose(now, []core.Proposal{{Token: uint64(op), Data: []byte("x")}})
			case op < 45:
				c.ReadIndex(now, uint64(op), core.ReadKind(op%2))
			case op < 50:
				c.Change(now, 1, core.Change{Kind: core.ChangeKind(in.byte() % 7), ID: in.server(), Addr: "x"})
			case op < 53:
				c.Transfer(now, 1, in.server())
			default:
				c.Receive(now, in.message())
			}
			out := c.Output()
			log.write(out.Entries)
			c.Written(now, core.Written{Seq: out.Seq, Last: log.lastID()})
			if out.Chunk != nil && out.Chunk.Last {
				log = diskLog{base: core.EntryID{Term: out.Chunk.Meta.Term, Index: out.Chunk.Meta.Index}}
				c.SnapshotInstalled(now, out.Chunk.Meta)
			} else if out.Chunk != nil {
				c.ChunkWritten(now, out.Chunk.Meta, out.Chunk.Offset+1)
			}
			if out.Commit < commit {
				t.Fatalf("commit index moved back from %d to %d", commit, out.Commit)
			}
			commit = out.Commit
		}
	})
}

// fuzzInput makes small numbers, servers and messages of bytes.
type fuzzInput struct{ data []byte }

func (in *fuzzInput) byte() byte {
	if len(in.data) == 0 {
		return 0
	}
	b := in.data[0]
	in.data = in.data[1:]
	return b
}

// number is mostly small, now and then as large as can be.
func (in *fuzzInput) number() uint64 {
	switch b := in.byte(); b {
	case 255:
		return 1<<64 - 1
	default:
		return uint64(b % 16)
	}
}

func (in *fuzzInput) server() core.ServerID {
	return []core.ServerID{"a", "b", "c", "x", ""}[in.byte()%5]
}

func (in *fuzzInput) id() core.EntryID {
	return core.EntryID{Term: in.number(), Index: in.number()}
}

func (in *fuzzInput) message() core.Message {
	m := core.Message{
		Kind: core.MessageKind(in.byte() % 16), From: in.server(), To: "a", Term: in.number(),
		Prev: in.id(), Commit: in.number(), Round: in.number(), Token: in.number(), Index: in.number(),
	}
	flags := in.byte()
	m.Reject, m.Done, m.Voteless = flags&1 != 0, flags&2 != 0, flags&4 != 0
	m.Match, m.Hint, m.Offset, m.Config = in.number(), in.id(), in.number(), in.number()
	m.Campaign = core.CampaignKind(flags >> 3 & 1)
	if flags&16 != 0 {
		m.Snapshot = &core.SnapshotMeta{Index: in.number(), Term: in.number(), Config: configurationOf("a", "b")}
	}
	next := m.Prev.Index
	for range in.byte() % 4 {
		next++
		e := core.Entry{Index: next, Term: min(in.number(), m.Term), Kind: core.EntryKind(in.byte() % 5)}
		if e.Kind == core.EntryConfig {
			e.Data = core.EncodeConfiguration(configurationOf("a", in.server()))
		}
		m.Entries = append(m.Entries, e)
	}
	return m
}
