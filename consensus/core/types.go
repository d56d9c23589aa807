package core

// ServerID names a server for good: the agent's node ID (a UUID). An address is
// not an identity; it may change while the ID stays.
type ServerID string

// Instant is a reading of a monotonic clock in nanoseconds, with an origin of
// the driver's choosing. Instants are compared and subtracted, never shown.
type Instant int64

// Duration is a span between two Instants, in nanoseconds. It converts to and
// from time.Duration, which the core may not import.
type Duration int64

// Add gives the Instant d after t.
func (t Instant) Add(d Duration) Instant { return t + Instant(d) }

// Never is later than any Instant a clock reads.
const Never Instant = 1<<63 - 1

// Sub gives the time that passed from u to t.
func (t Instant) Sub(u Instant) Duration { return Duration(t - u) }

// EntryKind says who gives a log entry its meaning.
type EntryKind uint8

// The kinds of log entries. The numbers are part of the disk and wire formats.
const (
	EntryNoop    EntryKind = 1 // opens a leader's term; no payload
	EntryCommand EntryKind = 2 // payload belongs to the state machine
	EntryConfig  EntryKind = 3 // payload is an encoded Configuration
)

// Entry is one record of the replicated log. An Entry and its Data are
// immutable once they have been given to, or come from, a Core.
type Entry struct {
	Index uint64
	Term  uint64
	Kind  EntryKind
	Data  []byte
}

// EntryID is the logical timestamp of an entry, (term, index). Two logs that
// hold the same EntryID are equal up to it (dissertation §3.5).
type EntryID struct {
	Term  uint64
	Index uint64
}

// HardState is what a server must remember across a restart besides its log.
// Term and Vote are one record: they are written and found together or not at
// all (property 2). Commit is advice; it is carried along with other writes and
// never forces one.
type HardState struct {
	Term   uint64
	Vote   ServerID
	Commit uint64
}

// Suffrage says whether a server counts in majorities.
type Suffrage uint8

// The values of Suffrage. The numbers are part of the disk and wire formats.
const (
	Learner Suffrage = 1 // receives the log, counts in no majority
	Voter   Suffrage = 2
)

// Incarnation tells one log from every other, also from an earlier log of the
// same server: a random number that a log gets when it is begun and keeps as long
// as its disk does. 0 is that of no log in particular.
type Incarnation uint64

// Server is one row of a Configuration.
type Server struct {
	ID       ServerID
	Addr     string // cluster address, host:port, as last announced
	Suffrage Suffrage
	// Log is whose word counts as this voter's. A server that comes back without
	// its disk, or with another's, has another log: it is no voter, whatever its
	// ID, until it was made a learner and promoted anew. 0 on learners; on a
	// voter 0 lets any log pass.
	Log Incarnation `json:",omitzero"`
}

// holds says whether log is the one that the row's vote belongs to.
func (s Server) holds(log Incarnation) bool {
	return s.Suffrage == Voter && (s.Log == 0 || s.Log == log)
}

// Configuration is the membership of the cluster, itself replicated as an
// EntryConfig. The latest one in the log counts, committed or not
// (dissertation §4.1).
type Configuration struct {
	// ClusterID is random, made once at bootstrap; two clusters never share it.
	ClusterID string
	// Servers is sorted by ID, without doubles.
	Servers []Server
	// Timing is what all of them go by; zero stands for DefaultTiming.
	Timing Timing `json:",omitzero"`
}

// SnapshotMeta describes a snapshot of the state machine: the state after
// applying every entry up to and including (Term, Index).
type SnapshotMeta struct {
	Index       uint64
	Term        uint64
	Config      Configuration // in force at Index
	ConfigIndex uint64        // log index of Config
	Size        uint64        // bytes of the snapshot file
	Checksum    uint64        // CRC-64/ECMA over those bytes
}

// MessageKind tells Messages apart.
type MessageKind uint8

