package wal_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"muster/consensus/core"
	"muster/consensus/wal"
)

// commands makes n entries of 256 bytes from index on.
func commands(n int) []core.Entry {
	es := make([]core.Entry, n)
	for i := range es {
		data := make([]byte, 256)
		for j := range data {
			data[j] = byte(i + j)
		}
		es[i] = core.Entry{Term: 1, Kind: core.EntryCommand, Data: data}
	}
	return es
}

// BenchmarkAppend measures a batch made durable. Each batch is followed by the
// same number of bytes written and synced to a bare preallocated file, so that
// both meet the same disk; "x-bare" is the ratio of the times, "sync-µs" that of
// the bare file.
func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("entries=%d", n), func(b *testing.B) {
			l, _, err := wal.Open(wal.OS(), filepath.Join(b.TempDir(), "raft"), wal.DefaultConfig())
			must(b, err)
			defer l.Close()
			ctx, stop := context.WithCancel(context.Background())
			var running sync.WaitGroup
			running.Go(func() { _ = l.Run(ctx) })
			defer running.Wait()
			defer stop()
			bare := newBareFile(b, n*256)
			es := commands(n)
			next := uint64(1)
			var ours, theirs time.Duration
			b.ReportAllocs()
			for b.Loop() {
				for i := range es {
					es[i].Index = next
					next++
				}
				start := time.Now()
				must(b, l.Append(wal.Batch{Entries: es}))
				middle := time.Now()
				bare.write(b)
				ours += middle.Sub(start)
				theirs += time.Since(middle)
			}
			b.ReportMetric(float64(ours)/float64(theirs), "x-bare")
			b.ReportMetric(float64(theirs.Microseconds())/float64(b.N), "sync-µs")
			b.ReportMetric(float64(ours.Microseconds())/float64(b.N), "append-µs")
			b.ReportMetric(float64(n*b.N)/ours.Seconds(), "entries/s")
		})
	}
}

// bareFile is what no log can beat: a preallocated file, written in order.
type bareFile struct {
	f    wal.File
	buf  []byte
	off  int64
	size int64
}

func newBareFile(b *testing.B, batch int) *bareFile {
	b.Helper()
	f, err := wal.OS().OpenFile(filepath.Join(b.TempDir(), "bare"), os.O_RDWR|os.O_CREATE, 0o600)
	must(b, err)
	b.Cleanup(func() { _ = f.Close() })
	const size = 64 << 20
	for off := int64(0); off < size; off += 1 << 20 {
		_, err = f.WriteAt(make([]byte, 1<<20), off)
		must(b, err)
	}
	must(b, f.Sync())
	buf := make([]byte, batch)
	for i := range buf {
		buf[i] = byte(i)
	}
	return &bareFile{f: f, buf: buf, size: size}
}

func (f *bareFile) write(b *testing.B) {
	if f.off+int64(len(f.buf)) > f.size {
		f.off = 0
	}
	_, err := f.f.WriteAt(f.buf, f.off)
	must(b, err)
	must(b, f.f.Sync())
	f.off += int64(len(f.buf))
}

// BenchmarkEntries reads a log back as a lagging follower makes the leader do.
func BenchmarkEntries(b *testing.B) {
	l, _, err := wal.Open(wal.OS(), filepath.Join(b.TempDir(), "raft"), wal.DefaultConfig())
	must(b, err)
	defer l.Close()
	for i := range 100 {
		es := commands(256)
		for j := range es {
			es[j].Index = uint64(i*256 + j + 1)
		}
		must(b, l.Append(wal.Batch{Entries: es}))
	}
	b.ReportAllocs()
	next := uint64(1)
	for b.Loop() {
		es, err := l.Entries(next, l.LastIndex(), 1<<20)
		must(b, err)
		b.SetBytes(int64(len(es)) * 256)
		if next += uint64(len(es)); next > l.LastIndex() {
			next = 1
		}
	}
}

// BenchmarkOpen opens a log that is nearly full of small batches.
func BenchmarkOpen(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "raft")
	b.Run("fresh", func(b *testing.B) {
		i := 0
		for b.Loop() {
			i++
			l, _, err := wal.Open(wal.OS(), fmt.Sprintf("%s-%d", dir, i), wal.DefaultConfig())
			must(b, err)
			must(b, l.Close())
		}
	})
	b.Run("entries=25600", func(b *testing.B) {
		l, _, err := wal.Open(wal.OS(), dir, wal.DefaultConfig())
		must(b, err)
		for i := range 1600 {
			es := commands(16)
			for j := range es {
				es[j].Index = uint64(i*16 + j + 1)
			}
			must(b, l.Append(wal.Batch{Entries: es}))
		}
		must(b, l.Close())
		b.ReportAllocs()
		for b.Loop() {
			l, r, err := wal.Open(wal.OS(), dir, wal.DefaultConfig())
			must(b, err)
			if r.LastIndex != 25_600 {
				b.Fatalf("last index %d", r.LastIndex)
			}
			must(b, l.Close())
		}
	})
}
