package api_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"muster/api"
	"muster/catalog/state"
)

// shared is a client agent and two servers without a network: a leader, and a
// follower that applies what the leader committed when it is told to or must.
type shared struct {
	t                *testing.T
	leader, follower *rig
	client           *rig

	applying sync.Mutex // held while the follower applies; above mu

	mu     sync.Mutex
	lag    []state.Entry   // what the follower has not applied yet
	down   map[string]bool // servers that can't be reached
	lost   context.Context // over when the connections to the follower break
	cut    func()          // breaks them
	sent   int             // queries that reached a server
	asking int             // of these, not answered yet
	alone  int             // of those sent, for one asker as it came
}

func newShared(t *testing.T, change ...func(*api.Config, *api.Deps)) *shared {
	s := &shared{t: t, leader: newRig(t), follower: newRig(t), down: map[string]bool{}}
	s.lost, s.cut = context.WithCancel(context.Background())
	s.leader.replica.ship = func(e state.Entry) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.lag = append(s.lag, e)
	}
	s.follower.replica.catchUp = func() { s.apply(1 << 30) }
	s.client = newRig(t, append([]func(*api.Config, *api.Deps){asClient("follower", "leader")}, change...)...)
	s.client.cluster.direct = s.roundTrip
	return s
}

// apply has the follower apply up to n entries more, each by itself.
func (s *shared) apply(n int) {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.mu.Lock()
	n = min(n, len(s.lag))
	entries := s.lag[:n]
	s.lag = s.lag[n:]
	s.mu.Unlock()
	for _, e := range entries {
		s.follower.replica.store.Apply([]state.Entry{e})
	}
}

// cutOff breaks the connections that there are to the follower.
func (s *shared) cutOff() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut()
	s.lost, s.cut = context.WithCancel(context.Background())
}

func (s *shared) setDown(addr string, down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down[addr] = down
}

// count says how many queries reached a server, and how many have no answer yet.
func (s *shared) count() (sent, asking int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent, s.asking
}

func (s *shared) roundTrip(addr string, r *http.Request) (resp *http.Response, err error) {
	s.mu.Lock()
	if s.down[addr] {
		s.mu.Unlock()
		return nil, &net.OpError{Op: "dial", Err: errors.New("refused")}
	}
	lost := s.lost
	s.sent++
	s.asking++
	if r.Header.Get("Accept-Encoding") != "identity" {
		s.alone++
	}
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if addr == "follower" {
		defer context.AfterFunc(lost, cancel)()
	}
	defer func() {
		s.mu.Lock()
		s.asking--
		s.mu.Unlock()
		if how := recover(); how == http.ErrAbortHandler {
			resp, err = nil, errors.Join(r.Context().Err(), errors.New("the connection was lost"))
		} else if how != nil {
			panic(how)
		}
	}()
	server := map[string]*rig{"leader": s.leader, "follower": s.follower}[addr]
	w := httptest.NewRecorder()
	server.server.ClusterHandler(nil).ServeHTTP(w, r.WithContext(ctx))
	return w.Result(), nil
}

const webAt = "/v1/health/service/web?index="

func TestShare_OneQueryAtAServerForAllWhoAskTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared(t)
		s.leader.replica.register(t, "n1", "web", "passing")
		var all []<-chan *httptest.ResponseRecorder
		for i := range 100 {
			all = append(all, s.client.ask(t.Context(), webAt+"11&wait="+strconv.Itoa(60+i)+"s"))
		}
		all = append(all, s.client.ask(t.Context(), "/v1/health/service/web?pretty&wait=2m&index=11"))
		synctest.Wait()
		if sent, asking := s.count(); sent != 1 || asking != 1 {
			t.Fatalf("%d queries were sent, %d wait", sent, asking)
		}
		start := time.Now()
		s.leader.replica.register(t, "n1", "web", "critical")
		s.apply(1)
		want := s.leader.do("GET", "/v1/health/service/web", "")
		for i, answer := range all {
			w := <-answer
			if i == len(all)-1 {
				want = s.leader.do("GET", "/v1/health/service/web?pretty", "")
			}
			if w.Code != 200 || w.Body.String() != want.Body.String() {
				t.Fatalf("asker %d: %d %s", i, w.Code, w.Body)
			}
			for name := range want.Header() {
				if w.Header().Get(name) != want.Header().Get(name) {
					t.Errorf("asker %d: %s is %q, not %q", i, name, w.Header().Get(name), want.Header().Get(name))
				}
			}
		}
		if sent, asking := s.count(); sent != 2 || asking != 0 || time.Since(start) != 0 {
			t.Errorf("%d queries were sent and %d wait, %v after the change", sent, asking, time.Since(start))
		}
	})
}

