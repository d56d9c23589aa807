package core_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"muster/consensus/core"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run only this seed of TestRandom, with its trace on failure")
	firstFlag = flag.Uint64("first", 1, "first seed of TestRandom")
	seedsFlag = flag.Uint64("seeds", ciSeeds, "how many seeds TestRandom runs")
)

// ciSeeds is how many seeds a plain test run takes; in that many each situation
// must have been met.
const ciSeeds = 300

// TestRandom walks many clusters, one a seed, through loss, delay, duplication,
// reordering, slow disks, crashes, partitions, snapshots, membership changes and
// transfers, while the checker looks at every step. Then everything is healed,
// and the cluster must elect a leader, commit, and agree.
//
// To see one seed again: go test ./consensus/core -run TestRandom -seed N
func TestRandom(t *testing.T) {
	count := *seedsFlag
	if testing.Short() {
		count = min(count, 50)
	}
	first, last := *firstFlag, *firstFlag+count-1
	if *seedFlag != 0 {
		first, last = *seedFlag, *seedFlag
	}
	met := make(map[string]int)
	for seed := first; seed <= last; seed++ {
		w := newWalk(t, seed)
		w.disturb(4000)
		w.c.check.situation["seeds"]++
		w.healAndCheck()
		for what, n := range w.c.check.situation {
			met[what] += n
		}
		if len(w.c.check.breaches) > 0 {
			t.Fatalf("seed %d:\n%s\n%s", seed, strings.Join(w.c.check.breaches, "\n"), w.story())
		}
	}
	t.Logf("%d steps; met: %v", 4000*(last-first+1), met)
	if *seedFlag == 0 && count >= ciSeeds {
		for _, what := range situations {
			if met[what] == 0 {
				t.Errorf("no seed met the situation %q, so nothing was shown about it", what)
			}
		}
	}
}

// situations that the walks together must have met.
var situations = []string{
	"conflict truncated", "read released", "crash", "snapshot installed", "membership changed",
	"transfer done", "transfer failed", "log tail lost", "read from disk",
	"lease held", "lease refused", "read under lease", "timing changed",
	"disk wiped", "leader's disk wiped", "two disks wiped", "disk wiped again", "voter came back with another log",
	"older copy of a disk", "older copy found out",
}

// walk is one random run.
type walk struct {
	c    *cluster
	rng  *rand.Rand
	seed uint64

	loss, double, slow, churn, members float64 // this seed's mix of faults
	crashy                             float64
	hasty                              bool // election timeouts are short, as seldom otherwise
	lines                              []string
}

func newWalk(t *testing.T, seed uint64) *walk {
	w := &walk{rng: rand.New(rand.NewPCG(seed, 0x6d757374)), seed: seed}
	ids := []core.ServerID{"a", "b", "c", "d", "e"}[:1+w.rng.IntN(5)]
	w.c = newCluster(t, ids...)
	w.c.now = core.Instant(w.rng.Int64N(1 << 40))
	if *seedFlag != 0 {
		w.c.log = func(format string, args ...any) {
			w.lines = append(w.lines, fmt.Sprintf("%8.1f  ", float64(w.c.now)/1e6)+fmt.Sprintf(format, args...))
		}
	}
	w.c.seed(configurationOf(ids...))
	if w.rng.IntN(2) == 0 {
		w.members = 0.01
		w.c.add("x") // joins as a learner, sooner or later
	}
	w.loss, w.double = w.some(0.2), w.some(0.1)
	w.slow, w.crashy, w.churn = w.some(0.5), w.some(0.02), w.some(0.03)
	w.c.check.lossyDisks = len(ids) >= 3 && w.members == 0 && w.rng.IntN(2) == 0
	skew := w.some(100) // 5 % fast and 5 % slow is about what core.DriftShare allows
	skew = min(skew, 50)
	w.hasty = w.rng.IntN(2) == 0
	for _, s := range w.c.servers {
		s.conf.Rand = func(n uint64) uint64 {
			if w.hasty && n < 1<<40 {
				n = n/8 + 1
			}
			return w.rng.Uint64N(n)
		}
		s.conf.MaxAppendBytes = 40 << w.rng.IntN(6)
		s.conf.MaxInflight = 1 + w.rng.IntN(8)
		s.conf.MaxInflightBytes = 100 << w.rng.IntN(6)
		s.conf.CacheBytes = 40 << w.rng.IntN(8)
		s.conf.MaxUncommittedBytes = 1 << (8 + w.rng.IntN(8))
		s.slowDisk = w.rng.Float64() < w.slow
		s.fast = int64(skew * (2*w.rng.Float64() - 1))
		s.start()
	}
	return w
}

