package main

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const commandBytes = 256

// measurement is one system at one level in one round.
type measurement struct {
	rate     float64 // commits per second
	p50, p99 time.Duration
	cpu      time.Duration // per commit, of the whole process
}

// measure lets n proposers propose for span, after a fifth of it to warm up.
func measure(ctx context.Context, c cluster, n int, span time.Duration) (measurement, error) {
	if _, err := load(ctx, c, n, span/5); err != nil {
		return measurement{}, err
	}
	runtime.GC() // what others left behind is not this one's to sweep
	start, cpu := time.Now(), cpuTime()
	took, err := load(ctx, c, n, span)
	if err != nil {
		return measurement{}, err
	}
	elapsed, used := time.Since(start), cpuTime()-cpu
	return measurement{
		rate: float64(len(took)) / elapsed.Seconds(),
		p50:  median(took), // and sorted from here on
		p99:  took[len(took)*99/100],
		cpu:  used / time.Duration(len(took)),
	}, nil
}

// load proposes from n goroutines for span and gives the time that each commit
// took, in no order.
func load(ctx context.Context, c cluster, n int, span time.Duration) ([]time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var over atomic.Bool
	timer := time.AfterFunc(span, func() { over.Store(true) })
	defer timer.Stop()
	took := make([][]time.Duration, n)
	var proposers sync.WaitGroup
	for i := range n {
		proposers.Go(func() {
			data := make([]byte, commandBytes)
			mine := make([]time.Duration, 0, 1024)
			for done := false; !done; done = over.Load() {
				start := time.Now()
				if err := c.propose(ctx, data); err != nil {
					cancel(err)
					return
				}
				mine = append(mine, time.Since(start))
			}
			took[i] = mine
		})
	}
	proposers.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return slices.Concat(took...), nil
}

// cpuTime is what this process has used of all processors.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
