package main

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
)

// tee is a slog.Handler that hands records on to the agent's log, and to those
// who watch the log over HTTP, each with a level of its own.
type tee struct {
	main     slog.Handler
	watchers *watchers
	// opened are the attributes and groups that were added to main, to be added
	// to a watcher's handler when a record comes.
	opened []func(slog.Handler) slog.Handler
}

// watchers are those who watch the log. Logging reads them without a lock.
type watchers struct {
	changing sync.Mutex // held by who enters or leaves
	all      atomic.Pointer[[]slog.Handler]
}

func (w *watchers) list() []slog.Handler {
	if all := w.all.Load(); all != nil {
		return *all
	}
	return nil
}

// enter adds a watcher; leave takes it off.
func (w *watchers) enter(h slog.Handler) (leave func()) {
	w.changing.Lock()
	defer w.changing.Unlock()
	with := append(slices.Clone(w.list()), h)
	w.all.Store(&with)
	return sync.OnceFunc(func() {
		w.changing.Lock()
		defer w.changing.Unlock()
		without := slices.DeleteFunc(slices.Clone(w.list()), func(other slog.Handler) bool { return other == h })
		w.all.Store(&without)
	})
}

// Enabled implements slog.Handler.
func (t *tee) Enabled(ctx context.Context, l slog.Level) bool {
	return t.main.Enabled(ctx, l) || slices.ContainsFunc(t.watchers.list(), func(h slog.Handler) bool { return h.Enabled(ctx, l) })
}

// Handle implements slog.Handler.
func (t *tee) Handle(ctx context.Context, r slog.Record) error {
	for _, h := range t.watchers.list() {
		if !h.Enabled(ctx, r.Level) {
			continue
		}
		for _, open := range t.opened {
			h = open(h)
		}
		_ = h.Handle(ctx, r) // a watcher's writer can't fail
	}
	if !t.main.Enabled(ctx, r.Level) {
		return nil
	}
	return t.main.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (t *tee) WithAttrs(attrs []slog.Attr) slog.Handler {
	return t.with(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

// WithGroup implements slog.Handler.
func (t *tee) WithGroup(name string) slog.Handler {
	return t.with(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

func (t *tee) with(open func(slog.Handler) slog.Handler) slog.Handler {
	return &tee{main: open(t.main), watchers: t.watchers, opened: append(slices.Clone(t.opened), open)}
}

// watcherLines is how many lines a watcher may be behind; beyond, it misses some.
const watcherLines = 512

// lineQueue is a writer of lines that never waits: what doesn't fit is dropped,
// as logging must not wait for someone who watches.
type lineQueue chan []byte

// Write implements io.Writer.
func (q lineQueue) Write(line []byte) (int, error) {
	select {
	case q <- bytes.Clone(line):
	default:
	}
	return len(line), nil
}

// watch gives the lines of what is logged at a level or above from now on,
// whatever the agent's own level is, until leave is called.
func (l *logs) watch(level slog.Level, json bool) (lines <-chan []byte, leave func()) {
	queue := make(lineQueue, watcherLines)
	return queue, l.watchers.enter(newHandler(queue, level, json))
}
