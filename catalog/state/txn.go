package state

import "muster/catalog"

// applyTxn carries out a catalog.Txn. Its operations see what those before them
// wrote, so they are written one by one, to a copy that is dropped where one fails.
func (w *writer) applyTxn(index uint64, t *catalog.Txn) catalog.Result {
	before := *w
	w.db = w.db.begin()
	result := w.transact(index, t)
	if !result.Changed {
		*w = before
	}
	return result
}

// transact carries out the operations of a transaction as entry index's. Where one
// fails, the others are tried all the same, so that a caller hears of all its
// faults at once; what they wrote is for the caller of transact to drop, as is
// what an unchanged result stands for.
func (w *writer) transact(index uint64, t *catalog.Txn) catalog.Result {
	var (
		answer  = &catalog.TxnResult{Results: []catalog.TxnItem{}}
		changed = false
	)
	w.open(index)
	for i := range t.Ops {
		op := &t.Ops[i]
		p := planOp(w.reader, op)
		if p.err != nil {
			answer.Errors = append(answer.Errors, catalog.TxnError{OpIndex: i, What: p.err.Error()})
			continue
		}
		if p.changes() {
			w.write(&p)
			changed = true
		}
		answer.Results = show(w.reader, op, answer.Results)
	}
	if answer.Errors != nil {
		answer.Results = nil
		return catalog.Result{Value: answer}
	}
	if changed {
		w.close()
	}
	return catalog.Result{Changed: changed, Value: answer}
}

// planOp plans one operation: that of the command which does the same, under
// conditions of its own.
func planOp(r reader, op *catalog.TxnOp) plan {
	switch {
	case op.KV != nil:
		return planKVOp(r, op.KV)
	case op.Node != nil:
		return planNodeOp(r, op.Node)
	case op.Service != nil:
		return planServiceOp(r, op.Service)
	case op.Check != nil:
		return planCheckOp(r, op.Check)
	case op.Session != nil:
		return planDestroySession(r, &catalog.DestroySession{ID: op.Session.ID})
	}
	return refuse(catalog.Invalid, "the operation is of a kind that is not known")
}

// planKVOp plans an operation on the key/value store. Where a command would answer
// false, an operation fails.
func planKVOp(r reader, c *catalog.KV) plan {
	e := r.kv(c.Key)
	switch c.Verb {
	case catalog.KVGetOrEmpty, catalog.KVGetTree:
		return plan{}
	case catalog.KVGet:
		if e == nil {
			return refuse(catalog.NotFound, "key %q doesn't exist", c.Key)
		}
		return plan{}
	case catalog.KVCheckIndex, catalog.KVCheckSession, catalog.KVCheckNotExists:
		return checkKV(e, c)
	}
	p := planKV(r, c)
	if met, ok := p.value.(bool); p.err != nil || ok && met {
		return p
	}
	switch {
	case c.Verb == catalog.KVCAS:
		return refuse(catalog.Conflict, "failed to set key %q, index is stale", c.Key)
	case c.Verb == catalog.KVDeleteCAS:
		return refuse(catalog.Conflict, "failed to delete key %q, index is stale", c.Key)
	case c.Verb == catalog.KVUnlock:
		return refuse(catalog.Conflict, "failed to unlock key %q, lock isn't held, or is held by another session", c.Key)
	case e != nil && e.Session != "":
		return refuse(catalog.Conflict, "failed to lock key %q, lock is already held", c.Key)
	}
	return refuse(catalog.Conflict, "failed to lock key %q due to lock delay", c.Key)
}

// checkKV plans nothing, and fails where an entry is not as an operation wants it.
func checkKV(e *catalog.KVPair, c *catalog.KV) plan {
	switch {
	case c.Verb == catalog.KVCheckNotExists:
		if e != nil {
			return refuse(catalog.Conflict, "key %q exists", c.Key)
		}
	case c.Verb == catalog.KVCheckIndex && e == nil:
		return refuse(catalog.NotFound, "failed to check index, key %q doesn't exist", c.Key)
	case c.Verb == catalog.KVCheckSession && e == nil:
		return refuse(catalog.NotFound, "failed to check session, key %q doesn't exist", c.Key)
	case c.Verb == catalog.KVCheckIndex && e.ModifyIndex != c.Index:
		return refuse(catalog.Conflict, "failed index check for key %q, current modify index %d != %d", c.Key, e.ModifyIndex, c.Index)
	case c.Verb == catalog.KVCheckSession && e.Session != c.Session:
		return refuse(catalog.Conflict, "failed session check for key %q, current session %q != %q", c.Key, e.Session, c.Session)
	}
	return plan{}
}

// stale reports whether a verb has a condition that what is there, nil for nothing,
// does not meet.
func stale(verb catalog.TxnVerb, index uint64, is *catalog.Indexes) bool {
	switch {
	case verb == catalog.TxnCAS && is == nil:
		return index != 0
	case verb == catalog.TxnCAS:
		return index != is.ModifyIndex
	case verb == catalog.TxnDeleteCAS:
		return is == nil || index != is.ModifyIndex
	}
	return false
}