// some gives 0 half of the time, else something up to limit.
func (w *walk) some(limit float64) float64 {
	if w.rng.IntN(2) == 0 {
		return 0
	}
	return w.rng.Float64() * limit
}

func (w *walk) happens(p float64) bool { return w.rng.Float64() < p }

func (w *walk) anyone() *server { return w.c.servers[w.rng.IntN(len(w.c.servers))] }

func (w *walk) disturb(steps int) {
	for range steps {
		if len(w.c.check.breaches) > 0 {
			return
		}
		w.step()
	}
}

// step lets one thing happen.
func (w *walk) step() {
	s := w.anyone()
	if w.c.check.lossyDisks && w.happens(0.005) {
		s.image = s.disk
	}
	switch {
	case w.happens(w.crashy):
		w.crashOrStart(s)
	case w.happens(w.churn):
		w.changeNetwork(s)
	case s.core == nil:
		w.network()
	case w.c.check.lossyDisks && w.happens(0.02):
		w.mend()
	case w.c.check.lossyDisks && w.happens(0.002):
		w.putBack(s)
	case w.happens(w.members):
		w.changeMembers(s)
	case w.happens(0.01):
		w.snapshot(s)
	case w.happens(0.002) && s.core.Status().Role == core.Leader:
		w.lateAnswers(s)
	case w.happens(0.005):
		s.transfer("")
	case w.happens(0.03):
		s.read(core.ReadKind(w.rng.IntN(2)))
	case w.happens(0.05):
		s.propose(fmt.Sprint(w.c.fresh()))
	case s.slowDisk && w.happens(0.2):
		s.sync(1 + w.rng.IntN(3))
	default:
		w.network()
	}
}

// network delivers, doubles or loses a message, or lets time pass.
func (w *walk) network() {
	if n := len(w.c.wire); n > 0 && w.happens(0.85) {
		i := w.rng.IntN(min(n, 1+w.rng.IntN(12))) // mostly in order
		switch {
		case w.happens(w.loss):
			w.c.wire = append(w.c.wire[:i:i], w.c.wire[i+1:]...)
			return
		case w.happens(w.double):
			w.c.wire = append(w.c.wire, w.c.wire[i])
		}
		w.c.deliver(i)
		return
	}
	w.c.pass(core.Duration(w.rng.Int64N(int64(30 * ms))))
	if w.happens(0.002) {
		w.c.now += core.Instant(2000 * ms) // the machine was suspended
	}
}

func (w *walk) crashOrStart(s *server) {
	if s.core == nil {
		s.start()
		return
	}
	led := s == w.c.leader()
	s.crash()
	w.c.check.situation["crash"]++
	if w.c.check.lossyDisks && w.happens(0.5) {
		w.damage(s, led)
	}
	if w.happens(0.5) {
		s.start()
	}
}

// damage takes away something that the disk of a server that is down held: all of
// it, if a majority of the voters keep theirs, at times together with another's; or
// the end of the log, if nothing else is missing anywhere.
func (w *walk) damage(s *server, led bool) {
	config, settled := w.settled()
	if !settled || slices.ContainsFunc(w.c.servers, func(o *server) bool { return o.disk.voteless }) {
		return
	}
	if w.keepers(config) == len(w.c.servers) && w.happens(0.5) {
		w.loseTail(s)
		return
	}
	if !w.wipe(s, config) {
		return
	}
	if led {
		w.c.check.situation["leader's disk wiped"]++
	}
	if o := w.anyone(); w.happens(0.3) && o != s {
		if o.crash(); w.wipe(o, config) {
			w.c.check.situation["two disks wiped"]++
		}
	}
}

