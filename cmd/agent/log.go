package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"muster/agent/config"
)

// logs is where the agent logs to.
type logs struct {
	logger *slog.Logger
	file   *rotatingFile // nil: none
	watchers
}

// openLog makes the agent's logger on w, and on a file where one is configured.
func openLog(w io.Writer, cfg config.Log) (*logs, error) {
	l := &logs{}
	if cfg.File != "" {
		file, err := openRotating(cfg)
		if err != nil {
			return nil, err
		}
		l.file = file
		w = io.MultiWriter(w, file)
	}
	l.logger = slog.New(&tee{main: newHandler(w, cfg.Level, cfg.JSON), watchers: &l.watchers})
	return l, nil
}

// newHandler makes a handler that writes one line for each record.
func newHandler(w io.Writer, level slog.Level, json bool) slog.Handler {
	if json {
		return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: consulNames})
	}
	return &lineHandler{level: level, out: w, mu: &sync.Mutex{}}
}

func (l *logs) close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// componentKey is the attribute that names a part of the agent.
const componentKey = "component"

// module is how a component is named in a line: "agent" or "agent.raft".
func module(component string) string {
	if component == "" || component == "agent" {
		return "agent"
	}
	return "agent." + component
}

// consulNames gives the built-in fields of JSON lines the names that Consul's
// have, which log shippers are set up for.
func consulNames(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.TimeKey:
		return slog.String("@timestamp", a.Value.Time().UTC().Format("2006-01-02T15:04:05.000000Z07:00"))
	case slog.LevelKey:
		level, _ := a.Value.Any().(slog.Level)
		return slog.String("@level", strings.ToLower(levelName(level)))
	case slog.MessageKey:
		return slog.Attr{Key: "@message", Value: a.Value}
	case componentKey:
		return slog.String("@module", module(a.Value.String()))
	}
	return a
}

func levelName(l slog.Level) string {
	switch {
	case l < slog.LevelDebug:
		return "TRACE"
	case l < slog.LevelInfo:
		return "DEBUG"
	case l < slog.LevelWarn:
		return "INFO"
	case l < slog.LevelError:
		return "WARN"
	default:
		return "ERROR"
	}
}

// lineHandler writes lines such as
//
//	2026-11-23T10:00:00.000Z [INFO]  agent.raft: leader elected: term=3
//
// A value that holds spaces, quotes or control characters is quoted, so that one
// record is always one line.
type lineHandler struct {
	level     slog.Level
	component string
	prefix    string // of keys: the open groups
	attrs     []byte // rendered already
	mu        *sync.Mutex
	out       io.Writer // guarded by mu
}

// Enabled implements slog.Handler.
func (h *lineHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

// Handle implements slog.Handler.
func (h *lineHandler) Handle(_ context.Context, r slog.Record) error {
	var attrs bytes.Buffer
	attrs.Write(h.attrs)
	component := h.component
	r.Attrs(func(a slog.Attr) bool {
		h.render(&attrs, h.prefix, a, &component)
		return true
	})
	var line bytes.Buffer
	fmt.Fprintf(&line, "%s %-7s %s: %s", r.Time.UTC().Format("2006-01-02T15:04:05.000Z"), "["+levelName(r.Level)+"]",
		module(component), oneLine(r.Message))
	if attrs.Len() > 0 {
		line.WriteByte(':')
		line.Write(attrs.Bytes())
	}
	line.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := h.out.Write(line.Bytes())
	return err
}

// WithAttrs implements slog.Handler.
func (h *lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	out := *h
	rendered := bytes.NewBuffer(bytes.Clone(h.attrs))
	for _, a := range attrs {
		h.render(rendered, h.prefix, a, &out.component)
	}
	out.attrs = rendered.Bytes()
	return &out
}

// WithGroup implements slog.Handler.
func (h *lineHandler) WithGroup(name string) slog.Handler {
	out := *h
	if name != "" {
		out.prefix += name + "."
	}
	return &out
}

// render adds " key=value" to b, or sets the component.
func (h *lineHandler) render(b *bytes.Buffer, prefix string, a slog.Attr, component *string) {
	v := a.Value.Resolve()
	switch {
	case a.Equal(slog.Attr{}):
	case v.Kind() == slog.KindGroup:
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, inner := range v.Group() {
			h.render(b, prefix, inner, component)
		}
	case prefix == "" && a.Key == componentKey:
		*component = v.String()
	default:
		b.WriteByte(' ')
		b.WriteString(oneLine(prefix + a.Key))
		b.WriteByte('=')
		b.WriteString(quoted(text(v)))
	}
}

func text(v slog.Value) string {
	if v.Kind() == slog.KindTime {
		return v.Time().UTC().Format(time.RFC3339Nano)
	}
	return v.String()
}

func quoted(s string) string {
	plain := func(r rune) bool { return r != '"' && r != '=' && !unicode.IsSpace(r) && unicode.IsPrint(r) }
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return strconv.Quote(s)
}

// oneLine makes control characters visible.
func oneLine(s string) string {
	if strings.IndexFunc(s, unicode.IsControl) < 0 {
		return s
	}
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}
