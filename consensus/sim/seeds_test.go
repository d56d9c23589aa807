package sim

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"muster/consensus/core"
)

// What a plain run of TestSeeds does, and must come to.
const (
	ciSeeds      = 2000
	ciSimulated  = 40 * 3600 * second
	ciOperations = 1_000_000
	// ciBlock is in how many seeds each situation must have been met.
	ciBlock = 1000
)

var (
	oneSeed   = flag.Uint64("seed", 0, "replay this one seed and print its trace with -v")
	firstSeed = flag.Uint64("first", 0, "first seed of TestSeeds; 0 takes one that changes every hour")
	seedCount = flag.Uint64("seeds", ciSeeds/budget, "how many seeds TestSeeds runs")
)

// TestMain trades memory for time: a run lives shortly and leaves much behind.
func TestMain(m *testing.M) {
	flag.Parse()
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}

// fresh is a first seed that no run of another hour had.
func fresh() uint64 { return uint64(time.Now().Unix()) / 3600 * 10_000 }

// TestSeeds runs many clusters, each from its seed, and checks every step: those
// that failed once, and fresh ones.
func TestSeeds(t *testing.T) {
	if *oneSeed != 0 {
		replay(t, *oneSeed)
		return
	}
	first, count := *firstSeed, *seedCount
	if first == 0 {
		first = fresh()
	}
	if testing.Short() {
		count = min(count, 40)
	}
	var seeds []uint64
	for seed := first; seed < first+count; seed++ {
		seeds = append(seeds, seed)
	}
	t.Logf("seeds %d to %d", first, first+count-1)
	all := runSeeds(t, seeds)
	if t.Failed() {
		return
	}
	for n := 0; n+ciBlock <= len(all); n += ciBlock {
		var met Situations
		for _, r := range all[n : n+ciBlock] {
			met.Add(r.Situations)
		}
		if missing := met.Missing(); len(missing) > 0 {
			t.Errorf("never met from seed %d to %d: %v", seeds[n], seeds[n+ciBlock-1], missing)
		}
	}
	if sum := total(all); count >= ciSeeds && (sum.Ended < ciSimulated || sum.Judged < ciOperations) {
		t.Errorf("%d seeds came to %v of simulated time and %d judged operations; at least %v and %d are asked for",
			count, time.Duration(sum.Ended), sum.Judged, time.Duration(ciSimulated), ciOperations)
	}
}

// runSeeds runs seeds on all cores. It stops early where one fails.
func runSeeds(t *testing.T, seeds []uint64) []Report {
	t.Helper()
	start := time.Now()
	var (
		reports = make([]Report, len(seeds))
		todo    = make(chan int)
		workers sync.WaitGroup
	)
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := range todo {
				if t.Failed() {
					continue
				}
				reports[i] = Run(seeds[i], nil)
				if reports[i].Err != nil {
					explain(t, reports[i])
				}
			}
		})
	}
	for i := range seeds {
		todo <- i
	}
	close(todo)
	workers.Wait()
	sum := total(reports)
	t.Logf("%d seeds, %v simulated, %d writes, %d operations judged, in %v", len(seeds), time.Duration(sum.Ended).Round(time.Second),
		sum.Writes, sum.Judged, time.Since(start).Round(time.Millisecond))
	for i, n := range sum.Situations {
		t.Logf("%9d × %v", n, Situation(i))
	}
	return reports
}

func total(reports []Report) (sum Report) {
	for _, r := range reports {
		sum.Ended += r.Ended
		sum.Writes += r.Writes
		sum.Judged += r.Judged
		sum.Situations.Add(r.Situations)
	}
	return sum
}

// explain reports a failed run.
func explain(t *testing.T, r Report) {
	t.Helper()
	seed := r.Plan.Seed
	t.Errorf("seed %d: %v\nplan %v\nreplay: go test ./consensus/sim -run TestSeeds -seed=%d -v", seed, r.Err, r.Plan, seed)
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
		a, b := Run(seed, nil), Run(seed, func(string, ...any) {})
		if a.Hash != b.Hash {
			t.Errorf("seed %d: trace hash %x, then %x", seed, a.Hash, b.Hash)
		}
		if a.Writes == 0 || a.Ended < core.Duration(a.Plan.Faults) {
			t.Errorf("seed %d: ended after %v with %d writes of clients", seed, time.Duration(a.Ended), a.Writes)
		}
	}
}