// The kinds of messages. The numbers are part of the wire format.
const (
	MsgPreVote        MessageKind = 1
	MsgPreVoteReply   MessageKind = 2
	MsgVote           MessageKind = 3
	MsgVoteReply      MessageKind = 4
	MsgAppend         MessageKind = 5
	MsgAppendReply    MessageKind = 6
	MsgHeartbeat      MessageKind = 7
	MsgHeartbeatReply MessageKind = 8
	MsgSnapshot       MessageKind = 9  // one chunk
	MsgSnapshotReply  MessageKind = 10 // acknowledges chunks up to Offset
	MsgTimeoutNow     MessageKind = 11 // leader to its chosen successor
	MsgReadIndex      MessageKind = 12 // follower to leader
	MsgReadIndexReply MessageKind = 13
)

// Message is all that servers say to each other. One struct for every kind
// keeps the wire format, the simulator's trace and the tests uniform; the
// comment on a field names the kinds that use it. Unused fields are zero.
type Message struct {
	Kind MessageKind
	From ServerID
	To   ServerID
	Term uint64      // sender's term; for PreVote the term it would campaign in
	Log  Incarnation // of the sender's log

	// Last entry of the candidate (PreVote, Vote); entry before Entries
	// (Append); entry that the follower must match for Commit to hold
	// (Heartbeat); the refused entry, echoed (AppendReply with Reject); the
	// leader's last entry when it answered (ReadIndexReply).
	Prev EntryID

	Entries []Entry // Append
	// Fill asks the driver to put entries [Prev.Index+1, Fill] here before
	// sending, as many as fit its byte limit and at least one, read from the
	// log off the loop; it drops the message if Prev no longer has Prev.Term.
	// Never on the wire. (Append)
	Fill uint64

	Commit uint64 // Append, Heartbeat: the leader's commit index
	// Round is the leader's broadcast this belongs to; the reply echoes it, so
	// that a quorum of replies confirms leadership as of the round's sending.
	// Append, Heartbeat and their replies. A Heartbeat of round 0 only hands on
	// the commit index and is not answered.
	Round uint64

	// Reject: vote not granted; append refused because Prev did not match;
	// snapshot chunk or read refused.
	Reject bool
	// Match is the last index known equal to the leader's and durable
	// (AppendReply). For a rejection, Hint is the follower's best guess of the
	// last entry that may match (its Index is to be offered next).
	Match uint64
	Hint  EntryID
	// Voteless: the sender's log may have lost entries that it acknowledged
	// (Restored.Voteless, Forgotten), so its earlier Match no longer holds.
	// AppendReply.
	Voteless bool
	// Full: the sender has no room on its disk for more commands. HeartbeatReply.
	Full bool

	// Acknowledged is the newest entry that the receiver's log AcknowledgedBy has
	// acknowledged to this leader in this term, so that a log which has lost it is
	// found out; zero for none. Its Term is 0 where the leader no longer knows it.
	// Append, Heartbeat, Snapshot, TimeoutNow.
	Acknowledged   EntryID
	AcknowledgedBy Incarnation

	Campaign CampaignKind // PreVote, Vote

	Snapshot *SnapshotMeta // Snapshot, SnapshotReply
	Offset   uint64        // Snapshot: of Data in the file; SnapshotReply: next byte wanted
	Data     []byte        // Snapshot: filled in by the driver, as Fill is
	// Done: the last chunk (Snapshot); the snapshot is installed (SnapshotReply).
	Done bool

	// Config: the sender votes for no other than the leader it answers for the
	// ElectionMin of the Configuration at this index, which it knows to be
	// committed and has on its disk; 0 for no such promise. HeartbeatReply,
	// AppendReply.
	Config uint64

	// Token pairs a ReadIndex with its reply; never reused by its sender.
	Token uint64
	// ByRound: the read must not rest on a lease (ReadIndex).
	ByRound bool
	Index   uint64 // ReadIndexReply: serve the read once this is applied
}

// CampaignKind says why a candidate stands.
type CampaignKind uint8

// The values of CampaignKind. The numbers are part of the wire format.
const (
	CampaignTimeout  CampaignKind = 0 // its election timeout ran out
	CampaignTransfer CampaignKind = 1 // the leader told it to; stickiness is waived
)

// Role is what a server is at the moment (dissertation §3.3).
type Role uint8

// The roles. PreCandidate asks whether an election could be won before it
// raises its term (dissertation §9.6).
const (
	Follower Role = iota
	PreCandidate
	Candidate
	Leader
)

