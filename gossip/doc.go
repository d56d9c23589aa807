// Package gossip says who is in the cluster and who of them is alive.
//
// It is not a database: what a member says about itself are a few tags of at
// most 512 bytes, and what is known of it is its last known status. A Pool is
// one ring of members over hashicorp/serf: the LAN pool holds all agents of a
// datacenter, the WAN pool the servers of all datacenters. Package agent owns
// the pools; leaders turn the member list into catalog entries, all agents find
// servers by it.
//
// # Goroutines
//
// New binds the port and starts serf, whose goroutines are serf's own. Run
// drains serf's event channel, which serf fills while it holds its member lock,
// and so must never wait for anything slow: it notes what changed, closes the
// channel that Changed handed out, and goes on. Readers are level-triggered:
// they call Changed, then Members, and wait; in-between states may be skipped,
// the last one never.
//
// # Who is let in
//
// Before a member is believed it must say that it is one of us (tag impl), name
// our datacenter (LAN) or be a server (WAN), and have a node name and a node ID
// that no other living member has. Otherwise it is refused with a sentence that
// names it and the reason; an agent that tries to join gets that sentence from
// Join, and those that are there notice nothing but a line in their log. A name
// moves to another ID when its holder has failed or left. To another address it
// moves with its ID, once the others have seen the old one fail; until then the
// agent that came back keeps announcing itself.
//
// Serf's own resolution of name conflicts is off: it is a vote, and can stop the
// one that was there first. Two doubles that join two far members in the same
// moment may both be let in, each by one half; who writes the catalog decides
// then.
package gossip
