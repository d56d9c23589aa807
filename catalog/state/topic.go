package state

// TopicKind is a kind of thing that a read can depend on.
type TopicKind uint8

// The topic kinds. Numbers are part of the snapshot format: they are never
// reused or given a new meaning.
const (
	TopicNodes      TopicKind = 1 // the list of nodes; no key
	TopicNode       TopicKind = 2 // a node and the services on it; key: node name
	TopicNodeChecks TopicKind = 3 // all checks on a node; key: node name
	TopicServices   TopicKind = 4 // the names of services with their tags; no key
	TopicInstances  TopicKind = 5 // every instance of every service; no key
	TopicService    TopicKind = 6 // instances of a service, their nodes and checks; key: service name
	TopicConnect    TopicKind = 7 // the mesh-capable instances for a service, as above; key: service name
	TopicChecks     TopicKind = 8 // checks; key: their status, or "" for all
)

// Topic names something in the store that reads depend on and writes move. It
// is comparable. Keys are in lower case, as names are equal without regard to it.
type Topic struct {
	Kind TopicKind
	Key  string
}
