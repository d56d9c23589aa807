package core_test

import (
	"fmt"
	"slices"
	"testing"

	"muster/consensus/core"
)

const ms = core.Duration(1_000_000)

// cluster is a handful of Cores, each with the simplest driver there can be, and
// a bag of messages between them. Nothing happens in it by itself: a script or a
// random walk delivers, loses and delays messages and disk writes, lets time
// pass, and crashes servers. After everything that happens the checker looks
// whether Raft's promises still hold.
type cluster struct {
	logs    core.Incarnation // given out
	t       testing.TB
	now     core.Instant
	servers []*server // sorted by ID
	wire    []core.Message
	cut     map[[2]core.ServerID]bool // links (from, to) that lose everything
	check   *checker
	log     func(format string, args ...any) // trace, may be nil
	token   uint64
}

// server is one Core, its disk, and its state machine: a hash over all commands.
type server struct {
	id   core.ServerID
	c    *cluster
	core *core.Core // nil while it is down
	conf core.Config
	fast int64 // thousandths by which its clock runs fast

	disk     disk
	slowDisk bool   // writes wait for sync
	queue    []task // not done yet, in order

	memory   diskLog // the log as the Core has it: disk and queue together
	applied  uint64
	hash     uint64 // of all applied commands
	outcomes map[uint64]core.Outcome
	reads    map[uint64]core.ReadReady
	role     string
	image    disk // as the disk was at some time
	restored bool // an older copy of its disk was put back, and it has not found that out
}

// disk is what survives a crash.
type disk struct {
	hard        core.HardState
	log         diskLog
	snapshots   []snapshotFile // the newest two
	partial     snapshotFile
	voteless    bool
	incarnation core.Incarnation
}

type snapshotFile struct {
	meta core.SnapshotMeta
	data []byte
}

// task is one thing for the disk to do, and what is to be sent after it.
type task struct {
	seq     uint64
	hard    *core.HardState
	entries []core.Entry
	chunk   *core.SnapshotChunk
	after   []core.Message
	forgot  bool // the disk is to say that entries were lost
}

// diskLog is the log after base.
type diskLog struct {
	base    core.EntryID
	entries []core.Entry
}

func (l *diskLog) last() uint64 { return l.base.Index + uint64(len(l.entries)) }

func (l *diskLog) at(index uint64) core.Entry {
	if index <= l.base.Index || index > l.last() {
		return core.Entry{}
	}
	return l.entries[index-l.base.Index-1]
}

func (l *diskLog) term(index uint64) (uint64, bool) {
	if index == l.base.Index {
		return l.base.Term, true
	}
	e := l.at(index)
	return e.Term, e.Index == index
}

func (l *diskLog) lastID() core.EntryID {
	term, _ := l.term(l.last())
	return core.EntryID{Term: term, Index: l.last()}
}

func (l *diskLog) holds(id core.EntryID) bool {
	term, ok := l.term(id.Index)
	return ok && term == id.Term
}

func (l *diskLog) write(es []core.Entry) {
	if len(es) == 0 {
		return
	}
	keep := es[0].Index - l.base.Index - 1
	l.entries = append(slices.Clone(l.entries[:keep]), es...)
}

func (l *diskLog) compact(first uint64) {
	if first <= l.base.Index+1 {
		return
	}
	term, _ := l.term(first - 1)
	l.entries = slices.Clone(l.entries[min(first-l.base.Index-1, uint64(len(l.entries))):])
	l.base = core.EntryID{Term: term, Index: first - 1}
}

// configurationOf makes all of the servers voters.
func configurationOf(ids ...core.ServerID) core.Configuration {
	config := core.Configuration{ClusterID: "test"}
	slices.Sort(ids)
	for _, id := range ids {
		config.Servers = append(config.Servers, core.Server{ID: id, Addr: string(id) + ":8300", Suffrage: core.Voter})
	}
	return config
}

// newCluster makes servers that are down and have empty disks.
func newCluster(t testing.TB, ids ...core.ServerID) *cluster {
	c := &cluster{t: t, cut: make(map[[2]core.ServerID]bool), check: newChecker(), now: 1}
	for _, id := range ids {
		c.add(id)
	}
	return c
}

