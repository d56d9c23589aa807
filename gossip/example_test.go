package gossip_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"

	"muster/gossip"
)

// A server and a client find each other.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	start := func(name string, role gossip.Role) *gossip.Pool {
		c := gossip.DefaultConfig()
		c.NodeName, c.NodeID, c.Datacenter = name, "id-of-"+name, "dc1"
		c.Role, c.ClusterPort = role, 8300
		c.BindAddr, c.BindPort, c.Timing = "127.0.0.1", 0, gossip.DevTiming()
		p, err := gossip.New(c)
		if err != nil {
			panic(err)
		}
		running.Go(func() { p.Run(ctx) })
		return p
	}
	server, client := start("s1", gossip.Server), start("c1", gossip.Client)
	at := server.Local()
	if _, err := client.Join(ctx, []string{net.JoinHostPort(at.Addr, strconv.Itoa(int(at.Port)))}); err != nil {
		panic(err)
	}
	for _, m := range client.Members() {
		fmt.Printf("%s %s server=%t\n", m.Name, m.Status, m.Server)
	}
	cancel()
	running.Wait()
	// Output:
	// c1 alive server=false
	// s1 alive server=true
}
