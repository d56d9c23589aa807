package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"muster/catalog"
)

// parked counts the places in the lists of waiters.
func (ws *waiters) parked() int {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	n := 0
	for _, p := range ws.lists {
		for ; p != nil; p = p.next {
			n++
		}
	}
	return n
}

// await spins until n places are in the lists.
func (ws *waiters) await(n int) {
	for ws.parked() != n {
		runtime.Gosched()
	}
}

func TestWait_ReturnsAtOnceWhenTheTopicIsPast(t *testing.T) {
	f := newFixture(t, register("n1"))
	if err := f.Wait(context.Background(), []Topic{{Kind: TopicServices}, {Kind: TopicNodes}}, 0); err != nil {
		t.Error(err)
	}
	if n := f.waiters.parked(); n != 0 {
		t.Errorf("%d places are left", n)
	}
}

func TestWait_EndsWithItsContext(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	// The same topic twice is clumsy, not wrong.
	topics := []Topic{{Kind: TopicNodes}, {Kind: TopicChecks}, {Kind: TopicNodes}}
	go func() { done <- f.Wait(ctx, topics, 0) }()
	f.waiters.await(3)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that the context was cancelled", err)
	}
	if n := f.waiters.parked(); n != 0 {
		t.Errorf("%d places are left", n)
	}
}

// TestWait_ForeignWritesWakeNobody is row 1 of what users complain about.
func TestWait_ForeignWritesWakeNobody(t *testing.T) {
	const watchers = 1000
	f := newFixture(t, register("n1", withService("web", "web")), register("n2"))
	v := f.View()
	v.ServiceInstances("web")

	var woken atomic.Int32
	var all sync.WaitGroup
	for range watchers {
		all.Go(func() {
			if err := f.Wait(context.Background(), v.Topics(), v.Index()); err != nil {
				t.Error(err)
			}
			woken.Add(1)
		})
	}
	f.waiters.await(watchers)
	for i := range 100 {
		f.must(register("n2", withService("db", "db"), withCheck("c", "db", []string{"passing", "critical"}[i%2])))
		f.must(register(fmt.Sprint("x", i)))
	}
	if n := woken.Load(); n != 0 || f.waiters.parked() != watchers {
		t.Errorf("%d watchers woke for what they don't watch", n)
	}
	f.must(register("n1", withCheck("c", "web", "critical")))
	all.Wait()
	if n := f.waiters.parked(); n != 0 {
		t.Errorf("%d places are left", n)
	}
}

// TestWait_LosesNoWakeUp has each watcher follow its topics to the last write,
// while writers go on and other watchers give up.
func TestWait_LosesNoWakeUp(t *testing.T) {
	const nodes, writes, watchersPerNode = 8, 300, 8
	s := New()
	var next atomic.Uint64
	var order sync.Mutex // entries are applied in the order of their indexes
	last := make([]uint64, nodes)

	var all sync.WaitGroup
	for n := range nodes {
		name := fmt.Sprint("n", n)
		all.Go(func() {
			for i := range writes {
				data := encode(t, register(name, withAddress(fmt.Sprint(i))))
				order.Lock()
				index := next.Add(1)
				s.Apply([]Entry{{index, data}})
				last[n] = index
				order.Unlock()
			}
		})
		for k := range watchersPerNode {
			all.Go(func() {
				final := fmt.Sprint(writes - 1)
				for {
					v := s.View()
					node := v.Node(name)
					if k%2 == 1 {
						v.Node("nobody")
					}
					if node != nil && node.Address == final {
						return
					}
					if err := s.Wait(context.Background(), v.Topics(), v.Index()); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		all.Go(func() { // gives up and comes back
			for range writes {
				ctx, cancel := context.WithCancel(context.Background())
				var gone sync.WaitGroup
				gone.Go(func() { _ = s.Wait(ctx, []Topic{{TopicNode, name}, {Kind: TopicServices}}, 1<<60) })
				runtime.Gosched()
				cancel()
				gone.Wait()
			}
		})
	}
	all.Wait()
	if n := s.waiters.parked(); n != 0 {
		t.Errorf("%d places are left", n)
	}
	for n, want := range last {
		v := s.View()
		v.Node(fmt.Sprint("n", n))
		if v.Index() != want {
			t.Errorf("n%d is at %d, want %d", n, v.Index(), want)
		}
	}
}

func TestWait_RestoreWakesAll(t *testing.T) {
	f := newFixture(t, register("n1"))
	snapshot := snapshotBytes(t, f.Snapshot())
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if err := f.Wait(context.Background(), []Topic{{Kind: TopicNodes}, {TopicNode, "x"}}, 1<<40); err != nil {
				t.Error(err)
			}
		})
	}
	f.waiters.await(20)
	if err := f.Restore(bytes.NewReader(snapshot)); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	if n := f.waiters.parked(); n != 0 {
		t.Errorf("%d places are left", n)
	}
}

func BenchmarkWakeThousand(b *testing.B) {
	const watchers = 1000
	f := newFixture(b, register("n1", withService("web", "web")))
	flips := []catalog.Command{
		register("n1", withCheck("c", "web", "passing")),
		register("n1", withCheck("c", "web", "critical")),
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		v := f.View()
		v.ServiceInstances("web")
		var all sync.WaitGroup
		for range watchers {
			all.Go(func() { _ = f.Wait(context.Background(), v.Topics(), v.Index()) })
		}
		f.waiters.await(watchers)
		b.StartTimer()
		f.must(flips[i%2])
		all.Wait()
	}
}
