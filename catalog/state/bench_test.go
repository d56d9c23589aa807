package state

import (
	"fmt"
	"testing"
)

func BenchmarkApplyRegister(b *testing.B) {
	for _, size := range []int{1, 64} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			s := New()
			const distinct = 4096
			entries := make([]Entry, distinct)
			for i := range entries {
				name := fmt.Sprint("n", i)
				entries[i].Data = encode(b, register(name, withID(fmt.Sprintf("%08d-1111-1111-1111-111111111111", i)),
					withService("web", "web", "a"), withCheck("c", "web", "passing")))
			}
			// Every other round changes what the one before wrote.
			flipped := make([]Entry, distinct)
			for i := range flipped {
				flipped[i].Data = encode(b, register(fmt.Sprint("n", i), skipNode, withCheck("c", "web", "critical")))
			}
			index := uint64(0)
			batch := make([]Entry, size)
			b.ReportAllocs()
			for b.Loop() {
				for k := range batch {
					from := entries
					if index/distinct%2 == 1 {
						from = flipped
					}
					batch[k] = Entry{index + 1, from[index%distinct].Data}
					index++
				}
				s.Apply(batch)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(index), "ns/command")
		})
	}
}

func BenchmarkServiceInstances(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("instances=%d", n), func(b *testing.B) {
			f := newFixture(b)
			for i := range n {
				f.must(register(fmt.Sprintf("n%04d", i), withService("web", "web", "a"),
					withCheck("serfHealth", "", "passing"), withCheck("c", "web", "passing")))
			}
			b.ReportAllocs()
			for b.Loop() {
				if got := len(f.View().ServiceInstances("web")); got != n {
					b.Fatalf("%d instances", got)
				}
			}
		})
	}
}

func BenchmarkPreviewUnchanged(b *testing.B) {
	f := newFixture(b)
	for i := range 1000 {
		f.must(register(fmt.Sprint("n", i), withService("web", "web"), withCheck("c", "web", "passing")))
	}
	c := register("n500", withService("web", "web"), withCheck("c", "web", "passing"))
	b.ReportAllocs()
	for b.Loop() {
		if f.Preview(c).Changed {
			b.Fatal("changed")
		}
	}
}
