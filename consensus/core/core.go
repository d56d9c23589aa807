package core

// Core is one server's share of Raft.
type Core struct{ cfg Config }

// New makes a Core from what the disk held.
func New(cfg Config, r Restored, now Instant) (*Core, error) { return &Core{cfg: cfg}, nil }

// Tick tells the Core the time.
func (c *Core) Tick(now Instant) {}

// Deadline is when the next Tick is wanted, or Never.
func (c *Core) Deadline() Instant { return Never }

// Receive takes a message of another server.
func (c *Core) Receive(now Instant, m Message) {}

// Propose asks to append commands.
func (c *Core) Propose(now Instant, ps []Proposal) {}

// Change asks for one step of membership.
func (c *Core) Change(now Instant, token uint64, ch Change) {}

// Bootstrap writes the first configuration.
func (c *Core) Bootstrap(now Instant, cfg Configuration) error { return nil }

// ReadIndex asks for an index at which a read is linearizable.
func (c *Core) ReadIndex(now Instant, token uint64) {}

// Transfer asks to hand leadership over.
func (c *Core) Transfer(now Instant, token uint64, to ServerID) {}

// Written reports durable writes.
func (c *Core) Written(now Instant, w Written) {}

// ChunkWritten reports a written snapshot chunk.
func (c *Core) ChunkWritten(now Instant, meta SnapshotMeta, next uint64) {}

// SnapshotInstalled reports an installed snapshot.
func (c *Core) SnapshotInstalled(now Instant, meta SnapshotMeta) {}

// SnapshotFailed reports a snapshot that could not be installed.
func (c *Core) SnapshotFailed(now Instant, meta SnapshotMeta) {}

// Compacted reports a local snapshot.
func (c *Core) Compacted(meta SnapshotMeta, first uint64) {}

// Output gives all that is to be done since the last call.
func (c *Core) Output() Output { return Output{} }

// HasOutput says whether Output would give anything.
func (c *Core) HasOutput() bool { return false }

// Status copies the state.
func (c *Core) Status() Status { return Status{} }

// Term gives the term of a log entry.
func (c *Core) Term(index uint64) (term uint64, ok bool) { return 0, false }
