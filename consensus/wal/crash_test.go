package wal_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"muster/consensus/core"
	"muster/consensus/wal"
	"muster/consensus/wal/memfs"
)

// model is what a log has to hold. Compaction is not in it: which entries
// behind the snapshot are still there is checked to be consistent only.
type model struct {
	hs      core.HardState
	base    core.EntryID // the snapshot the log was last reset to
	entries []core.Entry // from base.Index+1 on
	snap    core.EntryID
	size    int // of the snapshot
}

func (m model) last() uint64 { return m.base.Index + uint64(len(m.entries)) }

func (m model) term(index uint64) uint64 {
	if index <= m.base.Index {
		return m.base.Term
	}
	return m.entries[index-m.base.Index-1].Term
}

// append is the model after a batch.
func (m model) append(b wal.Batch) model {
	if b.HardState != nil {
		m.hs = *b.HardState
	}
	if len(b.Entries) > 0 {
		m.entries = append(slices.Clip(m.entries[:b.Entries[0].Index-m.base.Index-1]), b.Entries...)
	}
	return m
}

// install is the model after a snapshot from the leader.
func (m model) install(at core.EntryID, size int) model {
	m.snap, m.size = at, size
	if at.Index > m.last() || m.term(at.Index) != at.Term {
		m.base, m.entries = at, nil
	}
	return m
}

// differs says in what a recovered log is not m, "" if it is.
func (m model) differs(l *wal.Log, r core.Restored) string {
	switch {
	case r.Voteless:
		return "voteless"
	case r.HardState.Term != m.hs.Term || r.HardState.Vote != m.hs.Vote:
		return fmt.Sprintf("hard state %+v, want %+v", r.HardState, m.hs)
	case r.LastIndex != m.last():
		return fmt.Sprintf("last index %d, want %d", r.LastIndex, m.last())
	case r.Snapshot.Index != m.snap.Index || r.Snapshot.Term != m.snap.Term:
		return fmt.Sprintf("snapshot at %d, want %d", r.Snapshot.Index, m.snap.Index)
	case r.FirstIndex > m.snap.Index+1 || r.FirstIndex <= m.base.Index:
		return fmt.Sprintf("log from %d, snapshot at %d, reset at %d", r.FirstIndex, m.snap.Index, m.base.Index)
	case r.HardState.Commit > m.hs.Commit:
		return fmt.Sprintf("commit %d, want at most %d", r.HardState.Commit, m.hs.Commit)
	}
	es, err := readAll(l)
	if err != nil {
		return err.Error()
	}
	if diff := sameEntries(es, m.entries[r.FirstIndex-m.base.Index-1:]); diff != "" {
		return diff
	}
	if m.snap.Index == 0 {
		return ""
	}
	b, err := readSnapshot(l.Snapshots(), r.Snapshot)
	if err != nil {
		return err.Error()
	}
	if !bytes.Equal(b, content(m.snap.Index, m.snap.Term, m.size)) {
		return "snapshot holds something else"
	}
	return ""
}

// script is a random run of a log, crashed at each I/O call on the way.
type script struct {
	t    *testing.T
	rnd  *rand.Rand
	fs   *memfs.FS
	log  *wal.Log
	was  model // before the operation under way
	is   model // after it
	what string

	points int // crash points so far
}

var (
	firstScript = flag.Uint64("first", 1, "first seed of the scripts that are crashed")
	scripts     = flag.Uint64("seeds", 2, "how many scripts are crashed")
)

func TestCrash_AtEveryIOCallUnderEveryLaw(t *testing.T) {
	const steps = 200
	seeds := *scripts
	if testing.Short() || underRace {
		seeds = 1
	}
	total := 0
	for seed := *firstScript; seed < *firstScript+seeds; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			s := &script{t: t, rnd: rand.New(rand.NewPCG(seed, 0)), fs: memfs.NewFaulty()}
			s.fs.Hook(s.crash)
			s.open()
			for step := range steps {
				s.step()
				s.was = s.is
				if t.Failed() {
					t.Fatalf("failed in step %d", step)
				}
			}
			total += s.points
		})
	}
	t.Logf("%d crash points", total)
	if want := 10_000 * int(seeds); total < want {
		t.Errorf("%d crash points, want %d: the script does too little", total, want)
	}
}

func (s *script) open() {
	l, r, err := wal.Open(s.fs, dir, tiny())
	must(s.t, err)
	if diff := s.was.differs(l, r); diff != "" {
		s.t.Fatalf("reopened: %s", diff)
	}
	s.log = l
}

