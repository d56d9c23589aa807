package core

import "fmt"

// A follower that needs entries the leader has compacted gets the leader's
// snapshot, in chunks. The leader names snapshot and offset, its driver reads
// the bytes; the follower's driver writes them and says from where it wants
// more, which after a restart may be in the middle. One chunk is under way at a
// time, and any chunk may be lost or come twice.

// maxUnanswered is how many chunks in a row may go unanswered before the leader
// turns to a newer snapshot: the old one may be gone from its disk. Fewer would
// let a lossy network start the transfer over and over.
const maxUnanswered = 5

// startSnapshot begins to send the newest snapshot.
func (c *Core) startSnapshot(pr *progress) {
	if c.snapshot.Index < c.log.base.Index {
		panic(fmt.Sprintf("core: log begins after index %d but the newest snapshot ends at %d", c.log.base.Index, c.snapshot.Index))
	}
	pr.stopWaiting()
	pr.state = SendingSnapshot
	meta := c.snapshot
	pr.snapshot = &meta
	c.sendChunk(pr)
}

// sendChunk asks the driver to send the chunk at offset.
func (c *Core) sendChunk(pr *progress) {
	if pr.unanswered >= maxUnanswered && c.snapshot.Index > pr.snapshot.Index {
		c.startSnapshot(pr)
		return
	}
	pr.unanswered++
	pr.waiting = true
	pr.repeatAt = c.now.Add(c.timing().ElectionMax)
	c.sendReminded(pr, Message{Kind: MsgSnapshot, Snapshot: pr.snapshot, Offset: pr.offset})
}

// handleSnapshotReply moves on to the chunk the follower wants, or, when it has
// installed the snapshot, back to probing, right after it.
func (c *Core) handleSnapshotReply(m Message) {
	if c.lead == nil || m.Snapshot == nil {
		return
	}
	pr := c.lead.find(m.From)
	if pr == nil || pr.state != SendingSnapshot ||
		m.Snapshot.Index != pr.snapshot.Index || m.Snapshot.Term != pr.snapshot.Term {
		return
	}
	pr.heard = c.now
	pr.unanswered = 0
	switch {
	case m.Done:
		pr.probe(m.Snapshot.Index + 1)
	case m.Reject:
		pr.offset = m.Offset // and wait: it would only fail again at once
	case m.Offset != pr.offset:
		pr.offset = m.Offset
		pr.waiting = false
	}
}

// incomingChunk is a chunk that the driver has been given and has not answered.
type incomingChunk struct {
	meta SnapshotMeta
	last bool // the driver verifies and installs; the log is on its way out
}

// installing says that the driver is replacing log and state by a snapshot. Until
// it has answered, this server appends nothing and does not stand for election.
func (c *Core) installing() bool { return c.incoming != nil && c.incoming.last }

// handleSnapshot takes one chunk. Where the log already holds the snapshot's last
// entry there is nothing to install: log and state are kept.
func (c *Core) handleSnapshot(m Message) {
	if m.Snapshot == nil || m.Snapshot.Index == 0 || m.Snapshot.Term > m.Term {
		c.fault("snapshot from %q refused: it has no valid description", m.From)
		return
	}
	meta := *m.Snapshot
	if err := meta.Config.Validate(); err != nil {
		c.fault("snapshot at index %d from %q refused: its configuration: %w", meta.Index, m.From, err)
		return
	}
	if !c.hearLeader(m) {
		return
	}
	held := meta.Index <= c.commit || c.log.matches(EntryID{Term: meta.Term, Index: meta.Index})
	switch {
	case c.incoming != nil: // the leader will repeat what is dropped here
	case held:
		c.commitTo(meta.Index)
		c.answerSnapshot(meta, Message{Done: true})
	default:
		c.incoming = &incomingChunk{meta: meta, last: m.Done}
		c.out.Chunk = &SnapshotChunk{Meta: meta, Offset: m.Offset, Data: m.Data, Last: m.Done}
	}
}

// answerSnapshot tells the leader, whoever that is by now, how far a snapshot is.
func (c *Core) answerSnapshot(meta SnapshotMeta, reply Message) {
	if c.leader == "" {
		return
	}
	reply.Kind, reply.To, reply.Snapshot = MsgSnapshotReply, c.leader, &meta
	c.send(reply)
}

// takeIncoming ends the chunk that the driver was busy with.
func (c *Core) takeIncoming(meta SnapshotMeta) {
	if c.incoming == nil || c.incoming.meta.Index != meta.Index || c.incoming.meta.Term != meta.Term {
		panic(fmt.Sprintf("core: answer for the snapshot (%d, %d), which the driver was not given", meta.Term, meta.Index))
	}
	c.incoming = nil
}

// ChunkWritten answers a Chunk: the receiver wants the byte at next.
func (c *Core) ChunkWritten(now Instant, meta SnapshotMeta, next uint64) {
	c.advance(now)
	c.takeIncoming(meta)
	c.answerSnapshot(meta, Message{Offset: next})
}

// SnapshotFailed answers a Chunk that could not be written, or a snapshot that
// proved damaged: the leader is to start again.
func (c *Core) SnapshotFailed(now Instant, meta SnapshotMeta) {
	c.advance(now)
	c.takeIncoming(meta)
	c.answerSnapshot(meta, Message{Reject: true})
}

// SnapshotInstalled answers the last Chunk: the snapshot is durable, the state
// machine holds it, and the whole log on disk was dropped, so that the next entry
// is meta.Index+1. (A log that holds the snapshot's last entry never gets here;
// any other is in conflict with it, or ends before it.)
func (c *Core) SnapshotInstalled(now Instant, meta SnapshotMeta) {
	c.advance(now)
	c.takeIncoming(meta)
	c.log.reset(EntryID{Term: meta.Term, Index: meta.Index})
	for i := range c.writes {
		c.writes[i].first = 0
	}
	c.snapshot = meta
	c.configs = []placedConfig{{index: meta.ConfigIndex, config: meta.Config}}
	c.commitTo(meta.Index)
	c.answerSnapshot(meta, Message{Done: true})
}
