package api_test

import (
	"context"
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

// ask starts a request and gives its answer when it has come.
func (r *rig) ask(ctx context.Context, target string) <-chan *httptest.ResponseRecorder {
	done := make(chan *httptest.ResponseRecorder, 1)
	go func() {
		w := httptest.NewRecorder()
		defer func() {
			if how := recover(); how != nil && how != http.ErrAbortHandler {
				panic(how)
			}
			done <- w
		}()
		r.users.ServeHTTP(w, httptest.NewRequest("GET", target, nil).WithContext(ctx))
	}()
	return done
}

// waits fails the test unless a request is waiting once all is quiet.
func waits(t *testing.T, answer <-chan *httptest.ResponseRecorder) {
	t.Helper()
	synctest.Wait()
	select {
	case w := <-answer:
		t.Fatalf("answered with %d %s instead of waiting", w.Code, w.Body)
	default:
	}
}

func index(w *httptest.ResponseRecorder) string { return w.Header().Get("X-Consul-Index") }

func TestBlocking_WakesWhenItsServiceChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.replica.register(t, "n1", "web", "critical")
		before := r.do("GET", "/v1/health/service/web?passing", "")
		answer := r.ask(t.Context(), "/v1/health/service/web?passing&wait=1m&index="+index(before))
		waits(t, answer)
		r.replica.register(t, "n9", "db", "passing") // another service
		waits(t, answer)
		start := time.Now()
		r.replica.register(t, "n1", "web", "passing")
		w := <-answer
		if time.Since(start) != 0 || !strings.Contains(w.Body.String(), `"Status":"passing"`) {
			t.Errorf("after %v: %s", time.Since(start), w.Body)
		}
		if index(w) <= index(before) {
			t.Errorf("index %s after %s", index(w), index(before))
		}
	})
}

func TestBlocking_AnswersAtOnceWhatIsNewer(t *testing.T) {
	r := newRig(t)
	r.replica.register(t, "n1", "web", "passing")
	for _, old := range []string{"0", "1", "10"} {
		if w := r.do("GET", "/v1/health/service/web?index="+old, ""); index(w) != "11" {
			t.Errorf("index=%s: answered with index %s", old, index(w))
		}
	}
}

func TestBlocking_KeepsWaitingWhileTheAnswerIsTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.replica.register(t, "n1", "web", "critical")
		answer := r.ask(t.Context(), "/v1/health/service/web?passing&wait=1m&index=11")
		waits(t, answer)
		r.replica.register(t, "n2", "web", "critical") // moves the topic; still none passes
		waits(t, answer)
		start := time.Now()
		w := <-answer
		if waited := time.Since(start); waited < time.Minute || waited > time.Minute+time.Minute/16 {
			t.Errorf("waited %v", waited)
		}
		if w.Body.String() != "[]" || index(w) != "12" {
			t.Errorf("timed out with index %s and %s", index(w), w.Body)
		}
	})
}

func TestBlocking_WaitsWithinItsBounds(t *testing.T) {
	for _, c := range []struct {
		wait     string
		min, max time.Duration
	}{
		{"", 5 * time.Minute, 5*time.Minute + 5*time.Minute/16},
		{"250ms", 250 * time.Millisecond, 266 * time.Millisecond},
		{"20h", 10 * time.Minute, 10*time.Minute + 10*time.Minute/16},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.replica.register(t, "n1", "", "")
			start := time.Now()
			<-r.ask(t.Context(), "/v1/catalog/nodes?index=11&wait="+c.wait)
			if waited := time.Since(start); waited < c.min || waited > c.max {
				t.Errorf("wait=%s: waited %v, want %v to %v", c.wait, waited, c.min, c.max)
			}
		})
	}
}

func TestBlocking_AnswersAtOnceForAnIndexThatThisClusterNeverHad(t *testing.T) {
	r := newRig(t)
	r.replica.register(t, "n1", "", "")
	if w := r.do("GET", "/v1/catalog/nodes?index=1000", ""); w.Code != 200 || index(w) != "11" {
		t.Errorf("%d, index %s", w.Code, index(w))
	}
}

func TestBlocking_EndsWhenItsCallerGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan any, 1)
		go func() {
			defer func() { ended <- recover() }()
			r.users.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/v1/catalog/nodes?index=1", nil).WithContext(ctx))
		}()
		synctest.Wait()
		cancel()
		if how := <-ended; how != http.ErrAbortHandler {
			t.Errorf("ended with %v: whoever still listens takes it for an answer", how)
		}
	})
}