// step does one random operation.
func (s *script) step() {
	m, log := s.was, s.log
	switch p := s.rnd.IntN(100); {
	case p < 50:
		b := s.batch(m)
		s.begin("append", m.append(b))
		must(s.t, log.Append(b))
	case p < 62:
		var bs []wal.Batch
		for range 1 + s.rnd.IntN(3) {
			b := s.batch(m)
			m, bs = m.append(b), append(bs, b)
		}
		s.begin("append several", m)
		must(s.t, log.AppendAll(bs))
	case p < 67:
		hs := m.hs
		hs.Commit = max(hs.Commit, m.snap.Index+s.rnd.Uint64N(m.last()-m.snap.Index+1))
		m.hs = hs
		s.begin("commit", m)
		must(s.t, log.Append(wal.Batch{HardState: &hs}))
	case p < 75:
		s.takeSnapshot(m)
	case p < 82:
		s.begin("compact", m)
		if m.snap.Index > 0 {
			_, err := log.Compact(m.snap.Index)
			must(s.t, err)
		}
	case p < 88:
		s.installSnapshot(m)
	default:
		s.begin("reopen", m)
		must(s.t, log.Close())
		s.open()
	}
}

// begin says what the operation to come does.
func (s *script) begin(what string, after model) { s.what, s.is = what, after }

// batch makes up a batch that may follow m: new entries, a replaced tail, a
// vote, or some of these.
func (s *script) batch(m model) wal.Batch {
	var b wal.Batch
	term := m.hs.Term
	if s.rnd.IntN(4) == 0 || term == 0 {
		term++
		vote := core.ServerID([]string{"", "a", "server-b"}[s.rnd.IntN(3)])
		b.HardState = &core.HardState{Term: term, Vote: vote, Commit: m.hs.Commit}
	}
	if b.HardState != nil && s.rnd.IntN(3) == 0 {
		return b
	}
	first := m.last() + 1
	if floor := max(m.hs.Commit, m.snap.Index) + 1; b.HardState != nil && s.rnd.IntN(2) == 0 {
		first = floor + s.rnd.Uint64N(first-floor+1)
	}
	b.Entries = entries(first, 1+s.rnd.IntN(5), term)
	if s.rnd.IntN(8) == 0 {
		b.Entries[0].Data = make([]byte, 500+s.rnd.IntN(3000)) // zeros, over some sectors
	}
	return b
}

func (s *script) takeSnapshot(m model) {
	index := m.snap.Index + s.rnd.Uint64N(m.last()-m.snap.Index+1)
	if index == 0 {
		return
	}
	m.snap = core.EntryID{Index: index, Term: m.term(index)}
	m.size = 100 + s.rnd.IntN(1500)
	m.hs.Commit = max(m.hs.Commit, index)
	s.begin("snapshot", m)
	_, err := snapshot(s.log.Snapshots(), m.snap.Index, m.snap.Term, m.size)
	must(s.t, err)
}

func (s *script) installSnapshot(m model) {
	at := core.EntryID{Index: m.last() + s.rnd.Uint64N(20), Term: m.hs.Term + 1}
	if at.Index <= m.snap.Index {
		return
	}
	hs := core.HardState{Term: at.Term, Commit: m.hs.Commit} // the leader's term comes first
	m = m.append(wal.Batch{HardState: &hs})
	s.begin("follow a leader", m)
	must(s.t, s.log.Append(wal.Batch{HardState: &hs}))
	s.was = m
	size := 100 + s.rnd.IntN(1500)
	s.begin("install snapshot", m.install(at, size))
	data := content(at.Index, at.Term, size)
	r, next, err := s.log.Snapshots().Receive(received(at, data))
	must(s.t, err)
	for next < uint64(size) {
		next, err = r.WriteAt(next, data[next:min(int(next)+400, size)])
		must(s.t, err)
	}
	must(s.t, r.Finish())
	must(s.t, s.log.ResetTo(metaAt(at.Index, at.Term)))
}

// crash is the hook: before each call that changes something, the machine
// crashes in every way, and what a restart finds must be the log before the
// operation under way or after it.
func (s *script) crash(op memfs.Op) error {
	if !op.Kind.Changes() || s.t.Failed() {
		return nil
	}
	for _, law := range memfs.Laws() {
		s.points++
		at := fmt.Sprintf("%s, crash before %v, law %v", s.what, op, law)
		s.recover(at, s.fs.Crash(law, s.rnd), 0)
	}
	return nil
}

