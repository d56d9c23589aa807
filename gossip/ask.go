package gossip

import (
	"context"
	"net"
	"sync"
)

const (
	// askAttempts is how often a member is asked that doesn't answer: a packet
	// gets lost now and then.
	askAttempts = 2
	// askAtOnce bounds the members that are asked at the same time.
	askAtOnce = 64
)

// Ask asks members directly whether they live, past what the pool believes of
// them, and gives the names of those that answer. It takes two probe timeouts for
// each 64 that don't; after ctx has ended no more are asked.
func (p *Pool) Ask(ctx context.Context, members []Member) map[string]bool {
	var mu sync.Mutex
	answered := map[string]bool{}
	var asking sync.WaitGroup
	places := make(chan struct{}, askAtOnce)
	for _, m := range members {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		asking.Add(1)
		err := p.call(func() {
			defer asking.Done()
			defer func() { <-places }()
			if p.answers(ctx, m) {
				mu.Lock()
				defer mu.Unlock()
				answered[m.Name] = true
			}
		})
		if err != nil { // the pool is closed
			asking.Done()
			break
		}
	}
	asking.Wait()
	return answered
}

// answers sends a member probes that only an agent of its name answers.
func (p *Pool) answers(ctx context.Context, m Member) bool {
	addr := &net.UDPAddr{IP: net.ParseIP(m.Addr), Port: int(m.Port)}
	for range askAttempts {
		if ctx.Err() != nil {
			return false
		}
		if _, err := p.serf.Memberlist().Ping(m.Name, addr); err == nil {
			return true
		}
	}
	return false
}
