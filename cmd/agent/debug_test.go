package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"
)

// recorded is an agent that `debug` can record. It counts the profiles of a moment
// that were taken of it.
type recorded struct {
	profiles bool // enable_debug
	heaps    atomic.Int32
	heapSeen func() // called at each
}

func (a *recorded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	say := func(text string) {
		_, _ = io.WriteString(w, text)
		_ = http.NewResponseController(w).Flush()
	}
	switch r.URL.Path {
	case "/v1/agent/self":
		_ = json.NewEncoder(w).Encode(map[string]any{"Config": map[string]any{"Version": "1.2.3"}, "DebugConfig": map[string]any{"EnableDebug": a.profiles}})
	case "/v1/agent/host":
		say(`{"Host":{"hostname":"h"}}`)
	case "/v1/agent/members":
		say(membersJSON)
	case "/v1/operator/raft/configuration":
		say(raftJSON)
	case "/v1/agent/metrics/stream":
		say(`{"Gauges":[]}` + "\n")
		<-r.Context().Done()
	case "/v1/agent/monitor":
		say("a line at " + r.URL.Query().Get("loglevel") + "\n")
		<-r.Context().Done()
	case "/debug/pprof/heap":
		say("heap")
		a.heaps.Add(1)
		a.heapSeen()
	case "/debug/pprof/goroutine", "/debug/pprof/profile", "/debug/pprof/trace":
		say(filepath.Base(r.URL.Path) + " " + r.URL.Query().Get("seconds"))
	default:
		http.NotFound(w, r)
	}
}

