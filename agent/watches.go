package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"muster/agent/config"
	"muster/agent/dns"
	"muster/catalog"
)

const (
	// maxWatches bounds what is watched at one time; what was asked for longest
	// ago goes first.
	maxWatches = 2048
	// watchIdle is after how long without a question a watch ends.
	watchIdle = 10 * time.Minute
	// watchWait is how long one blocking query lasts.
	watchWait = 5 * time.Minute
	// watchRetryMin and watchRetryMax bound the pause after no server answered.
	watchRetryMin = 50 * time.Millisecond
	watchRetryMax = 5 * time.Second
)

// watches finds for DNS on a client agent what is in the servers' catalog: it
// implements dns.Lookup. The first question about a name asks a server, and from
// then on a blocking query keeps the answer fresh, until nobody has asked for a
// while. So a question costs the servers nothing, however often it comes.
type watches struct {
	router *router
	agent  string        // the name of this agent's node
	hold   time.Duration // how long a question may wait for a server
	cfg    atomic.Pointer[config.DNS]
	begin  chan *watch // to run, which owns the goroutines

	mu    sync.Mutex
	all   map[string]*watch // guarded by mu; by path
	ended bool              // guarded by mu
}

// watch is one path that is kept fresh.
type watch struct {
	path   string
	decode func([]byte) (any, error)
	ctx    context.Context
	cancel context.CancelFunc
	used   atomic.Int64                // when it was last asked for, in Unix seconds
	first  chan struct{}               // closed when seen is set
	seen   atomic.Pointer[observation] // nil before
}

// observation is the last that a watch saw.
type observation struct {
	value any
	err   error     // no server has ever answered
	lost  time.Time // since when none does; zero while one does
}

func newWatches(r *router, agent string, hold time.Duration) *watches {
	return &watches{router: r, agent: agent, hold: hold, begin: make(chan *watch), all: map[string]*watch{}}
}

func (w *watches) configure(cfg config.DNS) { w.cfg.Store(&cfg) }

// run runs watches until ctx ends.
func (w *watches) run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		select {
		case <-ctx.Done():
			w.mu.Lock()
			defer w.mu.Unlock()
			w.ended = true
			for _, one := range w.all {
				one.cancel()
			}
			return nil
		case one := <-w.begin:
			running.Go(func() { w.keepFresh(one) })
		}
	}
}

// errNotWatching: the agent ends.
var errNotWatching = errors.New("this agent is stopping")

// Service implements dns.Lookup.
func (w *watches) Service(ctx context.Context, name string) (*dns.Service, error) {
	return lookUp[*dns.Service](ctx, w, "/v1/health/service/"+url.PathEscape(name), decodeService)
}

// Mesh implements dns.Lookup.
func (w *watches) Mesh(ctx context.Context, name string) (*dns.Service, error) {
	return lookUp[*dns.Service](ctx, w, "/v1/health/connect/"+url.PathEscape(name), decodeService)
}

// Ingress implements dns.Lookup.
func (w *watches) Ingress(ctx context.Context, name string) (*dns.Service, error) {
	return lookUp[*dns.Service](ctx, w, "/v1/health/ingress/"+url.PathEscape(name), decodeService)
}

// Node implements dns.Lookup.
func (w *watches) Node(ctx context.Context, name string) (*catalog.Node, error) {
	return lookUp[*catalog.Node](ctx, w, "/v1/catalog/node/"+url.PathEscape(name), decodeNode)
}

// Named implements dns.Lookup. Each question asks a server.
func (w *watches) Named(ctx context.Context, addr netip.Addr) (names dns.Names, err error) {
	ctx, cancel := context.WithTimeout(ctx, w.hold)
	defer cancel()
	body, _, err := w.ask(ctx, namedPath+"?addr="+url.QueryEscape(addr.String()))
	if err == nil {
		err = json.Unmarshal(body, &names)
	}
	return names, err
}

