package handlers

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"

	consul "github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/api/watch"

	"muster/agent/child"
)

// maxOutput bounds, in bytes, what is logged of a handler's output.
const maxOutput = 4096

// Runner follows watches and runs their handlers, those of one watch one after the
// other.
type Runner struct {
	address string // of the agent's HTTP API
	logger  *slog.Logger

	mu      sync.Mutex
	wanted  map[string]Watch // guarded by mu; by Watch.key
	changed chan struct{}    // guarded by mu; closed when wanted is another one
}

// NewRunner makes a Runner that asks the agent at address, host:port or
// unix:///path.
func NewRunner(address string, logger *slog.Logger) *Runner {
	return &Runner{address: address, logger: logger, changed: make(chan struct{})}
}

// Set has these watches followed from now on, and no others. One that is followed
// already goes on as it was.
func (r *Runner) Set(watches []Watch) {
	wanted := make(map[string]Watch, len(watches))
	for _, w := range watches {
		wanted[w.key()] = w
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wanted = wanted
	close(r.changed)
	r.changed = make(chan struct{})
}

// Run follows what is set until ctx ends. Handlers that run then are killed.
func (r *Runner) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	followed := map[string]context.CancelFunc{}
	for {
		r.mu.Lock()
		wanted, changed := r.wanted, r.changed
		r.mu.Unlock()
		maps.DeleteFunc(followed, func(key string, stop context.CancelFunc) bool {
			_, stays := wanted[key]
			if !stays {
				stop()
			}
			return !stays
		})
		for key, w := range wanted {
			if followed[key] == nil {
				one, stop := context.WithCancel(ctx)
				followed[key] = stop
				running.Go(func() { r.follow(one, w) })
			}
		}
		select {
		case <-ctx.Done():
			for _, stop := range followed {
				stop()
			}
			return nil
		case <-changed:
		}
	}
}

// follow follows one watch until ctx ends.
func (r *Runner) follow(ctx context.Context, w Watch) {
	plan, err := w.plan()
	if err != nil {
		return // New has made one of the same
	}
	logger := r.logger.With("type", plan.Type)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client, err := consul.NewClient(&consul.Config{Address: r.address, Scheme: "http", Transport: transport, Datacenter: plan.Datacenter, Token: plan.Token})
	if err != nil {
		logger.Error("a watch can't be followed", "error", err)
		return
	}
	h := w.handler()
	defer h.close()
	plan.HybridHandler = func(at watch.BlockingParamVal, news any) {
		output, err := h.hand(ctx, at, news)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			logger.Error("the handler of a watch has failed", "handler", h.name(), "error", err, "output", output)
		default:
			logger.Debug("the handler of a watch has run", "handler", h.name(), "output", output)
		}
	}
	defer context.AfterFunc(ctx, plan.Stop)()
	//lint:ignore SA1019 the other form takes a logger of a library that is of no use to us otherwise
	if err := plan.RunWithClientAndLogger(client, log.New(errorLines{logger}, "", 0)); err != nil {
		logger.Error("a watch has ended", "error", err)
	}
}

// errorLines logs what the client's library says, which is when something failed.
type errorLines struct{ *slog.Logger }

// Write implements io.Writer.
func (l errorLines) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	l.Error(strings.TrimPrefix(text, "[ERR] consul.watch: "))
	return len(line), nil
}

// handler does what a watch says.
type handler struct {
	Watch
	client http.Client
}

func (w Watch) handler() *handler {
	h := &handler{Watch: w}
	if w.http != nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: w.http.TLSSkipVerify}
		h.client = http.Client{Transport: transport, Timeout: w.http.Timeout}
	}
	return h
}

func (h *handler) close() { h.client.CloseIdleConnections() }

func (h *handler) name() string {
	if h.http != nil {
		return h.http.Path
	}
	return strings.Join(h.args, " ")
}

// hand gives the news to the program or server, and waits for it.
func (h *handler) hand(ctx context.Context, at watch.BlockingParamVal, news any) (output string, err error) {
	var text bytes.Buffer
	if err := json.NewEncoder(&text).Encode(news); err != nil {
		return "", err
	}
	index := ""
	if i, ok := at.(watch.WaitIndexVal); ok {
		index = strconv.FormatUint(uint64(i), 10)
	}
	if h.http != nil {
		return h.send(ctx, index, &text)
	}
	out := &child.Tail{Max: maxOutput}
	cmd := child.Command(ctx, h.args)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &text, out, out
	if index != "" {
		cmd.Env = append(cmd.Environ(), "CONSUL_INDEX="+index)
	}
	if err = cmd.Run(); errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it ended well, and left something behind that keeps its output open
	}
	return out.String(), err
}

// send sends the news over HTTP.
func (h *handler) send(ctx context.Context, index string, news io.Reader) (output string, err error) {
	req, err := http.NewRequestWithContext(ctx, h.http.Method, h.http.Path, news)
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	if index != "" {
		req.Header.Set("X-Consul-Index", index)
	}
	for name, values := range h.http.Header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(io.LimitReader(resp.Body, maxOutput))
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		err = fmt.Errorf("it answers %s", resp.Status)
	}
	return string(said), err
}
