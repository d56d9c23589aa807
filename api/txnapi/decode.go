package txnapi

import (
	"fmt"
	"net/http"

	"muster/api"
	"muster/catalog"
)

// operation is one of a request: one of its fields is set.
type operation struct {
	KV      *kvOperation
	Node    *nodeOperation
	Service *serviceOperation
	Check   *checkOperation
	Session *sessionOperation
}

type kvOperation struct {
	Verb      string
	Key       string
	Value     []byte
	Flags     uint64
	Index     uint64
	Session   string
	Namespace string // "default", if anything
	Partition string // the same
}

type nodeOperation struct {
	Verb string
	Node catalog.Node
}

type serviceOperation struct {
	Verb    string
	Node    string
	Service instance
}

// instance is a service as it is read of the catalog or of an agent, which adds
// fields that say nothing here.
type instance struct {
	catalog.Service
	ContentHash string
	Datacenter  string
}

type checkOperation struct {
	Verb  string
	Check catalog.Check
}

type sessionOperation struct {
	Verb    string
	Session struct{ ID string }
}

var kvVerbs = map[string]catalog.KVVerb{
	"set": catalog.KVSet, "cas": catalog.KVCAS, "lock": catalog.KVLock, "unlock": catalog.KVUnlock,
	"get": catalog.KVGet, "get-or-empty": catalog.KVGetOrEmpty, "get-tree": catalog.KVGetTree,
	"check-index": catalog.KVCheckIndex, "check-session": catalog.KVCheckSession, "check-not-exists": catalog.KVCheckNotExists,
	"delete": catalog.KVDelete, "delete-cas": catalog.KVDeleteCAS, "delete-tree": catalog.KVDeleteTree,
}

var verbs = map[string]catalog.TxnVerb{
	"get": catalog.TxnGet, "set": catalog.TxnSet, "cas": catalog.TxnCAS,
	"delete": catalog.TxnDelete, "delete-cas": catalog.TxnDeleteCAS,
}

// txn makes the command of a transaction. What is wrong with single operations is
// answered as what fails when it is carried out.
func (h handlers) txn(r *api.Request) (catalog.Command, error) {
	var ops []operation
	if err := api.Decode(r.Body, &ops); err != nil {
		return nil, err
	}
	if len(ops) > catalog.MaxTxnOps {
		return nil, catalog.Errorf(catalog.TooLarge, "Transaction contains too many operations (%d > %d)", len(ops), catalog.MaxTxnOps)
	}
	var (
		cmd    = &catalog.Txn{Ops: make([]catalog.TxnOp, len(ops))}
		faults []catalog.TxnError
	)
	for i := range ops {
		if err := h.bounds(i, &ops[i]); err != nil {
			return nil, err
		}
		op, err := h.command(&ops[i])
		if err != nil {
			faults = append(faults, catalog.TxnError{OpIndex: i, What: err.Error()})
			continue
		}
		if err := may(r.Authz, &op); err != nil {
			return nil, fmt.Errorf("operation %d: %w", i, err)
		}
		cmd.Ops[i] = op
	}
	if faults != nil {
		return nil, &api.Refusal{
			Answer: api.Answer{Status: http.StatusConflict, Body: answer{Errors: faults}},
			Text:   "transaction: " + faults[0].What,
		}
	}
	return cmd, nil
}

// bounds says what keeps an operation from being one.
func (h handlers) bounds(i int, op *operation) error {
	kinds := 0
	for _, given := range []bool{op.KV != nil, op.Node != nil, op.Service != nil, op.Check != nil, op.Session != nil} {
		if given {
			kinds++
		}
	}
	if kinds != 1 {
		return catalog.Errorf(catalog.Invalid, "operation %d must have exactly one of KV, Node, Service, Check and Session; it has %d", i, kinds)
	}
	if op.KV == nil {
		return nil
	}
	for name, v := range map[string]string{"Namespace": op.KV.Namespace, "Partition": op.KV.Partition} {
		if v != "" && v != "default" {
			return catalog.Errorf(catalog.Invalid, "operation %d: invalid %s %q: %ss are a Consul Enterprise feature", i, name, v, name)
		}
	}
	if size := int64(len(op.KV.Value)); size > h.MaxValueBytes {
		return catalog.Errorf(catalog.TooLarge, "Value for key %q is too large (%d > %d bytes)", op.KV.Key, size, h.MaxValueBytes)
	}
	return nil
}

