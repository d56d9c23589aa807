package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"muster/api"
	"muster/catalog"
)

// listen serves a rig's cluster port and gives its address.
func (r *rig) listen() string {
	r.t.Helper()
	s := httptest.NewServer(r.server.ClusterHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "internal")
	})))
	r.t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// refused is an address that nobody listens on.
func refused(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

const registerN1 = `{"Node":"n1","Address":"192.0.2.1"}`

func TestForward_ClientAgentPassesReadsAndWritesOn(t *testing.T) {
	server := newRig(t)
	client := newRig(t, asClient(server.listen()))
	if w := client.do("PUT", "/v1/catalog/register", registerN1); w.Code != 200 || w.Body.String() != "true" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	for _, target := range []string{"/v1/catalog/nodes", "/v1/catalog/nodes?pretty", "/v1/catalog/nodes?stale",
		"/v1/catalog/nodes?filter=x", "/v1/catalog/node/a%2Fb", "/v1/status/leader"} {
		direct, through := server.do("GET", target, ""), client.do("GET", target, "")
		if direct.Code != through.Code || direct.Body.String() != through.Body.String() {
			t.Errorf("%s: %d %q directly, %d %q through the client", target, direct.Code, direct.Body, through.Code, through.Body)
		}
		for name := range direct.Header() {
			if strings.HasPrefix(name, "X-Consul") && direct.Header().Get(name) != through.Header().Get(name) {
				t.Errorf("%s: %s is %q directly, %q through the client", target, name, direct.Header().Get(name), through.Header().Get(name))
			}
		}
	}
	if w := client.do("GET", "/v1/agent/services", ""); w.Code != 200 {
		t.Errorf("a client answers for itself: %d %s", w.Code, w.Body)
	}
}

func TestForward_FollowerPassesWritesToTheLeaderAndReadsItself(t *testing.T) {
	leader := newRig(t)
	follower := newRig(t)
	follower.replica.leads.Store(false)
	follower.cluster.set(leader.listen())
	if w := follower.do("PUT", "/v1/catalog/register", registerN1); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if leader.replica.writes.Load() != 1 || follower.replica.writes.Load() != 0 {
		t.Error("the write was not the leader's")
	}
	if w := follower.do("GET", "/v1/catalog/nodes?stale", ""); w.Code != 200 || w.Header().Get("X-Consul-KnownLeader") != "false" {
		t.Errorf("a stale read: %d %v", w.Code, w.Header())
	}
}

func TestForward_OneDeadServerCostsOneRetry(t *testing.T) {
	server, dead := newRig(t), refused(t)
	client := newRig(t, asClient(dead, server.listen()))
	if w := client.do("PUT", "/v1/catalog/register", registerN1); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if len(client.cluster.failed) != 1 || client.cluster.failed[0] != dead {
		t.Errorf("failed servers: %v", client.cluster.failed)
	}
}

func TestForward_NeverRepeatsAWriteThatMayHaveTakenEffect(t *testing.T) {
	var asked atomic.Int64
	cut := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked.Add(1)
		panic(http.ErrAbortHandler) // the connection ends without an answer
	}))
	defer cut.Close()
	server := newRig(t)
	client := newRig(t, asClient(cut.Listener.Addr().String(), server.listen()))
	w := client.do("PUT", "/v1/catalog/register", registerN1)
	if w.Code != 500 || !strings.Contains(w.Body.String(), "unknown") || asked.Load() != 1 || server.replica.writes.Load() != 0 {
		t.Errorf("%d %s, asked %d times", w.Code, w.Body, asked.Load())
	}
	if w := client.do("GET", "/v1/catalog/nodes", ""); w.Code != 200 {
		t.Errorf("a read is asked again elsewhere: %d %s", w.Code, w.Body)
	}
}

func TestForward_WithoutALeaderWaitsForOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.replica.leads.Store(false)
		answer := make(chan *httptest.ResponseRecorder, 2)
		go func() { answer <- r.do("PUT", "/v1/catalog/register", registerN1) }()
		go func() { answer <- r.do("GET", "/v1/catalog/nodes", "") }()
		time.Sleep(time.Second)
		synctest.Wait()
		if len(answer) > 0 {
			t.Fatal("answered without a leader")
		}
		start := time.Now()
		r.replica.leads.Store(true)
		r.cluster.set("")
		for range 2 {
			if w := <-answer; w.Code != 200 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("noticed the leader %v late", waited)
		}
	})
}