func TestShare_ALoneAskerIsAnsweredByItsOneQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared(t)
		s.leader.replica.register(t, "n1", "web", "passing")
		answer := s.client.ask(t.Context(), webAt+"11")
		waits(t, answer)
		s.leader.replica.register(t, "n1", "web", "critical")
		s.apply(1)
		if w := <-answer; index(w) != "12" {
			t.Errorf("index %s", index(w))
		}
		if sent, _ := s.count(); sent != 1 {
			t.Errorf("%d queries", sent)
		}
	})
}

// What differs in anything that an answer may depend on is another question.
func TestShare_KeepsApartWhatIsNotTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared(t)
		s.leader.replica.register(t, "n1", "web", "passing")
		targets := []string{webAt + "11", webAt + "11&stale", webAt + "11&consistent", webAt + "11&passing", webAt + "11&token=other",
			webAt + "11&dc=dc1", "/v1/health/service/we%62?index=11", "/v1/catalog/service/web?index=11"}
		ctx, cancel := context.WithCancel(t.Context())
		var all []<-chan *httptest.ResponseRecorder
		for _, target := range append(targets, targets...) {
			all = append(all, s.client.ask(ctx, target))
		}
		synctest.Wait()
		if sent, asking := s.count(); sent != len(targets) || asking != len(targets) {
			t.Errorf("%d queries were sent and %d wait for %d questions", sent, asking, len(targets))
		}
		cancel()
		for _, answer := range all {
			<-answer
		}
		if _, asking := s.count(); asking != 0 {
			t.Errorf("%d queries go on when nobody asks any more", asking)
		}
	})
}

func TestShare_EndsWithItsLastAskerAndNotBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared(t)
		s.leader.replica.register(t, "n1", "web", "passing")
		first, leaveFirst := context.WithCancel(t.Context())
		last, leaveLast := context.WithCancel(t.Context())
		one := s.client.ask(first, webAt+"11")
		waits(t, one) // so that the query is its
		other := s.client.ask(last, webAt+"11")
		waits(t, other)
		leaveFirst()
		<-one
		waits(t, other)
		if sent, asking := s.count(); sent != 1 || asking != 1 {
			t.Errorf("%d sent, %d wait when the first has left", sent, asking)
		}
		leaveLast()
		<-other
		if _, asking := s.count(); asking != 0 {
			t.Error("the query goes on when all have left")
		}
	})
}

func TestShare_AnswersEachWhenItsOwnWaitIsOver(t *testing.T) {
	for _, mode := range []string{"", "&stale", "&consistent"} {
		synctest.Test(t, func(t *testing.T) {
			s := newShared(t)
			s.leader.replica.register(t, "n1", "web", "passing")
			s.apply(1)
			start := time.Now()
			var wg sync.WaitGroup
			for _, wait := range []time.Duration{time.Second, time.Minute, 0, 10 * time.Minute, time.Hour} {
				target, least := webAt+"11"+mode, 5*time.Minute
				if wait > 0 {
					target, least = target+"&wait="+wait.String(), min(wait, 10*time.Minute)
				}
				wg.Go(func() {
					w := <-s.client.ask(t.Context(), target)
					if waited := time.Since(start); w.Code != 200 || index(w) != "11" || !strings.Contains(w.Body.String(), "n1") ||
						waited < least || waited > least+least/16 {
						t.Errorf("%s: %d, index %s after %v: %s", target, w.Code, index(w), waited, w.Body)
					}
				})
			}
			wg.Wait()
		})
	}
}

// Two changes are committed, then someone asks, and only then a server that lags
// applies the first of them, which wakes a query that was there before.
func TestShare_NobodyIsAnsweredByAQueryFromBeforeItAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared(t)
		s.leader.replica.register(t, "n1", "web", "passing")
		early := s.client.ask(t.Context(), webAt+"11")
		waits(t, early)
		s.leader.replica.register(t, "n1", "web", "warning")
		s.leader.replica.register(t, "n1", "web", "critical")
		late := s.client.ask(t.Context(), webAt+"11")
		waits(t, late)
		s.apply(1)
		if w := <-late; index(w) != "13" {
			t.Errorf("answered with index %s what was asked when 13 was committed", index(w))
		}
		<-early
	})
}

