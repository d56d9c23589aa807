package dns

import (
	"context"
	"net/netip"
	"strings"
	"sync"

	"muster/catalog"
)

// Lookup finds in the catalog what questions ask about, names without regard to
// case. Its methods may be called at any time from any goroutine. What they
// return is shared and must not be changed. An error means that the catalog
// can't be asked now; that something isn't there is none.
type Lookup interface {
	// Service gives the instances of a service, Mesh those that give mesh access to
	// it, and Ingress those of the gateways that let it in. They give the same value
	// until something of it changes, so that what is made of it can be kept with
	// it; nil where there are none.
	Service(ctx context.Context, name string) (*Service, error)
	Mesh(ctx context.Context, name string) (*Service, error)
	Ingress(ctx context.Context, name string) (*Service, error)
	// Node gives the node of a name, nil if there is none.
	Node(ctx context.Context, name string) (*catalog.Node, error)
	// Query gives what the prepared query of an ID or name finds for who asks from an
	// address, nil if no query answers to it.
	Query(ctx context.Context, name string, from netip.Addr) (*Query, error)
	// Named gives what has an address.
	Named(ctx context.Context, addr netip.Addr) (Names, error)
}

// Query is what a prepared query finds.
type Query struct {
	Service   string     // its name
	Instances []Instance // that are healthy as the query sees it
	Nearest   bool       // they are sorted, the nearest first
	DNS       catalog.QueryDNS
}

// Names are the nodes that have an address, and the services with an instance
// whose own address it is.
type Names struct {
	Nodes    []string
	Services []string
}

// Instance is one instance of a service with all that decides its health.
type Instance struct {
	Node    *catalog.Node
	Service *catalog.Service
	Checks  []*catalog.Check
}

// Service is the instances of a service at one moment, and the records that
// were made of them. It must not be copied.
type Service struct {
	Instances []Instance

	mu   sync.RWMutex
	sets map[question]*recordSet // guarded by mu
}

// question is all that the records of an answer depend on besides the Service.
// The name is as it was asked, since it is the records' owner.
type question struct {
	name     string
	qtype    uint16
	settings *settings
}

// maxSets bounds how many questions' records are kept with a Service: tags make
// more of them than types do, and so does a resolver that varies the case of
// letters (draft-vixie-dnsext-dns0x20).
const maxSets = 64

// records gives the records for a question, those of before where there are any.
func (s *Service) records(q question, render func() *recordSet) *recordSet {
	s.mu.RLock()
	set := s.sets[q]
	s.mu.RUnlock()
	if set != nil {
		return set
	}
	set = render()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sets == nil || len(s.sets) >= maxSets {
		s.sets = map[question]*recordSet{}
	}
	q.name = strings.Clone(q.name) // don't hold on to the message
	s.sets[q] = set
	return set
}

// health is the worst state of an instance's checks.
func (in *Instance) health() string {
	worst := catalog.StatusPassing
	for _, c := range in.Checks {
		if c.Status != catalog.StatusPassing {
			worst = catalog.Worse(worst, c.Status)
		}
	}
	return worst
}

func (in *Instance) hasTag(tag string) bool {
	for _, t := range in.Service.Tags {
		if strings.EqualFold(t, tag) {
			return true
		}
	}
	return false
}
