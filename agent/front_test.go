package agent

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"muster/agent/config"
)

func TestFront_RefusesWritesFromElsewhere(t *testing.T) {
	api := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	cfg := &config.Config{AllowWriteFrom: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	for _, c := range []struct {
		method, from string
		want         int
	}{
		{"GET", "198.51.100.1:1", http.StatusOK},
		{"PUT", "192.0.2.9:1", http.StatusOK},
		{"PUT", "[::ffff:192.0.2.9]:1", http.StatusOK},
		{"PUT", "198.51.100.1:1", http.StatusForbidden},
		{"DELETE", "[2001:db8::1]:1", http.StatusForbidden},
	} {
		r := httptest.NewRequest(c.method, "/v1/catalog/register", nil)
		r.RemoteAddr = c.from
		w := httptest.NewRecorder()
		front(cfg, api).ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s from %s: %d, want %d", c.method, c.from, w.Code, c.want)
		}
	}
}

func TestFront_ServesProfilesOnlyWhereAsked(t *testing.T) {
	for _, on := range []bool{true, false} {
		w := httptest.NewRecorder()
		front(&config.Config{EnableDebug: on}, http.NotFoundHandler()).
			ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/debug/pprof/goroutine?debug=1", nil))
		if got := w.Code == http.StatusOK; got != on {
			t.Errorf("enable_debug=%v: status %d", on, w.Code)
		}
	}
}
