package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"muster/api"
	"muster/catalog"
	"muster/catalog/acl"
)

// commandsPath is where on the cluster port a follower's commands go.
const commandsPath = "/internal/commands"

// follower is a server that knows a leader.
type follower struct {
	*rig
	leader *rig

	mu     sync.Mutex
	passed []string // what was sent to the leader, by path
	// before, where it is set, stands between what is sent and the leader.
	before func(addr string, r *http.Request) error
}

func newFollower(t testing.TB, leader *rig, change ...func(*api.Config, *api.Deps)) *follower {
	t.Helper()
	f := &follower{rig: newRig(t, change...), leader: leader}
	f.replica.leads.Store(false)
	port := leader.server.ClusterHandler(nil)
	f.cluster.direct = func(addr string, r *http.Request) (*http.Response, error) {
		f.mu.Lock()
		f.passed = append(f.passed, r.URL.Path)
		f.mu.Unlock()
		if f.before != nil {
			if err := f.before(addr, r); err != nil {
				return nil, err
			}
		}
		w := httptest.NewRecorder()
		port.ServeHTTP(w, r)
		return w.Result(), nil
	}
	f.cluster.set("leader")
	return f
}

// sent is how many requests went to a path of the leader's.
func (f *follower) sent(path string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.passed {
		if p == path {
			n++
		}
	}
	return n
}

func TestBatch_WhatWaitsForTheLeaderGoesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, newRig(t))
		release := make(chan struct{})
		f.before = func(string, *http.Request) error { <-release; return nil }
		var writing sync.WaitGroup
		for i := range 101 {
			writing.Go(func() {
				if w := f.do("PUT", fmt.Sprintf("/v1/kv/k%d", i), "v"); w.Code != 200 || w.Body.String() != "true" {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			})
		}
		synctest.Wait()
		close(release)
		writing.Wait()
		if n := f.sent(commandsPath); n != 2 {
			t.Errorf("%d requests, not one for the first and one for those that came meanwhile", n)
		}
		if n := f.leader.replica.writes.Load(); n != 101 {
			t.Errorf("the leader committed %d commands", n)
		}
	})
}

func TestBatch_IsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, newRig(t))
		release := make(chan struct{})
		f.before = func(_ string, r *http.Request) error {
			if r.ContentLength > 2<<20 {
				t.Errorf("a request of %d bytes", r.ContentLength)
			}
			<-release
			return nil
		}
		var writing sync.WaitGroup
		for i := range 301 { // of 10 KiB: 102 go together
			writing.Go(func() {
				if w := f.do("PUT", fmt.Sprintf("/v1/kv/k%d", i), strings.Repeat("v", 10<<10)); w.Code != 200 {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			})
		}
		synctest.Wait()
		close(release)
		writing.Wait()
		if n := f.sent(commandsPath); n != 4 {
			t.Errorf("%d requests, not the first and three more", n)
		}
		if w := f.do("PUT", "/v1/kv/large", strings.Repeat("v", 100<<10)); w.Code != 200 || f.sent("/v1/kv/large") != 1 {
			t.Errorf("a large value is passed on by itself: %d %s, %d times", w.Code, w.Body, f.sent("/v1/kv/large"))
		}
	})
}

func TestBatch_AnswersAreTheLeaders(t *testing.T) {
	for _, request := range []struct{ method, target, body string }{
		{"PUT", "/v1/kv/a", "v"},
		{"PUT", "/v1/kv/a?cas=99", "v"},
		{"PUT", "/v1/kv/a?acquire=00000000-0000-0000-0000-000000000001", "v"},
		{"PUT", "/v1/kv/a?cas=x", "v"},
		{"PUT", "/v1/kv/a?cas=1&acquire=x", "v"},
		{"PUT", "/v1/kv/", "v"},
		{"DELETE", "/v1/kv/a?recurse", ""},
		{"PUT", "/v1/session/create", `{"Node":"unknown"}`},
		{"PUT", "/v1/session/create", `{"Node":"n1","NodeChecks":["unknown"]}`},
		{"PUT", "/v1/session/destroy/00000000-0000-0000-0000-000000000001", ""},
		{"PUT", "/v1/catalog/register", registerN1},
		{"PUT", "/v1/catalog/register", `{"Node":"n2"}`},
		{"PUT", "/v1/catalog/register", `{"Node":"n1","Address":"192.0.2.1","Check":{"Name":"c","ServiceID":"unknown"}}`},
		{"PUT", "/v1/catalog/deregister", `{"Node":"n1"}`},
		{"POST", "/v1/query", `{"Name":"q","Service":{"Service":"web"},"Session":"00000000-0000-0000-0000-000000000001"}`},
		{"PUT", "/v1/operator/autopilot/configuration?cas=99", `{}`},
	} {
		alone, leader := newRig(t), newRig(t)
		alone.replica.register(t, "n1", "", "")
		leader.replica.register(t, "n1", "", "")
		f := newFollower(t, leader)
		want, got := alone.do(request.method, request.target, request.body), f.do(request.method, request.target, request.body)
		if got.Code != want.Code || got.Body.String() != want.Body.String() {
			t.Errorf("%s %s %s: %d %q at a follower, %d %q at the leader", request.method, request.target, request.body, got.Code, got.Body, want.Code, want.Body)
		}
		if leader.replica.writes.Load() != alone.replica.writes.Load() {
			t.Errorf("%s %s: %d commands through a follower, %d at the leader", request.method, request.target, leader.replica.writes.Load(), alone.replica.writes.Load())
		}
		for _, path := range f.passed {
			if path != commandsPath {
				t.Errorf("%s %s was passed on as %s", request.method, request.target, path)
			}
		}
	}
}

