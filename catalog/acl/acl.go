package acl

import "muster/catalog"

// Resource is a kind of thing that rules are about.
type Resource uint8

// The resources. Those marked "no name" are asked about with an empty name.
const (
	Agent     Resource = iota + 1 // an agent's own endpoints, by node name
	Node                          // nodes and their node checks, by node name
	Service                       // services and their checks, by service name
	Key                           // KV entries, by key
	Session                       // sessions, by node name
	Event                         // user events, by event name
	Query                         // prepared queries, by query name
	Operator                      // the cluster's operation; no name
	Keyring                       // the gossip keys; no name
	ACL                           // tokens, policies and roles; no name
	Mesh                          // mesh-wide configuration; no name
	Intention                     // who may connect to a service, by service name
)

var resourceNames = [...]string{
	Agent: "agent", Node: "node", Service: "service", Key: "key", Session: "session",
	Event: "event", Query: "query", Operator: "operator", Keyring: "keyring",
	ACL: "acl", Mesh: "mesh", Intention: "intention",
}

// String gives the resource's name as it stands in rules, such as "service".
func (r Resource) String() string {
	if int(r) < len(resourceNames) && resourceNames[r] != "" {
		return resourceNames[r]
	}
	return "unknown"
}

// Access is what a caller wants to do with a resource. Write includes Read, and
// Read includes List.
type Access uint8

// The levels of access, from weakest to strongest.
const (
	List Access = iota + 1
	Read
	Write
)

// String gives the level's name as it stands in rules, such as "write".
func (a Access) String() string {
	switch a {
	case List:
		return "list"
	case Read:
		return "read"
	case Write:
		return "write"
	}
	return "unknown"
}

// Authorizer answers for one caller. It is immutable: when rules change, callers
// are given another one.
type Authorizer interface {
	// Allowed reports whether the caller has access to the resource of that
	// name. For resources without names, name is empty.
	Allowed(r Resource, name string, a Access) bool

	// AllowedAll reports whether the caller has access to every resource of
	// that kind, now and in time to come.
	AllowedAll(r Resource, a Access) bool

	// ViewID names what this caller can see. Two Authorizers with one ViewID
	// give the same answer to every question, so finished answers may be kept
	// by it. It is short and holds no secret.
	ViewID() string
}

// AllowAll is the Authorizer while ACLs are off: all is allowed.
type AllowAll struct{}

// Allowed implements Authorizer.
func (AllowAll) Allowed(Resource, string, Access) bool { return true }

// AllowedAll implements Authorizer.
func (AllowAll) AllowedAll(Resource, Access) bool { return true }

// ViewID implements Authorizer.
func (AllowAll) ViewID() string { return "*" }

// Check returns nil where az allows the access, and otherwise a *catalog.Error
// of kind Denied that says what was missing.
func Check(az Authorizer, r Resource, name string, a Access) error {
	if az.Allowed(r, name, a) {
		return nil
	}
	if name == "" {
		return catalog.Errorf(catalog.Denied, "Permission denied: token lacks permission '%s:%s'", r, a)
	}
	return catalog.Errorf(catalog.Denied, "Permission denied: token lacks permission '%s:%s' on %q", r, a, name)
}
