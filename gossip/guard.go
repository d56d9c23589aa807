package gossip

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"
)

// RefusedError says why a member is not let into the pool.
type RefusedError struct {
	Member string // its node name
	Addr   string // ip:port of its gossip
	Reason string
}

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("member %q at %s refused: %s", e.Member, e.Addr, e.Reason)
}

// guard decides who is let into the pool. It is memberlist's merge and alive
// delegate: memberlist asks it about whole lists when this or another agent
// joins, and about each single member that is said to be alive. The second
// call comes under memberlist's node lock, so the guard asks nobody back; it
// keeps its own record of holders, fed by the pool's events.
type guard struct {
	name       string
	id         string
	datacenter string
	wan        bool

	mu      sync.Mutex
	self    net.Addr          // what we advertise; nil until known
	holders map[string]holder // by node name, alive ones only
	byID    map[string]string // node ID → node name of holders
	last    *RefusedError     // the latest refusal of a list
	// displaced is signalled when somebody still has us at an older address.
	displaced chan struct{}
}

// holder is who has a node name at present.
type holder struct{ id, addr string }

func newGuard(c Config) *guard {
	return &guard{
		name: c.NodeName, id: c.NodeID, datacenter: c.Datacenter, wan: c.WAN,
		holders: map[string]holder{}, byID: map[string]string{},
		displaced: make(chan struct{}, 1),
	}
}

// NotifyMerge implements memberlist.MergeDelegate: an error refuses the whole
// list. That one of us would be another's double is reason enough, and so is a
// stranger among them; conflicts between others are left to NotifyAlive, lest
// one of them keep two halves of a cluster apart.
func (g *guard) NotifyMerge(nodes []*memberlist.Node) error {
	for _, n := range nodes {
		if n.State == memberlist.StateDead || n.State == memberlist.StateLeft {
			continue
		}
		id, err := g.credentials(n)
		if err == nil {
			err = g.selfConflict(n, id)
		}
		if err != nil {
			refused := refuse(n, err)
			g.mu.Lock()
			g.last = refused
			g.mu.Unlock()
			return refused
		}
	}
	return nil
}

// NotifyAlive implements memberlist.AliveDelegate: an error ignores the message.
func (g *guard) NotifyAlive(n *memberlist.Node) error {
	id, err := g.credentials(n)
	if err == nil {
		err = g.selfConflict(n, id)
	}
	if err == nil {
		err = g.conflict(n, id)
	}
	if err != nil {
		return refuse(n, err)
	}
	if n.Name == g.name {
		g.noteOwnAddress(n)
	}
	return nil
}

func refuse(n *memberlist.Node, err error) *RefusedError {
	return &RefusedError{Member: n.Name, Addr: n.Address(), Reason: err.Error()}
}

// credentials checks what a member says about itself and returns its node ID.
func (g *guard) credentials(n *memberlist.Node) (id string, err error) {
	if err := checkNodeName(n.Name); err != nil {
		return "", err
	}
	if len(n.Addr) != net.IPv4len && len(n.Addr) != net.IPv6len {
		return "", fmt.Errorf("its IP address has %d bytes", len(n.Addr))
	}
	if len(n.Meta) > memberlist.MetaMaxSize {
		return "", fmt.Errorf("its tags have %d bytes, at most %d are allowed", len(n.Meta), memberlist.MetaMaxSize)
	}
	tags, err := decodeTags(n.Meta)
	if err != nil {
		return "", err
	}
	if tags[tagImpl] != impl {
		return "", errors.New("it is not a Muster agent (a Consul or serf agent shares this network?)")
	}
	role := tags[tagRole]
	switch {
	case role != roleServer && role != roleClient:
		return "", fmt.Errorf("its role %q is unknown", role)
	case tags[tagID] == "":
		return "", errors.New("it names no node ID")
	case g.wan && role != roleServer:
		return "", errors.New("it is a client agent, and the WAN pool is for servers")
	case !g.wan && tags[tagDatacenter] != g.datacenter:
		return "", fmt.Errorf("it belongs to datacenter %q, this pool to %q", tags[tagDatacenter], g.datacenter)
	}
	if role == roleServer {
		if port, err := strconv.ParseUint(tags[tagPort], 10, 16); err != nil || port == 0 {
			return "", fmt.Errorf("it is a server without a valid cluster port (%q)", tags[tagPort])
		}
	}
	return tags[tagID], nil
}

// selfConflict compares a living member with ourselves.
func (g *guard) selfConflict(n *memberlist.Node, id string) error {
	switch {
	case n.Name == g.name && id != g.id && !g.isSelf(n):
		return fmt.Errorf("its node name is that of this agent, but its node ID is %s and ours %s: give one of the two another name, or stop it", id, g.id)
	case n.Name != g.name && id == g.id && !g.isSelf(n):
		return fmt.Errorf("its node ID is that of this agent (%s), whose name is %q: node IDs must be unique, so remove the copied node-id file of one of the two", id, g.name)
	}
	return nil
}

// conflict compares a living member with the others. Who has the address of the
// holder has replaced it: two can't listen there.
func (g *guard) conflict(n *memberlist.Node, id string) error {
	if n.Name == g.name {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if h, taken := g.holders[n.Name]; taken && h.id != id && h.addr != n.Address() {
		return fmt.Errorf("its node name belongs to the living member with node ID %s at %s", h.id, h.addr)
	}
	if name, taken := g.byID[id]; taken && name != n.Name && g.holders[name].addr != n.Address() {
		return fmt.Errorf("its node ID %s belongs to the living member %q at %s", id, name, g.holders[name].addr)
	}
	return nil
}

// isSelf says whether n is at the address that we advertise: then it is an
// earlier life of this agent.
func (g *guard) isSelf(n *memberlist.Node) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.self != nil && g.self.String() == n.Address()
}

// noteOwnAddress notices that others still believe us at an earlier address.
// They will take the new one once they have seen the old one fail, if told.
func (g *guard) noteOwnAddress(n *memberlist.Node) {
	g.mu.Lock()
	known := g.self != nil
	g.mu.Unlock()
	if !known || g.isSelf(n) {
		return
	}
	select {
	case g.displaced <- struct{}{}:
	default:
	}
}

// setSelf tells the guard what we advertise.
func (g *guard) setSelf(ip net.IP, port uint16) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.self = &net.TCPAddr{IP: ip, Port: int(port)}
}

// observe keeps the record of holders.
func (g *guard) observe(e serf.MemberEvent) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range e.Members {
		if old, ok := g.holders[m.Name]; ok {
			delete(g.holders, m.Name)
			if g.byID[old.id] == m.Name {
				delete(g.byID, old.id)
			}
		}
		if e.Type == serf.EventMemberJoin || e.Type == serf.EventMemberUpdate {
			id := m.Tags[tagID]
			addr := net.TCPAddr{IP: m.Addr, Port: int(m.Port)}
			g.holders[m.Name] = holder{id: id, addr: addr.String()}
			g.byID[id] = m.Name
		}
	}
}

// lastRefusal returns the latest refusal of a list.
func (g *guard) lastRefusal() *RefusedError {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last
}