func startRecorded(t *testing.T, a *recorded) *consul.Client {
	t.Helper()
	if a.heapSeen == nil {
		a.heapSeen = func() {}
	}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	t.Setenv("CONSUL_HTTP_ADDR", server.URL)
	client, err := consul.NewClient(consul.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return client
}

// unpack gives the files of an archive by name, the time of an interval left out.
func unpack(t *testing.T, name string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	zipped, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for packed := tar.NewReader(zipped); ; {
		header, err := packed.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag == tar.TypeDir {
			continue
		}
		text, err := io.ReadAll(packed)
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(header.Name, "/")
		if len(parts) == 3 {
			if _, err := time.Parse(stampLayout, parts[1]); err != nil {
				t.Errorf("an interval's directory: %v", err)
			}
			parts[1] = "moment"
		}
		files[strings.Join(parts, "/")] = string(text)
	}
}

func TestRecording_HasTheFilesOfConsuls(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	defer end()
	dir := filepath.Join(t.TempDir(), "rec")
	agent := &recorded{profiles: true}
	agent.heapSeen = func() {
		for _, name := range []string{"metrics.json", "consul.log", "profile.prof", "trace.out"} {
			if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
				return // the next interval looks again
			}
		}
		if agent.heaps.Load() >= 3 {
			end()
		}
	}
	var out bytes.Buffer
	rec := &recording{
		client: startRecorded(t, agent), out: &out, dir: dir, version: "1.2.3",
		duration: time.Hour, interval: time.Millisecond, targets: debugTargets,
		self: map[string]map[string]any{"Config": {"NodeName": "n"}},
	}
	if err := os.Mkdir(rec.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(rec.static(), rec.dynamic(ctx), archiveDir(rec.dir, rec.dir+".tar.gz")); err != nil {
		t.Fatal(err)
	}
	files := unpack(t, rec.dir+".tar.gz")
	for name, want := range map[string]string{
		"rec/index.json": `"Duration": "1h0m0s"`, "rec/agent.json": `"NodeName": "n"`, "rec/host.json": `"hostname": "h"`, "rec/members.json": `"Name": "s1"`,
		"rec/listpeers.json": "Node  ID   Address", "rec/metrics.json": `{"Gauges":[]}`, "rec/consul.log": "a line at DEBUG\n",
		"rec/moment/heap.prof": "heap", "rec/moment/goroutine.prof": "goroutine ", "rec/profile.prof": "profile 3600", "rec/trace.out": "trace 3600",
	} {
		if !strings.Contains(files[name], want) {
			t.Errorf("%s holds %q, without %q", name, files[name], want)
		}
		delete(files, name)
	}
	if len(files) > 0 {
		t.Errorf("more files: %v", files)
	}
	if _, err := os.Stat(rec.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is still there: %v", err)
	}
	if n := strings.Count(out.String(), "Capture successful"); n < 3 {
		t.Errorf("%d intervals: %s", n, out.String())
	}
}

// What fails is told, and the rest is recorded.
func TestRecording_GoesOnWithoutWhatFails(t *testing.T) {
	agent := &recorded{profiles: true}
	client := startRecorded(t, agent)
	dir := t.TempDir()
	rec := &recording{client: client, out: io.Discard, dir: dir, duration: time.Hour, interval: time.Hour, targets: []string{targetHost, targetMembers}}
	if err := os.Mkdir(filepath.Join(dir, "host.json"), 0o700); err != nil { // so that it can't be written
		t.Fatal(err)
	}
	err := errors.Join(rec.static(), rec.dynamic(t.Context()))
	if err == nil || !strings.Contains(err.Error(), "host.json") {
		t.Errorf("host.json can't be written: %v", err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "members.json")); err != nil || !json.Valid(data) {
		t.Errorf("members.json: %v, %s", err, data)
	}
}

func TestDebug_RecordsWhatItIsTold(t *testing.T) {
	startRecorded(t, &recorded{})
	t.Chdir(t.TempDir())
	out, errOut, code := muster(t, "debug", "-capture=agent", "-capture=pprof", "-output=one")
	want := `==> Starting debugger and capturing static information...
     Agent Version: '1.2.3'
          Interval: '30s'
          Duration: '5m0s'
            Output: 'one.tar.gz'
           Capture: 'agent'
    Saved debug archive: one.tar.gz
`
	if code != 0 || out != want || !strings.Contains(errOut, "Unable to capture pprof. Set enable_debug to true") {
		t.Errorf("code %d, %s%s\nwant %s", code, out, errOut, want)
	}
	files := unpack(t, "one.tar.gz")
	if len(files) != 3 || files["one/agent.json"] == "" || files["one/listpeers.json"] == "" || strings.Contains(files["one/index.json"], "pprof") {
		t.Errorf("files %v", files)
	}
	if _, _, code := muster(t, "debug", "-capture=host", "-archive=false", "-output=two"); code != 0 {
		t.Errorf("-archive=false: code %d", code)
	}
	entries, err := os.ReadDir("two")
	if err != nil || !slices.Equal(names(entries), []string{"host.json", "index.json"}) {
		t.Errorf("two holds %q, %v", names(entries), err)
	}
	for args, want := range map[string]string{
		"-capture=nope":               "==> Capture validation failed: target not found: nope; there are metrics, logs, ",
		"-duration=9s":                "==> Capture validation failed: duration must be longer than 10s",
		"-interval=1s":                "==> Capture validation failed: interval must be longer than 5s",
		"-duration=10s -interval=20s": "==> Capture validation failed: duration (10s) must be longer than interval (20s)",
		"-output=two":                 "==> Capture validation failed: output directory already exists: two",
		"-http-addr=127.0.0.1:1":      "==> Capture validation failed: error querying target agent: Get ",
		"x":                           "==> debug: Too many arguments provided, expected 0",
	} {
		if out, errOut, code := muster(t, append([]string{"debug"}, strings.Fields(args)...)...); code != 1 || out != "" || !strings.HasPrefix(errOut, want) {
			t.Errorf("%s: code %d, %s%s\nwant %s", args, code, out, errOut, want)
		}
	}
	if left, err := filepath.Glob("muster-debug-*"); err != nil || len(left) > 0 {
		t.Errorf("what was refused left %q", left)
	}
}

func names(entries []os.DirEntry) []string {
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}
