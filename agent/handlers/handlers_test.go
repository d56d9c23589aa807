//go:build unix

package handlers_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"muster/agent/handlers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNew_SaysWhatIsWrong(t *testing.T) {
	type m = map[string]any
	key := func(more m) m {
		params := m{"type": "key", "key": "a"}
		for k, v := range more {
			params[k] = v
		}
		return params
	}
	for _, tc := range []struct {
		params m
		err    string // "": none
	}{
		{key(m{"args": []any{"true"}}), ""},
		{key(m{"args": "true", "handler_type": "script"}), ""},
		{key(m{"handler": "true | cat"}), ""},
		{key(m{"handler_type": "http", "http_handler_config": m{"path": "https://x/"}}), ""},
		{m{"args": "true"}, "Watch type must be specified"},
		{m{"type": "bogus", "args": "true"}, "Unsupported watch type: bogus"},
		{m{"type": "key", "args": "true"}, "Must specify a single key to watch"},
		{key(m{"args": "true", "bogus": 1}), "Invalid parameters: [bogus]"},
		{key(nil), "Must define a watch handler"},
		{key(m{"handler_type": "bogus", "args": "true"}), "Handler type 'bogus' not recognized"},
		{key(m{"handler": "true", "args": "true"}), "Only one watch handler allowed"},
		{key(m{"handler_type": "http", "http_handler_config": m{"path": "https://x/"}, "args": "true"}), "Only one watch handler allowed"},
		{key(m{"args": []any{}}), "args must name a program"},
		{key(m{"args": []any{"true", 1}}), "args must be a list of strings"},
		{key(m{"handler": 1}), "handler must be a line for the shell"},
		{key(m{"handler_type": "http"}), "Handler type 'http' requires 'http_handler_config' to be set"},
		{key(m{"handler_type": "http", "http_handler_config": m{}}), "Requires 'path' to be set"},
		{key(m{"handler_type": "http", "http_handler_config": m{"path": "/x"}}), `path must be a URL such as http://127.0.0.1:9000/changed, not "/x"`},
		{key(m{"handler_type": "http", "http_handler_config": m{"path": "file:///x"}}), "path must be a URL"},
		{key(m{"handler_type": "http", "http_handler_config": m{"path": "http://x/", "method": "a b"}}), "invalid method"},
		{key(m{"handler_type": "http", "http_handler_config": m{"path": "http://x/", "timeout": "x"}}), "Failed to parse timeout"},
		{key(m{"handler_type": "http", "http_handler_config": m{"path": "http://x/", "timeout": "-1s"}}), "timeout must be positive"},
	} {
		_, err := handlers.New(tc.params)
		if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%v: %v, want %q", tc.params, err, tc.err)
		}
	}
}

// keys answers blocking queries for keys as an agent does.
type keys struct {
	mu      sync.Mutex
	index   uint64        // guarded by mu
	value   string        // guarded by mu; of all keys
	changed chan struct{} // guarded by mu
}

func newKeys() *keys { return &keys{index: 1, value: "first", changed: make(chan struct{})} }

func (k *keys) put(value string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.index++
	k.value = value
	close(k.changed)
	k.changed = make(chan struct{})
}

