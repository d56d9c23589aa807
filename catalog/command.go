package catalog

// Op numbers a kind of command. Numbers are part of the log format: they are
// never reused or given a new meaning.
type Op uint8

// The commands. One row of the apply table in catalog/state each, but for OpTxn,
// OpBatch and OpOnce, whose operations are rows of it, and OpRestore, which replaces all.
const (
	OpRegister    Op = 1
	OpDeregister  Op = 2
	OpCoordinates Op = 3
	OpKV          Op = 4

	OpCreateSession  Op = 5
	OpDestroySession Op = 6
	OpEndLockDelays  Op = 7

	OpSetAutopilot Op = 8

	OpTxn Op = 9

	OpRestore Op = 10

	OpBatch Op = 11

	OpChangeQuery Op = 12
	OpSetConfig   Op = 13

	OpOnce           Op = 15
	OpForgetOutcomes Op = 16

	OpSetCA Op = 17
)

// Command is a change to the replicated catalog. Everything a command needs is
// in it: applying reads no clock and draws no random number.
type Command interface {
	Op() Op
}

// Source marks a command that an agent sent for its own services. Apply drops
// one whose Seq is not above the highest it has seen of that NodeID, so that a
// register that was delayed on the way can't undo a newer deregister. The zero
// Source (a person's or a leader's command) is never dropped.
type Source struct {
	NodeID string
	Seq    uint64
}

// Register creates or updates a node and, in the same step, one of its services
// and any number of checks. With SkipNodeUpdate an existing node stays as it is.
type Register struct {
	Node           Node
	SkipNodeUpdate bool
	Service        *Service
	Checks         []Check
	Source         Source
}

// Op implements Command.
func (*Register) Op() Op { return OpRegister }

// Deregister removes one thing: where ServiceID is given that service with its
// checks, else where CheckID is given that check, else the node with all that is
// on it. Removing what is not there is no error.
type Deregister struct {
	Node      string
	ServiceID string
	CheckID   string
	Source    Source
}

// Op implements Command.
func (*Deregister) Op() Op { return OpDeregister }

// Coordinates sets the network coordinates of nodes. Those of nodes that are not
// there are left out.
type Coordinates struct {
	Updates []NodeCoordinate
}

// Op implements Command.
func (*Coordinates) Op() Op { return OpCoordinates }

// Result is what applying a command gave. Err is a *Error or nil.
type Result struct {
	// Changed says that replicated state is now different: an object of the
	// catalog, or how far a Source has come.
	Changed bool
	// Value is what the command answers, for those that answer more than that they
	// were carried out; each says which type it has.
	Value any
	Err   error
}
