package agentapi

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"strings"

	"muster/api"
)

// levels are the names of log levels. Trace is below slog's own.
var levels = map[string]slog.Level{
	"TRACE": slog.LevelDebug - 4, "DEBUG": slog.LevelDebug, "INFO": slog.LevelInfo,
	"WARN": slog.LevelWarn, "ERR": slog.LevelError, "ERROR": slog.LevelError,
}

func (h handlers) monitor(r *api.Request) (any, error) {
	name := cmp.Or(r.Query.Get("loglevel"), "INFO")
	level, known := levels[strings.ToUpper(name)]
	if !known {
		return nil, invalid("Unknown log level: %.128s", name)
	}
	lines, leave, err := h.agent.Monitor(level, r.Has("logjson"))
	if err != nil {
		return nil, err
	}
	next := func(ctx context.Context) ([]byte, error) {
		select {
		case line := <-lines:
			return line, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return &api.Answer{Body: api.Lines{ContentType: "text/plain; charset=utf-8", Next: next, Close: leave}}, nil
}

// setToken answers as Consul does where ACLs are off.
func (h handlers) setToken(*api.Request) (any, error) {
	return &api.Answer{
		Status: http.StatusUnauthorized,
		Body:   api.Raw{ContentType: "text/plain; charset=utf-8", Data: []byte("ACL support disabled")},
	}, nil
}