// recover opens what a crash left and checks it. Some recoveries crash again.
func (s *script) recover(at string, fs *memfs.FS, depth int) {
	if depth < 2 && s.rnd.IntN(30) == 0 {
		fs.Hook(func(op memfs.Op) error {
			if op.Kind.Changes() && !s.t.Failed() {
				law := memfs.Laws()[s.rnd.IntN(len(memfs.Laws()))]
				s.points++
				s.recover(fmt.Sprintf("%s; again before %v, law %v", at, op, law), fs.Crash(law, s.rnd), depth+1)
			}
			return nil
		})
	}
	l, r, err := wal.Open(fs, dir, tiny())
	if err != nil {
		s.t.Errorf("%s: %v", at, err)
		return
	}
	defer l.Close()
	fs.Hook(nil)
	found := s.was
	if was := s.was.differs(l, r); was != "" {
		if is := s.is.differs(l, r); is != "" {
			s.t.Errorf("%s:\nnot the state before: %s\nnor after: %s", at, was, is)
			return
		}
		found = s.is
	}
	s.goesOn(at, fs, l, r, found)
}

// goesOn checks that what a recovery reported is durable, and that the log can
// be appended to.
func (s *script) goesOn(at string, fs *memfs.FS, l *wal.Log, r core.Restored, m model) {
	fs = fs.Crash(memfs.LoseAll, nil)
	again, r2, err := wal.Open(fs, dir, tiny())
	if err != nil {
		s.t.Errorf("%s, and again: %v", at, err)
		return
	}
	defer again.Close()
	if diff := m.differs(again, r2); diff != "" {
		s.t.Errorf("%s: was not durable when Open returned: %s", at, diff)
	}
	if again.FirstIndex() != r.FirstIndex {
		s.t.Errorf("%s: log from %d, and after one more restart from %d", at, r.FirstIndex, again.FirstIndex())
	}
	b := wal.Batch{Entries: entries(r.LastIndex+1, 2, r.HardState.Term+1), HardState: state(r.HardState.Term+1, "x")}
	if err := again.Append(b); err != nil {
		s.t.Errorf("%s: append afterwards: %v", at, err)
		return
	}
	if es, err := again.Entries(r.LastIndex+1, r.LastIndex+2, 1000); err != nil || sameEntries(es, b.Entries) != "" {
		s.t.Errorf("%s: read what was appended afterwards: %v, %v", at, es, err)
	}
	// Nothing that the crash left may lie behind the new batch.
	third, r3, err := wal.Open(fs.Crash(memfs.LoseAll, nil), dir, tiny())
	if err != nil {
		s.t.Errorf("%s, and once more after an append: %v", at, err)
		return
	}
	defer third.Close()
	if diff := m.append(b).differs(third, r3); diff != "" {
		s.t.Errorf("%s: after an append and one more restart: %s", at, diff)
	}
}

// A run whose k-th write, sync or directory sync fails stops there, and loses
// nothing that it had acknowledged, whatever the failed call has left behind.
func TestCrash_AfterTheKthCallFails(t *testing.T) {
	for _, kind := range []memfs.OpKind{memfs.OpWrite, memfs.OpSync, memfs.OpSyncDir, memfs.OpRename, memfs.OpOpen, memfs.OpRemove} {
		for _, fault := range []error{errors.New("input/output error"), memfs.Short(700)} {
			for k := 1; ; k++ {
				if kind != memfs.OpWrite && fault == memfs.Short(700) || !failAt(t, kind, k, fault) {
					break
				}
			}
		}
	}
}

// failAt runs a script whose k-th call of a kind fails; false if it has fewer.
func failAt(t *testing.T, kind memfs.OpKind, k int, fault error) bool {
	t.Helper()
	rnd := rand.New(rand.NewPCG(uint64(k), uint64(kind)))
	fs := memfs.NewFaulty()
	l, _ := open(t, fs)
	fs.Hook(memfs.Nth(kind, k, fault, false))
	was, is := model{}, model{}
	failed := false
	for i := range uint64(40) {
		b := wal.Batch{HardState: state(i/8+1, "a"), Entries: entries(i+1, 1, i/8+1)}
		is = was.append(b)
		if failed = l.Append(b) != nil; failed {
			break
		}
		was = is
		if i%10 == 9 {
			is.snap, is.size = core.EntryID{Index: i + 1, Term: i/8 + 1}, 50
			if _, err := snapshot(l.Snapshots(), i+1, i/8+1, 50); err != nil {
				failed = true
				break
			}
			was = is
			if _, err := l.Compact(i + 1); err != nil {
				failed = true
				break
			}
		}
	}
	for _, law := range memfs.Laws() {
		after, r, err := wal.Open(fs.Crash(law, rnd), dir, tiny())
		if err != nil {
			t.Errorf("%v number %d failed, law %v: %v", kind, k, law, err)
			continue
		}
		if diff, other := was.differs(after, r), is.differs(after, r); diff != "" && other != "" {
			t.Errorf("%v number %d failed, law %v: neither before (%s) nor after (%s)", kind, k, law, diff, other)
		}
		_ = after.Close()
	}
	return failed
}