func TestShare_GoesOnAtAnotherServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared(t)
		s.leader.replica.register(t, "n1", "web", "passing")
		one, other := s.client.ask(t.Context(), webAt+"11"), s.client.ask(t.Context(), webAt+"11")
		waits(t, one)
		time.Sleep(time.Minute) // far longer than a request waits for a leader
		s.setDown("follower", true)
		s.cutOff()
		waits(t, one)
		waits(t, other)
		s.leader.replica.register(t, "n1", "web", "critical")
		for _, answer := range []<-chan *httptest.ResponseRecorder{one, other} {
			if w := <-answer; w.Code != 200 || index(w) != "12" {
				t.Errorf("%d, index %s", w.Code, index(w))
			}
		}
	})
}

func TestShare_WithoutServersWaitsForOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared(t)
		s.leader.replica.register(t, "n1", "web", "passing")
		s.setDown("follower", true)
		s.setDown("leader", true)
		start := time.Now()
		if w := <-s.client.ask(t.Context(), webAt+"1&wait=1m"); w.Code != 500 || w.Body.String() != "No cluster leader" || time.Since(start) != 7*time.Second {
			t.Errorf("%d %s after %v", w.Code, w.Body, time.Since(start))
		}
		one, other := s.client.ask(t.Context(), webAt+"1"), s.client.ask(t.Context(), webAt+"1")
		time.Sleep(time.Second)
		waits(t, one)
		s.setDown("leader", false)
		for _, answer := range []<-chan *httptest.ResponseRecorder{one, other} {
			if w := <-answer; w.Code != 200 || index(w) != "11" {
				t.Errorf("%d, index %s", w.Code, index(w))
			}
		}
	})
}

// An answer beyond the bound is not held: each asker gets it as it comes. The bound
// is for all that is held at once and not for all that ever was.
func TestShare_HoldsNoMoreThanItMay(t *testing.T) {
	for _, c := range []struct{ bound, aloneEach int }{{100, 1}, {1000, 0}} {
		synctest.Test(t, func(t *testing.T) {
			s := newShared(t, func(cfg *api.Config, _ *api.Deps) { cfg.CacheBytes = c.bound })
			s.leader.replica.register(t, "n1", "web", "passing")
			for at := 11; at < 16; at++ {
				plain, pretty := s.client.ask(t.Context(), webAt+strconv.Itoa(at)), s.client.ask(t.Context(), webAt+strconv.Itoa(at)+"&pretty")
				waits(t, plain)
				s.leader.replica.register(t, "n1", "web", []string{"passing", "critical"}[at%2])
				s.apply(1)
				for target, answer := range map[string]<-chan *httptest.ResponseRecorder{"": plain, "?pretty": pretty} {
					want := s.leader.do("GET", "/v1/health/service/web"+target, "").Body.String()
					if w := <-answer; index(w) != strconv.Itoa(at+1) || w.Body.String() != want {
						t.Fatalf("bound %d: index %s: %s", c.bound, index(w), w.Body)
					}
				}
			}
			if s.alone != 10*c.aloneEach {
				t.Errorf("bound %d: %d of 10 answers went to their asker alone", c.bound, s.alone)
			}
		})
	}
}

// Who may see less must not be given what another may see, however tokens come.
func TestShare_NeverBetweenTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared(t)
		s.leader.replica.register(t, "n1", "web", "passing")
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, header := range []string{"", "X-Consul-Token: a", "X-Consul-Token: b", "Authorization: Bearer c"} {
			name, value, _ := strings.Cut(header, ": ")
			wg.Go(func() {
				defer func() {
					if how := recover(); how != http.ErrAbortHandler {
						t.Errorf("ended with %v", how)
					}
				}()
				r := httptest.NewRequest("GET", webAt+"11", nil).WithContext(ctx)
				if name != "" {
					r.Header.Set(name, value)
				}
				s.client.users.ServeHTTP(httptest.NewRecorder(), r)
			})
		}
		synctest.Wait()
		if sent, _ := s.count(); sent != 4 {
			t.Errorf("%d queries for 4 tokens", sent)
		}
		cancel()
		wg.Wait()
	})
}

// Askers come, go and wait as they like while a service changes, one server lags,
// servers are lost and come back. Each answer must be one that a server could have
// given to this asker alone.
func TestShare_AtRandom(t *testing.T) {
	woken, unchanged, left := 0, 0, 0
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			m := &shareModel{shared: newShared(t), rng: rand.New(rand.NewPCG(seed, 0)), seed: seed}
			m.leader.replica.register(t, "n1", "web", "passing")
			m.newest.at = 11
			for range 80 {
				m.step()
				synctest.Wait()
			}
			m.finish()
			woken, unchanged, left = woken+m.woken, unchanged+m.unchanged, left+m.left
		})
	}
	t.Logf("%d woken, %d unchanged, %d left", woken, unchanged, left)
	if woken < 1000 || unchanged < 50 || left < 100 {
		t.Errorf("%d woken, %d unchanged, %d left: the seeds meet too little", woken, unchanged, left)
	}
}

