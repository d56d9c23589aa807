package api_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"muster/api"
)

// sink is a ResponseWriter that throws everything away.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(int)             {}

// BenchmarkHealth reads a service: with its answer kept, made anew each time, and
// as a bare handler that only writes the same bytes.
func BenchmarkHealth(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		fill := func(change ...func(*api.Config, *api.Deps)) *rig {
			r := newRig(b, change...)
			for i := range n {
				r.replica.register(b, fmt.Sprintf("node-%d", i), "web", "passing")
			}
			return r
		}
		kept := fill()
		body := kept.do("GET", "/v1/health/service/web?stale", "").Body.Bytes()
		anew := fill(func(c *api.Config, _ *api.Deps) { c.CacheBytes = 0 })
		bare := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(body)
		})
		for name, h := range map[string]http.Handler{"kept": kept.users, "anew": anew.users, "bare": bare} {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(body)))
				for b.Loop() {
					h.ServeHTTP(&sink{http.Header{}}, httptest.NewRequest("GET", "/v1/health/service/web?stale", nil))
				}
			})
			for _, coding := range []string{"identity", "gzip"} {
				b.Run(fmt.Sprintf("%d/%s/network/%s", n, name, coding), func(b *testing.B) { overNetwork(b, h, coding) })
			}
		}
	}
}

func overNetwork(b *testing.B, h http.Handler, coding string) {
	s := httptest.NewServer(h)
	defer s.Close()
	for b.Loop() {
		req, err := http.NewRequest("GET", s.URL+"/v1/health/service/web?stale", nil)
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", coding)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}