func (c *cluster) add(id core.ServerID) *server {
	c.logs++
	s := &server{id: id, c: c, disk: disk{incarnation: c.logs}, conf: core.Config{ID: id, Rand: func(uint64) uint64 { return 0 }}}
	c.servers = append(c.servers, s)
	slices.SortFunc(c.servers, func(a, b *server) int { return cmpID(a.id, b.id) })
	return s
}

func cmpID(a, b core.ServerID) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (c *cluster) server(id core.ServerID) *server {
	c.t.Helper()
	for _, s := range c.servers {
		if s.id == id {
			return s
		}
	}
	c.t.Fatalf("no server %q", id)
	return nil
}

// seed puts the same first configuration on every disk, as if the cluster had
// been bootstrapped and every server had got that far.
func (c *cluster) seed(config core.Configuration) {
	c.fixLogs(config)
	for _, s := range c.servers {
		s.disk.hard = core.HardState{Term: 1}
		s.disk.log.entries = []core.Entry{{Index: 1, Term: 1, Kind: core.EntryConfig, Data: core.EncodeConfiguration(config)}}
	}
}

// fixLogs gives each voter's vote to the log that it has.
func (c *cluster) fixLogs(config core.Configuration) {
	for i := range config.Servers {
		config.Servers[i].Log = c.server(config.Servers[i].ID).disk.incarnation
	}
}

// wipe gives a server that is down a new disk.
func (s *server) wipe() {
	s.c.logs++
	s.disk, s.restored = disk{incarnation: s.c.logs}, false
	s.c.check.lossyDisks = true
	s.c.check.situation["disk wiped"]++
	s.c.trace("%s  has lost its disk", s.id)
}

// restore puts an older copy of its disk back under a server.
func (s *server) restore(older disk) {
	s.crash()
	s.disk = older
	s.c.check.lossyDisks = true
	s.restored = true
	s.c.check.situation["older copy of a disk"]++
	s.c.trace("%s  has an older copy of its disk, whose log ends at %s", s.id, id(older.log.lastID()))
}

func (c *cluster) trace(format string, args ...any) {
	if c.log != nil {
		c.log(format, args...)
	}
}

// start brings a server up from what its disk holds.
func (s *server) start() {
	s.c.t.Helper()
	restored := s.disk.restored()
	made, err := core.New(s.conf, restored, s.clock())
	if err != nil {
		s.c.t.Fatalf("start %s: %v", s.id, err)
	}
	s.core, s.queue, s.role = made, nil, ""
	s.memory = diskLog{base: s.disk.log.base, entries: slices.Clone(s.disk.log.entries)}
	s.outcomes, s.reads = make(map[uint64]core.Outcome), make(map[uint64]core.ReadReady)
	s.applied, s.hash = 0, 0
	if n := len(s.disk.snapshots); n > 0 {
		s.restoreState(s.disk.snapshots[n-1])
	}
	s.c.check.started(s)
	s.settle()
}

// crash takes a server down; what its disk was not done with is lost.
func (s *server) crash() {
	s.core, s.queue = nil, nil
	s.c.trace("%s  crashes", s.id)
}

func (d *disk) restored() core.Restored {
	r := core.Restored{
		HardState: d.hard, FirstIndex: d.log.base.Index + 1, LastIndex: d.log.last(), Voteless: d.voteless, Log: d.incarnation,
	}
	if n := len(d.snapshots); n > 0 {
		r.Snapshot = d.snapshots[n-1].meta
	}
	for _, e := range d.log.entries {
		if n := len(r.Terms); n == 0 || r.Terms[n-1].Term != e.Term {
			r.Terms = append(r.Terms, core.TermRun{First: e.Index, Term: e.Term})
		}
		if e.Kind == core.EntryConfig {
			r.Configs = append(r.Configs, e)
		}
	}
	return r
}

// configIndex is where the newest configuration stands.
func (d *disk) configIndex() uint64 {
	r := d.restored()
	if n := len(r.Configs); n > 0 {
		return max(r.Configs[n-1].Index, r.Snapshot.ConfigIndex)
	}
	return r.Snapshot.ConfigIndex
}

// settle carries out Outputs, and on a fast disk also its writes, until there is
// nothing more to do.
func (s *server) settle() {
	s.outputs()
	for !s.slowDisk && len(s.queue) > 0 {
		s.finish()
		s.outputs()
	}
}

