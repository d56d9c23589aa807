// Package memfs is a file system in memory for the log: the disk of an agent
// in development mode, and the disk that a test can make lose, tear and damage
// what it was given.
//
// New gives a plain one without faults. It keeps one copy of the data, and none
// of pages that hold only zeros, so that a preallocated segment costs nothing
// until it is written to.
//
// NewFaulty gives one that also remembers what has not been synced: writes
// since the last File.Sync and directory entries since the last SyncDir. Crash
// then makes the file system that a reboot would find, under one of several
// laws of what un-synced data suffers:
//
//	Kill       the process ends, the machine stays: all is there, still un-synced
//	LoseAll    all un-synced writes and directory entries are lost
//	KeepAll    all of them reached the disk
//	Torn       they reached it in order, up to some sector and some entry
//	Scattered  each sector and each entry reached it or didn't, by chance
//	DataOnly   all data reached it, no directory entry did
//	EntryOnly  all directory entries reached it, no data did
//
// Sectors have 512 bytes and are written whole or not at all. A rename is one
// entry: it is done or not.
//
// Faults are injected by a hook that sees each operation before it is done and
// may fail it, shorten it, or wait. A failed Sync drops the un-synced writes
// for good while reads still show them, as Linux does. Chance comes from the
// caller, so a run is repeated by its seed. Names are case-sensitive paths,
// cleaned with filepath.Clean; parents of a file needn't exist.
//
// All methods may be called from several goroutines at once.
package memfs
