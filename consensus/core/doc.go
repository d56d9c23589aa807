// Package core is Raft as a function of (state, input).
//
// A Core is one server's share of the protocol. It has no goroutine, clock,
// network, disk, logger or chance of its own. In go a message, a proposal, the
// time, or "written up to here", each with a monotonic Instant; out comes one
// Output that says what to write, what to send now, what to send only once the
// write is durable, what is committed, and which reads are released. The same
// inputs give the same Outputs, byte for byte, so a run can be replayed from a
// seed.
//
// It is not a log, a store or a server: package wal keeps the log, package
// transport carries the messages, and package consensus drives a Core. One
// goroutine at a time may use a Core.
//
// # What it keeps
//
// The Core keeps no log, only what the protocol asks about it: the runs of
// equal terms, the membership entries, and a byte-bounded cache of the newest
// entries. A follower that needs older ones gets a Message with Fill set, which
// the driver completes from the disk, off its loop. The Core never waits for a
// disk; ticks, heartbeats and check-quorum go on while one hangs.
//
// # Invariants
//
//   - Term, vote and whatever follows from them leave a server only after they
//     are durable: a message sent in a term that is not yet on disk is in
//     SendAfter (see Core.send).
//   - A server counts its own vote and its own entries only after Written
//     (writes.go). What an overwritten write left behind never counts.
//   - One vote a term, for a log at least as up to date; none within
//     ElectionMin of hearing a leader or of a restart (election.go).
//   - A follower truncates only at a real conflict, never at or below its
//     commit index, and its commit index never passes what the message at hand
//     proved equal (follower.go).
//   - A leader commits by counting only entries of its own term (replication.go).
//   - All that a leader knows lives in one struct that ends with its term: no
//     flag outlives it (leader.go).
//   - A read is released only under a lease (lease.go), or after a quorum
//     answered a round that was sent after the read was asked (read.go).
//   - The newest configuration in the log counts, committed or not; truncation
//     brings the older one back; one change at a time (membership.go).
//   - 0 <= base <= commit <= last, durable <= last, applied <= commit.
//
// Input from other servers is checked and refused, never trusted: what
// contradicts committed state is reported as Output.Fault. A panic means that
// an invariant of this package or a promise of its driver was broken.
//
// # Files
//
// types.go is the contract. core.go dispatches inputs and builds Outputs;
// election.go, follower.go, leader.go with replication.go and progress.go are
// the roles; log.go and writes.go the bookkeeping of the log and the disk;
// read.go, lease.go, timing.go, late.go, membership.go, transfer.go and snapshot.go
// one extension each.
package core