func TestForward_GivesUpWaitingForALeader(t *testing.T) {
	for _, request := range []string{"GET /v1/catalog/nodes", "GET /v1/operator/raft/configuration", "PUT /v1/catalog/register"} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.replica.leads.Store(false)
			start := time.Now()
			method, target, _ := strings.Cut(request, " ")
			w := r.do(method, target, registerN1)
			if waited := time.Since(start); w.Code != 500 || w.Body.String() != "No cluster leader" || waited != 7*time.Second {
				t.Errorf("%s: %d %s after %v", request, w.Code, w.Body, waited)
			}
		})
	}
}

// errFull is what a leader says that can't have anything stored.
var errFull = catalog.Errorf(catalog.Blocked, "too few servers have room on their disk; s2: its disk is full")

// What somebody has to see to is told at the end of the wait, by whatever way, and
// by a server without a leader or an unreachable one beside it.
func TestForward_TellsWhatSomebodyHasToSeeTo(t *testing.T) {
	short := func(c *api.Config, _ *api.Deps) { c.HoldTimeout = 200 * time.Millisecond }
	leader, follower, cutOff := newRig(t, short), newRig(t, short), newRig(t, short)
	leader.replica.propose = func() error { return errFull }
	follower.replica.leads.Store(false)
	follower.cluster.set(leader.listen())
	cutOff.replica.leads.Store(false)
	to := follower.listen()
	for name, r := range map[string]*rig{
		"leader": leader, "follower": follower, "client": newRig(t, asClient(to), short),
		"client with a dead server last":      newRig(t, asClient(to, refused(t)), short),
		"client with a server without leader": newRig(t, asClient(to, cutOff.listen()), short),
	} {
		if w := r.do("PUT", "/v1/catalog/register", registerN1); w.Code != 500 || w.Body.String() != errFull.Text {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if w := r.do("GET", "/v1/catalog/nodes?stale", ""); w.Code != 200 {
			t.Errorf("%s: a read: %d %s", name, w.Code, w.Body)
		}
	}
	leader.replica.propose = nil
	if w := follower.do("PUT", "/v1/catalog/register", registerN1); w.Code != 200 {
		t.Errorf("with room again: %d %s", w.Code, w.Body)
	}
}

func TestForward_BoundsTheReasonThatIsPassedOn(t *testing.T) {
	r := newRig(t)
	r.replica.propose = func() error { return catalog.Errorf(catalog.Blocked, "%s", strings.Repeat("é", 5000)) }
	w := do(t, r.server.ClusterHandler(nil), "PUT", "/v1/catalog/register", registerN1, "X-Muster-Hops", "0")
	if w.Code != 500 || w.Header().Get("X-Muster-Not-Done") != "blocked" || w.Body.String() != strings.Repeat("é", 500) {
		t.Errorf("%d %v, %d bytes", w.Code, w.Header(), w.Body.Len())
	}
}

func TestForward_TellsWhyNobodyCanLead(t *testing.T) {
	short := func(c *api.Config, _ *api.Deps) { c.HoldTimeout = 200 * time.Millisecond }
	server := newRig(t, short)
	server.replica.leads.Store(false)
	server.replica.blocked = catalog.Errorf(catalog.Blocked, "No cluster leader: the only voter has no vote")
	for name, r := range map[string]*rig{"server": server, "client": newRig(t, asClient(server.listen()), short)} {
		if w := r.do("PUT", "/v1/catalog/register", registerN1); w.Code != 500 || w.Body.String() != "No cluster leader: the only voter has no vote" {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

// The server that an agent asks may be the one that is cut off: it must say so
// while there is time to ask another.
func TestForward_WaitsForALeaderOnlyShortlyWhatWasPassedOn(t *testing.T) {
	for _, request := range []string{"GET /v1/catalog/nodes", "PUT /v1/catalog/register"} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.replica.leads.Store(false)
			start := time.Now()
			method, target, _ := strings.Cut(request, " ")
			w := do(t, r.server.ClusterHandler(nil), method, target, registerN1, "X-Muster-Hops", "1")
			if waited := time.Since(start); w.Code != 500 || w.Header().Get("X-Muster-Not-Done") == "" || waited != 500*time.Millisecond {
				t.Errorf("%s: %d %s after %v", request, w.Code, w.Body, waited)
			}
		})
	}
}

func TestForward_RetriesWhatIsKnownNotDone(t *testing.T) {
	failures := 2
	r := newRig(t)
	r.replica.propose = func() error {
		if failures--; failures >= 0 {
			return catalog.Errorf(catalog.Unavailable, "leadership was lost before the entry was taken in")
		}
		return nil
	}
	if w := r.do("PUT", "/v1/catalog/register", registerN1); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	r.replica.propose = func() error { return catalog.Errorf(catalog.Unknown, "the outcome is unknown") }
	if w := r.do("PUT", "/v1/catalog/register", `{"Node":"n2","Address":"192.0.2.2"}`); w.Code != 500 || w.Body.String() != "the outcome is unknown" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	r.replica.propose = func() error { return catalog.Errorf(catalog.TooMany, "too many writes") }
	if w := r.do("PUT", "/v1/catalog/register", `{"Node":"n2","Address":"192.0.2.2"}`); w.Code != 429 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestForward_EndsAfterTwoHops(t *testing.T) {
	short := func(c *api.Config, _ *api.Deps) { c.HoldTimeout = 200 * time.Millisecond }
	a, b := newRig(t, short), newRig(t, short)
	addrA, addrB := a.listen(), b.listen()
	for _, r := range []*rig{a, b} {
		r.replica.leads.Store(false)
	}
	a.cluster.set(addrB) // each takes the other for the leader
	b.cluster.set(addrA)
	client := newRig(t, asClient(addrA), short)
	if w := client.do("PUT", "/v1/catalog/register", registerN1); w.Code != 500 || w.Body.String() != "No cluster leader" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestClusterPort_ServesNoLocalRoutes(t *testing.T) {
	r := newRig(t)
	port := r.server.ClusterHandler(nil)
	for target, want := range map[string]int{
		"/v1/agent/self": 404, "/v1/agent/service/web": 404, "/v1/agent/metrics": 404, "/v1/test/panic": 404,
		"/ui/": 404, "/metrics": 404, "/": 404, "/internal/x": 404, "/v1/catalog/nodes": 200,
	} {
		if w := do(t, port, "GET", target, "", "X-Muster-Hops", "1"); w.Code != want {
			t.Errorf("%s: %d, want %d", target, w.Code, want)
		}
	}
	if w := do(t, port, "PUT", "/v1/agent/check/register", `{"Name":"c","Args":["id"],"Interval":"1s"}`, "X-Muster-Hops", "1"); w.Code != 404 || len(r.agent.checks) != 0 {
		t.Errorf("a check was registered through the cluster port: %d", w.Code)
	}
	for _, hops := range []string{"", "3", "-1", "x"} {
		if w := do(t, port, "GET", "/v1/catalog/nodes", "", "X-Muster-Hops", hops); w.Code != 400 {
			t.Errorf("hops %q: %d", hops, w.Code)
		}
	}
}

func TestUsersPort_TakesNoHopsFromUsers(t *testing.T) {
	server := newRig(t)
	client := newRig(t, asClient(server.listen()))
	if w := client.do("GET", "/v1/catalog/nodes", "", "X-Muster-Hops", "0"); w.Code != 200 {
		t.Errorf("a user's hops counted: %d %s", w.Code, w.Body)
	}
}

// A blocking query through a client agent goes on at another server when the one
// that it waits at has lost its leader.
func TestForward_BlockingReadMovesOnFromAServerThatIsCutOff(t *testing.T) {
	cutOff, other := newRig(t), newRig(t)
	led, lose := context.WithCancel(context.Background())
	cutOff.replica.led = led
	for _, r := range []*rig{cutOff, other} {
		r.replica.register(t, "n1", "web", "passing")
	}
	client := newRig(t, asClient(cutOff.listen(), other.listen()))
	answer := client.ask(t.Context(), "/v1/health/service/web?index=11")
	waitInFlight(t, cutOff)
	lose()
	waitInFlight(t, other)
	other.replica.register(t, "n2", "web", "passing")
	if w := <-answer; w.Code != 200 || !strings.Contains(w.Body.String(), "n2") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// waitInFlight waits until a request is under way.
func waitInFlight(t *testing.T, r *rig) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); r.metric("muster_http_requests_in_flight") < 1; {
		if time.Now().After(deadline) {
			t.Fatal("the read never reached the server")
		}
	}
}

// A server may keep a blocking query for longer than is waited for a leader. When
// that breaks off there is as much time to ask on as at the beginning.
func TestForward_BlockingReadThatBreaksOffIsAskedOn(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		switch asked.Add(1) {
		case 1:
			panic(http.ErrAbortHandler) // the connection ends without an answer
		case 2:
			w.Header().Set("X-Muster-Not-Done", "true") // no leader yet
			w.WriteHeader(http.StatusInternalServerError)
		default:
			_, _ = io.WriteString(w, "[]")
		}
	}))
	defer server.Close()
	for _, limit := range []int{0, 1 << 20} { // of answers that are shared
		asked.Store(0)
		client := newRig(t, asClient(server.Listener.Addr().String()), func(c *api.Config, _ *api.Deps) {
			c.HoldTimeout = time.Nanosecond // less than any query is kept
			c.CacheBytes = limit
		})
		if w := client.do("GET", "/v1/health/service/web?index=11", ""); w.Code != 200 || asked.Load() != 3 {
			t.Errorf("%d %s, asked %d times", w.Code, w.Body, asked.Load())
		}
	}
	client := newRig(t, asClient(refused(t)), func(c *api.Config, _ *api.Deps) { c.HoldTimeout = 500 * time.Millisecond })
	if w := client.do("GET", "/v1/health/service/web?index=11", ""); w.Code != 500 || w.Body.String() != "No cluster leader" {
		t.Errorf("of servers that are gone: %d %s", w.Code, w.Body)
	}
}