// wipe takes a disk if its vote can be spared: those that keep theirs must be a
// majority even of what the voters will be if a leader that has not noticed yet
// promotes each of the others.
func (w *walk) wipe(s *server, config core.Configuration) bool {
	row, _ := config.Find(s.id)
	keeps := row.Suffrage == core.Voter && row.Log == s.disk.incarnation
	if keeps && w.keepers(config)-1 < len(w.c.servers)/2+1 {
		return false
	}
	if s.wipe(); !keeps {
		w.c.check.situation["disk wiped again"]++
	}
	return true
}

// keepers counts the voters whose disk is the one that their vote belongs to.
func (w *walk) keepers(config core.Configuration) (n int) {
	for _, row := range config.Servers {
		if row.Suffrage == core.Voter && row.Log == w.c.server(row.ID).disk.incarnation {
			n++
		}
	}
	return n
}

// settled gives the configuration in force, unless some server, be it down, has
// one that may yet take its place.
func (w *walk) settled() (config core.Configuration, ok bool) {
	newest := uint64(0)
	for _, s := range w.c.servers {
		for _, log := range []*diskLog{&s.disk.log, &s.memory} {
			for _, e := range log.entries {
				if e.Kind != core.EntryConfig || e.Index < newest {
					continue
				}
				if w.c.check.committed[e.Index] != (core.EntryID{Term: e.Term, Index: e.Index}) {
					return config, false
				}
				newest = e.Index
				config, _ = core.DecodeConfiguration(e.Data)
			}
		}
		if n := len(s.disk.snapshots); n > 0 {
			if meta := s.disk.snapshots[n-1].meta; meta.ConfigIndex > newest {
				config, newest = meta.Config, meta.ConfigIndex
			}
		}
	}
	return config, newest > 0
}

// mend does what an agent does for voters that came back without their log.
func (w *walk) mend() {
	l := w.c.leader()
	if l == nil {
		return
	}
	st := l.core.Status()
	for _, pr := range st.Progress {
		ch := core.Change{Kind: core.PromoteVoter, ID: pr.ID}
		if st.Config.IsVoter(pr.ID) {
			if ch.Kind = core.DemoteVoter; pr.OtherLog == 0 {
				continue
			}
		}
		if o := l.outcomes[l.change(ch)]; o.Err == nil && ch.Kind == core.PromoteVoter {
			w.c.check.situation["voter came back with another log"]++
		}
	}
}

// loseTail takes back the end of a log whose fsync lied. The server knows that
// something may be missing.
func (w *walk) loseTail(s *server) {
	log := &s.disk.log
	floor := uint64(1)
	if n := len(s.disk.snapshots); n > 0 {
		floor = s.disk.snapshots[n-1].meta.Index
	}
	keep := max(floor, log.last()-min(log.last(), uint64(w.rng.IntN(5))))
	if keep <= log.base.Index || keep >= log.last() {
		return
	}
	log.entries = log.entries[: keep-log.base.Index : keep-log.base.Index]
	s.disk.voteless = true
	w.c.check.situation["log tail lost"]++
	w.c.trace("%s  has lost its log after %d", s.id, keep)
}

func (w *walk) changeNetwork(s *server) {
	switch w.rng.IntN(4) {
	case 0:
		w.c.isolate(s.id)
	case 1:
		w.c.cut[[2]core.ServerID{s.id, w.anyone().id}] = true
	default:
		w.c.heal()
	}
	w.c.trace("cuts: %d", len(w.c.cut))
}

// lateAnswers cuts a leader off right after a heartbeat, mostly while the answers
// are on their way. They arrive when others may have elected somebody. Before, it may
// change the times, without anyone hearing of it but by the heartbeat.
func (w *walk) lateAnswers(l *server) {
	c := w.c
	if w.happens(0.3) {
		l.change(core.Change{Kind: core.SetTiming, Timing: core.DefaultTiming().Scaled(1 + w.rng.IntN(2))})
		c.wire = slices.DeleteFunc(c.wire, func(m core.Message) bool { return m.Kind == core.MsgAppend })
	}
	c.pass(51 * ms)
	w.deliverIf(func(m core.Message) bool { return m.From == l.id })
	if w.happens(0.5) {
		w.deliverIf(func(m core.Message) bool { return m.To == l.id }) // not late after all
	}
	for _, o := range c.servers {
		c.cut[[2]core.ServerID{l.id, o.id}] = true
	}
	others := func(m core.Message) bool { return m.To != l.id }
	for late := 100*ms + core.Duration(w.rng.Int64N(int64(200*ms))); late > 0; late -= 2 * ms {
		c.pass(2 * ms)
		w.deliverIf(others)
		c.check.alone(c)
	}
	for i := range c.wire { // heartbeats that nobody heard are not among them
		if m := c.wire[i]; m.Kind == core.MsgHeartbeatReply && l.core != nil {
			l.core.Receive(l.clock(), m)
			l.settle()
			c.check.alone(c)
		}
	}
	c.heal()
}

