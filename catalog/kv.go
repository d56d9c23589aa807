package catalog

import "slices"

// KVPair is one entry of the key/value store
// (https://developer.hashicorp.com/consul/api-docs/kv). Keys may hold any bytes
// and are told apart by case.
type KVPair struct {
	LockIndex uint64 // how often a session has come to hold it
	Key       string
	Flags     uint64 // the user's own
	Value     []byte // nil where it is empty
	Session   string `json:",omitempty"` // the session that holds it
	Indexes
}

// Same reports whether two entries say the same, whatever their indexes.
func (p *KVPair) Same(o *KVPair) bool {
	return p.Key == o.Key && p.Flags == o.Flags && slices.Equal(p.Value, o.Value) &&
		p.Session == o.Session && p.LockIndex == o.LockIndex
}

// KVVerb is what a KV command does. Numbers are part of the log format.
type KVVerb uint8

// The verbs.
const (
	KVSet        KVVerb = 1
	KVCAS        KVVerb = 2 // set, where the entry's ModifyIndex is Index; 0: where there is no entry
	KVDelete     KVVerb = 3
	KVDeleteCAS  KVVerb = 4 // delete, where the entry's ModifyIndex is Index
	KVDeleteTree KVVerb = 5 // delete all entries whose key begins with Key, which may be empty
	KVLock       KVVerb = 6 // set, and hold the entry as Session, where nobody else does and no lock-delay is on
	KVUnlock     KVVerb = 7 // set, and hold the entry no more, where Session does
)

// The verbs that read, which only a Txn has.
const (
	KVGet            KVVerb = 8
	KVGetOrEmpty     KVVerb = 9  // an entry with nothing but its key where there is none
	KVGetTree        KVVerb = 10 // all entries whose key begins with Key
	KVCheckIndex     KVVerb = 11 // fails unless the entry's ModifyIndex is Index
	KVCheckSession   KVVerb = 12 // fails unless the entry is held by Session
	KVCheckNotExists KVVerb = 13 // fails if there is an entry
)

// KV changes the key/value store. Its result's Value is a bool: whether the
// condition that the verb has was met; true for verbs that have none.
type KV struct {
	Verb    KVVerb
	Key     string
	Value   []byte
	Flags   uint64
	Index   uint64
	Session string `codec:",omitempty"`
}

// Op implements Command.
func (*KV) Op() Op { return OpKV }