// Servers that can't be reached must not keep a caller for ever, however long it
// takes to find that out of each.
func TestForward_BlockingReadOfSilentServersEnds(t *testing.T) {
	for name, c := range map[string]struct {
		hold   time.Duration // for which a leader is waited for
		after  time.Duration // in which an attempt at one server fails
		err    error
		within time.Duration // besides an attempt at each
	}{
		"cut off":                  {7 * time.Second, time.Second, &net.OpError{Op: "dial", Err: errors.New("timed out")}, 10 * time.Second},
		"cut off, little patience": {time.Second, time.Second, &net.OpError{Op: "dial", Err: errors.New("timed out")}, 10 * time.Second},
		"stand still":              {7 * time.Second, 3 * time.Second, errors.New("the connection was lost"), 10 * time.Second},
		"keep it long":             {7 * time.Second, 8 * time.Second, errors.New("the connection was lost"), 2 * time.Minute},
	} {
		for _, limit := range []int{0, 1 << 20} { // of answers that are shared
			t.Run(fmt.Sprintf("%s/%d", name, limit), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					client := newRig(t, asClient("s1", "s2", "s3", "s4", "s5", "s6", "s7"), func(cfg *api.Config, _ *api.Deps) {
						cfg.CacheBytes, cfg.HoldTimeout = limit, c.hold
					})
					client.cluster.direct = func(_ string, r *http.Request) (*http.Response, error) {
						select {
						case <-r.Context().Done():
							return nil, r.Context().Err()
						case <-time.After(c.after):
							return nil, c.err
						}
					}
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					defer cancel()
					start, within := time.Now(), 7*c.after+c.within
					w := <-client.ask(ctx, "/v1/health/service/web?index=11&wait=1m")
					if took := time.Since(start); w.Code != 500 || w.Body.String() != "No cluster leader" || took > within {
						t.Errorf("%d %s after %v", w.Code, w.Body, took)
					}
				})
			})
		}
	}
}

func TestForward_BlockingReadEndsWithItsCaller(t *testing.T) {
	server := newRig(t)
	server.replica.register(t, "n1", "web", "passing")
	client := newRig(t, asClient(server.listen()))
	ctx, cancel := context.WithCancel(t.Context())
	answer := client.ask(ctx, "/v1/health/service/web?index=11")
	for server.metric("muster_http_requests_in_flight") < 1 {
		if errors.Is(t.Context().Err(), context.Canceled) {
			t.Fatal("the read never reached the server")
		}
	}
	cancel()
	<-answer
	for server.metric("muster_http_requests_in_flight") > 0 {
		if t.Context().Err() != nil {
			t.Fatal("the read went on at the server")
		}
	}
}
