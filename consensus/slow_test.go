package consensus

import (
	"io"
	"testing"
	"time"

	"muster/consensus/core"
	"muster/consensus/wal/memfs"
)

// idle is a state machine that keeps nothing.
type idle struct{}

func (idle) Apply(es []core.Entry) ([]any, error) { return make([]any, len(es)), nil }
func (idle) Snapshot() (Snapshot, error)          { return idle{}, nil }
func (idle) Restore(io.Reader) error              { return nil }

func (idle) WriteTo(w io.Writer) (int64, error) { return 0, nil }
func (idle) Close()                             {}

// leading is an engine that leads a cluster of one; its lanes are worked by hand.
func leading(t *testing.T, tune func(*Config)) (e *Engine, now core.Instant) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.ID, cfg.FS, cfg.Dir = "one", memfs.New(), "raft"
	if tune != nil {
		tune(&cfg)
	}
	e, err := OpenEngine(cfg, idle{}, new(outbox), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	first := core.Configuration{ClusterID: "c", Servers: []core.Server{{ID: "one", Addr: "one:1", Suffrage: core.Voter}}}
	turn(t, e, now, &Input{Bootstrap: []Bootstrap{{Config: first, Waiter: nobody{}}}})
	for range 20 {
		now += core.Instant(50 * time.Millisecond)
		turn(t, e, now, &Input{Done: work(e)})
	}
	if e.status.Role != core.Leader {
		t.Fatalf("it is a %v", e.status.Role)
	}
	return e, now
}

func turn(t *testing.T, e *Engine, now core.Instant, in *Input) {
	t.Helper()
	if err := e.Turn(now, in); err != nil {
		t.Fatal(err)
	}
}

// work does what waits on all lanes.
func work(e *Engine) (done []Done) {
	for _, l := range Lanes() {
		done = append(done, e.Work(l)...)
	}
	return done
}

// A disk that takes half a second over each write, with more writes waiting all
// the time, is slow and not hung: each one that ends shows that it works. The
// first that takes longer than two election timeouts shows the contrary.
func TestStall_ASlowDiskThatWorksIsNotHung(t *testing.T) {
	e, now := leading(t, nil)
	propose := func() { turn(t, e, now, &Input{Proposals: []Proposal{{Data: []byte("x"), Waiter: nobody{}}}}) }
	propose()
	for i := range 20 {
		done := e.Work(LaneDisk) // is being written until the end of this round
		propose()                // and this waits behind it
		now += core.Instant(500 * time.Millisecond)
		turn(t, e, now, &Input{})
		if e.hung {
			t.Fatalf("hung in round %d with %d writes waiting", i, e.unwritten)
		}
		turn(t, e, now, &Input{Done: done})
	}
	if e.unwritten == 0 {
		t.Fatal("no write was waiting: the test shows nothing")
	}
	now += core.Instant(600 * time.Millisecond)
	turn(t, e, now, &Input{})
	if !e.hung {
		t.Error("no write has ended for 0.6 s, and the disk does not count as hung")
	}
	turn(t, e, now, &Input{Done: work(e)})
	turn(t, e, now, &Input{})
	if e.hung {
		t.Error("the disk works again and still counts as hung")
	}
}

// A full disk makes the server drop the log that it can do without: what a
// snapshot covers, and if there is none, it takes one.
func TestRoom_BecomingFullFreesLog(t *testing.T) {
	disk := memfs.New()
	e, now := leading(t, func(c *Config) { c.FS, c.SegmentBytes = disk, 64<<10 })
	used := disk.Used()
	for range 100 {
		now += core.Instant(time.Millisecond)
		turn(t, e, now, &Input{Proposals: []Proposal{{Data: make([]byte, 4<<10), Waiter: nobody{}}}})
		for range 4 {
			turn(t, e, now, &Input{Done: work(e)})
		}
	}
	if s := e.disk.log.Stats(); s.Segments < 4 || e.snapshot.Index > 0 {
		t.Fatalf("%d segments and a snapshot at %d: the test shows nothing", s.Segments, e.snapshot.Index)
	}
	disk.SetCapacity(disk.Used() + 64<<10)
	full := false
	for range 100 {
		now += core.Instant(100 * time.Millisecond)
		turn(t, e, now, &Input{Proposals: []Proposal{{Data: make([]byte, 1<<10), Waiter: nobody{}}}})
		full = full || e.room.full
		for range 4 {
			turn(t, e, now, &Input{Done: work(e)})
		}
	}
	if !full || e.room.full {
		t.Errorf("was full: %v, is full: %v; there are %+v", full, e.room.full, e.room.Room)
	}
	if e.snapshot.Index == 0 || e.disk.log.Stats().First == 1 {
		t.Errorf("snapshot at %d, log from %d", e.snapshot.Index, e.disk.log.Stats().First)
	}
	t.Logf("%d bytes used at first, %d in the end", used, disk.Used())
}

// Entries that the state machine does not get done with are told of when two
// election timeouts have passed.
func TestStall_ASlowStateMachineIsToldOf(t *testing.T) {
	e, now := leading(t, nil)
	turn(t, e, now, &Input{Proposals: []Proposal{{Data: []byte("x"), Waiter: nobody{}}}})
	turn(t, e, now, &Input{Done: e.Work(LaneDisk)})
	if !e.applying {
		t.Fatal("the command is not being applied: the test shows nothing")
	}
	from := now
	for !e.slowApply {
		if now = e.Deadline(); now > from+core.Instant(time.Second) {
			t.Fatal("nothing is said within a second")
		}
		turn(t, e, now, &Input{Done: e.Work(LaneDisk)})
	}
	if took := time.Duration(now - from); took < 600*time.Millisecond || took > 650*time.Millisecond {
		t.Errorf("said after %v, want 600ms", took)
	}
	turn(t, e, now, &Input{Done: work(e)})
	if e.applying || e.applyDeadline() != never {
		t.Error("the command is applied and still counts as being so")
	}
}
