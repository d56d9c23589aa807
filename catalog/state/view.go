package state

import (
	"maps"
	"slices"

	"muster/catalog"
)

// View is the store at one moment. It notes which topics its methods read, so
// that the answer made of it has the right index and can be waited on.
//
// A View is for one goroutine. What it returns is shared with the store: whoever
// wants to change it copies it first. Lists are never nil.
type View struct {
	reader
	indexes *metaRow
	index   uint64
	topics  []Topic
	seen    map[Topic]struct{} // the same as topics, once there are many
}

// Instance is one instance of a service with all that decides its health.
type Instance struct {
	Node    *catalog.Node
	Service *catalog.Service
	Checks  []*catalog.Check // the node's, then this instance's, each sorted by CheckID
}

// Counts are the sizes of the catalog.
type Counts struct {
	Nodes     int
	Services  int            // names of services
	Instances int            // instances of services
	Checks    map[string]int // by state
}

// Index is the largest index of the topics read so far, at least 1. It never
// goes back from one view to a later one with the same topics.
func (v *View) Index() uint64 { return max(v.index, 1) }

// Topics are the topics read so far, each once.
func (v *View) Topics() []Topic { return v.topics }

// Applied is the index of the last entry that this view has seen, as the catalog
// counts. It reads no topic.
func (v *View) Applied() uint64 { return v.indexes.index() }

// Read notes that an answer depends on a topic. Methods do so by themselves; a
// caller may want it where an answer says that there is nothing.
func (v *View) Read(t Topic) {
	const few = 16 // beyond, a search through the list costs more than a map
	if v.seen == nil {
		if slices.Contains(v.topics, t) {
			return
		}
		if len(v.topics) == few {
			v.seen = make(map[Topic]struct{}, 4*few)
			for _, t := range v.topics {
				v.seen[t] = struct{}{}
			}
		}
	} else if _, ok := v.seen[t]; ok {
		return
	}
	if v.seen != nil {
		v.seen[t] = struct{}{}
	}
	v.topics = append(v.topics, t)
	v.index = max(v.index, v.indexOf(t))
}

// Moved reports whether one of the topics has an index above the given one. It
// reads no topic.
func (v *View) Moved(topics []Topic, index uint64) bool {
	for _, t := range topics {
		if t.Kind == TopicKVPrefix {
			if v.prefixMoved(t.Key, index) {
				return true
			}
		} else if v.indexOf(t) > index {
			return true
		}
	}
	return false
}

// indexOf is the index of a topic; see writer.bury for those without a row.
func (v *View) indexOf(t Topic) uint64 {
	if place, ok := listOf(t); ok {
		return v.indexes.Lists[place]
	}
	switch t.Kind {
	case TopicKV:
		return v.keyIndex(t.Key)
	case TopicKVPrefix:
		return v.prefixIndex(t.Key)
	case TopicConfigEntry:
		return v.configIndex(t.Key)
	}
	if row := v.topic(t); row != nil {
		return row.Index
	}
	return v.indexes.Floor
}

// Nodes returns all nodes, sorted by name.
func (v *View) Nodes() []*catalog.Node {
	v.Read(Topic{Kind: TopicNodes})
	return list(each[*catalog.Node](v.reader, tableNodes, byIDPrefix, ""))
}

// Node returns the node of that name, nil if there is none.
func (v *View) Node(name string) *catalog.Node {
	v.Read(topicOf(TopicNode, name))
	return v.node(name)
}

// NodeByID returns the node with that ID, nil if there is none.
func (v *View) NodeByID(id string) *catalog.Node {
	n := v.nodeByID(id)
	if n == nil {
		v.Read(Topic{Kind: TopicNodes})
		return nil
	}
	v.Read(topicOf(TopicNode, n.Node))
	return n
}

// NodeServices returns the services on a node, sorted by ID.
func (v *View) NodeServices(node string) []*catalog.Service {
	v.Read(topicOf(TopicNode, node))
	services := []*catalog.Service{}
	for row := range v.servicesOn(node) {
		services = append(services, row.service)
	}
	return services
}

// NodeChecks returns all checks on a node, sorted by CheckID.
func (v *View) NodeChecks(node string) []*catalog.Check {
	v.Read(topicOf(TopicNodeChecks, node))
	return list(v.checksOn(node))
}

// Services returns the name of each service with the union of its instances'
// tags, sorted.
func (v *View) Services() map[string][]string {
	return v.services(func(*catalog.Node) bool { return true })
}

// ServicesOn is Services for the instances on the nodes that match.
func (v *View) ServicesOn(match func(*catalog.Node) bool) map[string][]string {
	v.Read(Topic{Kind: TopicNodes})
	return v.services(match)
}

func (v *View) services(match func(*catalog.Node) bool) map[string][]string {
	v.Read(Topic{Kind: TopicServices})
	tags := make(map[string]map[string]struct{})
	for in := range v.instances(byIDPrefix, "") {
		if !match(in.Node) {
			continue
		}
		set := tags[in.Service.Service]
		if set == nil {
			set = make(map[string]struct{}, len(in.Service.Tags))
			tags[in.Service.Service] = set
		}
		for _, tag := range in.Service.Tags {
			set[tag] = struct{}{}
		}
	}
	services := make(map[string][]string, len(tags))
	for name, set := range tags {
		services[name] = list(maps.Keys(set))
		slices.Sort(services[name])
	}
	return services
}

