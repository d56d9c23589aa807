package state

import "muster/catalog"

// TopicKind is a kind of thing that a read can depend on.
type TopicKind uint8

// The topic kinds, and what moves them. Numbers are part of the snapshot format:
// they are never reused or given a new meaning.
//
//	written          moves
//	a node           Nodes, Node of its name, and Service and Mesh of each
//	                 service on it
//	an instance      Node of its node, Instances, Service and Mesh of its old and
//	                 its new names; Services if it is new, gone, or its name or
//	                 tags changed
//	a coordinate     Coordinates
//	a session        Sessions; KV and KVPrefix of what it held when it ends
//	a lock-delay     LockDelays
//	the autopilot    Autopilot
//	a query          Queries
//	the authority    CA
//	a config entry   Configs, ConfigKind of its kind, ConfigEntry of its name
//	a KV entry       KV of its key, KVPrefix of each prefix of that
//	a check          NodeChecks of its node, Checks of all and of its old and its
//	                 new state; Service and Mesh of its service or, for a node's
//	                 check, of each service on the node
//
// Removing a node writes all that was on it.
const (
	TopicNodes      TopicKind = 1 // the list of nodes; no key
	TopicNode       TopicKind = 2 // a node and the services on it; key: node name
	TopicNodeChecks TopicKind = 3 // all checks on a node; key: node name
	TopicServices   TopicKind = 4 // the names of services with their tags; no key
	TopicInstances  TopicKind = 5 // every instance of every service; no key
	TopicService    TopicKind = 6 // instances of a service, their nodes and checks; key: service name
	TopicMesh       TopicKind = 7 // instances that give mesh access to a service, as above; key: service name
	TopicChecks     TopicKind = 8 // checks; key: their state, "" for all

	TopicCoordinates TopicKind = 9 // the network coordinates of nodes; no key

	// The two of the key/value store have no rows: their indexes are derived from
	// entries and tombstones. Keys are as they are, not folded. Only a write to an
	// entry whose key begins with a prefix wakes those who wait for the prefix.
	TopicKV       TopicKind = 10 // an entry; key: its key
	TopicKVPrefix TopicKind = 11 // all entries below a prefix; key: the prefix

	TopicSessions   TopicKind = 12 // sessions; no key
	TopicLockDelays TopicKind = 13 // lock-delays; no key

	TopicAutopilot TopicKind = 14 // what the cluster's autopilot is set to; no key

	TopicQueries    TopicKind = 15 // prepared queries; no key
	TopicConfigs    TopicKind = 16 // config entries; no key
	TopicConfigKind TopicKind = 17 // those of a kind; key: the kind
	// One of them has no row: its index is derived, see View.configIndex.
	TopicConfigEntry TopicKind = 18 // key: kind, slash, name

	TopicCA TopicKind = 19 // the certificate authority; no key
)

// Topic names something in the store that reads depend on and writes move. It
// is comparable. Keys are folded, as names are equal without regard to case.
type Topic struct {
	Kind TopicKind
	Key  string
}

// topicOf is the topic of a kind for a name as it is written.
func topicOf(kind TopicKind, name string) Topic { return Topic{kind, catalog.Fold(name)} }

// lists is the number of topics that are about whole lists. There are few, many
// writes move them, and they are never gone: so they have no rows of their own.
const lists = 14

// hasRow says whether topics of a kind have rows of their own.
func hasRow(t Topic) bool {
	if _, ok := listOf(t); ok {
		return false
	}
	return t.Kind >= TopicNodes && t.Kind <= TopicChecks || t.Kind == TopicConfigKind
}

// listOf is the place of a topic in metaRow.Lists; ok is false for one that has
// a row. Places are part of the snapshot format.
func listOf(t Topic) (place int, ok bool) {
	switch t {
	case Topic{Kind: TopicNodes}:
		return 0, true
	case Topic{Kind: TopicServices}:
		return 1, true
	case Topic{Kind: TopicInstances}:
		return 2, true
	case Topic{Kind: TopicChecks}:
		return 3, true
	case Topic{TopicChecks, catalog.StatusPassing}:
		return 4, true
	case Topic{TopicChecks, catalog.StatusWarning}:
		return 5, true
	case Topic{TopicChecks, catalog.StatusCritical}:
		return 6, true
	case Topic{Kind: TopicCoordinates}:
		return 7, true
	case Topic{Kind: TopicSessions}:
		return 8, true
	case Topic{Kind: TopicLockDelays}:
		return 9, true
	case Topic{Kind: TopicAutopilot}:
		return 10, true
	case Topic{Kind: TopicQueries}:
		return 11, true
	case Topic{Kind: TopicConfigs}:
		return 12, true
	case Topic{Kind: TopicCA}:
		return 13, true
	}
	return 0, false
}