// deliverIf delivers what is on the wire and is chosen, and what follows from it.
func (w *walk) deliverIf(chosen func(core.Message) bool) {
	for i := 0; i < len(w.c.wire); {
		if chosen(w.c.wire[i]) {
			w.c.deliver(i)
		} else {
			i++
		}
	}
}

func (w *walk) changeMembers(s *server) {
	kinds := []core.ChangeKind{core.AddLearner, core.PromoteVoter, core.RemoveServer, core.DemoteVoter, core.UpdateAddr}
	ch := core.Change{Kind: kinds[w.rng.IntN(len(kinds))], ID: w.anyone().id, Addr: fmt.Sprint("addr", w.c.fresh())}
	if w.happens(0.3) {
		ch = core.Change{Kind: core.SetTiming, Timing: core.DefaultTiming().Scaled(1 + w.rng.IntN(2))}
	}
	if l := w.c.leader(); l != nil && w.happens(0.7) {
		s = l
	}
	if o := s.outcomes[s.change(ch)]; o.Err == nil {
		w.c.check.situation[map[bool]string{true: "timing changed", false: "membership changed"}[ch.Kind == core.SetTiming]]++
	}
}

func (w *walk) snapshot(s *server) {
	back := uint64(w.rng.IntN(4))
	s.takeSnapshot(s.applied + 1 - min(back, s.applied))
}

func (w *walk) story() string { return strings.Join(w.lines, "\n") }

// healAndCheck repairs everything, waits, and demands progress and agreement.
func (w *walk) healAndCheck() {
	c := w.c
	c.heal()
	w.hasty = false
	for _, s := range c.servers {
		if s.core == nil {
			s.start()
		}
		s.slowDisk = false
		s.settle()
	}
	c.run(12000 * ms) // 20 of the longest election timeouts
	for range 2 * len(c.servers) {
		if c.check.lossyDisks {
			w.mend()
		}
		c.run(100 * ms)
	}
	leader := c.leader()
	if leader == nil {
		c.check.breach("no leader, 20 election timeouts after everything was healed")
		return
	}
	token := leader.propose("last")
	read := leader.read(core.ReadByRound)
	c.run(1000 * ms)
	o := leader.outcomes[token]
	if o.Err != nil || leader.applied < o.ID.Index {
		c.check.breach("after healing %s does not commit: outcome %+v, applied %d", leader.id, o, leader.applied)
		return
	}
	if r, ok := leader.reads[read]; !ok || r.Err != nil {
		c.check.breach("after healing %s does not serve a read: %+v", leader.id, r)
	}
	for _, s := range c.servers {
		if _, member := leader.core.Status().Config.Find(s.id); !member {
			continue
		}
		if s.applied != leader.applied || s.hash != leader.hash {
			c.check.breach("after healing %s has applied %d (%x), the leader %s %d (%x)",
				s.id, s.applied, s.hash, leader.id, leader.applied, leader.hash)
		}
		if st := s.core.Status(); st.Voteless || (s != leader && st.Leader != leader.id) {
			c.check.breach("after healing %s is still voteless (%t) or follows %q, not %q", s.id, st.Voteless, st.Leader, leader.id)
		}
	}
	w.note()
}

// note counts what the run met.
func (w *walk) note() {
	for _, s := range w.c.servers {
		for _, o := range s.outcomes {
			if o.Err != nil && strings.Contains(o.Err.Error(), "transfer to") {
				w.c.check.situation["transfer failed"]++
			}
			if o.Err == nil && o.ID == (core.EntryID{}) {
				w.c.check.situation["transfer done"]++
			}
		}
	}
}
