package consensus_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"muster/consensus"
	"muster/consensus/core"
)

// counter is a state machine that costs nothing, so that a benchmark measures
// consensus.
type counter struct {
	journal
	n int
}

func (c *counter) Apply(es []core.Entry) ([]any, error) {
	results := make([]any, len(es))
	c.n += len(es)
	return results, nil
}

// BenchmarkPropose measures commits of 256-byte commands on three servers over
// TCP on the loopback with their logs on disk:
//
//	go test ./consensus -run '^$' -bench Propose
func BenchmarkPropose(b *testing.B) {
	for _, proposers := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("servers=3/proposers=%d", proposers), func(b *testing.B) { benchmarkPropose(b, 3, proposers) })
	}
	for _, proposers := range []int{1, 64} {
		b.Run(fmt.Sprintf("servers=1/proposers=%d", proposers), func(b *testing.B) { benchmarkPropose(b, 1, proposers) })
	}
}

func benchmarkPropose(b *testing.B, servers, proposers int) {
	c := newCluster(b, servers, nil)
	c.fsm = func() consensus.FSM { return new(counter) }
	for _, p := range c.peers {
		c.halt(p)
		c.start(p)
	}
	c.propose("warm")
	l := c.leader()
	data := make([]byte, 256)
	var next atomic.Int64
	took := make([]time.Duration, b.N)
	var workers sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range proposers {
		workers.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= b.N {
					return
				}
				start := time.Now()
				if _, _, err := l.Propose(b.Context(), data); err != nil {
					b.Error(err)
					return
				}
				took[i] = time.Since(start)
			}
		})
	}
	workers.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkFailover measures from stopping the leader to the next acknowledged
// write.
func BenchmarkFailover(b *testing.B) {
	c := newCluster(b, 3, nil)
	c.propose("warm")
	for range b.N {
		old := c.leader()
		c.halt(old)
		c.propose("x")
		b.StopTimer()
		c.start(old)
		want := c.leader().Applied()
		wait(b, "the old leader to catch up", func() bool { return old.Applied() >= want })
		b.StartTimer()
	}
}

// BenchmarkReadIndex compares, on the leader of three servers, reads under the
// lease with reads that take a round:
//
//	go test ./consensus -run '^$' -bench ReadIndex
func BenchmarkReadIndex(b *testing.B) {
	c := newCluster(b, 3, nil)
	c.propose("warm")
	l := c.leader()
	for name, kind := range map[string]core.ReadKind{"lease": core.ReadUnderLease, "round": core.ReadByRound} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				if _, err := l.ReadIndex(b.Context(), kind); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