func planNodeOp(r reader, c *catalog.TxnNode) plan {
	n, name := opNode(r, c), c.Node.Node
	var is *catalog.Indexes
	if n != nil {
		is = &n.Indexes
	}
	outdated := stale(c.Verb, c.Index, is)
	switch c.Verb {
	case catalog.TxnGet:
		if n == nil {
			return refuse(catalog.NotFound, "node %q doesn't exist", name)
		}
		return plan{}
	case catalog.TxnSet, catalog.TxnCAS:
		if outdated {
			return refuse(catalog.Conflict, "failed to set node %q, index is stale", name)
		}
		return planRegister(r, &catalog.Register{Node: c.Node})
	case catalog.TxnDelete, catalog.TxnDeleteCAS:
		if outdated {
			return refuse(catalog.Conflict, "failed to delete node %q, index is stale", name)
		}
		return planDeregister(r, &catalog.Deregister{Node: name})
	}
	return refuse(catalog.Invalid, "unknown verb %d of a node", c.Verb)
}

// opNode is the node that an operation is about, nil if there is none.
func opNode(r reader, c *catalog.TxnNode) *catalog.Node {
	if c.Verb == catalog.TxnGet && c.Node.ID != "" {
		return r.nodeByID(c.Node.ID)
	}
	return r.node(c.Node.Node)
}

func planServiceOp(r reader, c *catalog.TxnService) plan {
	id := c.Service.ID
	var is *catalog.Indexes
	if row := r.service(c.Node, id); row != nil {
		is = &row.service.Indexes
	}
	outdated := stale(c.Verb, c.Index, is)
	switch c.Verb {
	case catalog.TxnGet:
		if is == nil {
			return refuse(catalog.NotFound, "service %q on node %q doesn't exist", id, c.Node)
		}
		return plan{}
	case catalog.TxnSet, catalog.TxnCAS:
		switch {
		case outdated:
			return refuse(catalog.Conflict, "failed to set service %q on node %q, index is stale", id, c.Node)
		case r.node(c.Node) == nil:
			return refuse(catalog.Invalid, "Missing node registration")
		}
		return planRegister(r, &catalog.Register{Node: catalog.Node{Node: c.Node}, SkipNodeUpdate: true, Service: &c.Service})
	case catalog.TxnDelete, catalog.TxnDeleteCAS:
		if outdated {
			return refuse(catalog.Conflict, "failed to delete service %q on node %q, index is stale", id, c.Node)
		}
		// A deregister without an ID would be one of the node.
		if err := keyable("service ID", id); err != nil {
			return plan{err: err}
		}
		return planDeregister(r, &catalog.Deregister{Node: c.Node, ServiceID: id})
	}
	return refuse(catalog.Invalid, "unknown verb %d of a service", c.Verb)
}

func planCheckOp(r reader, c *catalog.TxnCheck) plan {
	node, id := c.Check.Node, c.Check.CheckID
	var is *catalog.Indexes
	if check := r.check(node, id); check != nil {
		is = &check.Indexes
	}
	outdated := stale(c.Verb, c.Index, is)
	switch c.Verb {
	case catalog.TxnGet:
		if is == nil {
			return refuse(catalog.NotFound, "check %q on node %q doesn't exist", id, node)
		}
		return plan{}
	case catalog.TxnSet, catalog.TxnCAS:
		switch {
		case outdated:
			return refuse(catalog.Conflict, "failed to set check %q on node %q, index is stale", id, node)
		case r.node(node) == nil:
			return refuse(catalog.Invalid, "Missing node registration")
		case c.Check.ServiceID != "" && r.service(node, c.Check.ServiceID) == nil:
			return refuse(catalog.Invalid, "Missing service registration")
		}
		return planRegister(r, &catalog.Register{Node: catalog.Node{Node: node}, SkipNodeUpdate: true, Checks: []catalog.Check{c.Check}})
	case catalog.TxnDelete, catalog.TxnDeleteCAS:
		if outdated {
			return refuse(catalog.Conflict, "failed to delete check %q on node %q, index is stale", id, node)
		}
		// A deregister without an ID would be one of the node.
		if err := keyable("check ID", id); err != nil {
			return plan{err: err}
		}
		return planDeregister(r, &catalog.Deregister{Node: node, CheckID: id})
	}
	return refuse(catalog.Invalid, "unknown verb %d of a check", c.Verb)
}

// show adds what an operation gives that was just carried out.
func show(r reader, op *catalog.TxnOp, to []catalog.TxnItem) []catalog.TxnItem {
	switch {
	case op.KV != nil:
		return showKV(r, op.KV, to)
	case op.Node != nil && op.Node.Verb < catalog.TxnDelete:
		return append(to, catalog.TxnItem{Node: opNode(r, op.Node)})
	case op.Service != nil && op.Service.Verb < catalog.TxnDelete:
		return append(to, catalog.TxnItem{Service: r.service(op.Service.Node, op.Service.Service.ID).service})
	case op.Check != nil && op.Check.Verb < catalog.TxnDelete:
		return append(to, catalog.TxnItem{Check: r.check(op.Check.Check.Node, op.Check.Check.CheckID)})
	}
	return to
}

func showKV(r reader, c *catalog.KV, to []catalog.TxnItem) []catalog.TxnItem {
	switch c.Verb {
	case catalog.KVDelete, catalog.KVDeleteCAS, catalog.KVDeleteTree, catalog.KVCheckNotExists:
	case catalog.KVGetTree:
		for e := range r.kvBelow(c.Key) {
			to = append(to, catalog.TxnItem{KV: e})
		}
	case catalog.KVGet, catalog.KVGetOrEmpty:
		e := r.kv(c.Key)
		if e == nil {
			e = &catalog.KVPair{Key: c.Key}
		}
		to = append(to, catalog.TxnItem{KV: e})
	default:
		e := *r.kv(c.Key)
		e.Value = nil
		to = append(to, catalog.TxnItem{KV: &e})
	}
	return to
}