func (k *keys) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	after, _ := strconv.ParseUint(r.URL.Query().Get("index"), 10, 64)
	for {
		k.mu.Lock()
		index, value, changed := k.index, k.value, k.changed
		k.mu.Unlock()
		if index > after {
			w.Header().Set("X-Consul-Index", strconv.FormatUint(index, 10))
			key := strings.TrimPrefix(r.URL.Path, "/v1/kv/")
			fmt.Fprintf(w, `[{"Key":%q,"Value":%q,"ModifyIndex":%d}]`, key, base64.StdEncoding.EncodeToString([]byte(value)), index)
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// logged gathers what a Runner logs.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// start runs a Runner against an agent that answers for keys.
func start(t *testing.T, watches ...handlers.Watch) (*keys, *handlers.Runner, *logged, func()) {
	t.Helper()
	k, log := newKeys(), &logged{}
	agent := httptest.NewServer(k)
	t.Cleanup(agent.Close)
	r := handlers.NewRunner(agent.Listener.Addr().String(), slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	r.Set(watches)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	end := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	return k, r, log, end
}

func watchOf(t *testing.T, params map[string]any) handlers.Watch {
	t.Helper()
	w, err := handlers.New(params)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// script is a watch of a key whose handler is a line for the shell.
func script(t *testing.T, key, line string) handlers.Watch {
	return watchOf(t, map[string]any{"type": "key", "key": key, "args": []any{"/bin/sh", "-c", line}})
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for begun := time.Now(); !is(); {
		if time.Since(begun) > 20*time.Second {
			t.Fatal("not within 20s: " + what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func content(path string) string {
	data, _ := os.ReadFile(path)
	return string(data)
}

func TestScript_IsHandedTheNewsAndTheirIndex(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	k, _, log, end := start(t, script(t, "a", `echo "$CONSUL_INDEX" >> `+out+`; cat >> `+out+`; echo written; test "$CONSUL_INDEX" != 2`))
	eventually(t, "the first news", func() bool { return strings.Contains(content(out), `"Value":"Zmlyc3Q="`) })
	k.put("second")
	eventually(t, "what failed is logged with its output", func() bool {
		return strings.Contains(log.String(), `level=ERROR msg="the handler of a watch has failed" type=key`) &&
			strings.Contains(log.String(), `error="exit status 1" output="written\n"`)
	})
	k.put("third")
	eventually(t, "a handler that failed is run again", func() bool { return strings.Contains(content(out), "3\n{") })
	end()
	want := "1\n{\"Key\":\"a\""
	if got := content(out); !strings.HasPrefix(got, want) || strings.Count(got, "\n") != 6 {
		t.Errorf("%s", got)
	}
}

func TestHTTP_IsSentTheNewsAndTheirIndex(t *testing.T) {
	type request struct {
		method, host, index, contentType, token, body string
	}
	requests := make(chan request, 10)
	receiver := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests <- request{r.Method + " " + r.URL.Path, r.Host, r.Header.Get("X-Consul-Index"), r.Header.Get("Content-Type"), r.Header.Get("X-Token"), string(body)}
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprint(w, "short and stout")
	}))
	t.Cleanup(receiver.Close)
	_, _, log, _ := start(t, watchOf(t, map[string]any{"type": "key", "key": "a", "handler_type": "http", "http_handler_config": map[string]any{
		"path": receiver.URL + "/news", "method": "PUT", "timeout": "5s", "tls_skip_verify": true,
		"header": map[string]any{"x-token": []any{"t"}, "Host": []any{"other.example"}},
	}}))
	got := <-requests
	if !strings.HasPrefix(got.body, `{"Key":"a",`) {
		t.Errorf("%s", got.body)
	}
	got.body = ""
	if want := (request{"PUT /news", "other.example", "1", "application/json", "t", ""}); got != want {
		t.Errorf("%+v", got)
	}
	eventually(t, "the answer is logged", func() bool {
		return strings.Contains(log.String(), `error="it answers 418 I'm a teapot" output="short and stout"`)
	})
}

func TestSet_LeavesAloneWhatStays(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	stays, goes := script(t, "a", "echo run >> "+file("stays")), script(t, "b", "echo run >> "+file("goes"))
	k, r, _, _ := start(t, stays, goes)
	ran := func(name string, n int) func() bool {
		return func() bool { return strings.Count(content(file(name)), "run") == n }
	}
	eventually(t, "both ran", func() bool { return ran("stays", 1)() && ran("goes", 1)() })
	r.Set([]handlers.Watch{script(t, "c", "echo run >> "+file("comes")), stays})
	eventually(t, "the new one ran", ran("comes", 1))
	k.put("second")
	eventually(t, "both ran again", func() bool { return ran("stays", 2)() && ran("comes", 2)() })
	if !ran("goes", 1)() {
		t.Error("the one that is gone ran again")
	}
}

func TestRun_KillsWhatItsHandlersStarted(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	_, _, log, end := start(t, script(t, "a", "sleep 1000 & echo $! $$ > "+pids+".new; mv "+pids+".new "+pids+"; wait"))
	eventually(t, "the handler runs", func() bool { return content(pids) != "" })
	end()
	var child, shell int
	if _, err := fmt.Sscan(content(pids), &child, &shell); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both are gone", func() bool {
		return errors.Is(syscall.Kill(child, 0), syscall.ESRCH) && errors.Is(syscall.Kill(shell, 0), syscall.ESRCH)
	})
	if strings.Contains(log.String(), "ERROR") {
		t.Errorf("its own end is an error: %s", log)
	}
}

func TestRun_LogsThatAnAgentCannotBeAsked(t *testing.T) {
	log := &logged{}
	r := handlers.NewRunner("127.0.0.1:1", slog.New(slog.NewTextHandler(log, nil)))
	r.Set([]handlers.Watch{script(t, "a", "true")})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	eventually(t, "an error", func() bool {
		return strings.Contains(log.String(), "level=ERROR") && strings.Contains(log.String(), "connection refused")
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
