package core_test

import (
	"fmt"
	"testing"

	"muster/consensus/core"
)

// BenchmarkReplicate is the core's share of committing entries of 256 bytes on
// three servers: everything but network, disk and state machine.
func BenchmarkReplicate(b *testing.B) {
	for _, batch := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			cores := make(map[core.ServerID]*core.Core)
			for _, id := range []core.ServerID{"a", "b", "c"} {
				wait := map[core.ServerID]core.Duration{"a": 0, "b": 140 * ms, "c": 140 * ms}[id]
				c, err := core.New(core.Config{ID: id, Rand: func(uint64) uint64 { return uint64(wait) }}, voters("a", "b", "c"), 0)
				if err != nil {
					b.Fatal(err)
				}
				cores[id] = c
			}
			last := map[core.ServerID]core.EntryID{"a": at(1, 1), "b": at(1, 1), "c": at(1, 1)}
			now := core.Instant(150 * ms) // the grace of a restart ends, and a stands in time
			var wire []core.Message
			turn := func(id core.ServerID) {
				out := cores[id].Output()
				if n := len(out.Entries); n > 0 {
					last[id] = core.EntryID{Term: out.Entries[n-1].Term, Index: out.Entries[n-1].Index}
				}
				wire = append(append(wire, out.Send...), out.SendAfter...)
				if out.HardState != nil || len(out.Entries) > 0 {
					cores[id].Written(now, core.Written{Seq: out.Seq, Last: last[id]})
				}
			}
			settle := func() {
				for _, id := range []core.ServerID{"a", "b", "c"} {
					turn(id)
					turn(id)
				}
				for len(wire) > 0 {
					m := wire[0]
					wire = wire[1:]
					cores[m.To].Receive(now, m)
					turn(m.To)
					turn(m.To)
				}
			}
			cores["a"].Tick(now)
			settle()
			proposals := make([]core.Proposal, batch)
			for i := range proposals {
				proposals[i] = core.Proposal{Data: make([]byte, 256)}
			}
			b.ReportAllocs()
			for b.Loop() {
				cores["a"].Propose(now, proposals)
				settle()
			}
			if st := cores["a"].Status(); st.Commit != st.LastIndex || st.Commit < uint64(batch) {
				b.Fatalf("commit %d of %d", st.Commit, st.LastIndex)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/entry")
		})
	}
}
