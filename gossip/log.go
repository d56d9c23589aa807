package gossip

import (
	"context"
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"
)

const (
	// Lines of one kind beyond logBudget per logWindow are only counted: one
	// sick or foreign agent must not fill the log of all others.
	logWindow = 30 * time.Second
	logBudget = 5
	logKinds  = 512 // kinds that are told apart before counting starts afresh
)

// reconnecting begins a line of serf's that comes every few seconds for as long
// as a member is down. What comes of the attempt has a line of its own.
const reconnecting = "serf: attempting reconnect"

// logBridge turns the lines of serf and memberlist, "[WARN] serf: text", into
// slog records of the right level.
type logBridge struct {
	to *slog.Logger

	mu    sync.Mutex
	kinds map[string]*logKind
}

// logKind counts lines that differ in nothing but digits.
type logKind struct {
	until   time.Time
	seen    int
	skipped int
}

// newBridge returns a standard logger that writes to l.
func newBridge(l *slog.Logger) *log.Logger {
	return log.New(&logBridge{to: l, kinds: map[string]*logKind{}}, "", 0)
}

// Write implements io.Writer for package log, which passes one line at a time.
func (b *logBridge) Write(p []byte) (int, error) {
	level, text := parseLine(strings.TrimSpace(string(p)))
	if strings.HasPrefix(text, reconnecting) {
		level = slog.LevelDebug
	}
	ctx := context.Background()
	if !b.to.Enabled(ctx, level) {
		return len(p), nil
	}
	var attrs []slog.Attr
	if level >= slog.LevelWarn {
		skipped, ok := b.allow(text, time.Now())
		if !ok {
			return len(p), nil
		}
		if skipped > 0 {
			attrs = append(attrs, slog.Int("not_logged", skipped))
		}
	}
	b.to.LogAttrs(ctx, level, text, attrs...)
	return len(p), nil
}

// allow spends one line of text's budget.
func (b *logBridge) allow(text string, now time.Time) (skipped int, ok bool) {
	key := strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return -1
		}
		return r
	}, text)
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.kinds[key]
	if k == nil {
		if len(b.kinds) >= logKinds {
			clear(b.kinds)
		}
		k = &logKind{}
		b.kinds[key] = k
	}
	if now.After(k.until) {
		k.until, k.seen = now.Add(logWindow), 0
	}
	k.seen++
	if k.seen > logBudget {
		k.skipped++
		return 0, false
	}
	skipped, k.skipped = k.skipped, 0
	return skipped, true
}

// parseLine splits the level off a line.
func parseLine(line string) (slog.Level, string) {
	for prefix, level := range map[string]slog.Level{
		"[TRACE] ": slog.LevelDebug - 4, "[DEBUG] ": slog.LevelDebug, "[INFO] ": slog.LevelInfo,
		"[WARN] ": slog.LevelWarn, "[ERR] ": slog.LevelError, "[ERROR] ": slog.LevelError,
	} {
		if text, ok := strings.CutPrefix(line, prefix); ok {
			return level, text
		}
	}
	return slog.LevelWarn, line
}
