package state

import "muster/catalog"

// View is the store at one moment. It notes which topics its methods read. A
// View is for one goroutine; what it returns is shared and must not be changed.
type View struct{}

// Instance is one instance of a service with all that decides its health.
type Instance struct {
	Node    *catalog.Node
	Service *catalog.Service
	Checks  []*catalog.Check // the node's and this instance's, sorted by CheckID
}

// Counts are the sizes of the catalog.
type Counts struct {
	Nodes     int
	Services  int            // distinct service names
	Instances int            // service instances
	Checks    map[string]int // by status
}

// Index is the largest index of the topics read so far, at least 1.
func (v *View) Index() uint64 { return 1 }

// Topics are the topics read so far, each once.
func (v *View) Topics() []Topic { return nil }

// Applied is the index of the last entry applied to this view; no topic.
func (v *View) Applied() uint64 { return 0 }

// Nodes returns all nodes, sorted by name.
func (v *View) Nodes() []*catalog.Node { return nil }

// Node returns the node of that name, nil if there is none.
func (v *View) Node(name string) *catalog.Node { return nil }

// NodeByID returns the node with that ID, nil if there is none.
func (v *View) NodeByID(id string) *catalog.Node { return nil }

// NodeServices returns the services on a node, sorted by ID.
func (v *View) NodeServices(node string) []*catalog.Service { return nil }

// NodeChecks returns all checks on a node, sorted by CheckID.
func (v *View) NodeChecks(node string) []*catalog.Check { return nil }

// Services returns the name of each service with the union of its instances'
// tags, sorted.
func (v *View) Services() map[string][]string { return nil }

// ServiceNames returns the names of all services, sorted.
func (v *View) ServiceNames() []string { return nil }

// AllInstances returns every instance of every service, without checks, sorted
// by node name and service ID.
func (v *View) AllInstances() []Instance { return nil }

// ServiceInstances returns the instances of a service with their checks, sorted
// by node name and service ID.
func (v *View) ServiceInstances(name string) []Instance { return nil }

// ConnectInstances returns the mesh-capable instances for a service: its proxies
// and its native instances, like ServiceInstances.
func (v *View) ConnectInstances(name string) []Instance { return nil }

// ServiceChecks returns the checks of a service's instances, without node
// checks, sorted by node name and CheckID.
func (v *View) ServiceChecks(service string) []*catalog.Check { return nil }

// ChecksInState returns the checks of a status, or all for catalog.StatusAny,
// sorted by node name and CheckID.
func (v *View) ChecksInState(status string) []*catalog.Check { return nil }

// Counts returns the sizes of the catalog, for metrics. It reads no topic.
func (v *View) Counts() Counts { return Counts{} }
