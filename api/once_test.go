package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"muster/catalog"
)

// lost is what a caller hears whose leader died before it could answer.
var lost = catalog.Errorf(catalog.Unknown, "the leader is gone")

// A request takes effect and its answer is lost, each in a way of its own that a
// second try would fail by, or do again. The retry is answered as the first try was.
func TestIdempotencyKey_ARetryAfterALostAnswerTakesEffectOnce(t *testing.T) {
	for _, tc := range []struct{ name, before, request, answer string }{
		{"kv cas", "", `PUT /v1/kv/a?cas=0 x`, "true"},
		{"kv delete cas", "PUT /v1/kv/a x", `DELETE /v1/kv/a?cas=11`, "true"},
		{"kv lost cas", "PUT /v1/kv/a x", `PUT /v1/kv/a?cas=7 y`, "false"},
		{"txn", "", `PUT /v1/txn [{"KV":{"Verb":"cas","Key":"a","Value":"eA==","Index":0}},{"KV":{"Verb":"get","Key":"a"}}]`,
			`{"Results":[{"KV":{"LockIndex":0,"Key":"a","Flags":0,"Value":null,"CreateIndex":11,"ModifyIndex":11}},{"KV":{"LockIndex":0,"Key":"a","Flags":0,"Value":"eA==","CreateIndex":11,"ModifyIndex":11}}],"Errors":null}`},
		{"intention", "", `PUT /v1/connect/intentions/exact?source=a&destination=b {"Action":"allow"}`, "true"},
		{"config cas", "", `PUT /v1/config?cas=0 {"Kind":"service-defaults","Name":"web","Protocol":"http"}`, "true"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			ask := func(said string, header ...string) (int, string) {
				t.Helper()
				method, rest, _ := strings.Cut(said, " ")
				target, body, _ := strings.Cut(rest, " ")
				w := r.do(method, target, body, header...)
				return w.Code, strings.TrimSpace(w.Body.String())
			}
			if tc.before != "" {
				if code, body := ask(tc.before); code != http.StatusOK {
					t.Fatalf("%d %s", code, body)
				}
			}
			r.replica.lose = true
			if code, body := ask(tc.request, "Idempotency-Key", "k"); code != http.StatusInternalServerError {
				t.Fatalf("the lost answer is %d %s", code, body)
			}
			r.replica.lose = false
			writes := r.replica.writes.Load()
			for range 2 {
				if code, body := ask(tc.request, "Idempotency-Key", "k"); code != http.StatusOK || body != tc.answer {
					t.Errorf("the retry is answered %d %s, want %s", code, body, tc.answer)
				}
			}
			if n := r.replica.writes.Load() - writes; n != 0 {
				t.Errorf("the retries made %d log entries", n)
			}
			if code, body := ask(strings.Replace(tc.request, "a", "other", 1), "Idempotency-Key", "k"); code == http.StatusOK {
				t.Errorf("another request under the key is answered %d %s", code, body)
			}
			if code, body := ask("PUT /v1/kv/z other", "Idempotency-Key", "k"); code != http.StatusUnprocessableEntity {
				t.Errorf("another request under the key is answered %d %s", code, body)
			}
			if code, body := ask("PUT /v1/kv/z other", "Idempotency-Key", "k", "X-Consul-Token", "somebody else"); code != http.StatusOK || body != "true" {
				t.Errorf("the key of another caller is answered %d %s", code, body)
			}
		})
	}
}

// A session has one ID, whoever asks how often.
func TestIdempotencyKey_ASessionIsCreatedOnce(t *testing.T) {
	r := newRig(t)
	r.replica.register(t, "n1", "", "")
	const body = `{"Node":"n1","NodeChecks":[]}`
	first := r.do("PUT", "/v1/session/create", body, "Idempotency-Key", "k").Body.String()
	again := r.do("PUT", "/v1/session/create?token=", body, "Idempotency-Key", "k").Body.String()
	other := r.do("PUT", "/v1/session/create", body, "Idempotency-Key", "k2").Body.String()
	if !strings.Contains(first, `"ID"`) || again != first || other == first {
		t.Errorf("sessions %s, %s, %s", first, again, other)
	}
	if n := len(r.replica.store.View().Sessions()); n != 2 {
		t.Errorf("%d sessions", n)
	}
}

// A refusal is an outcome too: what would succeed by now is not done under its key.
func TestIdempotencyKey_ARefusalIsKept(t *testing.T) {
	r := newRig(t)
	const body = `{"Node":"n1","NodeChecks":[]}`
	first := r.do("PUT", "/v1/session/create", body, "Idempotency-Key", "k")
	r.replica.register(t, "n1", "", "")
	again := r.do("PUT", "/v1/session/create", body, "Idempotency-Key", "k")
	if first.Code == http.StatusOK || again.Code != first.Code || again.Body.String() != first.Body.String() {
		t.Errorf("first %d %s, then %d %s", first.Code, first.Body, again.Code, again.Body)
	}
}

func TestIdempotencyKey_BadOnesAreRefused(t *testing.T) {
	r := newRig(t)
	for _, header := range [][]string{{"Idempotency-Key", ""}, {"Idempotency-Key", strings.Repeat("k", 256)}, {"Idempotency-Key", "é"}, {"Idempotency-Key", "a", "Idempotency-Key", "a"}} {
		if w := r.do("PUT", "/v1/kv/a", "x", header...); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "1 to 255 printable") {
			t.Errorf("%q is answered %d %s", header, w.Code, w.Body)
		}
	}
	if r.replica.store.View().KV("a") != nil {
		t.Error("a refused request took effect")
	}
}

// The header goes with a request that is passed on.
func TestIdempotencyKey_IsPassedOn(t *testing.T) {
	leader := newRig(t)
	c := newRig(t, asClient("leader"))
	c.cluster.direct = func(_ string, r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		leader.server.ClusterHandler(http.NotFoundHandler()).ServeHTTP(w, r)
		return w.Result(), nil
	}
	for _, r := range []*rig{c, leader, c} {
		if w := r.do("PUT", "/v1/kv/a?cas=0", "x", "Idempotency-Key", "k"); strings.TrimSpace(w.Body.String()) != "true" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
}