// ServiceNames returns the names of all services, sorted.
func (v *View) ServiceNames() []string {
	v.Read(Topic{Kind: TopicServices})
	names := []string{}
	for row := range each[*serviceRow](v.reader, tableServices, byServicePrefix, "") {
		// Rows come sorted by folded name: equal names are mostly neighbours.
		if n := len(names); n == 0 || names[n-1] != row.service.Service {
			names = append(names, row.service.Service)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// AllInstances returns every instance of every service, without checks, sorted
// by node name and service ID.
func (v *View) AllInstances() []Instance {
	v.Read(Topic{Kind: TopicNodes})
	v.Read(Topic{Kind: TopicInstances})
	return list(v.instances(byIDPrefix, ""))
}

// AllInstancesWithChecks is AllInstances with the checks.
func (v *View) AllInstancesWithChecks() []Instance {
	v.Read(topicOf(TopicChecks, ""))
	return v.withChecks(v.AllInstances())
}

// ServiceInstances returns the instances of a service with their checks, sorted
// by node name and service ID.
func (v *View) ServiceInstances(name string) []Instance {
	v.Read(topicOf(TopicService, name))
	return v.withChecks(list(v.instances(byService, nameKey(name))))
}

// ConnectInstances returns the instances that give mesh access to a service, its
// proxies and its native instances, like ServiceInstances.
func (v *View) ConnectInstances(name string) []Instance {
	v.Read(topicOf(TopicMesh, name))
	return v.withChecks(list(v.instances(byMesh, nameKey(name))))
}

// instances ranges over the rows of an index of services with their nodes.
func (v *View) instances(index, key string) func(yield func(Instance) bool) {
	return func(yield func(Instance) bool) {
		var node *catalog.Node
		var folded string
		for row := range each[*serviceRow](v.reader, tableServices, index, key) {
			if node == nil || folded != row.node {
				node, folded = v.node(row.node), row.node
			}
			if !yield(Instance{Node: node, Service: row.service}) {
				return
			}
		}
	}
}

// withChecks fills in the checks of instances.
func (v *View) withChecks(ins []Instance) []Instance {
	all := make([]*catalog.Check, 0, 2*len(ins)) // one allocation for most
	for i := range ins {
		begin := len(all)
		node := ins[i].Node.Node
		for c := range v.checksOf(node, "") {
			all = append(all, c)
		}
		for c := range v.checksOf(node, ins[i].Service.ID) {
			all = append(all, c)
		}
		ins[i].Checks = all[begin:len(all):len(all)]
	}
	return ins
}

// ServiceChecks returns the checks of a service's instances, without those of
// their nodes, sorted by node name, service ID and CheckID.
func (v *View) ServiceChecks(service string) []*catalog.Check {
	v.Read(topicOf(TopicService, service))
	checks := []*catalog.Check{}
	for row := range each[*serviceRow](v.reader, tableServices, byService, nameKey(service)) {
		for c := range v.checksOf(row.node, row.service.ID) {
			checks = append(checks, c)
		}
	}
	return checks
}

// ChecksInState returns the checks in a state, or all for catalog.StatusAny,
// sorted by node name and CheckID.
func (v *View) ChecksInState(status string) []*catalog.Check {
	if status == catalog.StatusAny {
		v.Read(Topic{Kind: TopicChecks})
		return list(each[*catalog.Check](v.reader, tableChecks, byIDPrefix, ""))
	}
	v.Read(topicOf(TopicChecks, status))
	return list(each[*catalog.Check](v.reader, tableChecks, byStatus, nameKey(status)))
}

// Coordinates returns the network coordinates of nodes, sorted by node name.
func (v *View) Coordinates() []*catalog.NodeCoordinate {
	v.Read(Topic{Kind: TopicCoordinates})
	return list(each[*catalog.NodeCoordinate](v.reader, tableCoords, byIDPrefix, ""))
}

// Near gives the estimated round trip, in seconds, from a node to each other; nil
// where it has no coordinate. It reads no topic: an answer that is sorted by
// distance does not change because a node has moved a little.
func (v *View) Near(node string) func(other string) float64 {
	self := v.coordinate(node)
	if self == nil {
		return nil
	}
	return func(other string) float64 { return catalog.Distance(self, v.coordinate(other)) }
}

// LastCoordinate is the index at which a coordinate last changed. It reads no topic.
func (v *View) LastCoordinate() uint64 { return v.indexOf(Topic{Kind: TopicCoordinates}) }

// Counts returns the sizes of the catalog, for metrics. It takes the same time
// however large that is, and reads no topic.
func (v *View) Counts() Counts {
	counts := Counts{
		Nodes:     v.db.size(schema[tableNodes]),
		Services:  v.indexes.Services,
		Instances: v.db.size(schema[tableServices]),
		Checks:    make(map[string]int, states),
	}
	for _, status := range []string{catalog.StatusPassing, catalog.StatusWarning, catalog.StatusCritical} {
		counts.Checks[status] = v.indexes.Checks[stateOf(status)]
	}
	return counts
}

// list collects a sequence to a list that is never nil.
func list[T any](seq func(yield func(T) bool)) []T {
	all := []T{}
	for e := range seq {
		all = append(all, e)
	}
	return all
}
