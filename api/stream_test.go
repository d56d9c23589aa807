package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/api"
	"muster/catalog/acl"
)

// streamReader reads a stream: each part that is flushed arrives whole on parts.
type streamReader struct {
	*httptest.ResponseRecorder
	parts chan string
	done  chan struct{} // closed once the request was answered to its end
}

func (s *streamReader) Flush() {
	s.ResponseRecorder.Flush()
	part := s.Body.String()
	s.Body.Reset()
	s.parts <- part
}

// watch starts a stream and takes its opening.
func (r *rig) watch(ctx context.Context, target string, header ...string) *streamReader {
	r.t.Helper()
	s := &streamReader{httptest.NewRecorder(), make(chan string), make(chan struct{})}
	req := httptest.NewRequest("GET", target, nil).WithContext(ctx)
	req.Header.Set("Accept", "text/event-stream")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	go func() {
		defer close(s.done)
		r.users.ServeHTTP(s, req)
	}()
	select {
	case part := <-s.parts:
		if !strings.HasPrefix(part, "retry: ") || s.Code != 200 || s.Header().Get("Content-Type") != "text/event-stream" {
			r.t.Fatalf("%s opens with %d %v %q", target, s.Code, s.Header(), part)
		}
	case <-s.done:
		r.t.Fatalf("%s is answered with %d %s", target, s.Code, s.Body)
	}
	return s
}

// next gives the id and the data of the next event.
func (s *streamReader) next(t testing.TB) (id, data string) {
	t.Helper()
	select {
	case part := <-s.parts:
		for l := range strings.SplitSeq(part, "\n") {
			if v, ok := strings.CutPrefix(l, "id: "); ok {
				id = v
			}
			if v, ok := strings.CutPrefix(l, "data: "); ok {
				data = v
			}
		}
		if data == "" || !strings.HasSuffix(part, "\n\n") {
			t.Fatalf("%q is no event", part)
		}
	case <-s.done:
		t.Fatal("the stream has ended")
	}
	return id, data
}

// quiet fails the test if there is an event once all has settled.
func (s *streamReader) quiet(t testing.TB) {
	t.Helper()
	synctest.Wait()
	select {
	case part := <-s.parts:
		t.Fatalf("unexpected %q", part)
	case <-s.done:
		t.Fatal("the stream has ended")
	default:
	}
}

func TestStream_GivesTheAnswerAndThenEachChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.replica.register(t, "n1", "web", "critical")
		ctx, cancel := context.WithCancel(t.Context())
		s := r.watch(ctx, "/v1/health/service/web?passing")
		if id, data := s.next(t); id != "11" || data != "[]" {
			t.Errorf("begins with %s %s", id, data)
		}
		if s.Header().Get("X-Consul-Index") != "11" || s.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("headers %v", s.Header())
		}
		r.replica.register(t, "n2", "db", "passing") // another service
		s.quiet(t)
		r.replica.register(t, "n3", "web", "critical") // this one, and still none passes
		s.quiet(t)
		r.replica.register(t, "n1", "web", "passing")
		want := r.do("GET", "/v1/health/service/web?passing", "")
		if id, data := s.next(t); id != index(want) || data != want.Body.String() {
			t.Errorf("goes on with %s %s, want %s %s", id, data, index(want), want.Body)
		}
		cancel()
		<-s.done
	})
}

func TestStream_ComesBackWithWhatItMissedOnly(t *testing.T) {
	for _, c := range []struct {
		name, last, target string
		events             []string // ids; "" for none before the next change, which has id 13
	}{
		{"has the newest", "12", "/v1/catalog/nodes", []string{"13"}},
		{"has the newest, by parameter", "", "/v1/catalog/nodes?index=12", []string{"13"}},
		{"has an older one", "11", "/v1/catalog/nodes", []string{"12", "13"}},
		{"comes from another cluster", "1000", "/v1/catalog/nodes", []string{"12", "13"}},
		{"was further than this stale server", "13", "/v1/catalog/nodes?stale", []string{"14"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.replica.register(t, "n1", "", "")
				r.replica.register(t, "n2", "", "")
				ctx, cancel := context.WithCancel(t.Context())
				s := r.watch(ctx, c.target, "Last-Event-ID", c.last)
				for i, want := range c.events {
					if i == len(c.events)-1 {
						s.quiet(t)
						r.replica.register(t, "n3", "", "")
						if want == "14" {
							s.quiet(t)
							r.replica.register(t, "n4", "", "")
						}
					}
					if id, _ := s.next(t); id != want {
						t.Errorf("event %d has id %s, want %s", i, id, want)
					}
				}
				cancel()
				<-s.done
			})
		})
	}
}

