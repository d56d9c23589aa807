// Package consensus runs a Raft core: it gives it a clock, a disk, a network
// and a state machine, and gives the rest of the agent Propose, ReadIndex and
// membership.
//
// It is in two layers.
//
// Engine is the driver's turn: a function without goroutines, locks on its
// state, clock or chance. In go messages, requests and finished work with an
// Instant; it drives a core.Core and carries out its Output in the order that
// safety wants (see output.go). What may block (disk, state machine) is put on
// one of four lanes, each a queue that one worker serves in order:
//
//	LaneDisk      log writes, resets, compaction; one fsync for all that queued
//	LaneApply     the state machine: apply, restore, point-in-time snapshot
//	LaneRead      log ranges and snapshot chunks for followers that lag
//	LaneSnapshot  writing, receiving and verifying snapshot files
//
// A worker calls Engine.Work, and what it returns is given to the next Turn.
// The simulator (consensus/sim) runs the same Engine with lanes that are events
// in simulated time; nothing of what decides order lives outside of it.
//
// Node is the shell for a real process. Its goroutines, all owned by Node.Run:
//
//	loop          drains the whole inbox each turn, so that proposals batch
//	4 workers     one for each lane
//
// Every exported method of Node may be called from any goroutine. Messages
// leave through Config.Net, called by the loop and by the disk worker, and
// arrive through Node.Receive.
//
// # Invariants
//
//   - Nothing that promises durability (a vote, an acknowledgement) is sent
//     before the fsync that makes it true.
//   - A failed write ends Run with the reason; after it nothing is sent from
//     that lane, acknowledged or retried.
//   - applied <= handed, applied <= commit. Entries are applied once, in order, and only
//     when committed; results go to those that wait by (term, index).
//   - Propose tells three outcomes apart: done (nil error), known not done
//     (core.ErrNotLeader, core.ErrOverloaded, core.ErrLeadershipLost, ErrStopped …)
//     and ErrUnknown.
//   - Memory is bounded: the inbox by count and bytes, entries that wait to be
//     applied by bytes (beyond it they are read back from the log).
package consensus
