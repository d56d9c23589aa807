package api_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"muster/api"
	"muster/catalog"
)

func (r *rig) put(key, value string) {
	r.t.Helper()
	if w := r.do("PUT", "/v1/kv/"+key, value); w.Code != 200 || w.Body.String() != "true" {
		r.t.Fatalf("put %s: %d %s", key, w.Code, w.Body)
	}
}

// Each query sleeps through the writes that are none of its business, and wakes
// with those that are; an absent key is waited for at the index of its 404.
func TestKV_BlockingWakesForWhatItAskedOnly(t *testing.T) {
	for _, c := range []struct {
		query      string
		ignored    []string
		wakes      string
		wantStatus int
	}{
		{"/v1/kv/a/1?", []string{"PUT a/2", "PUT a/1/x", "PUT a", "DELETE a?cas=99"}, "PUT a/1", 200},
		{"/v1/kv/a/1?", []string{"DELETE a/2"}, "DELETE a/1", 404},
		{"/v1/kv/a/1?raw&", []string{"PUT a/2"}, "DELETE a?recurse", 404},
		{"/v1/kv/none?", []string{"PUT non", "PUT none/x", "DELETE none"}, "PUT none", 200},
		{"/v1/kv/none?recurse&", []string{"PUT non", "PUT b/none"}, "PUT none/x", 200},
		{"/v1/kv/a/?recurse&", []string{"PUT a", "PUT b/1", "DELETE b?recurse"}, "DELETE a/1", 404},
		{"/v1/kv/a?keys&", []string{"PUT b", "PUT a/1"}, "PUT a/2", 200}, // a new value is no new key
		{"/v1/kv/?keys&separator=/&", []string{"PUT a/2", "PUT a/3"}, "PUT b/1", 200},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.put("a/1", "0")
			before := r.do("GET", c.query, "")
			answer := r.ask(t.Context(), c.query+"wait=1m&index="+index(before))
			waits(t, answer)
			write := func(what string) {
				method, key, _ := strings.Cut(what, " ")
				r.do(method, "/v1/kv/"+key, what)
			}
			for _, what := range c.ignored {
				write(what)
				waits(t, answer)
			}
			write(c.wakes)
			w := <-answer
			if w.Code != c.wantStatus || index(w) <= index(before) {
				t.Errorf("%s: %s woke it with %d, index %s after %s: %s", c.query, c.wakes, w.Code, index(w), index(before), w.Body)
			}
		})
	}
}

func TestKV_StreamsGiveListsAlso(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := r.watch(t.Context(), "/v1/kv/a?raw")
		if _, data := s.next(t); data != "[]" {
			t.Errorf("nothing is there: %s", data)
		}
		r.put("a", "line\nline")
		if _, data := s.next(t); !strings.Contains(data, `"Value":"bGluZQpsaW5l"`) {
			t.Errorf("put: %s", data)
		}
		if w := r.do("GET", "/v1/kv/a?raw", ""); w.Body.String() != "line\nline" {
			t.Errorf("an answer that is no stream: %s", w.Body)
		}
		r.do("DELETE", "/v1/kv/a", "")
		if _, data := s.next(t); data != "[]" {
			t.Errorf("deleted: %s", data)
		}
	})
}

func TestKV_TakesValuesUpToTheLimit(t *testing.T) {
	r := newRig(t)
	value := strings.Repeat("\x00\xff", 256<<10)
	r.put("big", value)
	w := r.do("GET", "/v1/kv/big?raw", "")
	if w.Body.String() != value {
		t.Errorf("%d bytes came back of %d", w.Body.Len(), len(value))
	}
	// A browser shows it, whatever it is, and runs nothing of it.
	if h := w.Header(); h.Get("Content-Security-Policy") != "sandbox" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Content-Type") != "text/plain" {
		t.Errorf("%v", h)
	}
	w = r.do("PUT", "/v1/kv/big", value+"x")
	if w.Code != 413 || !strings.HasPrefix(w.Body.String(), "Request body(524289 bytes) too large, max size: 524288 bytes") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// limits.kv_max_value_size is about values alone.
func TestKV_ItsLimitIsOfNoOtherBody(t *testing.T) {
	r := newRig(t, func(c *api.Config, _ *api.Deps) { c.MaxValueBytes = 10 })
	if w := r.do("PUT", "/v1/kv/a", "eleven long"); w.Code != 413 || !strings.Contains(w.Body.String(), "max size: 10 bytes") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := r.do("PUT", "/v1/kv/a", "ten long ."); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := r.do("PUT", "/v1/catalog/register", registerN1); w.Code != 200 {
		t.Errorf("a registration: %d %s", w.Code, w.Body)
	}
}

func TestKV_ShowsAndChangesOnlyWhatACallerMay(t *testing.T) {
	r := newRig(t, func(_ *api.Config, d *api.Deps) {
		d.Authorize = authorizeAs(deny{"key:mine:read": true, "key:mine:write": true})
	})
	if _, err := r.replica.Propose(t.Context(), setKV("other")); err != nil {
		t.Fatal(err)
	}
	r.put("mine", "1")
	for _, c := range []struct {
		method, target string
		status         int
		want           string
	}{
		{"GET", "/v1/kv/mine?raw", 200, "1"},
		{"GET", "/v1/kv/other", 403, "Permission denied: token lacks permission 'key:read' on \"other\""},
		{"GET", "/v1/kv/absent", 403, "Permission denied: token lacks permission 'key:read' on \"absent\""},
		{"GET", "/v1/kv/?keys", 200, `["mine"]`},
		{"GET", "/v1/kv/o?recurse", 404, ""},
		{"PUT", "/v1/kv/other", 403, "Permission denied: token lacks permission 'key:write' on \"other\""},
		{"DELETE", "/v1/kv/mine?recurse", 403, "Permission denied: token lacks permission 'key:write' for all keys that begin with \"mine\""},
		{"DELETE", "/v1/kv/mine", 200, "true"},
	} {
		if w := r.do(c.method, c.target, ""); w.Code != c.status || w.Body.String() != c.want {
			t.Errorf("%s %s: %d %s", c.method, c.target, w.Code, w.Body)
		}
	}
	if w := r.do("GET", "/v1/kv/?recurse", ""); w.Header().Get("X-Consul-Results-Filtered-By-ACLs") != "true" {
		t.Errorf("%v", w.Header())
	}
}

// A kept answer of a prefix holds while others are written.
func TestKV_AnswersOfAPrefixAreKeptWhileOthersAreWritten(t *testing.T) {
	r := newRig(t)
	for i := range 100 {
		r.put(fmt.Sprint("a/", i), "v")
	}
	first := r.do("GET", "/v1/kv/a/?recurse", "")
	r.put("b", "v")
	again := r.do("GET", "/v1/kv/a/?recurse&cached", "")
	if again.Header().Get("X-Cache") != "HIT" || !bytes.Equal(first.Body.Bytes(), again.Body.Bytes()) {
		t.Errorf("%v", again.Header())
	}
	r.put("a/50", "w")
	if w := r.do("GET", "/v1/kv/a/?recurse&cached", ""); w.Header().Get("X-Cache") != "MISS" || w.Code != http.StatusOK {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func setKV(key string) *catalog.KV { return &catalog.KV{Verb: catalog.KVSet, Key: key} }
