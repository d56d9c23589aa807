package transport_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"muster/consensus/core"
	"muster/consensus/transport"
)

// Two servers on one in-memory network: one asks for a vote, the other hears it.
func Example() {
	network := transport.NewMemory()
	ctx, cancel := context.WithCancel(context.Background())
	heard := make(chan core.Message)
	var running sync.WaitGroup
	start := func(id core.ServerID) *transport.Transport {
		listener, err := network.Listen(string(id))
		if err != nil {
			panic(err)
		}
		t, err := transport.New(transport.Config{
			ID:        id,
			ClusterID: func() string { return "7f0a" },
			Resolve:   func(id core.ServerID) (string, bool) { return string(id), true },
			Dial:      network.Dialer(string(id)),
			Handler: func(m core.Message) {
				select {
				case heard <- m:
				case <-ctx.Done():
				}
			},
		})
		if err != nil {
			panic(err)
		}
		mux := transport.NewMux(listener, t.Accept, transport.MuxConfig{})
		running.Go(func() { t.Run(ctx) })
		running.Go(func() { mux.Run(ctx) })
		return t
	}
	a, _ := start("a"), start("b")

	// A network may lose messages, as this one does until both run: Raft sends
	// again what is not answered.
	var m core.Message
	for m.Kind == 0 {
		a.Send(core.Message{Kind: core.MsgPreVote, To: "b", Term: 5})
		select {
		case m = <-heard:
		case <-time.After(50 * time.Millisecond):
		}
	}
	fmt.Printf("%s asks %s for term %d\n", m.From, m.To, m.Term)
	cancel()
	running.Wait()
	// Output: a asks b for term 5
}
