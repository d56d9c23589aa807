package catalog

// MaxTxnOps is how many operations a transaction has at most.
const MaxTxnOps = 128

// Txn carries out operations in their order, all of them, or none where one fails
// (https://developer.hashicorp.com/consul/api-docs/txn). Each sees what those
// before it did, and all that it writes has the index of this one command. Its
// result's Value is a *TxnResult; an operation that fails is no error of the
// command.
type Txn struct {
	Ops []TxnOp
}

// Op implements Command.
func (*Txn) Op() Op { return OpTxn }

// ReadOnly reports whether a transaction can change nothing, whatever is stored.
func (t *Txn) ReadOnly() bool {
	for _, op := range t.Ops {
		switch {
		case op.KV != nil && op.KV.Verb >= KVGet,
			op.Node != nil && op.Node.Verb == TxnGet,
			op.Service != nil && op.Service.Verb == TxnGet,
			op.Check != nil && op.Check.Verb == TxnGet:
		default:
			return false
		}
	}
	return true
}

// TxnOp is one operation: one of its fields is set.
type TxnOp struct {
	KV      *KV         `codec:",omitempty"`
	Node    *TxnNode    `codec:",omitempty"`
	Service *TxnService `codec:",omitempty"`
	Check   *TxnCheck   `codec:",omitempty"`
	Session *TxnSession `codec:",omitempty"`
}

// TxnVerb is what an operation does with a node, a service or a check. Numbers are
// part of the log format.
type TxnVerb uint8

// The verbs. Those of a KV operation are a KVVerb.
const (
	TxnGet       TxnVerb = 1
	TxnSet       TxnVerb = 2
	TxnCAS       TxnVerb = 3 // set, where the ModifyIndex is Index; 0: where there is none yet
	TxnDelete    TxnVerb = 4
	TxnDeleteCAS TxnVerb = 5 // delete, where the ModifyIndex is Index
)

// TxnNode is an operation on a node. TxnGet goes by the node's ID where one is
// given, all others by its name.
type TxnNode struct {
	Verb  TxnVerb
	Index uint64
	Node  Node
}

// TxnService is an operation on an instance of a service. Its node must be there.
type TxnService struct {
	Verb    TxnVerb
	Index   uint64
	Node    string
	Service Service
}

// TxnCheck is an operation on a check. Its node and its service must be there.
type TxnCheck struct {
	Verb  TxnVerb
	Index uint64
	Check Check
}

// TxnSession ends a session.
type TxnSession struct {
	ID string
}

// TxnResult is what a transaction answers: what its operations gave, or why it was
// not carried out.
type TxnResult struct {
	Results []TxnItem  // of those operations that give something, in their order
	Errors  []TxnError // of all operations that fail
}

// TxnItem is a thing that an operation read or wrote. The value of an entry is left
// out unless it was read.
type TxnItem struct {
	KV      *KVPair  `json:",omitempty"`
	Node    *Node    `json:",omitempty"`
	Service *Service `json:",omitempty"`
	Check   *Check   `json:",omitempty"`
}

// TxnError says why an operation failed, which is the one at OpIndex from 0.
type TxnError struct {
	OpIndex int
	What    string
}
