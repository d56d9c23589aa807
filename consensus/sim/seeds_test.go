package sim

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
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
	maskText  = flag.String("mask", "", "with -seed: take away what this text says, see Mask")
	keepAs    = flag.String("keep", "", "with -seed: keep the plan as testdata/failed/<name>.json")
	firstSeed = flag.Uint64("first", 0, "first seed of TestSeeds; 0 takes one that changes every hour")
	smaller   = flag.Int("minimise", 200, "how many runs may be spent on making a failing one smaller")
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
		explained sync.Once
		reports   = make([]Report, len(seeds))
		todo      = make(chan int)
		workers   sync.WaitGroup
	)
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := range todo {
				if t.Failed() {
					continue
				}
				reports[i] = Run(seeds[i], nil)
				if reports[i].Err != nil {
					explained.Do(func() { explain(t, reports[i]) })
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

// explain reports a failed run, and the smallest one like it.
func explain(t *testing.T, failed Report) {
	t.Helper()
	const replay = "go test ./consensus/sim -run TestSeeds -v -seed="
	seed := failed.Plan.Seed
	small := Minimise(failed, *smaller, func(p Plan) Report { return RunPlan(p, nil, nil) })
	tail := NewTail(60)
	RunPlan(small.Report.Plan, nil, tail.Printf)
	t.Errorf("seed %d: %v\nplan %v\nreplay: %s%d\nminimised in %d runs to %d of %d steps: %v\nreplay: %s%d -mask=%q\nits steps:\n%s\nthe end of its trace:\n%s",
		seed, failed.Err, failed.Plan, replay, seed,
		small.Runs, len(small.Mask.Steps), len(failed.Plan.Steps), small.Report.Err, replay, seed, small.Mask,
		small.Report.Plan.Describe(), strings.Join(tail.Lines, "\n"))
}

func replay(t *testing.T, seed uint64) {
	t.Helper()
	var printf func(string, ...any)
	if testing.Verbose() {
		printf = func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
	}
	mask, err := ParseMask(*maskText)
	if err != nil {
		t.Fatal(err)
	}
	plan := Draw(seed).Masked(mask)
	if *keepAs != "" {
		keep(t, *keepAs, plan)
	}
	r := RunPlan(plan, nil, printf)
	t.Logf("plan %v\n%s", r.Plan, r.Plan.Describe())
	if r.Err != nil {
		t.Errorf("seed %d: %v", seed, r.Err)
	}
}

// failedPlan is a file of testdata/failed: a plan whose run once broke a rule.
// It is kept whole, since what a seed draws may change.
type failedPlan struct {
	Story string // what went wrong, and what mended it
	Plan  Plan
}

const failedDir = "testdata/failed"

func keep(t *testing.T, name string, plan Plan) {
	t.Helper()
	b, err := json.MarshalIndent(failedPlan{Story: "to be written", Plan: plan}, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(failedDir, name+".json"), append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestFailed runs every plan that failed once.
func TestFailed(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(failedDir, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no plans in %s (%v)", failedDir, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var f failedPlan
			if err := json.Unmarshal(b, &f); err != nil {
				t.Fatal(err)
			}
			if r := RunPlan(f.Plan, nil, nil); r.Err != nil || r.Judged == 0 {
				t.Errorf("it fails again: %v (%d operations judged)\nits story: %s", r.Err, r.Judged, f.Story)
			}
		})
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
