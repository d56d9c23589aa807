package core

// progress is what a leader knows of one other server, and how it feeds it.
//
//	          probe agreed                 base of the log is past next
//	Probe ------------------> Replicate ---------------------------------+
//	  ^  \                        |                                      v
//	  |   \-- refused: go back    | refused, or silent for a timeout   SendingSnapshot
//	  +---------------------------+                                      |
//	  +------------------------ installed -------------------------------+
//
// Invariant: match < next. match only ever holds what the server itself proved
// equal and durable; next is a guess.
type progress struct {
	id    ServerID
	log   Incarnation // that match is about; 0 before its first reply
	other Incarnation // of a voter that answers with another log than its own
	match uint64
	next  uint64
	state ProgressState

	// waiting: nothing is sent until an answer comes. In Probe, for the one
	// probe under way; in Replicate, for entries the driver reads from disk (how
	// many it sends is not known here); in SendingSnapshot, for the chunk.
	waiting bool
	// repeatAt is when an unanswered disk read or chunk is asked for again.
	repeatAt Instant

	inflight      []inflightAppend // ascending; Replicate only
	inflightBytes int
	// toldCommit is the commit index this server was last told of.
	toldCommit uint64

	snapshot   *SnapshotMeta // SendingSnapshot: the one under way
	offset     uint64        // next byte of it the server wants
	unanswered int           // chunks sent since one was answered

	// stalled: nothing was acknowledged between two heartbeats although
	// something is missing, so a message may have been lost.
	stalled     bool
	matchAtBeat uint64

	// since is the first round this server took part in as this member; what it
	// said in an earlier membership does not count.
	since uint64
	round uint64 // newest round it answered
	// contact is when the newest round it answered was sent.
	contact Instant
	// pledged is when the newest round was sent that it answered with a promise
	// under the leader's configuration; 0 for none (lease.go).
	pledged Instant
	heard   Instant // when its last reply came
	// moved is when match last grew, or was last seen to have no need to.
	moved Instant

	// full: it has no room for commands, so it gets one entry at a time.
	full bool
	// voteless: its log may lack entries that it acknowledged before.
	voteless bool

	catchUp catchUp
}

// inflightAppend is an Append that has not been acknowledged.
type inflightAppend struct {
	last  uint64
	bytes int
}

// probe goes back to looking for the last entry the logs share, starting with
// the one before next.
func (p *progress) probe(next uint64) {
	p.state = Probe
	p.next = max(next, p.match+1)
	p.stopWaiting()
}

// replicate starts pipelining after match.
func (p *progress) replicate() {
	p.state = Replicate
	p.next = p.match + 1
	p.stopWaiting()
}

func (p *progress) stopWaiting() {
	p.waiting = false
	p.inflight, p.inflightBytes = nil, 0
	p.toldCommit = 0
	p.snapshot, p.offset, p.unanswered = nil, 0, 0
}

// sent notes an Append up to last.
func (p *progress) sent(last uint64, bytes int) {
	p.next = last + 1
	p.inflight = append(p.inflight, inflightAppend{last: last, bytes: bytes})
	p.inflightBytes += bytes
}

// acknowledged frees what an Append reply covers.
func (p *progress) acknowledged(match uint64) {
	n := 0
	for n < len(p.inflight) && p.inflight[n].last <= match {
		p.inflightBytes -= p.inflight[n].bytes
		n++
	}
	p.inflight = p.inflight[n:]
}

// beat is called at each heartbeat.
func (p *progress) beat(last uint64, now Instant) {
	p.stalled = p.match == p.matchAtBeat && p.match < last
	if p.match >= last || p.match > p.matchAtBeat {
		p.moved = now
	}
	p.matchAtBeat = p.match
}

// saturated says whether the limits for unacknowledged messages are reached.
func (p *progress) saturated(cfg *Config) bool {
	return p.full && len(p.inflight) > 0 || len(p.inflight) >= cfg.MaxInflight || p.inflightBytes >= cfg.MaxInflightBytes
}

// catchUp measures whether a server keeps up (dissertation §4.2.1): replication
// is cut into stretches, each up to what was the end of the leader's log when
// the stretch began. A server that finished its last stretch within an election
// timeout would not hold up commits for longer than that.
type catchUp struct {
	target  uint64
	started Instant
	quick   bool // the last stretch took less than the limit
}

// advance notes that the server, which matched up to was, now matches up to match
// while the log ends at last.
func (u *catchUp) advance(was, match, last uint64, now Instant, limit Duration) {
	if match < u.target {
		return
	}
	u.quick = now.Sub(u.started) < limit || was >= u.target
	u.target, u.started = last, now
}

// done says whether the server may become a voter: it was quick, and still is.
func (u *catchUp) done(match uint64, now Instant, limit Duration) bool {
	return u.quick && (match >= u.target || now.Sub(u.started) < limit)
}

// progressOf is what Status shows of pr.
func (c *Core) progressOf(pr *progress) Progress {
	term, _ := c.log.term(pr.match)
	p := Progress{
		ID: pr.id, Match: pr.match, MatchTerm: term, Next: pr.next, State: pr.state,
		Inflight: len(pr.inflight), InflightBytes: pr.inflightBytes, LastContact: pr.heard, Full: pr.full,
		Log: pr.log, OtherLog: pr.other, Voteless: pr.voteless, CaughtUp: c.caughtUp(pr.id),
	}
	if patience := c.timing().ElectionMax; pr.match < c.log.last && c.now.Sub(pr.heard) < patience && c.now.Sub(pr.moved) >= patience {
		p.StuckSince = pr.moved
	}
	return p
}