// command makes an operation of the log of one of a request.
func (h handlers) command(op *operation) (catalog.TxnOp, error) {
	switch {
	case op.KV != nil:
		return kvCommand(op.KV)
	case op.Node != nil:
		return h.nodeCommand(op.Node)
	case op.Service != nil:
		return serviceCommand(op.Service)
	case op.Check != nil:
		return checkCommand(op.Check)
	}
	if op.Session.Verb != "delete" {
		return catalog.TxnOp{}, fmt.Errorf("unknown session operation: %s", op.Session.Verb)
	}
	return catalog.TxnOp{Session: &catalog.TxnSession{ID: op.Session.Session.ID}}, nil
}

func kvCommand(op *kvOperation) (catalog.TxnOp, error) {
	verb, ok := kvVerbs[op.Verb]
	switch {
	case !ok:
		return catalog.TxnOp{}, fmt.Errorf("unknown KV operation: %s", op.Verb)
	case op.Key == "" && verb != catalog.KVDeleteTree:
		return catalog.TxnOp{}, catalog.Errorf(catalog.Invalid, "Must provide key")
	}
	return catalog.TxnOp{KV: &catalog.KV{
		Verb: verb, Key: op.Key, Value: op.Value, Flags: op.Flags, Index: op.Index, Session: op.Session,
	}}, nil
}

func (h handlers) nodeCommand(op *nodeOperation) (catalog.TxnOp, error) {
	verb, ok := verbs[op.Verb]
	n := op.Node
	index := n.ModifyIndex
	n.Indexes = catalog.Indexes{}
	if n.Datacenter == "" {
		n.Datacenter = h.Datacenter
	}
	switch {
	case !ok:
		return catalog.TxnOp{}, fmt.Errorf("unknown node operation: %s", op.Verb)
	case verb != catalog.TxnGet && n.Node == "":
		return catalog.TxnOp{}, catalog.Errorf(catalog.Invalid, "Must provide node")
	case n.Datacenter != h.Datacenter:
		return catalog.TxnOp{}, api.ErrNoPath
	}
	if verb == catalog.TxnSet || verb == catalog.TxnCAS {
		if err := n.Validate(); err != nil {
			return catalog.TxnOp{}, err
		}
	}
	return catalog.TxnOp{Node: &catalog.TxnNode{Verb: verb, Index: index, Node: n}}, nil
}

func serviceCommand(op *serviceOperation) (catalog.TxnOp, error) {
	verb, ok := verbs[op.Verb]
	s := op.Service.Service
	index := s.ModifyIndex
	switch {
	case !ok:
		return catalog.TxnOp{}, fmt.Errorf("unknown service operation: %s", op.Verb)
	case verb == catalog.TxnGet:
		s = catalog.Service{ID: s.ID}
	default:
		s.Normalize()
	}
	switch verb {
	case catalog.TxnSet, catalog.TxnCAS:
		if err := s.Validate(); err != nil {
			return catalog.TxnOp{}, err
		}
	case catalog.TxnDelete, catalog.TxnDeleteCAS:
		if s.ID == "" {
			return catalog.TxnOp{}, catalog.Errorf(catalog.Invalid, "Must provide the service's ID")
		}
		s = catalog.Service{ID: s.ID}
	}
	return catalog.TxnOp{Service: &catalog.TxnService{Verb: verb, Index: index, Node: op.Node, Service: s}}, nil
}

func checkCommand(op *checkOperation) (catalog.TxnOp, error) {
	verb, ok := verbs[op.Verb]
	c := op.Check
	index := c.ModifyIndex
	if !ok {
		return catalog.TxnOp{}, fmt.Errorf("unknown check operation: %s", op.Verb)
	}
	c.Normalize()
	switch {
	case verb == catalog.TxnSet || verb == catalog.TxnCAS:
		if err := c.Validate(); err != nil {
			return catalog.TxnOp{}, err
		}
	case c.CheckID == "":
		return catalog.TxnOp{}, catalog.Errorf(catalog.Invalid, "Must provide the check's CheckID or Name")
	default:
		c = catalog.Check{Node: c.Node, CheckID: c.CheckID, Definition: catalog.NoDefinition()}
	}
	return catalog.TxnOp{Check: &catalog.TxnCheck{Verb: verb, Index: index, Check: c}}, nil
}
