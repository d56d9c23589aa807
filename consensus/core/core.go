package core

import (
	"errors"
	"fmt"
	"slices"
)

// Core is one server's share of Raft; see the package comment. Its fields are
// grouped by how long they live.
type Core struct {
	cfg Config
	now Instant // newest Instant of any input; never goes back

	// What the disk holds, or is about to.
	hard        HardState // Commit is unused here; commit below is what counts
	log         raftLog
	snapshot    SnapshotMeta   // newest local snapshot
	configs     []placedConfig // configurations still in reach, ascending; the last one counts
	commit      uint64         // highest index known committed; never goes back
	incarnation Incarnation    // of the log
	voteless    votelessState  // after a start from a log that may have lost entries
	incoming    *incomingChunk // snapshot chunk the driver is busy with
	disk        DiskState
	notice      notice    // of the commit index, that came before its entries
	durable     HardState // newest HardState that Written confirmed
	emitted     HardState // newest HardState in an Output
	writes      []write   // asked for, not confirmed, ascending

	// What a server believes in its current role and term.
	role    Role
	leader  ServerID // "" where unknown
	ballots map[ServerID]bool
	lead    *leadership // non-nil exactly while role is Leader
	asked   askedReads  // reads put to the leader

	electionDeadline Instant
	waited           bool // the election timeout was prolonged; see late.go
	// loyalUntil ends the time in which this server refuses its vote because it
	// has heard a leader, or may have heard one just before it was restarted.
	loyalUntil Instant

	// Output under construction, and what the last one showed.
	out         Output
	seq         uint64
	shown       face
	shownCommit uint64
	commitDueAt Instant
	readToken   uint64
}

// face is what Output.Changed watches.
type face struct {
	role        Role
	term        uint64
	leader      ServerID
	configIndex uint64
	voteless    bool
	otherLogs   int
}

func (c *Core) face() face {
	otherLogs := 0
	if c.lead != nil {
		otherLogs = c.lead.otherLogs()
	}
	return face{c.role, c.hard.Term, c.leader, c.configIndex(), c.voteless.on, otherLogs}
}

// New makes the Core of a server that found r on its disk. It starts as a
// follower that knows no leader.
func New(cfg Config, r Restored, now Instant) (*Core, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	log, err := restoreLog(r)
	if err != nil {
		return nil, fmt.Errorf("restore raft state: %w", err)
	}
	configs, err := restoreConfigs(r)
	if err != nil {
		return nil, fmt.Errorf("restore raft state: %w", err)
	}
	hard := r.HardState
	if hard.Term < r.Snapshot.Term {
		// A snapshot from the leader was installed before the leader's term was
		// written. No vote of that term can have left this server.
		hard = HardState{Term: r.Snapshot.Term, Commit: hard.Commit}
	}
	if last := log.lastID(); last.Term > hard.Term {
		return nil, fmt.Errorf("restore raft state: the log ends in term %d but the hard state knows only term %d", last.Term, hard.Term)
	}
	c := &Core{
		cfg: cfg, now: now,
		hard: hard, durable: r.HardState, emitted: r.HardState,
		log: log, snapshot: r.Snapshot, configs: configs,
		commit:      max(min(hard.Commit, log.last), r.Snapshot.Index),
		incarnation: r.Log,
		voteless:    votelessState{on: r.Voteless},
		readToken:   cfg.Rand(1 << 62),
	}
	c.loyalUntil = now
	if !c.blank() {
		// It may have heard a leader, who counts on its loyalty, the moment
		// before it stopped.
		c.loyalUntil = now.Add(c.timing().ElectionMin)
	}
	c.resetElectionTimer()
	c.hurryIfAlone()
	return c, nil
}

// blank says that this server never had any Raft state.
func (c *Core) blank() bool { return c.hard.Term == 0 && c.log.last == 0 }

