// Package local holds what one agent promised its users, the services and checks
// registered with it, and keeps the catalog equal to that.
//
// A State is the promise. It validates registrations by the catalog's own rules
// and Consul's texts, keeps those made over HTTP on disk, owns the checks.Runner
// that finds out how things are, and never waits for the cluster: an agent that
// can't reach a server takes registrations all the same. A Syncer carries it out
// (anti-entropy), over the small Catalog interface that package agent implements
// on servers by proposing and on clients by asking a server.
//
// It is not the catalog: it knows nothing of other nodes. It owns neither the
// serfHealth check nor the "consul" service of a server; the leader does, and the
// Syncer leaves both alone.
//
// # Syncing
//
// Each service, check, the node itself and each thing to be removed carries a
// mark: the version it has, and the version the catalog is known to have. They
// differ as soon as something changes, and the Syncer at once writes what
// differs, a service together with its checks. Only an output that changed
// without its status waits, CheckUpdateInterval, so that a check which prints the
// time does not write every ten seconds. A full sync (at the start, every minute
// or less often in a large cluster, when a server has come back, and after any
// failure) first reads what the catalog holds and sets the marks by it: what is
// missing or different is written again, what nobody here knows is removed.
// After a failure the Syncer pauses, twice as long each time; nothing is lost
// meanwhile, the marks stand.
//
// # Goroutines
//
// Constructors start none. State.Run owns the checks' goroutines, the one that
// removes services critical for too long and the one that writes reports on TTL
// checks; Syncer.Run is one goroutine that waits for the answer to what it wrote, up to 64
// things at once and in order, so nothing of an agent is ever overtaken by its successor.
// A write whose outcome is unknown may still take effect later than its
// successor was sent: each carries a number that grows, also over restarts, and
// the catalog drops what comes late.
//
// # Files
//
// Below DataDir, mode 0600:
//
//	registrations/  what was registered over HTTP, and the last reports on TTL checks
//	sync-sequence   the highest sequence number that may have been used
//
// The registrations are a journal in a log of package wal: one batch, with one
// sync, for all whose registrations wait by then. A service and the checks it is
// registered with are one entry, found again whole or not at all. The journal is
// written anew when what became of its records outweighs them. docs/formats.md
// says what is in it, journaldisk.go how it is read.
//
// Memory comes before the disk, and the answer after it. So the catalog may hear of
// a registration that a crash takes away; nobody was told of it, and the first
// full sync removes it. When a write fails those who wait for it are told, and
// the next registration is refused unless all that memory holds can be
// written; so a disk that is full for a while costs nothing that was acknowledged.
//
// # Invariants
//
//   - A registration that returned nil is on disk (unless DataDir is empty), and
//     reaches the catalog as soon as a server does, or is replaced or removed by
//     a later one.
//   - IDs are compared without regard to case, as in the catalog.
//   - What State gives out is shared and never changes: callers copy before changing.
package local