// sync completes the first n tasks of a slow disk.
func (s *server) sync(n int) {
	for ; n > 0 && len(s.queue) > 0; n-- {
		s.finish()
		s.outputs()
	}
}

func (s *server) outputs() {
	for s.core != nil && s.core.HasOutput() {
		s.carryOut(s.core.Output())
	}
}

func (s *server) carryOut(out core.Output) {
	s.showRole()
	if f := out.Forgotten; f != nil {
		s.c.check.forgot(s, *f)
		s.c.trace("%s  has acknowledged %s to %s in term %d and lost it: its log ends at %s", s.id, id(f.Acknowledged), f.Leader, f.Term, id(f.Last))
	}
	for _, m := range out.Send {
		s.transmit(m)
	}
	if out.HardState != nil || len(out.Entries) > 0 {
		s.c.check.appended(s, out.Entries)
		s.memory.write(out.Entries)
		s.queue = append(s.queue, task{seq: out.Seq, hard: out.HardState, entries: out.Entries, forgot: out.Forgotten != nil})
	}
	if out.Chunk != nil {
		s.queue = append(s.queue, task{chunk: out.Chunk})
	}
	if n := len(s.queue); n > 0 {
		s.queue[n-1].after = append(s.queue[n-1].after, out.SendAfter...)
	} else {
		for _, m := range out.SendAfter {
			s.transmit(m)
		}
	}
	if out.Fault != nil {
		s.c.check.fault(s, out.Fault)
		s.c.trace("%s  fault: %v", s.id, out.Fault)
	}
	s.apply(out.Commit)
	for _, o := range out.Outcomes {
		s.outcomes[o.Token] = o
	}
	for _, r := range out.Reads {
		s.c.check.released(s, r)
		s.reads[r.Token] = r
		if r.Err != nil {
			s.c.trace("%s  read %d fails: %v", s.id, r.Token, r.Err)
		} else {
			s.c.trace("%s  read %d may be served at index %d", s.id, r.Token, r.Index)
		}
	}
	if !s.core.Status().Voteless {
		s.disk.voteless = false
	}
	s.c.check.after(s)
}

func (s *server) showRole() {
	st := s.core.Status()
	role := fmt.Sprintf("%s in term %d", roleName(st.Role), st.Term)
	if st.Role == core.Follower && st.Leader != "" {
		role = fmt.Sprintf("follower of %s in term %d", st.Leader, st.Term)
	}
	if role != s.role {
		s.role = role
		s.c.trace("%s  is %s", s.id, role)
	}
}

func roleName(r core.Role) string {
	return [...]string{"follower", "pre-candidate", "candidate", "leader"}[r]
}

// finish does the disk's next task, then what waited for it.
func (s *server) finish() {
	t := s.queue[0]
	s.queue = s.queue[1:]
	if t.hard != nil {
		if t.hard.Term != s.disk.hard.Term || t.hard.Vote != s.disk.hard.Vote {
			s.c.trace("%s  has stored term %d, vote %q", s.id, t.hard.Term, t.hard.Vote)
		}
		s.disk.hard = *t.hard
	}
	s.disk.voteless = s.disk.voteless || t.forgot
	if len(t.entries) > 0 {
		s.disk.log.write(t.entries)
		s.c.trace("%s  has stored %s", s.id, describeEntries(t.entries))
	}
	for _, m := range t.after {
		s.transmit(m)
	}
	if t.chunk != nil {
		s.writeChunk(*t.chunk)
		return
	}
	s.core.Written(s.clock(), core.Written{Seq: t.seq, Last: s.disk.log.lastID()})
}

// transmit fills in what the core left to the driver and puts m on the wire.
func (s *server) transmit(m core.Message) {
	switch {
	case m.Fill > 0:
		log := &s.disk.log
		if !log.holds(m.Prev) || m.Prev.Index >= log.last() {
			return
		}
		lo := m.Prev.Index - log.base.Index
		hi := min(m.Fill-log.base.Index, uint64(len(log.entries)), lo+3)
		s.c.check.situation["read from disk"]++
		m.Entries, m.Fill = slices.Clone(log.entries[lo:hi]), 0
	case m.Kind == core.MsgSnapshot:
		file := s.snapshot(*m.Snapshot)
		if file == nil || m.Offset > uint64(len(file.data)) {
			return
		}
		end := min(m.Offset+chunkSize, uint64(len(file.data)))
		m.Data, m.Done = file.data[m.Offset:end], end == uint64(len(file.data))
	}
	s.c.check.sent(s, m)
	s.c.wire = append(s.c.wire, m)
}