// Query implements dns.Lookup. Each question asks a server.
func (w *watches) Query(ctx context.Context, name string, from netip.Addr) (found *dns.Query, err error) {
	ctx, cancel := context.WithTimeout(ctx, w.hold)
	defer cancel()
	about := url.Values{"name": {name}, "agent": {w.agent}}
	if from.IsValid() {
		about.Set("from", from.String())
	}
	body, _, err := w.ask(ctx, queryPath+"?"+about.Encode())
	if err == nil {
		err = json.Unmarshal(body, &found)
	}
	if err == nil && found != nil {
		err = whole(found.Instances)
	}
	return found, err
}

// decodeService reads a health answer: nil where there is no instance.
func decodeService(body []byte) (any, error) {
	svc := &dns.Service{}
	if err := json.Unmarshal(body, &svc.Instances); err != nil {
		return nil, err
	}
	if err := whole(svc.Instances); err != nil || len(svc.Instances) == 0 {
		return (*dns.Service)(nil), err
	}
	return svc, nil
}

// whole says what instances lack that a server has sent.
func whole(instances []dns.Instance) error {
	for _, in := range instances {
		if in.Node == nil || in.Service == nil || slices.Contains(in.Checks, nil) {
			return errors.New("an instance has no node or no service, or a check is null")
		}
	}
	return nil
}

// decodeNode reads a catalog answer: nil where there is no such node.
func decodeNode(body []byte) (any, error) {
	var answer struct{ Node *catalog.Node }
	err := json.Unmarshal(body, &answer)
	return answer.Node, err
}