// String gives the role as Consul's tools print it.
func (r Role) String() string {
	switch r {
	case Leader:
		return "Leader"
	case Candidate, PreCandidate:
		return "Candidate"
	default:
		return "Follower"
	}
}

// Config holds the constants of one Core.
type Config struct {
	ID ServerID
	// MaxAppendBytes bounds the entries of one Append message, default 1 MiB
	// (a single larger entry still travels alone).
	MaxAppendBytes int
	// MaxInflight and MaxInflightBytes bound unacknowledged Append messages to
	// one follower, defaults 256 and 8 MiB.
	MaxInflight      int
	MaxInflightBytes int
	// MaxUncommittedBytes bounds what the leader holds uncommitted before it
	// refuses proposals with ErrOverloaded, default 64 MiB.
	MaxUncommittedBytes int
	// CacheBytes is how much of the log's tail stays in memory for followers,
	// default 16 MiB. What is older is sent by Fill.
	CacheBytes int
	// Rand gives election timeouts their jitter: a number in [0, n).
	Rand func(n uint64) uint64
}

// Restored is what a server found on its disk when it started.
type Restored struct {
	HardState HardState
	Snapshot  SnapshotMeta // zero where there is none
	// Terms are the runs of equal terms in the log, ascending by First; the
	// first run starts at FirstIndex.
	Terms      []TermRun
	FirstIndex uint64 // of the log; LastIndex+1 where it is empty
	LastIndex  uint64
	// Configs are the EntryConfig entries in the log, ascending.
	Configs []Entry
	// Voteless: the log may have lost acknowledged entries (see wal); the
	// server neither votes nor stands until a leader has caught it up to an
	// entry committed after it said so.
	Voteless bool
	// Log is the log's Incarnation.
	Log Incarnation
}

// TermRun says that from First on, until the next run, entries have Term.
type TermRun struct {
	First uint64
	Term  uint64
}

// Proposal asks the leader to append one command. Token comes back in an
// Outcome; the driver never reuses one.
type Proposal struct {
	Token uint64
	Data  []byte
}

// Outcome answers a Proposal, configuration change or transfer by its Token.
// With Err nil the entry stands in the leader's log at ID, and only applying
// tells its result: if another term's entry is committed at that index the
// proposal did not take effect.
type Outcome struct {
	Token uint64
	ID    EntryID
	Err   error
}

// ReadReady releases a read: once Index is applied, state read from the local
// state machine is linearizable with respect to the moment ReadIndex was asked.
type ReadReady struct {
	Token uint64
	Index uint64
	Err   error // ErrNotLeader, ErrNoLeader, ErrLeadershipLost; then Index is 0
}

// Written says that the writes of all Outputs up to and including Seq are
// durable. Last is the ID of the last entry those writes left in the log:
// an acknowledgement of entries that have since been overwritten is ignored.
type Written struct {
	Seq  uint64
	Last EntryID
}

// ChangeKind says what a Change does to the Configuration.
type ChangeKind uint8

// The kinds of Change. Each adds, alters or removes at most one server, so that old and
// new majorities overlap (dissertation §4.2).
const (
	AddLearner   ChangeKind = 1 // or updates the address of a learner
	PromoteVoter ChangeKind = 2 // learner to voter; refused until it has caught up
	RemoveServer ChangeKind = 3
	UpdateAddr   ChangeKind = 4 // same ID, new address
	DemoteVoter  ChangeKind = 5 // voter to learner, whose next promotion goes to the log it then has
	SetTiming    ChangeKind = 6 // concerns no single server
)

// Change is one step of membership, or another Timing.
type Change struct {
	Kind   ChangeKind
	ID     ServerID
	Addr   string // AddLearner, UpdateAddr
	Timing Timing // SetTiming
}

// SnapshotChunk tells the driver to write received bytes of a snapshot at
// Offset; it answers with Core.ChunkWritten. The chunk with Last completes
// the file: the driver verifies it against Meta, makes it durable, drops the
// log as Core.SnapshotInstalled's contract says, restores the state machine and
// answers with Core.SnapshotInstalled (or Core.SnapshotFailed, after which the
// leader starts again from the Offset the reply names).
type SnapshotChunk struct {
	Meta   SnapshotMeta
	Offset uint64
	Data   []byte
	Last   bool
}

