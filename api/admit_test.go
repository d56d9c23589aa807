package api_test

import (
	"context"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"

	"muster/api"
)

// refused503 fails the test unless an answer says when to come back.
func refused503(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	seconds, err := strconv.Atoi(w.Header().Get("Retry-After"))
	if w.Code != 503 || err != nil || seconds < 1 || seconds > 4 {
		t.Errorf("%d, Retry-After %q: %s", w.Code, w.Header().Get("Retry-After"), w.Body)
	}
}

func TestAdmit_RefusesWaitersBeyondItsBoundAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *api.Config, _ *api.Deps) { c.MaxWaiting = 2 })
		r.replica.register(t, "n1", "web", "passing")
		ctx, cancel := context.WithCancel(t.Context())
		blocked := r.ask(ctx, "/v1/catalog/nodes?index=11")
		waits(t, blocked)
		stream := r.watch(ctx, "/v1/catalog/nodes")
		stream.next(t)
		synctest.Wait()
		refused503(t, r.do("GET", "/v1/catalog/nodes?index=11", ""))
		refused503(t, r.do("GET", "/v1/health/service/web", "", "Accept", "text/event-stream"))
		for _, target := range []string{"/v1/catalog/nodes", "/v1/status/leader", "/v1/agent/self"} {
			if w := r.do("GET", target, ""); w.Code != 200 {
				t.Errorf("%s: %d %s", target, w.Code, w.Body)
			}
		}
		if n := r.metric("muster_http_refused_total"); n != 2 {
			t.Errorf("%v are counted as refused", n)
		}
		cancel()
		<-blocked
		<-stream.done
		if n := r.metric("muster_http_waiting"); n != 0 {
			t.Errorf("%v are still counted as waiting", n)
		}
	})
}

func TestAdmit_LivenessStaysWhileWritesAreStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *api.Config, _ *api.Deps) { c.MaxActive = 1 })
		release := make(chan struct{})
		r.replica.propose = func() error { <-release; return nil }
		stuck := make(chan int)
		go func() { stuck <- r.do("PUT", "/v1/catalog/register", registerN1).Code }()
		synctest.Wait()
		refused503(t, r.do("PUT", "/v1/catalog/register", registerN1))
		refused503(t, r.do("GET", "/v1/catalog/nodes?stale", ""))
		r.do("PUT", "/v1/agent/check/register", `{"Name":"c","TTL":"10s"}`)
		for _, request := range [][2]string{{"GET", "/v1/status/leader"}, {"GET", "/v1/agent/self"}, {"GET", "/v1/agent/health/service/name/none"}, {"PUT", "/v1/agent/check/pass/c"}} {
			if w := r.do(request[0], request[1], ""); w.Code >= 500 {
				t.Errorf("%s: %d %s", request[1], w.Code, w.Body)
			}
		}
		close(release)
		if code := <-stuck; code != 200 {
			t.Errorf("the one that was let in: %d", code)
		}
		if w := r.do("GET", "/v1/catalog/nodes?stale", ""); w.Code != 200 {
			t.Errorf("afterwards: %d %s", w.Code, w.Body)
		}
	})
}
