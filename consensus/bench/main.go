package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options say what is measured.
type options struct {
	dir     string
	rounds  int
	span    time.Duration // of one measurement
	levels  []int         // proposers
	systems []system
	profile string // file for a CPU profile of all rounds; "" for none
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "bench-raft-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	o.dir = dir

	if o.profile != "" {
		f, err := os.Create(o.profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	var t table
	for r := range o.rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", r+1, o.rounds)
		if err := o.round(ctx, &t, r); err != nil {
			return err
		}
	}
	t.print(os.Stdout)
	return nil
}

func parse(args []string) (options, error) {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	o := options{}
	fs.StringVar(&o.dir, "dir", "", "where the logs are written: a directory on the disk to measure; default is the system's for temporary files")
	fs.IntVar(&o.rounds, "rounds", 5, "how often all is measured; the median counts")
	fs.DurationVar(&o.span, "span", 1500*time.Millisecond, "how long one measurement takes")
	fs.StringVar(&o.profile, "cpuprofile", "", "file to write a CPU profile to; its tag \"system\" tells who used it")
	levels := fs.String("proposers", "1,16,256,1024", "how many propose at the same time, each waiting for its commit")
	names := fs.String("systems", strings.Join(systemNames(), ","), "what is measured")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	for l := range strings.SplitSeq(*levels, ",") {
		n, err := strconv.Atoi(l)
		if err != nil || n < 1 {
			return o, fmt.Errorf("-proposers: %q is not a number above zero", l)
		}
		o.levels = append(o.levels, n)
	}
	for name := range strings.SplitSeq(*names, ",") {
		s, ok := findSystem(name)
		if !ok {
			return o, fmt.Errorf("-systems: %q is none of %s", name, strings.Join(systemNames(), ", "))
		}
		o.systems = append(o.systems, s)
	}
	if o.rounds < 1 || o.span <= 0 {
		return o, errors.New("-rounds and -span must be above zero")
	}
	return o, nil
}

// system is one implementation with one store.
type system struct {
	name  string
	start func(ctx context.Context, dir string) (cluster, error)
}

// cluster is three running servers of a system. propose returns when the leader
// has applied a command; close stops them all.
type cluster interface {
	propose(ctx context.Context, data []byte) error
	close() error
}

var systems = []system{
	{"muster", startMuster},
	{"raft-wal/64", hashicorp(openWAL, 64)},
	{"raft-wal/1024", hashicorp(openWAL, 1024)},
	{"raft-boltdb/1024", hashicorp(openBolt, 1024)},
}

func systemNames() (names []string) {
	for _, s := range systems {
		names = append(names, s.name)
	}
	return names
}

func findSystem(name string) (system, bool) {
	for _, s := range systems {
		if s.name == name {
			return s, true
		}
	}
	return system{}, false
}

// round measures everything once, on fresh logs.
func (o options) round(ctx context.Context, t *table, r int) (err error) {
	var bare bareTimes
	labelled("bare", func() { bare, err = measureBare(ctx, o.dir, o.span/2) })
	if err != nil {
		return fmt.Errorf("bare system calls: %w", err)
	}
	t.bare = append(t.bare, bare)
	clusters := make([]cluster, len(o.systems))
	defer func() {
		for _, c := range clusters {
			if c != nil {
				err = errors.Join(err, c.close())
			}
		}
	}()
	for i, s := range o.systems {
		dir, err := os.MkdirTemp(o.dir, strings.ReplaceAll(s.name, "/", "-")+"-")
		if err != nil {
			return err
		}
		labelled(s.name, func() { clusters[i], err = s.start(ctx, dir) })
		if err != nil {
			return fmt.Errorf("start %s: %w", s.name, err)
		}
	}
	for _, n := range o.levels {
		for i := range o.systems {
			at := (i + r) % len(o.systems) // another goes first in each round
			var m measurement
			labelled(o.systems[at].name, func() { m, err = measure(ctx, clusters[at], n, o.span) })
			if err != nil {
				return fmt.Errorf("%s, %d proposers: %w", o.systems[at].name, n, err)
			}
			t.add(o.systems[at].name, n, m)
		}
	}
	return nil
}

// labelled runs f so that a CPU profile tells its share, with that of all
// goroutines it starts, by name.
func labelled(name string, f func()) {
	pprof.Do(context.Background(), pprof.Labels("system", name), func(context.Context) { f() })
}
