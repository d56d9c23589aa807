package consensus

import (
	"testing"
	"time"

	"muster/consensus/core"
)

// A snapshot's pieces leave no faster than allowed, each server's by itself, and
// one that is asked for again while it is held leaves once.
func TestTransfers_KeepToTheRate(t *testing.T) {
	cfg := Config{ChunkBytes: 1 << 20, SnapshotRate: 100 << 20}
	each := cfg.chunkTime()
	if each != core.Instant(10*time.Millisecond) {
		t.Fatalf("1 MiB at 100 MiB a second takes %v", time.Duration(each))
	}
	piece := func(to core.ServerID, offset uint64) core.Message {
		return core.Message{Kind: core.MsgSnapshot, To: to, Offset: offset, Snapshot: &core.SnapshotMeta{Index: 7}}
	}
	var ts transfers
	if !ts.note(piece("a", 0), 0, each) || !ts.note(piece("b", 0), 0, each) {
		t.Error("the first piece is held")
	}
	if ts.note(piece("a", 1), 1, each) || ts.note(piece("a", 2), 2, each) {
		t.Error("a piece leaves before its time")
	}
	if got := ts.deadline(); got != each {
		t.Errorf("it wants to go on at %v, not %v", got, each)
	}
	if got := ts.due(each-1, each); len(got) != 0 {
		t.Errorf("%d pieces are due early", len(got))
	}
	if got := ts.due(each, each); len(got) != 1 || got[0].To != "a" || got[0].Offset != 2 {
		t.Errorf("due is %+v, want the one asked for last", got)
	}
	if ts.deadline() != core.Never {
		t.Error("it wants to go on with nothing held")
	}
	if ts.note(piece("a", 3), 2*each-1, each) || !ts.note(piece("b", 1), 2*each-1, each) {
		t.Error("the time of one server's piece depends on another's")
	}
	if got := ts.due(2*each, each); len(got) != 1 || got[0].Offset != 3 {
		t.Errorf("due is %+v", got)
	}

	cfg.SnapshotRate = 0
	for i := range uint64(3) {
		if !ts.note(piece("c", i), 5, cfg.chunkTime()) {
			t.Error("without a bound a piece is held")
		}
	}
}
