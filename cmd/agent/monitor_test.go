package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"muster/agent/config"
)

func TestMonitor_SeesMoreThanTheLogDoes(t *testing.T) {
	var out bytes.Buffer
	l, err := openLog(&out, config.Log{Level: slog.LevelWarn})
	if err != nil {
		t.Fatal(err)
	}
	part := l.logger.With("component", "raft").WithGroup("g").With("a", 1)
	part.Debug("before")
	plain, leavePlain := l.watch(slog.LevelDebug, false)
	json, leaveJSON := l.watch(slog.LevelInfo, true)
	part.Debug("quiet", "b", 2)
	part.Info("loud")
	if got := string(<-plain); !strings.HasSuffix(got, " [DEBUG] agent.raft: quiet: g.a=1 g.b=2\n") {
		t.Errorf("a line is %q", got)
	}
	if got := string(<-plain); !strings.Contains(got, "[INFO]  agent.raft: loud") {
		t.Errorf("the next is %q", got)
	}
	if got := string(<-json); !strings.Contains(got, `"@message":"loud"`) || !strings.Contains(got, `"@module":"agent.raft"`) {
		t.Errorf("in JSON %q", got)
	}
	if out.Len() != 0 {
		t.Errorf("the log itself has %q", out.String())
	}
	leavePlain()
	leavePlain()
	leaveJSON()
	part.Info("after")
	if len(plain) != 0 || len(json) != 0 || part.Enabled(t.Context(), slog.LevelInfo) {
		t.Error("lines come after leaving")
	}
}

func TestMonitor_LoggingNeverWaitsForAWatcher(t *testing.T) {
	l, err := openLog(&bytes.Buffer{}, config.Log{Level: slog.LevelWarn})
	if err != nil {
		t.Fatal(err)
	}
	lines, leave := l.watch(slog.LevelInfo, false)
	defer leave()
	for i := range 2 * watcherLines {
		l.logger.Info(fmt.Sprint(i))
	}
	if len(lines) != watcherLines || !strings.HasSuffix(string(<-lines), ": 0\n") {
		t.Errorf("%d lines are kept", len(lines))
	}
}
