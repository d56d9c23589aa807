// Package agent puts the parts of an agent together for its role, owns their
// lifetimes, and does what needs several of them at once.
//
// In client mode an agent is gossip.Pool, local.State with its Syncer, and the
// HTTP API, whose requests a router passes on to servers. In server mode it also
// holds a quorum: consensus.Node over the catalog's store, Raft's transport, and
// the cluster port that Raft and forwarded HTTP share.
//
//	agent.go      New, Run, Leave, Reload: parts and lifetimes
//	quorum.go     what makes a server (api.Replica)
//	led.go        when a server has been without a leader for too long
//	fsm.go        joins consensus, which knows bytes, and the catalog's store
//	bootstrap.go  the first configuration of a cluster, once
//	reconcile.go  the leader turns gossip into catalog and quorum
//	sessions.go   the leader ends sessions and lock-delays whose time is over
//	authority.go  the leader keeps the certificate authority
//	signing.go    the leader signs services' certificates; leaves.go: agents keep them
//	doubt.go      a leader asks a member that is said to have failed
//	owner.go      whose a thing is that users take out of the catalog
//	wan.go        a server's place among the servers of all datacenters
//	events.go     the users' events that came to this agent
//	place.go      tells the catalog where this node is in the network
//	router.go     which servers to turn to (api.Cluster)
//	peers.go      how servers are asked, and what of one that falls silent
//	uplink.go     this agent's own entries on their way to the leader (local.Catalog)
//	http.go       listeners; localapi.go: what the API's local routes see
//	dns.go        DNS: names.go finds names on a server, watches.go on a client agent
//
// # Goroutines
//
// New starts none but gossip's own; Run starts one for each part in an errgroup
// and returns when all have ended. A part that fails beyond repair (the disk, a
// listener, a join that may not be retried) ends the agent with its error.
//
// # Invariants
//
//   - A data directory belongs to one process: New locks it before it reads it.
//   - The leader's duties run under a context that ends with the leadership;
//     they keep no state that a new leader would miss.
//   - A server is made a voter only once it has caught up, and loses its vote
//     only when it has left, never because it failed.
package agent