// Bootstrap writes the first configuration, as the entry (1, 1), on a server
// that has neither log nor snapshot. It must be called on one server of the
// cluster only, or with the same Configuration on each: then it is as if the
// entry had come from a leader. So the server may know a term by now, and have
// voted in it.
func (c *Core) Bootstrap(now Instant, cfg Configuration) error {
	c.advance(now)
	if c.log.last > 0 || c.voteless.on || c.installing() {
		return fmt.Errorf("%w: term %d, last index %d", ErrAlreadyBootstrapped, c.hard.Term, c.log.last)
	}
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	if own, _ := cfg.Find(c.cfg.ID); !own.holds(c.incarnation) {
		return fmt.Errorf("bootstrap: %w: %q, with log %x, is not a voter of the first configuration", ErrUnknownServer, c.cfg.ID, c.incarnation)
	}
	c.hard.Term = max(c.hard.Term, 1)
	c.log.append(Entry{Index: 1, Term: 1, Kind: EntryConfig, Data: EncodeConfiguration(cfg)})
	c.configs = append(c.configs, placedConfig{index: 1, config: cfg})
	c.hurryIfAlone()
	return nil
}

// Tick tells the Core what time it is. The driver calls it at or after
// Deadline; an earlier or an additional call does no harm.
func (c *Core) Tick(now Instant) {
	c.advance(now)
	if c.lead != nil {
		c.tickLeader()
		return
	}
	if c.now >= c.electionDeadline && !c.waitOnceMore() {
		c.electionTimeout()
	}
	c.retryReads()
}

// Deadline is the Instant at which the next Tick is wanted.
func (c *Core) Deadline() Instant {
	if c.lead != nil {
		return c.leaderDeadline()
	}
	if c.asked.outstanding {
		return min(c.electionDeadline, c.asked.retryAt)
	}
	return c.electionDeadline
}

// advance moves the clock, and comes before anything else an input does: a
// process that was suspended must not act on a leadership that has run out.
func (c *Core) advance(now Instant) {
	c.now = max(c.now, now)
	if c.lead == nil {
		return
	}
	c.excuseLateness()
	if c.now >= c.quorumDeadline() {
		c.becomeFollower(c.hard.Term, "")
	}
}

// Receive takes a message of another server. Messages may come late, twice, in
// any order, or from servers that are no members any more.
func (c *Core) Receive(now Instant, m Message) {
	c.advance(now)
	if m.To != c.cfg.ID || m.From == "" || m.From == c.cfg.ID {
		return
	}
	switch {
	case m.Term < c.hard.Term:
		c.answerStale(m)
		return
	case m.Term > c.hard.Term && !c.adoptTerm(m):
		return
	}
	switch m.Kind {
	case MsgPreVote:
		c.handlePreVote(m)
	case MsgPreVoteReply:
		c.handlePreVoteReply(m)
	case MsgVote:
		c.handleVote(m)
	case MsgVoteReply:
		c.handleVoteReply(m)
	case MsgAppend:
		c.handleAppend(m)
	case MsgAppendReply:
		c.handleAppendReply(m)
	case MsgHeartbeat:
		c.handleHeartbeat(m)
	case MsgHeartbeatReply:
		c.handleHeartbeatReply(m)
	case MsgSnapshot:
		c.handleSnapshot(m)
	case MsgSnapshotReply:
		c.handleSnapshotReply(m)
	case MsgTimeoutNow:
		c.handleTimeoutNow(m)
	case MsgReadIndex:
		c.handleReadIndex(m)
	case MsgReadIndexReply:
		c.handleReadIndexReply(m)
	}
}

