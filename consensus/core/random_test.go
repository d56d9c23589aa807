package core_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
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
}

// walk is one random run.
type walk struct {
	c    *cluster
	rng  *rand.Rand
	seed uint64

	loss, double, slow, churn, members float64 // this seed's mix of faults
	crashy                             float64
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
	for _, s := range w.c.servers {
		s.conf.Rand = w.rng.Uint64N
		s.conf.MaxAppendBytes = 40 << w.rng.IntN(6)
		s.conf.MaxInflight = 1 + w.rng.IntN(8)
		s.conf.MaxInflightBytes = 100 << w.rng.IntN(6)
		s.conf.CacheBytes = 40 << w.rng.IntN(8)
		s.conf.MaxUncommittedBytes = 1 << (8 + w.rng.IntN(8))
		s.slowDisk = w.rng.Float64() < w.slow
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
	switch {
	case w.happens(w.crashy):
		w.crashOrStart(s)
	case w.happens(w.churn):
		w.changeNetwork(s)
	case s.core == nil:
		w.network()
	case w.happens(w.members):
		w.changeMembers(s)
	case w.happens(0.01):
		w.snapshot(s)
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
	s.crash()
	w.c.check.situation["crash"]++
	if w.c.check.lossyDisks && w.happens(0.5) {
		w.loseTail(s)
	}
	if w.happens(0.5) {
		s.start()
	}
}

// loseTail takes back the end of a log whose fsync lied. The server knows that
// something may be missing. The others must still be a majority without it.
func (w *walk) loseTail(s *server) {
	for _, other := range w.c.servers {
		if other.disk.voteless {
			return
		}
	}
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

func (w *walk) changeMembers(s *server) {
	kinds := []core.ChangeKind{core.AddLearner, core.PromoteVoter, core.RemoveServer, core.DemoteVoter, core.UpdateAddr}
	ch := core.Change{Kind: kinds[w.rng.IntN(len(kinds))], ID: w.anyone().id, Addr: fmt.Sprint("addr", w.c.fresh())}
	if l := w.c.leader(); l != nil && w.happens(0.7) {
		s = l
	}
	if o := s.outcomes[s.change(ch)]; o.Err == nil {
		w.c.check.situation["membership changed"]++
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
	for _, s := range c.servers {
		if s.core == nil {
			s.start()
		}
		s.slowDisk = false
		s.settle()
	}
	c.run(6000 * ms) // 20 election timeouts
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
