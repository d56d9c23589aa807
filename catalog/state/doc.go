// Package state is the replicated catalog in memory: tables, the apply table that
// changes them, the topics that reads depend on, and snapshots.
//
// It is the whole state machine behind the log. Apply is its only way to change,
// apart from Restore, and what Apply does follows from the state and the entry
// alone: no clock, no chance, no configuration, no order of a Go map. The same log
// gives the same snapshot, byte for byte, however it was split into batches.
//
// # Applying
//
// Each row of the apply table reads and makes a plan; a writer carries plans out.
// So a command is refused whole or carried out whole, one bad command in a batch
// can't spoil its neighbours, and Preview is a plan that nobody carries out. What
// is the same already is left alone and moves no index. The operations of a
// catalog.Txn read each other's writes: they go to a copy, which is dropped where
// one of them fails.
//
// # Topics
//
// Every method of a View notes the topics it reads, and every write moves the
// topics of what it touches to its own index; topic.go has the table. An answer's
// index is the largest of its topics, and Wait sleeps until one of them moves.
// Reads of one service depend on that service's topic alone, so that writes to
// others wake nobody.
//
// Indexes of topics are part of the state, are the same on every server at the
// same point of the log, and never go back. Those of nodes and services that are
// gone are kept too, up to a bound, and then folded into one floor, the index of
// all that never was or is forgotten.
//
// # Concurrency
//
// The package starts no goroutine. Views and snapshots see one moment and never
// wait. One Apply or Restore runs at a time. Rows are never changed once written:
// a changed object is a new object.
//
// Each index of a table is a B-tree that is copied where it is written to: a view
// or a snapshot holds the nodes of its moment and costs nothing to make.
package state