// Output is everything a Core wants done since it was last asked. The driver
// carries it out in this order:
//
//  1. Send goes out (the network may lose or delay it; the disk is not waited for).
//  2. HardState and Entries are written, one fsync for all, if MustSync. Entries
//     replace whatever the log holds from Entries[0].Index on.
//  3. After they are durable, SendAfter goes out and Written(Seq) is reported.
//     With nothing to write, SendAfter goes out when all earlier Outputs'
//     writes are durable.
//  4. Committed entries are applied in order, Outcomes and Reads handed on.
type Output struct {
	Seq       uint64     // grows by one each Output that has HardState or Entries
	HardState *HardState // nil if unchanged
	Entries   []Entry
	MustSync  bool // false when only HardState.Commit moved

	Send      []Message
	SendAfter []Message

	// Commit: entries up to it may be applied. The leader may apply an entry
	// before its own disk has it, when a quorum of others has (never before a quorum).
	Commit uint64

	Chunk *SnapshotChunk

	// Forgotten is set when this server finds that its log has lost what it
	// acknowledged. The write that comes with it (MustSync is true) makes durable
	// that the server is to come back with Restored.Voteless; the driver clears
	// that once Status.Voteless is false again.
	Forgotten *Forgotten

	Outcomes []Outcome
	Reads    []ReadReady

	// Changed is set when role, term, leader, configuration or Voteless differ
	// from the last Output.
	Changed bool

	// Fault is set when another server's message contradicts what this server
	// knows to be committed or elected: some disk or identity in the cluster is
	// not what it claims. The message was refused and nothing was changed; an
	// operator must look.
	Fault error
}

// Forgotten says how a server found that its disk is an older copy of itself: it
// acknowledged, in Term to Leader, an entry that its log does not hold.
type Forgotten struct {
	Acknowledged EntryID // its Term is 0 where the leader no longer knew it
	Leader       ServerID
	Term         uint64
	Last         EntryID // the end of the log that it has
}

// Progress is the leader's knowledge of one follower.
type Progress struct {
	ID            ServerID
	Match         uint64 // proven equal and durable there
	MatchTerm     uint64 // of the entry at Match; 0 where the leader's log no longer has it
	Next          uint64
	State         ProgressState
	Inflight      int
	InflightBytes int
	LastContact   Instant     // of its last reply in this term
	Full          bool        // its disk has no room for commands
	Log           Incarnation // that Match is about
	// OtherLog is not 0 on a voter that answers with another log than the
	// Configuration has for it: its disk was lost or is foreign. Nothing it says
	// counts; Change it with DemoteVoter, and promote it once it has caught up.
	OtherLog Incarnation
	// Voteless: it says that its log may lack entries that it acknowledged, and
	// casts no vote until it has them again.
	Voteless bool
	// CaughtUp: it answers, and has the whole log or gets what it lacks within an
	// election timeout (dissertation §4.2.1). A learner may be promoted.
	CaughtUp bool
	// StuckSince is not 0 while it answers heartbeats and lacks entries, but Match
	// has not moved for an election timeout: since when. Its disk hangs or is
	// full, or large messages do not get through to it.
	StuckSince Instant
}

// ProgressState is how the leader feeds a follower.
type ProgressState uint8

// The states of a follower as its leader sees it.
const (
	Probe     ProgressState = iota // finding where logs agree, one message at a time
	Replicate                      // pipelining
	SendingSnapshot
)

// Status is a copy of a Core's state for people and metrics.
type Status struct {
	ID          ServerID
	Role        Role
	Term        uint64
	Vote        ServerID
	Leader      ServerID // "" where unknown
	Commit      uint64
	LastIndex   uint64
	LastTerm    uint64
	FirstIndex  uint64
	Durable     uint64 // last index that is on this server's disk
	Config      Configuration
	ConfigIndex uint64
	LastContact Instant // follower: of the last message of the leader; leader: of the last confirmed round
	Deadline    Instant // next Tick wanted
	Voteless    bool
	Incarnation Incarnation // of this server's log
	Transfer    ServerID    // target of a transfer under way
	Progress    []Progress  // leader only; sorted by ID
}
