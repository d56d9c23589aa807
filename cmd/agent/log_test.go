package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/agent/config"
)

func newLogger(t testing.TB, cfg config.Log) (*slog.Logger, *bytes.Buffer) {
	t.Helper()
	var b bytes.Buffer
	l, err := openLog(&b, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.close() })
	return l.logger, &b
}

func TestLog_WritesConsulsLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // its clock starts at midnight, 2000-01-01 UTC
		logger, out := newLogger(t, config.Log{Level: config.LevelTrace})
		logger.With("component", "raft", "id", 1).Info("leader elected", "term", 3, "why", "a b", "empty", "")
		logger.With("component", "agent").Error("failed", "error", errors.New("line\nbreak"))
		logger.WithGroup("g").Warn("two\nlines", "k", time.Second, slog.Group("h", "x", 1))
		logger.Log(t.Context(), config.LevelTrace, "fine")
		logger.Debug("plain")
		want := `2000-01-01T00:00:00.000Z [INFO]  agent.raft: leader elected: id=1 term=3 why="a b" empty=""
2000-01-01T00:00:00.000Z [ERROR] agent: failed: error="line\nbreak"
2000-01-01T00:00:00.000Z [WARN]  agent: two\nlines: g.k=1s g.h.x=1
2000-01-01T00:00:00.000Z [TRACE] agent: fine
2000-01-01T00:00:00.000Z [DEBUG] agent: plain
`
		if out.String() != want {
			t.Errorf("got\n%swant\n%s", out, want)
		}
	})
}

func TestLog_JSONHasConsulsNames(t *testing.T) {
	logger, out := newLogger(t, config.Log{JSON: true})
	logger.With("component", "raft").Warn("slow", "ms", 5)
	logger.Debug("below the level")
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	if line["@level"] != "warn" || line["@message"] != "slow" || line["@module"] != "agent.raft" || line["ms"] != 5.0 {
		t.Errorf("line %v", line)
	}
	if _, err := time.Parse(time.RFC3339Nano, line["@timestamp"].(string)); err != nil {
		t.Error(err)
	}
}

func TestLogFile_RotatesBySizeAndAgeAndKeepsSome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		f, err := openRotating(config.Log{File: dir + "/sub/", RotateBytes: 10, RotateDuration: time.Hour, RotateMaxFiles: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		path := filepath.Join(dir, "sub", defaultLogName)
		for _, line := range []string{"1234567\n", "22\n", "3\n"} { // the second doesn't fit
			if _, err := f.Write([]byte(line)); err != nil {
				t.Fatal(err)
			}
		}
		aside := func() []string {
			t.Helper()
			files, err := filepath.Glob(filepath.Join(dir, "sub", "muster-*.log"))
			if err != nil {
				t.Fatal(err)
			}
			return files
		}
		if b, _ := os.ReadFile(path); string(b) != "22\n3\n" || len(aside()) != 1 {
			t.Errorf("the file holds %q, aside are %v", b, aside())
		}
		for range 3 {
			time.Sleep(time.Hour)
			if _, err := f.Write([]byte("new\n")); err != nil {
				t.Fatal(err)
			}
		}
		if b, _ := os.ReadFile(path); string(b) != "new\n" || len(aside()) != 2 {
			t.Errorf("the file holds %q, aside are %v", b, aside())
		}
		for _, old := range aside() {
			if b, _ := os.ReadFile(old); string(b) != "new\n" {
				t.Errorf("an old file was kept instead of a newer: %s holds %q", old, b)
			}
		}
	})
}

func TestLogFile_ThatCantBeOpenedIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openLog(&bytes.Buffer{}, config.Log{File: file + "/x.log", RotateDuration: time.Hour}); err == nil || !strings.Contains(err.Error(), "log_file: ") {
		t.Errorf("error %v", err)
	}
}

func TestLogFile_ThatCantBePutAsideIsWrittenOn(t *testing.T) {
	dir := t.TempDir()
	f, err := openRotating(config.Log{File: dir + "/m.log", RotateBytes: 10, RotateDuration: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at := time.Unix(1, 0)
	f.now = func() time.Time { return at }
	// What it would be put aside as is there, and no file.
	if err := os.MkdirAll(fmt.Sprintf("%s/m-%d.log/full", dir, at.UnixNano()), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"the first\n", "the second\n", "the third\n"} {
		_, err = f.Write([]byte(line))
	}
	if err == nil || !strings.Contains(err.Error(), "rotate the log") {
		t.Errorf("the failure is told as %v", err)
	}
	if got, err := os.ReadFile(dir + "/m.log"); err != nil || string(got) != "the first\nthe second\nthe third\n" {
		t.Errorf("the file holds %q, %v", got, err)
	}
}