func TestBlocking_OneEvaluationServesAllThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.replica.register(t, "n1", "web", "critical")
		first := r.do("GET", "/v1/health/service/web", "")
		made := r.metric("muster_http_answers_made_total")
		var all []<-chan *httptest.ResponseRecorder
		for range 100 {
			all = append(all, r.ask(t.Context(), "/v1/health/service/web?index="+index(first)))
		}
		synctest.Wait()
		r.replica.register(t, "n1", "web", "passing")
		for _, answer := range all {
			if w := <-answer; !strings.Contains(w.Body.String(), "passing") {
				t.Errorf("answered %s", w.Body)
			}
		}
		if n := r.metric("muster_http_answers_made_total") - made; n != 1 {
			t.Errorf("%v evaluations for 100 that waited", n)
		}
	})
}

func TestBlocking_ByHashWakesWhenTheServiceIsDifferent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.do("PUT", "/v1/agent/service/register", `{"Name":"web","Port":80}`)
		hash := r.do("GET", "/v1/agent/service/web", "").Header().Get("X-Consul-ContentHash")
		answer := r.ask(t.Context(), "/v1/agent/service/web?wait=1m&hash="+hash)
		waits(t, answer)
		r.do("PUT", "/v1/agent/service/register", `{"Name":"web","Port":80}`)
		waits(t, answer)
		r.do("PUT", "/v1/agent/service/register", `{"Name":"web","Port":81}`)
		if w := <-answer; w.Header().Get("X-Consul-ContentHash") == hash || !strings.Contains(w.Body.String(), `"Port":81`) {
			t.Errorf("woke with %s", w.Body)
		}
		start := time.Now()
		hash = r.do("GET", "/v1/agent/service/web", "").Header().Get("X-Consul-ContentHash")
		<-r.ask(t.Context(), "/v1/agent/service/web?wait=1s&hash="+hash)
		if waited := time.Since(start); waited != time.Second {
			t.Errorf("waited %v", waited)
		}
	})
}

// Readers and writers at once: nobody is left waiting for what has happened, and
// what everyone sees last is the last state.
func TestBlocking_MissesNoLastChange(t *testing.T) {
	const readers, writes = 8, 50
	for _, kept := range []int{0, 32 << 20} {
		r := newRig(t, func(c *api.Config, _ *api.Deps) { c.CacheBytes = kept })
		r.replica.register(t, "n1", "web", "passing")
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for range readers {
			wg.Go(func() {
				at := "0"
				for !strings.Contains(at, strconv.Itoa(11+writes)) && ctx.Err() == nil {
					at = index(<-r.ask(ctx, "/v1/health/service/web?index="+at))
				}
				if ctx.Err() != nil {
					t.Errorf("a reader was left waiting at index %s", at)
				}
			})
		}
		for i := range writes {
			r.replica.register(t, "n1", "web", []string{"critical", "passing"}[i%2])
		}
		wg.Wait()
	}
}

// A server that is cut off would let its callers sleep through all that changes.
func TestBlocking_EndsWhereNoLeaderIsKnownAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		led, lose := context.WithCancel(context.Background())
		r.replica.led = led
		r.replica.register(t, "n1", "web", "passing")
		current := r.ask(t.Context(), "/v1/health/service/web?wait=1m&index=11")
		stale := r.ask(t.Context(), "/v1/health/service/web?stale&wait=1m&index=11")
		waits(t, current)
		lose()
		if w := <-current; w.Code != 500 || w.Body.String() != "No cluster leader" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		waits(t, stale) // it wants no more than what this server knows
		if w := <-stale; w.Code != 200 || index(w) != "11" {
			t.Errorf("stale: %d %s", w.Code, w.Body)
		}
	})
}

// A stale query's server may be behind its caller. What it catches up with is
// no news to the caller, and what it had before is nothing to compare news with.
func TestBlocking_StaleAtAServerThatIsBehindItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leader, behind := newRig(t), newRig(t)
		var lag []state.Entry
		leader.replica.ship = func(e state.Entry) { lag = append(lag, e) }
		for _, status := range []string{"passing", "critical", "passing"} {
			leader.replica.register(t, "n1", "web", status)
		}
		behind.replica.store.Apply(lag[:1])
		answer := behind.ask(t.Context(), "/v1/health/service/web?stale&index=12") // of a server that had it
		waits(t, answer)
		behind.replica.store.Apply(lag[1:2])
		waits(t, answer)
		behind.replica.store.Apply(lag[2:])
		synctest.Wait()
		select {
		case w := <-answer:
			if index(w) != "13" || !strings.Contains(w.Body.String(), `"Status":"passing"`) {
				t.Errorf("index %s: %s", index(w), w.Body)
			}
		default:
			t.Error("the change back to what the server had at first woke nobody")
		}
	})
}