// adoptTerm deals with the later term of a message: this server usually enters
// it as a follower. It reports whether the message is to be handled further.
func (c *Core) adoptTerm(m Message) bool {
	switch m.Kind {
	case MsgPreVote:
		return true // asks about a term that nobody has entered
	case MsgPreVoteReply:
		if !m.Reject {
			return true // grants that term
		}
	case MsgVote:
		if c.loyal() && m.Campaign != CampaignTransfer {
			return false // a server cut off or removed must not depose a leader that is heard
		}
	case MsgAppend, MsgHeartbeat, MsgSnapshot, MsgTimeoutNow:
		c.becomeFollower(m.Term, m.From)
		return true
	}
	if c.lead != nil && m.Kind != MsgVote && c.lead.find(m.From) == nil {
		return false // only members have a say
	}
	c.becomeFollower(m.Term, "")
	return true
}

// answerStale tells a sender that its term is over. Other late messages have no
// meaning any more.
func (c *Core) answerStale(m Message) {
	reply := Message{To: m.From, Reject: true}
	switch m.Kind {
	case MsgPreVote:
		reply.Kind = MsgPreVoteReply
	case MsgVote:
		reply.Kind = MsgVoteReply
	case MsgAppend:
		reply.Kind = MsgAppendReply
	case MsgHeartbeat:
		reply.Kind = MsgHeartbeatReply
	case MsgSnapshot:
		reply.Kind = MsgSnapshotReply
	default:
		return
	}
	c.send(reply)
}

// flush forms the messages that are put off to the end of a turn, so that one
// message serves all inputs of the turn.
func (c *Core) flush() {
	if c.lead != nil {
		c.startReads()
		c.pushTransfer()
		for _, pr := range c.lead.progress {
			c.feed(pr)
		}
		return
	}
	c.askReads()
}

// fault reports that a message cannot be true together with what is known here.
func (c *Core) fault(format string, args ...any) {
	c.out.Fault = errors.Join(c.out.Fault, fmt.Errorf(format, args...))
}

// commitTo raises the commit index.
func (c *Core) commitTo(index uint64) {
	if index <= c.commit {
		return
	}
	if index > c.log.last {
		panic(fmt.Sprintf("core: commit index %d beyond the log's last index %d", index, c.log.last))
	}
	c.commit = index
	c.endVoteless()
}

// Compacted tells the Core that the driver took a snapshot of the applied state
// and that the log on disk now begins at first, which is at most meta.Index+1.
// The writes of everything before first must have been reported as Written.
func (c *Core) Compacted(meta SnapshotMeta, first uint64) {
	if meta.Index > c.commit || first > meta.Index+1 {
		panic(fmt.Sprintf("core: snapshot at index %d with a log from %d, while commit is %d", meta.Index, first, c.commit))
	}
	if meta.Index > c.snapshot.Index {
		c.snapshot = meta
	}
	c.log.compact(first)
	c.forgetConfigsBefore(c.log.base.Index)
}

// Term gives the term of the entry at index, where that is still known.
func (c *Core) Term(index uint64) (term uint64, ok bool) {
	if index == c.snapshot.Index && index > 0 {
		return c.snapshot.Term, true
	}
	return c.log.term(index)
}

// Status copies what people and metrics want to know.
func (c *Core) Status() Status {
	last := c.log.lastID()
	s := Status{
		ID: c.cfg.ID, Role: c.role, Term: c.hard.Term, Vote: c.hard.Vote, Leader: c.leader,
		Commit: c.commit, LastIndex: last.Index, LastTerm: last.Term,
		FirstIndex: c.log.base.Index + 1, Durable: c.log.durable,
		Config:      Configuration{ClusterID: c.config().ClusterID, Servers: slices.Clone(c.config().Servers), Timing: c.timing()},
		ConfigIndex: c.configIndex(),
		LastContact: c.asked.leaderHeard,
		Deadline:    c.Deadline(),
		Voteless:    c.voteless.on,
		Incarnation: c.incarnation,
	}
	if c.lead == nil {
		return s
	}
	s.LastContact = c.quorumContact()
	if c.lead.transfer != nil {
		s.Transfer = c.lead.transfer.to
	}
	for _, pr := range c.lead.progress {
		s.Progress = append(s.Progress, c.progressOf(pr))
	}
	return s
}