func TestStream_RefusesWhatItCanNotGoOnFrom(t *testing.T) {
	r := newRig(t)
	for target, last := range map[string]string{"/v1/catalog/nodes": "x", "/v1/health/service/web?passing=maybe": "", "/v1/catalog/nodes?dc=other": ""} {
		w := r.do("GET", target, "", "Accept", "text/event-stream", "Last-Event-ID", last)
		if w.Code < 400 || w.Header().Get("Content-Type") == "text/event-stream" {
			t.Errorf("%s after %q: %d %v", target, last, w.Code, w.Header())
		}
	}
}

func TestStream_OneEvaluationServesAllThatWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.replica.register(t, "n1", "web", "critical")
		ctx, cancel := context.WithCancel(t.Context())
		var all []*streamReader
		for range 100 {
			s := r.watch(ctx, "/v1/health/service/web")
			s.next(t)
			all = append(all, s)
		}
		synctest.Wait()
		made := r.metric("muster_http_answers_made_total")
		r.replica.register(t, "n1", "web", "passing")
		for _, s := range all {
			s.next(t)
		}
		if n := r.metric("muster_http_answers_made_total") - made; n != 1 {
			t.Errorf("%v evaluations for 100 streams", n)
		}
		cancel()
		for _, s := range all {
			<-s.done
		}
	})
}

func TestStream_BeatsWhileThereIsNoNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		ctx, cancel := context.WithCancel(t.Context())
		s := r.watch(ctx, "/v1/catalog/nodes")
		s.next(t)
		for range 3 {
			start := time.Now()
			if part := <-s.parts; part != ": heartbeat\n\n" || time.Since(start) != 15*time.Second {
				t.Errorf("%q after %v", part, time.Since(start))
			}
		}
		cancel()
		<-s.done
	})
}

func TestStream_EndsWhenItsCallerMayNoLongerSee(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		allowed := true
		r := newRig(t, func(_ *api.Config, d *api.Deps) {
			d.Authorize = func(context.Context, string) (acl.Authorizer, error) {
				if allowed {
					return acl.AllowAll{}, nil
				}
				return nil, api.ErrNoPath
			}
		})
		s := r.watch(t.Context(), "/v1/catalog/nodes")
		s.next(t)
		synctest.Wait()
		allowed = false
		r.replica.register(t, "n1", "", "")
		if part := <-s.parts; !strings.HasPrefix(part, "event: error\ndata: {\"Status\":500,") || strings.Contains(part, "n1") {
			t.Errorf("ends with %q", part)
		}
		<-s.done
	})
}

func TestStream_EndsWhereNoLeaderIsKnownAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		led, lose := context.WithCancel(context.Background())
		r.replica.led = led
		r.replica.register(t, "n1", "web", "passing")
		s := r.watch(t.Context(), "/v1/health/service/web")
		s.next(t)
		s.quiet(t)
		lose()
		if part := <-s.parts; part != "event: error\ndata: {\"Status\":500,\"Error\":\"No cluster leader\"}\n\n" {
			t.Errorf("%q", part)
		}
		<-s.done
	})
}

