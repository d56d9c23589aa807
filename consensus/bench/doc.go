// Command bench measures what a commit costs: three servers in this process,
// talking TCP on the loopback, their logs on this machine's disk, 256-byte
// commands, a state machine that does nothing. It runs Muster's consensus
// beside hashicorp/raft, the library that it stands in for, with both of that
// library's durable stores, and the bare system calls that no log can beat.
//
//	make bench-raft
//
// It is a module of its own, so that what it measures against is no dependency
// of the product's.
//
// All systems of a round are up at the same time and take turns, level after
// level, so that whatever else the machine does meets them alike; ratios are
// therefore of neighbours in time. What is printed is the median of the rounds.
// CPU per commit is that of the whole process, all three servers and the
// proposers, by getrusage.
//
// # How hashicorp/raft is set up
//
// As someone who knows it would: pipelining and batched apply on, a log cache,
// no logging. The number in a system's name is MaxAppendEntries, the entries of
// a message at most: 64 is its default, 1024 the most it takes. All else is as it
// comes, for both libraries, the rate of snapshots included.
package main
