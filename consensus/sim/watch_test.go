package sim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"muster/catalog"
	"muster/catalog/state"
	"muster/consensus"
	"muster/consensus/core"
	"muster/consensus/sim"
)

var (
	watchSeed  = flag.Uint64("watchseed", 0, "run TestWatch with this one seed")
	watchSeeds = flag.Uint64("watchseeds", 0, "how many seeds TestWatch runs; 0 takes as many as CI does")
)

// What a plain run of TestWatch does, and must come to.
const (
	ciWatchSeeds = 30
	ciDeliveries = 100_000
)

// chunkOfCatalog is the least that a plan's snapshots are cut into. A catalog is
// larger than the registers that plans are drawn for: in pieces of 7 or 64 bytes
// over a slow network it would not arrive within the time that is allowed after
// healing.
const chunkOfCatalog = 4096

// TestWatch lets blocking queries wait on the catalog's store of every server,
// through changes of leader, restarts and snapshots (33, 34).
func TestWatch(t *testing.T) {
	first, count := uint64(1), *watchSeeds
	switch {
	case *watchSeed != 0:
		first, count = *watchSeed, 1
	case count == 0 && underRace:
		count = 3
	case count == 0:
		count = ciWatchSeeds
	}
	var sum struct{ deliveries, restarts, leaderless, restores, waits atomic.Int64 }
	t.Run("seeds", func(t *testing.T) {
		for seed := first; seed < first+count; seed++ {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := newRider()
					plan := sim.Draw(seed)
					plan.ChunkBytes = max(plan.ChunkBytes, chunkOfCatalog)
					report := sim.RunPlan(plan, r, nil)
					r.close()
					if report.Err != nil {
						t.Errorf("seed %d: %v\nreplay: go test ./consensus/sim -run TestWatch -watchseed=%d", seed, report.Err, seed)
					}
					sum.deliveries.Add(int64(r.deliveries))
					sum.restarts.Add(int64(r.restarts))
					sum.leaderless.Add(int64(r.leaderless))
					sum.restores.Add(int64(r.restores))
					sum.waits.Add(int64(r.waits))
				})
			})
		}
	})
	t.Logf("%d seeds: %d deliveries, %d waits ended, %d times a server came back and %d times without a leader, %d snapshots restored under watchers",
		count, sum.deliveries.Load(), sum.waits.Load(), sum.restarts.Load(), sum.leaderless.Load(), sum.restores.Load())
	if count >= ciWatchSeeds && (sum.deliveries.Load() < ciDeliveries || sum.restarts.Load() == 0 || sum.restores.Load() == 0) {
		t.Errorf("too little was delivered, restarted or restored; %d deliveries are asked for", ciDeliveries)
	}
}

// queries are what the watchers ask.
var queries = []struct {
	name string
	eval func(*state.View) any
}{
	{"nodes", func(v *state.View) any { return v.Nodes() }},
	{"services", func(v *state.View) any { return v.Services() }},
	{"instances of web0", func(v *state.View) any { return v.ServiceInstances("web0") }},
	{"instances of web1", func(v *state.View) any { return v.ServiceInstances("web1") }},
	{"checks of web0", func(v *state.View) any { return v.ServiceChecks("web0") }},
	{"services on n0", func(v *state.View) any { return v.NodeServices("n0") }},
	{"node n1", func(v *state.View) any { return v.Node("n1") }},
	{"critical checks", func(v *state.View) any { return v.ChecksInState(catalog.StatusCritical) }},
}

// answer is what one evaluation of a query gave.
type answer struct {
	index  uint64
	body   []byte
	topics []state.Topic
}

func ask(s *state.Store, query int) answer {
	v := s.View()
	body, err := json.Marshal(queries[query].eval(v))
	if err != nil {
		panic(err) // nouns of the catalog always encode
	}
	return answer{index: v.Index(), body: body, topics: v.Topics()}
}

