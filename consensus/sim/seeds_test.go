package sim

import (
	"flag"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// ciSeeds is how many seeds a plain test run takes; in that many each situation
// must have been met.
const ciSeeds = 240

var (
	oneSeed   = flag.Uint64("seed", 0, "replay this one seed and print its trace with -v")
	firstSeed = flag.Uint64("first", 1, "first seed of TestSeeds")
	seedCount = flag.Uint64("seeds", ciSeeds/budget, "how many seeds TestSeeds runs")
)

// TestSeeds runs many clusters, each from its seed, and checks every step.
func TestSeeds(t *testing.T) {
	if *oneSeed != 0 {
		replay(t, *oneSeed)
		return
	}
	count := *seedCount
	if testing.Short() {
		count = min(count, 40)
	}
	start := time.Now()
	var (
		next, operations atomic.Uint64
		simulated        atomic.Int64
		mu               sync.Mutex
		met              Situations
		workers          sync.WaitGroup
	)
	next.Store(*firstSeed)
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for {
				seed := next.Add(1) - 1
				if seed >= *firstSeed+count || t.Failed() {
					return
				}
				r := Run(seed, nil)
				operations.Add(r.Operations)
				simulated.Add(int64(r.Simulated))
				mu.Lock()
				met.Add(r.Situations)
				mu.Unlock()
				if r.Err != nil {
					t.Errorf("seed %d: %v\nplan %v\nreplay: go test ./consensus/sim -run TestSeeds -seed=%d -v", seed, r.Err, r.Plan, seed)
				}
			}
		})
	}
	workers.Wait()
	t.Logf("%d seeds, %v simulated, %d writes, in %v", count, time.Duration(simulated.Load()).Round(time.Second), operations.Load(), time.Since(start).Round(time.Millisecond))
	for i, n := range met {
		t.Logf("%9d × %v", n, Situation(i))
	}
	if missing := met.Missing(); len(missing) > 0 && count >= ciSeeds && !t.Failed() {
		t.Errorf("never met in %d seeds: %v", count, missing)
	}
}

func replay(t *testing.T, seed uint64) {
	t.Helper()
	var printf func(string, ...any)
	if testing.Verbose() {
		printf = func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
	}
	r := Run(seed, printf)
	t.Logf("plan %v", r.Plan)
	if r.Err != nil {
		t.Errorf("seed %d: %v", seed, r.Err)
	}
}

// TestSameSeedSameTrace: a run is a function of its seed.
func TestSameSeedSameTrace(t *testing.T) {
	for seed := uint64(1000); seed < 1006; seed++ {
		a, b := Run(seed, nil), Run(seed, nil)
		if a.Hash != b.Hash {
			t.Errorf("seed %d: trace hash %x, then %x", seed, a.Hash, b.Hash)
		}
		if a.Operations == 0 {
			t.Errorf("seed %d: no client did anything", seed)
		}
	}
}