func TestBatch_EachHasItsOwnOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, newRig(t))
		release := make(chan struct{})
		f.before = func(string, *http.Request) error { <-release; return nil }
		var writing sync.WaitGroup
		for i, want := range []string{"200 true", "200 false", "500 invalid session", "200 true"} {
			target := []string{"/v1/kv/a", "/v1/kv/b?cas=9", "/v1/kv/c?acquire=00000000-0000-0000-0000-000000000001", "/v1/kv/d?cas=0"}[i]
			writing.Go(func() {
				w := f.do("PUT", target, "v")
				if got := fmt.Sprint(w.Code, " ", w.Body); !strings.HasPrefix(got, want) {
					t.Errorf("%s: %s, want %s", target, got, want)
				}
			})
			synctest.Wait()
		}
		close(release)
		writing.Wait()
	})
}

func TestBatch_KeysHaveARetryTakeEffectOnce(t *testing.T) {
	f := newFollower(t, newRig(t))
	for i := range 2 {
		if w := f.do("PUT", "/v1/kv/a?cas=0", "v", "Idempotency-Key", "k"); w.Code != 200 || w.Body.String() != "true" {
			t.Errorf("try %d: %d %s", i+1, w.Code, w.Body)
		}
	}
	if w := f.do("PUT", "/v1/kv/b?cas=0", "v", "Idempotency-Key", "k"); w.Code != 422 {
		t.Errorf("another request under the key: %d %s", w.Code, w.Body)
	}
}

func TestBatch_WhatMayHaveTakenEffectIsNotSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, newRig(t))
		release := make(chan struct{})
		f.before = func(string, *http.Request) error { <-release; return errors.New("connection reset by peer") }
		var writing sync.WaitGroup
		for i := range 10 {
			writing.Go(func() {
				w := f.do("PUT", fmt.Sprintf("/v1/kv/k%d", i), "v")
				if w.Code != 500 || !strings.Contains(w.Body.String(), "whether the request took effect is unknown") {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			})
		}
		synctest.Wait()
		close(release)
		writing.Wait()
		if n := f.sent(commandsPath); n != 2 {
			t.Errorf("%d requests", n)
		}
		if !slices.Contains(f.cluster.failed, "leader") {
			t.Error("nobody has noted that the leader failed")
		}
	})
}

func TestBatch_WhatWaitsGoesToTheNewLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, newRig(t))
		release := make(chan struct{})
		f.before = func(addr string, _ *http.Request) error {
			if addr == "leader" {
				<-release
				return errors.New("connection reset by peer")
			}
			return nil
		}
		var writing sync.WaitGroup
		writing.Go(func() {
			if w := f.do("PUT", "/v1/kv/sent", "v"); w.Code != 500 || !strings.Contains(w.Body.String(), "unknown") {
				t.Errorf("what was sent to the old leader: %d %s", w.Code, w.Body)
			}
		})
		synctest.Wait()
		waits := make(chan *httptest.ResponseRecorder, 1)
		go func() { waits <- f.do("PUT", "/v1/kv/waits", "v") }()
		synctest.Wait()
		f.cluster.set("another")
		synctest.Wait()
		select {
		case w := <-waits:
			if w.Code != 200 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		default:
			t.Error("it waits for the old leader although there is another")
		}
		close(release)
		writing.Wait()
	})
}

func TestBatch_IsTriedAgainWhereNothingWasDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leader := newRig(t)
		leader.replica.leads.Store(false) // it isn't any more
		f := newFollower(t, leader)
		answer := make(chan *httptest.ResponseRecorder, 1)
		go func() { answer <- f.do("PUT", "/v1/kv/a", "v") }()
		synctest.Wait()
		if len(answer) > 0 {
			t.Fatalf("answered without a leader: %s", (<-answer).Body)
		}
		leader.replica.leads.Store(true)
		if w := <-answer; w.Code != 200 || leader.replica.writes.Load() != 1 {
			t.Errorf("%d %s, %d writes", w.Code, w.Body, leader.replica.writes.Load())
		}
	})
}