// rider is the catalog as passenger of a simulated cluster, with a watcher on
// each server for each query.
type rider struct {
	servers map[int]*boarded
	// shown[server][query] is the index that a stale read of that server has shown
	// last, in whichever of its lives.
	shown map[int][]uint64
	// floor is, by query, the highest index that a linearizable read has shown.
	floor []uint64
	// known holds what was answered to a query at an index, anywhere.
	known map[known]uint64
	err   error

	deliveries, restarts, leaderless, restores, waits int
}

type known struct {
	query int
	index uint64
}

func newRider() *rider {
	return &rider{
		servers: make(map[int]*boarded), shown: make(map[int][]uint64),
		floor: make([]uint64, len(queries)), known: make(map[known]uint64),
	}
}

func (r *rider) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

// boarded is one server's life.
type boarded struct {
	rider    *rider
	number   int
	store    *state.Store
	restored int // counts snapshots
	ready    bool
	stop     context.CancelFunc
	done     chan struct{} // gets one for each watcher that has ended
	watchers []*watcher
}

// watcher is one blocking query that goes on and on. Its goroutine runs only
// while the run waits for it in settle.
type watcher struct {
	server *boarded
	query  int
	last   answer
	count  int // deliveries
	waits  int
	fault  error
}

// run delivers the answer, waits until it may be another, and so on.
func (w *watcher) run(ctx context.Context) {
	defer func() { w.server.done <- struct{}{} }()
	store := w.server.store
	at := ask(store, w.query)
	w.deliver(at)
	for {
		restored := w.server.restored
		if store.Wait(ctx, at.topics, at.index) != nil {
			return
		}
		w.waits++
		next := ask(store, w.query)
		if next.index <= at.index && w.server.restored == restored {
			w.fault = fmt.Errorf("was woken at index %d, which it had seen (34)", next.index)
		}
		if next.index < at.index {
			w.fault = fmt.Errorf("index went back from %d to %d (33)", at.index, next.index)
		}
		if at = next; !bytes.Equal(at.body, w.last.body) {
			w.deliver(at)
		}
	}
}

func (w *watcher) deliver(a answer) {
	if w.count > 0 && a.index <= w.last.index {
		w.fault = fmt.Errorf("was given index %d after %d (34)", a.index, w.last.index)
	}
	w.last = a
	w.count++
}

// settle lets all watchers come to rest and looks at what they have.
func (b *boarded) settle() {
	synctest.Wait()
	for _, w := range b.watchers {
		now := ask(b.store, w.query)
		if w.fault != nil {
			b.rider.fail("%s on s%d: %w", queries[w.query].name, b.number, w.fault)
		}
		if !bytes.Equal(now.body, w.last.body) {
			b.rider.fail("%s on s%d: a watcher at index %d was not woken for index %d (34)", queries[w.query].name, b.number, w.last.index, now.index)
		}
		b.rider.show(b.number, w.query, now)
	}
}

// show checks an answer that a client may see on a server against what that
// server has shown, and against the same answer elsewhere.
func (r *rider) show(server, query int, a answer) {
	shown := r.shown[server]
	if shown == nil {
		shown = make([]uint64, len(queries))
		r.shown[server] = shown
	}
	if a.index < shown[query] {
		r.fail("%s on s%d: index went back from %d to %d (33)", queries[query].name, server, shown[query], a.index)
	}
	shown[query] = a.index
	h := fnv.New64a()
	_, _ = h.Write(a.body) // a hash never fails
	at := known{query, a.index}
	if before, ok := r.known[at]; ok && before != h.Sum64() {
		r.fail("%s on s%d: another answer at index %d than before", queries[query].name, server, a.index)
	}
	r.known[at] = h.Sum64()
}

