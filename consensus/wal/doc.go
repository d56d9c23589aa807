// Package wal keeps on disk what a Raft server must not forget: its log, its
// hard state (term, vote, commit) and its snapshots, all in one directory.
//
// It is not a general log: it knows entries, terms and truncation, and it
// offers exactly what the driver in package consensus needs. It doesn't decide
// anything about Raft.
//
// # Files
//
//	00000000000000000007.wal        a segment of the log, by number
//	prepared.wal.tmp                the next one, preallocated
//	0…0042-0…0003.snap              the snapshot at index 42, term 3
//	0…0042-0…0003-checksum-size.part  one that is being received
//
// A segment is a row of batches, each one call of Append:
//
//	| header | batch 1      | batch 2                | batch 3 |  zeros …       |
//	| 512 B  | sectors      | sectors                | sectors |  preallocated  |
//	          \ checksum, number, hard state, entries
//
// format.go and snapformat.go describe both formats byte by byte.
//
// # What makes it safe
//
//   - A batch is one write and one fsync, under one checksum. Each carries the
//     whole hard state, so term, vote and entries are found together or not at
//     all, and the newest batch alone is the state.
//   - Nothing on disk is overwritten with anything else. Entries that replace
//     others are appended; the newer batch counts. Segments are preallocated
//     with zeros and never recycled, so what is not zero was written by this log.
//   - Every sector of a batch begins with a byte that is not zero. A disk writes
//     sectors whole, so a batch that was being written when the power went lacks
//     some, and is cut: nobody was told of it. One that lacks none, and still
//     fails its checksum, was whole once and may have been acknowledged: Open
//     refuses with a CorruptError that names file and offset. So it does for
//     damage that a later batch follows.
//   - A newest segment that is shorter than its header says, or that says it is
//     continued by a segment that isn't there, may have lost acknowledged
//     entries. Open then reports Voteless, and every batch repeats it until
//     SetVoteless(false).
//   - Open syncs what it found before it reports it: what a killed process left
//     in the page cache could otherwise be acknowledged and then lost.
//   - A failed write or sync is never retried. It is returned by every later
//     call (ErrFailed), and the process has to stop.
//   - A segment or snapshot gets its name only when it is whole and synced, and
//     the name is synced before it counts.
//   - A snapshot is durable before the log is reset to it or compacted behind
//     it. Open finds the one without the other and completes the step.
//
// The unit of all that is the sector of 512 bytes. A disk that can leave half a
// sector written makes Open refuse where it could have cut, never the reverse.
//
// # Goroutines
//
// The package starts none. Log.Run, if the driver runs it, preallocates
// segments ahead. Writers (Append, AppendAll, Compact, ResetTo, Close) take
// turns; readers (Entries, Stats, …) never wait for their I/O. Snapshots can be
// written, read and received from other goroutines than the log.
//
// In memory the log holds sixteen bytes a batch and the runs of terms. Entries
// are read from disk, and verified, when asked for.
//
// The file system is a seam, FS: OS is the real one, package memfs one that can
// lose, tear and damage. The package builds on Unix only, for its lock.
package wal
