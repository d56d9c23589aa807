package wal_test

import (
	"fmt"

	"muster/consensus/core"
	"muster/consensus/wal"
	"muster/consensus/wal/memfs"
)

// A server writes two entries of the leader of term 1. The leader of term 2
// replaces the second one. After a restart, that is what the disk holds.
func Example() {
	disk := memfs.New()
	log, _, err := wal.Open(disk, "/var/lib/muster/raft", wal.DefaultConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, b := range []wal.Batch{
		{HardState: &core.HardState{Term: 1, Vote: "a"}, Entries: []core.Entry{
			{Index: 1, Term: 1, Kind: core.EntryCommand, Data: []byte("register web")},
			{Index: 2, Term: 1, Kind: core.EntryCommand, Data: []byte("register db")},
		}},
		{HardState: &core.HardState{Term: 2, Vote: "b"}, Entries: []core.Entry{
			{Index: 2, Term: 2, Kind: core.EntryCommand, Data: []byte("register cache")},
		}},
	} {
		if err := log.Append(b); err != nil {
			fmt.Println(err)
			return
		}
	}
	_ = log.Close() // all is durable already

	log, restored, err := wal.Open(disk, "/var/lib/muster/raft", wal.DefaultConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer log.Close()
	fmt.Printf("term %d, vote for %s\n", restored.HardState.Term, restored.HardState.Vote)
	entries, err := log.Entries(restored.FirstIndex, restored.LastIndex, 1<<20)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range entries {
		fmt.Printf("(%d, %d) %s\n", e.Term, e.Index, e.Data)
	}
	// Output:
	// term 2, vote for b
	// (1, 1) register web
	// (2, 2) register cache
}
