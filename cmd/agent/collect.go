package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

// Garbage may gather to garbageLeast percent of what is live before it is collected:
// at Go's own 100 half of a large catalog's memory is garbage. While little is live it
// may gather to garbageBytes, or a small server under load would collect hundreds
// of times a second; but to garbageMost percent only, as live memory can grow many
// times over before the next collection tells.
const (
	garbageLeast = 50
	garbageMost  = 400
	garbageBytes = 48 << 20
)

// collector sets how much garbage may gather, anew after each collection.
type collector struct {
	percent int
	ended   atomic.Bool
	live    []metrics.Sample
}

// collectGarbage begins to set the garbage collector; stop ends that. It leaves
// the collector alone where the environment has a setting of its own for it.
// GOMEMLIMIT holds beside either.
func collectGarbage() (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	c := &collector{live: []metrics.Sample{{Name: "/gc/heap/live:bytes"}}}
	c.set()
	return func() { c.ended.Store(true) }
}

// set is called by the runtime once something that nothing refers to is gone, which
// is after each collection.
func (c *collector) set() {
	if c.ended.Load() {
		return
	}
	metrics.Read(c.live)
	if percent := garbageAllowed(c.live[0].Value.Uint64()); percent != c.percent {
		debug.SetGCPercent(percent)
		c.percent = percent
	}
	runtime.SetFinalizer(new([16]byte), func(*[16]byte) { c.set() })
}

// garbageAllowed is the percentage for so many live bytes, in steps of ten, as
// setting it stops the world for a moment.
func garbageAllowed(live uint64) int {
	percent := int(garbageBytes/(live/100+1)) / 10 * 10
	return min(max(percent, garbageLeast), garbageMost)
}
