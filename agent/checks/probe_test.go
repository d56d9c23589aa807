//go:build unix

package checks_test

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"muster/agent/checks"
	"muster/catalog"
)

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

// serveTLS serves with a certificate that nobody trusts, without complaining
// about clients who don't.
func serveTLS(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

func TestHTTP_StatusDecides(t *testing.T) {
	for code, status := range map[int]string{
		200: catalog.StatusPassing,
		204: catalog.StatusPassing,
		429: catalog.StatusWarning,
		404: catalog.StatusCritical,
		503: catalog.StatusCritical,
	} {
		url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			if code != 204 {
				fmt.Fprint(w, "hello\n")
			}
		})
		body := "hello\n"
		if code == 204 {
			body = ""
		}
		want(t, once(t, checks.Definition{HTTP: url}), status,
			fmt.Sprintf("HTTP GET %s: %d %s Output: %s", url, code, http.StatusText(code), body))
	}
}

func TestHTTP_SendsWhatTheDefinitionSays(t *testing.T) {
	var got atomic.Value
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		body := make([]byte, 10)
		n, _ := r.Body.Read(body)
		got.Store(fmt.Sprint(r.Method, " ", r.Host, " ", r.Header["X-A"], r.Header["Accept"], r.Header["User-Agent"], " ", string(body[:n])))
	})
	once(t, checks.Definition{HTTP: url, Method: "PUT", Body: "zz", Header: map[string][]string{"x-a": {"1", "2"}, "Host": {"web.test"}}})
	if want := "PUT web.test [1 2] [text/plain, text/*, */*] [Consul Health Check] zz"; got.Load() != want {
		t.Errorf("request was\n%v, want\n%v", got.Load(), want)
	}
}

func TestHTTP_ReadsNoMoreThanItKeeps(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil { // has no end but the client's
			if _, err := w.Write([]byte(strings.Repeat("x", 1<<10))); err != nil {
				return
			}
		}
	})
	got := once(t, checks.Definition{HTTP: url})
	if want := 4096; strings.Count(got.output, "x") != want || got.status != catalog.StatusPassing {
		t.Errorf("%s with %d bytes, want passing with %d", got.status, strings.Count(got.output, "x"), want)
	}
}

func TestHTTP_Redirects(t *testing.T) {
	tls := serveTLS(t, func(http.ResponseWriter, *http.Request) {})
	to := map[string]string{"/same": "/ok", "/scheme": tls.URL, "/file": "file:///etc/passwd", "/loop": "/loop"}
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if l := to[r.URL.Path]; l != "" {
			http.Redirect(w, r, l, http.StatusFound)
		}
	})
	for _, tc := range []struct {
		path     string
		disabled bool
		status   string
		contains string
	}{
		{"/same", false, catalog.StatusPassing, "200 OK"},
		{"/same", true, catalog.StatusCritical, "302 Found"},
		{"/scheme", false, catalog.StatusCritical, "redirect from http to https refused"},
		{"/file", false, catalog.StatusCritical, "redirect from http to file refused"},
		{"/loop", false, catalog.StatusCritical, "stopped after 10 redirects"},
	} {
		got := once(t, checks.Definition{HTTP: url + tc.path, DisableRedirects: tc.disabled, TLSSkipVerify: true})
		if got.status != tc.status || !strings.Contains(got.output, tc.contains) {
			t.Errorf("%s: got %v, want %s with %q", tc.path, got, tc.status, tc.contains)
		}
	}
}

func TestHTTP_TLS(t *testing.T) {
	srv := serveTLS(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.TLS.ServerName) })
	got := once(t, checks.Definition{HTTP: srv.URL})
	if got.status != catalog.StatusCritical || !strings.Contains(got.output, "certificate") {
		t.Errorf("unknown authority: got %v, want critical", got)
	}
	got = once(t, checks.Definition{HTTP: srv.URL, TLSSkipVerify: true, TLSServerName: "web.test"})
	if got.status != catalog.StatusPassing || !strings.HasSuffix(got.output, "Output: web.test") {
		t.Errorf("got %v, want passing with the server name web.test", got)
	}
}

func TestHTTP_TimesOut(t *testing.T) {
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	got := once(t, checks.Definition{HTTP: url, Timeout: 50 * time.Millisecond})
	if got.status != catalog.StatusCritical || !strings.Contains(got.output, "Client.Timeout exceeded") {
		t.Errorf("got %v, want critical for the timeout", got)
	}
}

func TestTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	want(t, once(t, checks.Definition{TCP: addr}), catalog.StatusPassing, "TCP connect "+addr+": Success")
	l.Close()
	want(t, once(t, checks.Definition{TCP: addr}), catalog.StatusCritical, "dial tcp "+addr+": connect: connection refused")

	srv := serveTLS(t, http.NotFound)
	addr = srv.Listener.Addr().String()
	want(t, once(t, checks.Definition{TCP: addr, TCPUseTLS: true, TLSSkipVerify: true}), catalog.StatusPassing, "TCP connect "+addr+": Success")
	if got := once(t, checks.Definition{TCP: addr, TCPUseTLS: true}); got.status != catalog.StatusCritical {
		t.Errorf("unknown authority: got %v, want critical", got)
	}
}

func TestScript_ExitCodeDecides(t *testing.T) {
	for script, w := range map[string]report{
		"echo hi; echo err >&2": {status: catalog.StatusPassing, output: "hi\nerr\n"},
		"echo warn; exit 1":     {status: catalog.StatusWarning, output: "warn\n"},
		"echo crit; exit 2":     {status: catalog.StatusCritical, output: "crit\n"},
		"kill -9 $$":            {status: catalog.StatusCritical},
		`printf 'a\377b'`:       {status: catalog.StatusPassing, output: "a\uFFFDb"},
		`printf '%05000d' 7`:    {status: catalog.StatusPassing, output: "Captured 4096 of 5000 bytes\n...\n" + strings.Repeat("0", 4095) + "7"},
	} {
		want(t, once(t, checks.Definition{ScriptArgs: []string{"/bin/sh", "-c", script}}), w.status, w.output)
	}
	want(t, once(t, checks.Definition{ScriptArgs: []string{"/nonexistent"}}), catalog.StatusCritical, "fork/exec /nonexistent: no such file or directory")
	want(t, once(t, checks.Definition{ScriptArgs: []string{"/bin/echo", "$HOME; exit 2"}}), catalog.StatusPassing, "$HOME; exit 2\n")
}

// A script that hangs is killed with all that it started.
func TestScript_TimeoutKillsTheWholeGroup(t *testing.T) {
	held := fifo(t)
	script := fmt.Sprintf("exec 3>%s; sleep 1000 & echo begin; wait", held)
	r, reports := run(t)
	add(t, r, checks.Definition{CheckID: "c", ScriptArgs: []string{"/bin/sh", "-c", script}, Interval: time.Hour, Timeout: 300 * time.Millisecond})
	if err := drain(held); err != nil { // until nobody holds the other end
		t.Fatal(err)
	}
	want(t, next(t, reports), catalog.StatusCritical, "Timed out (300ms) running check\n\nbegin\n")
}

func TestRemove_EndsARunningScript(t *testing.T) {
	held := fifo(t)
	r, _ := run(t)
	add(t, r, checks.Definition{CheckID: "c", ScriptArgs: []string{"/bin/sh", "-c", "exec 3>" + held + "; echo up >&3; sleep 1000"}, Interval: time.Hour})
	f, err := os.Open(held)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if line, err := bufio.NewReader(f).ReadString('\n'); err != nil || line != "up\n" {
		t.Fatalf("script said %q, %v", line, err)
	}
	r.Remove("c") // returns when the script is gone
	if _, err := io.Copy(io.Discard, f); err != nil {
		t.Fatal(err)
	}
}

// fifo makes a named pipe: who reads it learns when its last writer is gone.
func fifo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func drain(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(io.Discard, f)
	return err
}

func TestThresholds(t *testing.T) {
	var code atomic.Int64
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(code.Load())) })
	for _, tc := range []struct {
		name    string
		def     checks.Definition
		answers []int
		want    []string // "" where an answer brings no state about
	}{
		{"none", checks.Definition{}, []int{200, 503}, []string{"passing", "critical"}},
		{"success", checks.Definition{SuccessBeforePassing: 2}, []int{200, 200, 503, 429, 429}, []string{"", "passing", "critical", "", "warning"}},
		{"critical", checks.Definition{FailuresBeforeCritical: 2}, []int{503, 200, 503, 503}, []string{"", "passing", "", "critical"}},
		{"warning", checks.Definition{FailuresBeforeWarning: 1, FailuresBeforeCritical: 3}, []int{503, 503, 503}, []string{"warning", "warning", "critical"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := tc.def
			d.CheckID, d.HTTP, d.Interval = "c", url, time.Second
			probe := checks.NewStepper(d)
			for i, answer := range tc.answers {
				code.Store(int64(answer))
				if got := probe(t.Context()); got != tc.want[i] {
					t.Errorf("answer %d (%d): got %q, want %q", i, answer, got, tc.want[i])
				}
			}
		})
	}
}
