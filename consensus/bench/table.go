package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// table gathers measurements and prints their medians.
type table struct {
	bare []bareTimes
	rows []*row // in the order in which they were first measured
}

// row is one system at one level.
type row struct {
	system    string
	proposers int
	rounds    []measurement
}

func (t *table) add(system string, proposers int, m measurement) {
	r := t.row(system, proposers)
	if r == nil {
		r = &row{system: system, proposers: proposers}
		t.rows = append(t.rows, r)
	}
	r.rounds = append(r.rounds, m)
}

func (t *table) row(system string, proposers int) *row {
	for _, r := range t.rows {
		if r.system == system && r.proposers == proposers {
			return r
		}
	}
	return nil
}

// print writes the table as Markdown. The last column is the median, over the
// rounds, of our rate by this system's.
func (t *table) print(w io.Writer) {
	fmt.Fprintf(w, "%s; %d processors; %s; %d rounds\n\n", processor(), runtime.NumCPU(), runtime.Version(), len(t.bare))
	sync := medianOf(t.bare, func(b bareTimes) time.Duration { return b.sync })
	trip := medianOf(t.bare, func(b bareTimes) time.Duration { return b.trip })
	quorum := medianOf(t.bare, func(b bareTimes) time.Duration { return b.quorum })
	fmt.Fprintf(w, "Bare: fdatasync of a preallocated file %s (%.0f/s); loopback round trip %s; both at once on three servers %s.\n\n",
		micros(sync), 1/sync.Seconds(), micros(trip), micros(quorum))
	fmt.Fprintln(w, "| proposers | system | commits/s | p50 | p99 | CPU/commit | ours by it |")
	fmt.Fprintln(w, "|---:|---|---:|---:|---:|---:|---:|")
	for _, r := range t.rows {
		fmt.Fprintf(w, "| %d | %s | %.0f | %s | %s | %s | %s |\n", r.proposers, r.system,
			medianOf(r.rounds, func(m measurement) float64 { return m.rate }),
			micros(medianOf(r.rounds, func(m measurement) time.Duration { return m.p50 })),
			micros(medianOf(r.rounds, func(m measurement) time.Duration { return m.p99 })),
			micros(medianOf(r.rounds, func(m measurement) time.Duration { return m.cpu })),
			t.ratio(r))
	}
}

// ratio is of neighbours: our rate by r's in the same round.
func (t *table) ratio(r *row) string {
	ours := t.row("muster", r.proposers)
	if ours == nil || ours == r {
		return ""
	}
	var ratios []float64
	for i, m := range r.rounds {
		ratios = append(ratios, ours.rounds[i].rate/m.rate)
	}
	return fmt.Sprintf("%.2f×", median(ratios))
}

func medianOf[T any, V cmp.Ordered](from []T, value func(T) V) V {
	var vs []V
	for _, f := range from {
		vs = append(vs, value(f))
	}
	return median(vs)
}

// median sorts vs, which has at least one value.
func median[V cmp.Ordered](vs []V) V {
	slices.Sort(vs)
	return vs[len(vs)/2]
}

func micros(d time.Duration) string {
	return fmt.Sprintf("%.3f ms", d.Seconds()*1000)
}

// processor names this machine's, as far as the system tells.
func processor() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
