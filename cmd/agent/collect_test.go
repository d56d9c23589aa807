package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

func TestGarbageAllowed(t *testing.T) {
	for _, tc := range []struct {
		liveMiB uint64
		percent int
	}{{0, 400}, {1, 400}, {12, 390}, {24, 190}, {40, 110}, {80, 50}, {142, 50}, {10_000, 50}} {
		if got := garbageAllowed(tc.liveMiB << 20); got != tc.percent {
			t.Errorf("%d MiB live: %d percent, want %d", tc.liveMiB, got, tc.percent)
		}
	}
}

func TestCollectGarbage_FollowsWhatIsLive(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Cleanup(func() { debug.SetGCPercent(100) })
	stop := collectGarbage()
	small := settledPercent(t, func(percent int) bool { return percent > 100 })
	large := make([]byte, 128<<20)
	settledPercent(t, func(percent int) bool { return percent == garbageLeast })
	runtime.KeepAlive(large)
	settledPercent(t, func(percent int) bool { return percent >= small-50 })

	stop()
	debug.SetGCPercent(77)
	for range 10 {
		runtime.GC()
	}
	settledPercent(t, func(percent int) bool { return percent == 77 })
}

// settledPercent collects until the percentage is as wanted.
func settledPercent(t *testing.T, wanted func(percent int) bool) int {
	t.Helper()
	percent := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	for begun := time.Now(); time.Since(begun) < 10*time.Second; {
		runtime.GC()
		metrics.Read(percent)
		if got := int(percent[0].Value.Uint64()); wanted(got) {
			return got
		}
	}
	t.Fatalf("still %d percent", percent[0].Value.Uint64())
	return 0
}
