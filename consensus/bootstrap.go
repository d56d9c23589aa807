package consensus

import (
	"errors"
	"fmt"
	"slices"

	"muster/consensus/core"
)

// A cluster begins when empty servers agree on its first configuration. One of
// them draws up a Charter; each server that it names promises it, durably, and
// from then on is in no other cluster while this one can come to be. The stages:
//
//	        ┌─▶ Withdrawn ─┐
//	Promised               ├─▶ free again, in the next turn
//	        └─▶ Sealed ────┘
//	              └─▶ Begun: the configuration is entry (1, 1) of its log
//
// A server seals once it knows that all have promised, and begins once it knows
// that a majority has sealed. So nobody begins before it is certain that no
// member is, or will be, anywhere else. Who has promised and sees no way to the
// rest withdraws, and never seals. As a majority that sealed and so many
// withdrawn that no majority is left exclude each other, either decides for ever
// whether the cluster can come to be. All begin with the very same entry, so it
// does not matter who does, nor who drew it up: any member takes the others along.
// docs/raft.md has the argument.

// Charter is the first configuration of a new cluster.
type Charter struct {
	// Config has a cluster ID of its own and names, as voters, the servers and
	// the logs that are to promise it.
	Config core.Configuration
	// Turns says, for each server of Config in its order, in which turn it may
	// promise (Promise.Turn). So a charter that comes late finds a server that has
	// gone past it.
	Turns []uint64
}

// Validate says what is wrong with a charter that came over the network.
func (p *Charter) Validate() error {
	if p == nil || p.Config.ClusterID == "" {
		return errors.New("a charter without a cluster ID")
	}
	if err := p.Config.Validate(); err != nil {
		return fmt.Errorf("charter of cluster %s: %w", p.Config.ClusterID, err)
	}
	if len(p.Turns) != len(p.Config.Servers) {
		return fmt.Errorf("charter of cluster %s: %d turns for %d servers", p.Config.ClusterID, len(p.Turns), len(p.Config.Servers))
	}
	for _, s := range p.Config.Servers {
		if s.Suffrage != core.Voter || s.Log == 0 {
			return fmt.Errorf("charter of cluster %s: server %q is no voter with a log of its own", p.Config.ClusterID, s.ID)
		}
	}
	return nil
}

// Stage is how far a server is with a charter.
type Stage string

// The stages that a server goes through, and what else others may know of it.
const (
	Promised  Stage = "promised"  // will be in no other cluster while this one can come to be
	Withdrawn Stage = "withdrawn" // promised, and will never seal
	Sealed    Stage = "sealed"    // knows that all have promised, and will never withdraw
	Begun     Stage = "begun"     // has the configuration in its log

	Unheard Stage = ""     // it does not answer, or has another log than the charter names
	Open    Stage = "open" // it has not promised, and may yet
	Past    Stage = "past" // it is free again or elsewhere: the cluster can never come to be
)

// Promise is what a server without a cluster is bound to. It is a file beside
// the log.
type Promise struct {
	// Turn counts the charters that this server has done with: each can be
	// promised in one turn only.
	Turn uint64
	// Stage is Promised, Withdrawn or Sealed, or Unheard while Charter is nil.
	Stage   Stage    `json:",omitempty"`
	Charter *Charter `json:",omitempty"`
}

// Standing is what a server says of itself while clusters are made. All of it is
// on its disk.
type Standing struct {
	Promise
	Log     core.Incarnation
	Cluster string // of the configuration in its log, "" while there is none
}

// ClusterID is that of the promised cluster, "" without a promise.
func (p Promise) ClusterID() string {
	if p.Charter == nil {
		return ""
	}
	return p.Charter.Config.ClusterID
}

// On says how far the server id, which stands so, is with a charter.
func (s Standing) On(p *Charter, id core.ServerID) Stage {
	i := slices.IndexFunc(p.Config.Servers, func(row core.Server) bool { return row.ID == id })
	switch {
	case i < 0 || p.Config.Servers[i].Log != s.Log:
		return Unheard
	case s.Cluster == p.Config.ClusterID:
		return Begun
	case s.Cluster != "" || s.Turn > p.Turns[i]:
		return Past
	case s.Turn < p.Turns[i]:
		return Unheard
	case s.Charter == nil:
		return Open
	case s.ClusterID() != p.Config.ClusterID:
		return Past // the one promise of this turn is another
	}
	return s.Stage
}

// next is what follows for the server self from what it has heard of the other
// members, which may be out of date. hopeless says that it can't expect to hear
// more, or sees another cluster. The stage Begun is not kept in a Promise: it
// asks for the configuration to be written to the log.
func (p Promise) next(self core.ServerID, heard map[core.ServerID]Stage, hopeless bool) Promise {
	if p.Charter == nil {
		return p
	}
	n := map[Stage]int{p.Stage: 1}
	for _, s := range p.Charter.Config.Servers {
		if s.ID != self {
			n[heard[s.ID]]++
		}
	}
	all := len(p.Charter.Config.Servers)
	majority := all/2 + 1
	minority := all - majority // so many may withdraw
	stage := p.Stage
	switch allPromised := n[Sealed]+n[Begun] > 0 || n[Promised]+n[Withdrawn] == all; {
	case n[Past] > 0 || n[Withdrawn] > minority:
		return Promise{Turn: p.Turn + 1}
	case stage == Withdrawn:
	case n[Begun] > 0:
		stage = Begun
	case allPromised:
		if stage == Promised {
			n[Sealed]++
		}
		if stage = Sealed; n[Sealed] >= majority {
			stage = Begun
		}
	case (n[Withdrawn] > 0 || hopeless) && n[Promised]+n[Withdrawn] > minority:
		stage = Withdrawn
	}
	return Promise{Turn: p.Turn, Stage: stage, Charter: p.Charter}
}

// answer is what follows from a charter that was put to the server self, from
// what the sender knows of its members, and from whether self is willing to
// promise it. A charter that it refuses it has done with.
func (p Promise) answer(self core.ServerID, log core.Incarnation, r PromiseRequest) Promise {
	if r.Charter == nil {
		return p
	}
	switch (Standing{Promise: p, Log: log}).On(r.Charter, self) {
	case Open:
		if !r.Willing {
			return Promise{Turn: p.Turn + 1}
		}
		p.Stage, p.Charter = Promised, r.Charter
		return p.next(self, r.Heard, false)
	case Promised, Withdrawn, Sealed:
		return p.next(self, r.Heard, r.Hopeless)
	}
	return p
}