// lookUp gives what is at a path: as it is watched, or from a server where that
// is too old or not wanted.
func lookUp[T any](ctx context.Context, w *watches, path string, decode func([]byte) (any, error)) (value T, err error) {
	cfg := w.cfg.Load()
	if cfg.UseCache && cfg.AllowStale {
		seen, err := w.watched(ctx, path, decode)
		if err != nil {
			return value, err
		}
		allowed := cfg.MaxStale
		if cfg.CacheMaxAge > 0 {
			allowed = min(allowed, cfg.CacheMaxAge)
		}
		if seen.lost.IsZero() || time.Since(seen.lost) <= allowed {
			return seen.value.(T), nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, w.hold)
	defer cancel()
	body, _, err := w.ask(ctx, path+"?"+consistency(cfg))
	if err != nil {
		return value, err
	}
	decoded, err := decode(body)
	if err != nil {
		return value, fmt.Errorf("read what a server says of %s: %w", path, err)
	}
	return decoded.(T), nil
}

// consistency says in a query how old an answer may be.
func consistency(cfg *config.DNS) string {
	if !cfg.AllowStale {
		return ""
	}
	return "stale&max_stale=" + cfg.MaxStale.String()
}

// watched gives what a path's watch has seen, and begins one if there is none.
func (w *watches) watched(ctx context.Context, path string, decode func([]byte) (any, error)) (*observation, error) {
	one, isNew, err := w.watchOf(path, decode)
	if err != nil {
		return nil, err
	}
	if seen := one.seen.Load(); seen != nil {
		return seen, seen.err
	}
	ctx, cancel := context.WithTimeout(ctx, w.hold)
	defer cancel()
	if isNew {
		select {
		case w.begin <- one:
		case <-one.ctx.Done():
			return nil, errNotWatching
		case <-ctx.Done():
			w.drop(one)
			return nil, ctx.Err()
		}
	}
	select {
	case <-one.first:
		seen := one.seen.Load()
		return seen, seen.err
	case <-one.ctx.Done():
		return nil, errNotWatching
	case <-ctx.Done():
		return nil, fmt.Errorf("no server has answered for %s: %w", path, ctx.Err())
	}
}

// watchOf finds or makes the watch of a path.
func (w *watches) watchOf(path string, decode func([]byte) (any, error)) (one *watch, isNew bool, err error) {
	now := time.Now().Unix()
	w.mu.Lock()
	defer w.mu.Unlock()
	if one := w.all[path]; one != nil {
		one.used.Store(now)
		return one, false, nil
	}
	if w.ended {
		return nil, false, errNotWatching
	}
	if len(w.all) >= maxWatches {
		w.dropOldest()
	}
	one = &watch{path: path, decode: decode, first: make(chan struct{})}
	one.ctx, one.cancel = context.WithCancel(context.Background())
	one.used.Store(now)
	w.all[path] = one
	return one, true, nil
}

// dropOldest ends the watch that was asked for longest ago. The caller holds mu.
func (w *watches) dropOldest() {
	var oldest *watch
	for _, one := range w.all {
		if oldest == nil || one.used.Load() < oldest.used.Load() {
			oldest = one
		}
	}
	oldest.cancel()
	delete(w.all, oldest.path)
}

// drop ends a watch.
func (w *watches) drop(one *watch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	one.cancel()
	if w.all[one.path] == one {
		delete(w.all, one.path)
	}
}

// keepFresh asks for one path, again and again, until it isn't wanted any more.
func (w *watches) keepFresh(one *watch) {
	defer w.drop(one)
	var index uint64
	pause := watchRetryMin
	for one.ctx.Err() == nil && time.Now().Unix()-one.used.Load() < int64(watchIdle.Seconds()) {
		changed := w.router.Changed()
		value, at, err := w.observe(one, index)
		if err != nil {
			one.noteLost(err)
			waitFor(one.ctx, pause, changed, nil)
			pause = min(2*pause, watchRetryMax)
			index = 0 // the next server may be behind: it answers at once
			continue
		}
		pause = watchRetryMin
		last := one.seen.Load()
		if last == nil || last.err != nil || !last.lost.IsZero() || at != index {
			one.note(&observation{value: value})
		}
		if index = at; at < index {
			index = 0
		}
	}
}

// observe asks once, and waits for a change from index on if that isn't 0.
func (w *watches) observe(one *watch, index uint64) (value any, at uint64, err error) {
	timeout := w.hold
	query := one.path + "?" + consistency(w.cfg.Load())
	if index > 0 {
		timeout += watchWait + watchWait/16
		query += fmt.Sprintf("&index=%d&wait=%s", index, watchWait)
	}
	ctx, cancel := context.WithTimeout(one.ctx, timeout)
	defer cancel()
	body, at, err := w.ask(ctx, query)
	if err != nil {
		return nil, 0, err
	}
	if at == 0 {
		return nil, 0, fmt.Errorf("a server gives no index with %s", one.path)
	}
	if value, err = one.decode(body); err != nil {
		return nil, 0, fmt.Errorf("read what a server says of %s: %w", one.path, err)
	}
	return value, at, nil
}

func (one *watch) note(o *observation) {
	if one.seen.Swap(o) == nil {
		close(one.first)
	}
}

// noteLost keeps what was seen before, with the time since which it may be old.
func (one *watch) noteLost(err error) {
	last := one.seen.Load()
	switch {
	case one.ctx.Err() != nil:
	case last == nil || last.err != nil:
		one.note(&observation{err: err})
	case last.lost.IsZero():
		one.note(&observation{value: last.value, lost: time.Now()})
	}
}

// ask has any server answer, the next one where one can't.
func (w *watches) ask(ctx context.Context, pathAndQuery string) (body []byte, index uint64, err error) {
	err = errNoServers
	for _, addr := range w.router.Servers() {
		if body, index, err = w.askServer(ctx, addr, pathAndQuery); err == nil || ctx.Err() != nil {
			return body, index, err
		}
	}
	return nil, 0, err
}

func (w *watches) askServer(ctx context.Context, addr, pathAndQuery string) (body []byte, index uint64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+pathAndQuery, nil)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set(hopsHeader, "1")
	resp, err := w.router.RoundTrip(addr, req)
	if err != nil {
		if ctx.Err() == nil {
			w.router.Failed(addr)
		}
		return nil, 0, fmt.Errorf("ask server %s: %w", addr, err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, contentLimit))
	if err != nil {
		return nil, 0, fmt.Errorf("ask server %s: %w", addr, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("server %s answers %d: %s", addr, resp.StatusCode, body)
	}
	index, _ = strconv.ParseUint(resp.Header.Get("X-Consul-Index"), 10, 64)
	return body, index, nil
}