// Command implements sim.Passenger: a node with, at times, a service and its
// check, or the end of one.
func (r *rider) Command(d *rand.Rand) []byte {
	node := fmt.Sprintf("n%d", d.IntN(4))
	web := fmt.Sprintf("web%d", d.IntN(3))
	var c catalog.Command
	switch d.IntN(6) {
	case 0:
		c = &catalog.Deregister{Node: node, ServiceID: web}
	case 1:
		c = &catalog.Deregister{Node: node}
	default:
		c = &catalog.Register{
			Node:    catalog.Node{Node: node, Address: fmt.Sprintf("10.0.0.%d", 1+d.IntN(2))},
			Service: &catalog.Service{ID: web, Service: web, Port: 80 + d.IntN(3)},
			Checks: []catalog.Check{{
				Node: node, CheckID: "service:" + web, Name: web, ServiceID: web,
				Status: [...]string{catalog.StatusPassing, catalog.StatusCritical}[d.IntN(2)],
			}},
		}
	}
	b, err := catalog.EncodeCommand(c)
	if err != nil {
		r.fail("encode %T: %v", c, err)
	}
	return b
}

// Board implements sim.Passenger.
func (r *rider) Board(server int) consensus.FSM {
	b := &boarded{rider: r, number: server, store: state.New(), done: make(chan struct{}, len(queries))}
	r.servers[server] = b
	return b
}

// Leave implements sim.Passenger.
func (r *rider) Leave(server int) {
	b := r.servers[server]
	if b == nil {
		return
	}
	delete(r.servers, server)
	if b.stop == nil {
		return
	}
	b.stop()
	for _, w := range b.watchers {
		<-b.done
		r.deliveries += w.count
		r.waits += w.waits
	}
}

func (r *rider) close() {
	for server := range r.servers {
		r.Leave(server)
	}
}

// Serving implements sim.Passenger: with the first moment at which a server may
// answer stale reads its watchers begin. Where it found no leader to ask, it may
// have shown more in an earlier life.
func (r *rider) Serving(server int, alone bool) {
	b := r.servers[server]
	if b.ready {
		return
	}
	b.ready = true
	switch {
	case alone:
		delete(r.shown, server)
		r.leaderless++
	case r.shown[server] != nil:
		r.restarts++
	}
	var ctx context.Context
	ctx, b.stop = context.WithCancel(context.Background())
	for query := range queries {
		w := &watcher{server: b, query: query}
		b.watchers = append(b.watchers, w)
		go w.run(ctx)
	}
	b.settle()
}

// Asked implements sim.Passenger.
func (r *rider) Asked() any { return append([]uint64(nil), r.floor...) }

// Answered implements sim.Passenger: linearizable answers go back on no server.
func (r *rider) Answered(server int, asked any) {
	for query, floor := range asked.([]uint64) {
		a := ask(r.servers[server].store, query)
		if a.index < floor {
			r.fail("%s: a linearizable read on s%d has index %d after one at %d (33)", queries[query].name, server, a.index, floor)
		}
		r.floor[query] = max(r.floor[query], a.index)
	}
}

// Finish implements sim.Passenger.
func (r *rider) Finish() {
	for _, b := range r.servers {
		b.settle()
	}
}

// Err implements sim.Passenger.
func (r *rider) Err() error { return r.err }

// Apply implements consensus.FSM.
func (b *boarded) Apply(es []core.Entry) ([]any, error) {
	batch := make([]state.Entry, len(es))
	for i, e := range es {
		batch[i] = state.Entry{Index: e.Index, Data: e.Data}
	}
	for i, r := range b.store.Apply(batch) {
		if r.Err != nil {
			b.rider.fail("entry %d: %v", batch[i].Index, r.Err)
		}
	}
	b.settle()
	return nil, nil
}

// Snapshot implements consensus.FSM.
func (b *boarded) Snapshot() (consensus.Snapshot, error) { return b.store.Snapshot(), nil }

// Restore implements consensus.FSM.
func (b *boarded) Restore(in io.Reader) error {
	b.restored++
	err := b.store.Restore(in)
	if b.ready {
		b.rider.restores++
	}
	b.settle()
	return err
}
