package txnapi

import (
	"slices"

	"muster/catalog"
	"muster/catalog/acl"
)

// may says what of an operation its caller may not do. What is read is left out of
// the answer where the caller may not see it; but a check tells by whether it fails.
func may(az acl.Authorizer, op *catalog.TxnOp) error {
	switch {
	case op.KV != nil:
		switch op.KV.Verb {
		case catalog.KVGet, catalog.KVGetOrEmpty, catalog.KVGetTree:
			return nil
		case catalog.KVCheckIndex, catalog.KVCheckSession, catalog.KVCheckNotExists:
			return acl.Check(az, acl.Key, op.KV.Key, acl.Read)
		case catalog.KVDeleteTree:
			return all(az, acl.Key)
		}
		return acl.Check(az, acl.Key, op.KV.Key, acl.Write)
	case op.Node != nil && op.Node.Verb != catalog.TxnGet:
		return acl.Check(az, acl.Node, op.Node.Node.Node, acl.Write)
	case op.Service != nil && (op.Service.Verb == catalog.TxnSet || op.Service.Verb == catalog.TxnCAS):
		return acl.Check(az, acl.Service, op.Service.Service.Service, acl.Write)
	case op.Service != nil && op.Service.Verb != catalog.TxnGet:
		return acl.Check(az, acl.Node, op.Service.Node, acl.Write)
	case op.Check != nil && op.Check.Verb != catalog.TxnGet:
		if op.Check.Check.ServiceID != "" {
			return all(az, acl.Service)
		}
		return acl.Check(az, acl.Node, op.Check.Check.Node, acl.Write)
	case op.Session != nil:
		return all(az, acl.Session)
	}
	return nil
}

// all is asked for where only the state that applies an operation knows which
// things it is about.
func all(az acl.Authorizer, r acl.Resource) error {
	if az.AllowedAll(r, acl.Write) {
		return nil
	}
	return catalog.Errorf(catalog.Denied, "Permission denied: token lacks permission '%s:%s' for all", r, acl.Write)
}

// visible leaves out what a caller may not see, and says whether that was anything.
func visible(az acl.Authorizer, items []catalog.TxnItem) (kept []catalog.TxnItem, cut bool) {
	kept = slices.DeleteFunc(slices.Clone(items), func(item catalog.TxnItem) bool {
		switch {
		case item.KV != nil:
			return !az.Allowed(acl.Key, item.KV.Key, acl.Read)
		case item.Node != nil:
			return !az.Allowed(acl.Node, item.Node.Node, acl.Read)
		case item.Service != nil:
			return !az.Allowed(acl.Service, item.Service.Service, acl.Read)
		case item.Check.ServiceName != "":
			return !az.Allowed(acl.Service, item.Check.ServiceName, acl.Read)
		}
		return !az.Allowed(acl.Node, item.Check.Node, acl.Read)
	})
	return kept, len(kept) < len(items)
}