func TestBatch_IsGivenUpOnceAllItsCallersHaveGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, newRig(t))
		given := make(chan struct{})
		f.before = func(_ string, r *http.Request) error {
			<-r.Context().Done()
			given <- struct{}{}
			return r.Context().Err()
		}
		var writing sync.WaitGroup
		write := func(key string) context.CancelFunc {
			ctx, cancel := context.WithCancel(t.Context())
			req := httptest.NewRequest("PUT", "/v1/kv/"+key, strings.NewReader("v")).WithContext(ctx)
			writing.Go(func() {
				defer func() { _ = recover() }() // http.ErrAbortHandler: nobody is there
				f.users.ServeHTTP(httptest.NewRecorder(), req)
			})
			synctest.Wait()
			return cancel
		}
		first := write("first")
		second, third, fourth := write("second"), write("third"), write("fourth")
		fourth() // before it is sent: it isn't
		synctest.Wait()
		first()
		<-given
		synctest.Wait()
		third()
		synctest.Wait()
		select {
		case <-given:
			t.Error("what others wait for was given up")
		default:
		}
		second()
		<-given
		writing.Wait()
		if n := f.sent(commandsPath); n != 2 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestBatch_LeaderDecidesWhereTheFollowerRefuses(t *testing.T) {
	denied := func(_ *api.Config, d *api.Deps) {
		d.Authorize = func(context.Context, string) (acl.Authorizer, error) {
			return nil, catalog.Errorf(catalog.Denied, "ACL not found")
		}
	}
	f := newFollower(t, newRig(t), denied)
	if w := f.do("PUT", "/v1/kv/a", "v"); w.Code != 200 || f.sent("/v1/kv/a") != 1 {
		t.Errorf("%d %s: the leader may know a token that is new", w.Code, w.Body)
	}
}

func TestBatch_OverloadIsTold(t *testing.T) {
	leader := newRig(t, func(c *api.Config, _ *api.Deps) { c.MaxActive = 1 })
	f := newFollower(t, leader)
	release := make(chan struct{})
	entered := make(chan struct{})
	leader.replica.propose = func() error { close(entered); <-release; return nil }
	var writing sync.WaitGroup
	writing.Go(func() { leader.do("PUT", "/v1/kv/a", "v") })
	<-entered
	if w := f.do("PUT", "/v1/kv/b", "v"); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	close(release)
	writing.Wait()
}

func TestBatch_BadInput_ChangesNothing(t *testing.T) {
	r := newRig(t)
	port := r.server.ClusterHandler(nil)
	many, err := catalog.Marshal(make([][]byte, 1025))
	if err != nil {
		t.Fatal(err)
	}
	none, _ := catalog.Marshal([][]byte{})
	for name, body := range map[string]string{
		"no bytes": "", "no list": "\x01", "no commands": string(none), "too many": string(many),
		"a list that ends too soon": "\xdd\xff\xff\xff\xff", "too large": strings.Repeat("x", 2<<20),
	} {
		if w := do(t, port, "POST", commandsPath, body); w.Code != 400 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	if w := do(t, port, "GET", commandsPath, ""); w.Code != 405 {
		t.Errorf("GET: %d %s", w.Code, w.Body)
	}
	if w := r.do("POST", commandsPath, string(none)); w.Code != 404 {
		t.Errorf("users reach it: %d %s", w.Code, w.Body)
	}
	garbled, _ := catalog.Marshal([][]byte{[]byte("garbled"), nil})
	w := do(t, port, "POST", commandsPath, string(garbled))
	var outcomes [][]byte
	if err := catalog.Unmarshal(w.Body.Bytes(), &outcomes); err != nil || w.Code != 200 || len(outcomes) != 2 {
		t.Fatalf("%d, %v, %d outcomes", w.Code, err, len(outcomes))
	}
	for _, o := range outcomes {
		if result, err := catalog.DecodeOutcome(o); err != nil || catalog.KindOf(result.Err) != catalog.Invalid {
			t.Errorf("%v %v", result, err)
		}
	}
	if n := r.replica.writes.Load(); n != 0 {
		t.Errorf("%d commands committed", n)
	}
}

// FuzzCommands sends bytes to where a leader takes commands.
func FuzzCommands(f *testing.F) {
	cmd, err := catalog.EncodeCommand(&catalog.KV{Verb: catalog.KVSet, Key: "k", Value: []byte("v")})
	if err != nil {
		f.Fatal(err)
	}
	for _, cmds := range [][][]byte{{cmd}, {cmd, cmd, nil}, {}} {
		seed, err := catalog.Marshal(cmds)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if w := do(t, newRig(t).server.ClusterHandler(nil), "POST", commandsPath, string(body)); w.Code != 200 && w.Code != 400 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}
