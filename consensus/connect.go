package consensus

import (
	"muster/consensus/core"
	"muster/consensus/transport"
)

// Connect makes a Node and the Transport that carries its messages, each knowing
// the other. The caller runs both. Of tc it sets ID, ClusterID and Handler;
// tc.Resolve, if given, is asked for addresses before the configuration is.
func Connect(cfg Config, fsm FSM, tc transport.Config) (*Node, *transport.Transport, error) {
	var n *Node // set before either runs
	first := tc.Resolve
	tc.ID = cfg.ID
	tc.ClusterID = func() string { return n.ClusterID() }
	tc.Handler = func(m core.Message) { n.Receive(m) }
	tc.Resolve = func(id core.ServerID) (string, bool) {
		if first != nil {
			if addr, ok := first(id); ok {
				return addr, true
			}
		}
		return n.Resolve(id)
	}
	t, err := transport.New(tc)
	if err != nil {
		return nil, nil, err
	}
	cfg.Net = t
	if n, err = New(cfg, fsm); err != nil {
		return nil, nil, err
	}
	return n, t, nil
}

// ClusterID is the cluster that this server is in or has promised itself to, ""
// where there is none yet. Connections with servers of another one are refused.
func (n *Node) ClusterID() string {
	p := n.board.page.Load()
	if id := p.core.Config.ClusterID; id != "" {
		return id
	}
	return p.standing.ClusterID()
}

// Resolve gives a server's address as the latest configuration has it.
func (n *Node) Resolve(id core.ServerID) (addr string, ok bool) {
	for _, s := range n.board.page.Load().core.Config.Servers {
		if s.ID == id {
			return s.Addr, s.Addr != ""
		}
	}
	return "", false
}