func TestStream_OfWhatIsNotInTheCatalog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		ctx, cancel := context.WithCancel(t.Context())
		leader, services := r.watch(ctx, "/v1/status/leader"), r.watch(ctx, "/v1/agent/services")
		if id, data := leader.next(t); id != "" || data != `"192.0.2.1:8300"` {
			t.Errorf("%q %s", id, data)
		}
		if _, data := services.next(t); data != "{}" {
			t.Errorf("no services are %s", data)
		}
		r.cluster.set("somewhere") // the answer stays the same
		leader.quiet(t)
		r.do("PUT", "/v1/agent/service/register", `{"Name":"web"}`)
		if _, data := services.next(t); !strings.Contains(data, `"Service":"web"`) {
			t.Errorf("a service is %s", data)
		}
		cancel()
		<-leader.done
		<-services.done
	})
}

// Over real connections, and through an agent in client mode: what is written
// arrives at once, and the end is a clean one.
func TestStream_ThroughAClientAgentUntilTheServerDrains(t *testing.T) {
	server := newRig(t)
	client := newRig(t, asClient(server.listen()))
	front := httptest.NewServer(client.users)
	defer front.Close()
	req, err := http.NewRequestWithContext(t.Context(), "GET", front.URL+"/v1/catalog/nodes?pretty", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	data := func() string {
		for lines.Scan() {
			if v, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				return v
			}
		}
		return ""
	}
	if got := data(); got != "[]" {
		t.Fatalf("begins with %q", got)
	}
	server.replica.register(t, "n1", "", "")
	if got := data(); !strings.Contains(got, `"Node":"n1"`) {
		t.Fatalf("goes on with %q", got)
	}
	server.server.Drain()
	if got := data(); got != "" || lines.Err() != nil {
		t.Errorf("ends with %q, %v", got, lines.Err())
	}
}

func TestMonitor_GivesLinesAsTheyCome(t *testing.T) {
	r := newRig(t)
	front := httptest.NewServer(r.users)
	defer front.Close()
	resp, err := http.Get(front.URL + "/v1/agent/monitor?loglevel=debug&logjson")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for _, want := range []string{"one", "two"} {
		r.agent.lines <- []byte(want + "\n")
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("got %q, want %q", lines.Text(), want)
		}
	}
	r.server.Drain()
	if lines.Scan() || lines.Err() != nil {
		t.Errorf("ends with %q, %v", lines.Text(), lines.Err())
	}
	front.Close() // waits for the handler
	if len(r.agent.calls) != 1 || r.agent.calls[0] != "left the log at DEBUG true" {
		t.Errorf("calls %q", r.agent.calls)
	}
	if w := r.do("GET", "/v1/agent/monitor?loglevel=loud", ""); w.Code != 400 || w.Body.String() != "Unknown log level: loud" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestMetricsStream_BeginsAtOnceAndEndsWithTheAgent(t *testing.T) {
	r := newRig(t)
	front := httptest.NewServer(r.users)
	defer front.Close()
	resp, err := http.Get(front.URL + "/v1/agent/metrics/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var figures struct {
		Timestamp string
		Gauges    []struct{ Name string }
	}
	dec := json.NewDecoder(resp.Body)
	if err := dec.Decode(&figures); err != nil || figures.Timestamp == "" || figures.Gauges == nil {
		t.Fatalf("got %+v, %v", figures, err)
	}
	r.server.Drain()
	if err := dec.Decode(&figures); err != io.EOF {
		t.Errorf("ends with %v, want EOF", err)
	}
}

func TestRegister_PassesTheSidecarOn(t *testing.T) {
	r := newRig(t)
	body := `{"Name":"web","Port":80,"Connect":{"sidecar_service":{"Port":20000,"Check":{"TTL":"10s"},"Token":"t","Proxy":{"upstreams":[{"DestinationName":"db"}]}}}}`
	if w := r.do("PUT", "/v1/agent/service/register", body); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	side := r.agent.sidecar
	if side == nil || side.Service.Port != 20000 || len(side.Checks) != 1 || side.Checks[0].TTL != 10*time.Second || side.Token != "t" ||
		len(side.Service.Proxy.Upstreams) != 1 || side.Service.ID != "" || side.Service.Service != "" {
		t.Errorf("%+v", side)
	}
}