// clock is what the server's clock shows.
func (s *server) clock() core.Instant {
	return s.c.now + s.c.now/1000*core.Instant(s.fast)
}

// when is the time at which the server's clock shows t, or a little later.
func (s *server) when(t core.Instant) core.Instant {
	if t == core.Never || s.fast == 0 {
		return t
	}
	return (t/core.Instant(1000+s.fast) + 1) * 1000
}

// pass lets time go by, stopping at each server's deadline on the way.
func (c *cluster) pass(d core.Duration) {
	end := c.now.Add(d)
	for ticks := 0; ; ticks++ {
		if ticks > 10_000 {
			c.check.breach("time stands still: some server wants a Tick that changes nothing")
			return
		}
		next := end
		for _, s := range c.servers {
			if s.core != nil {
				next = min(next, max(s.when(s.core.Deadline()), c.now))
			}
		}
		c.now = next
		for _, s := range c.servers {
			if s.core != nil && s.core.Deadline() <= s.clock() {
				s.core.Tick(s.clock())
				s.settle()
			}
		}
		if c.now >= end {
			return
		}
	}
}

// deliver takes message i off the wire and gives it to its receiver.
func (c *cluster) deliver(i int) {
	m := c.wire[i]
	c.wire = slices.Delete(c.wire, i, i+1)
	s := c.server(m.To)
	if c.cut[[2]core.ServerID{m.From, m.To}] || s.core == nil {
		c.trace("%s  never hears %s", m.To, describe(m))
		return
	}
	c.trace("%s  hears %s", m.To, describe(m))
	s.core.Receive(s.clock(), m)
	s.settle()
}

// deliverAll delivers in order until nothing is on the wire.
func (c *cluster) deliverAll() {
	for n := 0; len(c.wire) > 0; n++ {
		if n > 10_000 {
			c.check.breach("the servers never stop talking")
			c.wire = nil
			return
		}
		c.deliver(0)
	}
}

// run lets the cluster work undisturbed for a while: short steps of time, all
// messages delivered in order, all disks fast. It ends at the first breach: one
// of them is that time stands still, after which it would never end.
func (c *cluster) run(d core.Duration) {
	for end := c.now.Add(d); c.now < end && len(c.check.breaches) == 0; {
		c.pass(5 * ms)
		c.deliverAll()
	}
}

// isolate cuts every link between the server and the others, both ways.
func (c *cluster) isolate(id core.ServerID) {
	for _, s := range c.servers {
		if s.id != id {
			c.cut[[2]core.ServerID{id, s.id}] = true
			c.cut[[2]core.ServerID{s.id, id}] = true
		}
	}
}

func (c *cluster) heal() { clear(c.cut) }

// leader is the acting leader of the highest term, nil if there is none.
func (c *cluster) leader() *server {
	var best *server
	for _, s := range c.servers {
		if s.core != nil && s.core.Status().Role == core.Leader &&
			(best == nil || s.core.Status().Term > best.core.Status().Term) {
			best = s
		}
	}
	return best
}

func (c *cluster) fresh() uint64 {
	c.token++
	return c.token
}

func (s *server) propose(data string) (token uint64) {
	token = s.c.fresh()
	s.core.Propose(s.clock(), []core.Proposal{{Token: token, Data: []byte(data)}})
	s.settle()
	return token
}

func (s *server) read(kind core.ReadKind) (token uint64) {
	token = s.c.fresh()
	s.c.check.asked(s, token)
	s.core.ReadIndex(s.clock(), token, kind)
	s.settle()
	if kind == core.ReadUnderLease && s.core.Status().Role == core.Leader {
		_, answered := s.reads[token]
		s.c.check.situation[map[bool]string{true: "read under lease", false: "lease refused"}[answered]]++
	}
	return token
}

func (s *server) change(ch core.Change) (token uint64) {
	token = s.c.fresh()
	s.core.Change(s.clock(), token, ch)
	s.settle()
	return token
}

func (s *server) transfer(to core.ServerID) (token uint64) {
	token = s.c.fresh()
	s.core.Transfer(s.clock(), token, to)
	s.settle()
	return token
}
