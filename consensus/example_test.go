package consensus_test

import (
	"context"
	"fmt"

	"muster/consensus"
	"muster/consensus/core"
	"muster/consensus/wal/memfs"
)

// A cluster of one server in memory, as a development agent runs it.
func Example() {
	cfg := consensus.DefaultConfig()
	cfg.ID, cfg.FS, cfg.Dir = "server-1", memfs.New(), "raft"
	node, err := consensus.New(cfg, new(journal))
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- node.Run(ctx) }()

	first := core.Configuration{ClusterID: "example", Servers: []core.Server{
		{ID: "server-1", Addr: "127.0.0.1:8300", Suffrage: core.Voter},
	}}
	if err := node.Bootstrap(ctx, first); err != nil {
		fmt.Println(err)
	}
	if _, _, err := node.LeaderContext(ctx); err != nil {
		fmt.Println(err)
	}
	result, id, err := node.Propose(ctx, []byte("hello"))
	fmt.Println(result, id.Index, err)

	stop()
	fmt.Println(<-done)
	// Output:
	// 1 3 <nil>
	// <nil>
}
