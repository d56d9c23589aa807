// Command campaign runs the simulator, the random walk of the core and the crash
// enumeration of the log over ever more seeds until it is told to stop, and keeps
// in a text file how far it got. It goes on where the file ends.
//
//	make campaign                            # until Ctrl-C
//	go run ./consensus/campaign -for 8h      # on two cores: -workers 2
//
// A failing seed is written down with what it says, and the run goes on behind it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"muster/consensus/sim"
)

func main() {
	path := flag.String("record", "docs/campaign.txt", "the file to go on from and write to")
	limit := flag.Duration("for", 0, "how long to run; 0: until interrupted")
	workers := flag.Int("workers", 1, "how many simulations run at a time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *limit)
		defer cancel()
	}
	if err := run(ctx, *path, *workers); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "campaign:", err)
		os.Exit(1)
	}
}

// run goes round the trials until ctx ends. What was under way then is not
// counted, and is run again next time.
func run(ctx context.Context, path string, workers int) error {
	rec, err := open(path)
	if err != nil {
		return err
	}
	commit, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return fmt.Errorf("git describe: %w", err)
	}
	dir, err := os.MkdirTemp("", "campaign")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // leaves files in a temporary directory at worst
	walk, err := build(ctx, dir, "core")
	if err != nil {
		return err
	}
	crash, err := build(ctx, dir, "wal")
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		for _, t := range []trial{
			{"simulator", 100, func(ctx context.Context, first, count uint64) (tally, error) {
				return simulate(ctx, first, count, workers)
			}},
			{"walk", 300, walk.trial("^TestRandom$")},
			{"crash", 1, crash.trial("^TestCrash_AtEveryIOCallUnderEveryLaw$")},
		} {
			first := rec.next(t.name)
			got, err := t.run(ctx, first, t.count)
			if err != nil || ctx.Err() != nil {
				return err
			}
			rec.add(strings.TrimSpace(string(commit)), t.name, first, got)
			if err := rec.save(); err != nil {
				return err
			}
		}
	}
	return nil
}

// trial is one kind of check that takes seeds.
type trial struct {
	name  string
	count uint64 // seeds at a time
	run   func(ctx context.Context, first, count uint64) (tally, error)
}

// tally is what some seeds came to.
type tally struct {
	seeds      uint64
	simulated  time.Duration
	operations uint64 // judged by Porcupine; steps of walks; crash points
	failures   []string
}

// simulate runs seeds of the simulator.
func simulate(ctx context.Context, first, count uint64, workers int) (tally, error) {
	var (
		mu    sync.Mutex
		sum   = tally{seeds: count}
		todo  = make(chan uint64)
		group sync.WaitGroup
	)
	for range workers {
		group.Go(func() {
			for seed := range todo {
				r := sim.Run(seed, nil)
				mu.Lock()
				sum.simulated += time.Duration(r.Ended)
				sum.operations += uint64(r.Judged)
				if r.Err != nil {
					sum.failures = append(sum.failures, fmt.Sprintf("seed %d: %v", seed, r.Err))
				}
				mu.Unlock()
			}
		})
	}
	for seed := first; seed < first+count && ctx.Err() == nil; seed++ {
		todo <- seed
	}
	close(todo)
	group.Wait()
	return sum, ctx.Err()
}

// testBinary is a built test of a package, which takes -first and -seeds.
type testBinary struct{ path, dir string }

func build(ctx context.Context, dir, pkg string) (testBinary, error) {
	b := testBinary{path: filepath.Join(dir, pkg+".test"), dir: filepath.Join("consensus", pkg)}
	out, err := exec.CommandContext(ctx, "go", "test", "-c", "-o", b.path, "./"+b.dir).CombinedOutput()
	if err != nil {
		return b, fmt.Errorf("build the tests of %s: %w\n%s", b.dir, err, out)
	}
	return b, nil
}

var (
	counted = regexp.MustCompile(`(\d+) (?:crash points|steps)`)
	badSeed = regexp.MustCompile(`seed[ =](\d+)`)
)

// trial runs a test over seeds. The test ends at the first seed that fails.
func (b testBinary) trial(test string) func(ctx context.Context, first, count uint64) (tally, error) {
	return func(ctx context.Context, first, count uint64) (tally, error) {
		cmd := exec.CommandContext(ctx, b.path, "-test.run="+test, "-test.v", "-test.timeout=0",
			fmt.Sprintf("-first=%d", first), fmt.Sprintf("-seeds=%d", count))
		cmd.Dir = b.dir
		raw, err := cmd.CombinedOutput()
		if ctx.Err() != nil {
			return tally{}, ctx.Err()
		}
		out, sum := string(raw), tally{seeds: count}
		if m := counted.FindStringSubmatch(out); m != nil {
			sum.operations, _ = strconv.ParseUint(m[1], 10, 64)
		}
		_, failed := errors.AsType[*exec.ExitError](err)
		switch {
		case err == nil:
			return sum, nil
		case !failed:
			return sum, err
		}
		at := strings.Index(out, "--- FAIL")
		said := strings.Join(strings.Fields(out[max(at, 0):]), " ")
		sum.failures = []string{said[:min(len(said), 400)]}
		if m := badSeed.FindStringSubmatch(out[max(at, 0):]); m != nil {
			if seed, err := strconv.ParseUint(m[1], 10, 64); err == nil && seed >= first && seed < first+count {
				sum.seeds = seed - first + 1
			}
		}
		return sum, nil
	}
}