// shareModel draws what happens and judges the answers.
type shareModel struct {
	*shared
	rng  *rand.Rand
	seed uint64
	wg   sync.WaitGroup

	newest struct {
		sync.Mutex
		at uint64 // the index of the service's last change
	}
	judging                sync.Mutex
	woken, unchanged, left int
	leave                  []context.CancelFunc
}

func (m *shareModel) latest() uint64 {
	m.newest.Lock()
	defer m.newest.Unlock()
	return m.newest.at
}

func (m *shareModel) step() {
	switch p := m.rng.IntN(100); {
	case p < 45:
		for range 1 + m.rng.IntN(5) {
			m.startAsker()
		}
	case p < 60 && len(m.leave) > 0:
		m.leave[m.rng.IntN(len(m.leave))]()
	case p < 75:
		m.leader.replica.register(m.t, "n1", "web", []string{"passing", "critical", "warning"}[m.rng.IntN(3)])
		// A registration that changes nothing moves no index.
		at, err := strconv.ParseUint(index(m.leader.do("GET", "/v1/health/service/web", "")), 10, 64)
		if err != nil {
			m.t.Fatal(err)
		}
		m.newest.Lock()
		m.newest.at = at
		m.newest.Unlock()
	case p < 85:
		m.apply(1 + m.rng.IntN(2))
	case p < 88:
		// The leader can be asked instead: an asker that was held for longer than
		// requests wait for a leader has each server tried once.
		m.setDown("leader", false)
		m.cutOff()
	case p < 92:
		one := []string{"leader", "follower"}[m.rng.IntN(2)]
		m.setDown("leader", false)
		m.setDown("follower", false)
		m.setDown(one, true)
	default:
		time.Sleep(time.Duration(m.rng.Int64N(int64(2 * time.Minute))))
	}
}

// startAsker has someone ask for what is newer than the last index or one before it.
func (m *shareModel) startAsker() {
	ctx, cancel := context.WithCancel(m.t.Context())
	m.leave = append(m.leave, cancel)
	asked, known := m.latest(), m.latest()
	if m.rng.IntN(4) == 0 {
		known--
	}
	wait := time.Duration(1+m.rng.IntN(12)) * time.Minute
	mode := []string{"", "&consistent", "&stale"}[m.rng.IntN(3)]
	start := time.Now()
	answer := m.client.ask(ctx, fmt.Sprintf("%s%d&wait=%v%s", webAt, known, wait, mode))
	wait = min(wait, 10*time.Minute)
	m.wg.Go(func() {
		w := <-answer
		waited, gone := time.Since(start), ctx.Err() != nil
		m.judging.Lock()
		defer m.judging.Unlock()
		if gone {
			m.left++
			return
		}
		at, err := strconv.ParseUint(index(w), 10, 64)
		switch {
		case w.Code != 200 || err != nil:
			m.t.Errorf("seed %d: %d %s", m.seed, w.Code, w.Body)
		case at > m.leader.replica.index.Load():
			m.t.Errorf("seed %d: index %d is of the future", m.seed, at)
		case at < asked && mode != "&stale":
			m.t.Errorf("seed %d: index %d, but %d was committed before it was asked%s", m.seed, at, asked, mode)
		case at > known:
			m.woken++
		case waited < wait || waited > wait+wait/16:
			m.t.Errorf("seed %d: answered with index %d, no newer than %d, after %v of %v", m.seed, at, known, waited, wait)
		default:
			m.unchanged++
		}
	})
}

// finish has all be well, makes one more change and demands that everyone learns
// of it at once and that nothing goes on then.
func (m *shareModel) finish() {
	m.setDown("leader", false)
	m.setDown("follower", false)
	m.client.cluster.set("", "follower", "leader") // who waits for a server tries again
	m.apply(1 << 30)
	synctest.Wait()
	m.leader.replica.register(m.t, "n2", "web", "passing")
	m.apply(1 << 30)
	start := time.Now()
	m.wg.Wait()
	if late := time.Since(start); late != 0 {
		m.t.Errorf("seed %d: somebody learnt of the last change %v late", m.seed, late)
	}
	for _, leave := range m.leave {
		leave()
	}
	if _, asking := m.count(); asking != 0 {
		m.t.Errorf("seed %d: %d queries go on when all are answered", m.seed, asking)
	}
}
