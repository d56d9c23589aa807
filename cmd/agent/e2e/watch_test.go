package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	watchedKeys     = 4
	watchersPerKey  = 12 // through each agent
	watchDeliveries = 100_000
	watchWait       = 10 * time.Second
)

// watches is blocking queries on a few keys through every agent, and one writer
// a key that counts upwards.
type watches struct {
	t       testing.TB
	indexes *indexes
	keys    [watchedKeys]watchedKey

	delivered atomic.Int64 // answers with a value not seen by their watcher before
	spurious  atomic.Int64 // answers with a new index and the old value
	stop      context.CancelFunc
	done      sync.WaitGroup
}

// watchedKey is one key's counter as its writer knows it.
type watchedKey struct {
	name  string
	acked atomic.Int64 // the last value known to be written
}

// watcher is one endless row of blocking queries.
type watcher struct {
	*watches
	agent *agent
	key   *watchedKey
	mode  string // "" or stale
	http  *http.Client
	seen  atomic.Int64
}

// startWatches begins to write and watch.
func startWatches(t testing.TB, agents []*agent) (*watches, []*watcher) {
	ctx, stop := context.WithCancel(context.Background())
	w := &watches{t: t, indexes: newIndexes(t), stop: stop}
	var all []*watcher
	for i := range w.keys {
		w.keys[i].name = fmt.Sprintf("watched-%d", i)
	}
	for _, a := range agents {
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: watchedKeys * watchersPerKey}}
		for i := range w.keys {
			for n := range watchersPerKey {
				one := &watcher{watches: w, agent: a, key: &w.keys[i], http: client}
				if n%4 == 0 && !a.isClient {
					one.mode = "stale"
				}
				all = append(all, one)
				w.done.Go(func() { one.run(ctx) })
			}
		}
	}
	for i := range w.keys {
		w.done.Go(func() { w.write(ctx, agents, i) })
	}
	t.Cleanup(w.end)
	return w, all
}

func (w *watches) end() {
	w.stop()
	w.done.Wait()
}

// write counts key i upwards, through one agent and, if that fails, the next. A
// value is written until it is acknowledged, so that the counter never skips.
func (w *watches) write(ctx context.Context, agents []*agent, i int) {
	key := &w.keys[i]
	for value := int64(1); ctx.Err() == nil; {
		body := fmt.Sprintf(`{"Node":%q,"Address":"192.0.2.1","NodeMeta":{"v":"%d"}}`, key.name, value)
		if status, _, _, err := fetch(ctx, http.DefaultClient, opTimeout, agents[i%len(agents)], http.MethodPut, "/v1/catalog/register", body); err != nil || status != http.StatusOK {
			i++
			pauseAfterFailure(ctx)
			continue
		}
		key.acked.Store(value)
		value++
	}
}

// run asks again and again with the index that it was given last.
func (w *watcher) run(ctx context.Context) {
	index := uint64(0)
	for ctx.Err() == nil {
		next, ok := w.ask(ctx, index)
		if !ok {
			pauseAfterFailure(ctx)
			continue
		}
		index = next
	}
	w.http.CloseIdleConnections()
}

// ask makes one blocking query and judges its answer.
func (w *watcher) ask(ctx context.Context, index uint64) (next uint64, ok bool) {
	acked := w.key.acked.Load()
	floor := w.indexes.before(w.agent, w.key.name, w.mode)
	path := fmt.Sprintf("/v1/catalog/node/%s?%s&index=%d&wait=%s", w.key.name, w.mode, index, watchWait)
	status, header, body, err := fetch(ctx, w.http, 3*watchWait, w.agent, http.MethodGet, path, "")
	if err != nil || status != http.StatusOK {
		return index, false
	}
	text, err := valueOf(body)
	if err != nil {
		w.t.Errorf("watch of %s through %s: %v", w.key.name, w.agent.name, err)
		return index, false
	}
	value, _ := strconv.ParseInt(text, 10, 64) // "" before the first write is 0
	next = w.indexes.after(w.agent, w.key.name, w.mode, header.Get("X-Consul-Index"), floor)
	seen := w.seen.Load()
	switch {
	case next < index:
		w.t.Errorf("property 33: a watch of %s through %s went from index %d to %d", w.key.name, w.agent.name, index, next)
	case value < seen:
		w.t.Errorf("a watch of %s through %s (%s) was given %d after %d", w.key.name, w.agent.name, w.mode, value, seen)
	case w.mode == "" && value < acked:
		w.t.Errorf("a watch of %s through %s that began after %d was acknowledged was given %d", w.key.name, w.agent.name, acked, value)
	case value > seen:
		w.delivered.Add(1)
	case next > index && index > 0:
		w.spurious.Add(1)
	}
	w.seen.Store(max(seen, value))
	return next, true
}

// catchUp stops the writers' counting at what is acknowledged now and waits
// until each watcher has been given that: no wake-up was lost (property 34).
func (w *watches) catchUp(all []*watcher) {
	w.t.Helper()
	var last [watchedKeys]int64
	for i := range w.keys {
		last[i] = w.keys[i].acked.Load()
	}
	for _, one := range all {
		eventually(w.t, watchWait, "a watch of "+one.key.name+" through "+one.agent.name, func() error {
			for i := range w.keys {
				if &w.keys[i] == one.key && one.seen.Load() < last[i] {
					return fmt.Errorf("was given %d, not %d", one.seen.Load(), last[i])
				}
			}
			return nil
		})
	}
}

// TestWatches holds 192 blocking queries through all agents of a cluster whose
// servers are killed, restarted and given snapshots (properties 33 and 34): no
// answer older than the one before or than what was acknowledged when it was
// asked for, no change that a watcher is not woken for.
func TestWatches(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED in short mode: 100,000 deliveries")
	}
	target := int64(watchDeliveries)
	if raceEnabled {
		target /= 10
	}
	s := newScene(t, 3)
	smallSnapshots(s)
	for _, a := range s.agents {
		a.start()
	}
	waitMembers(t, s.agents, len(s.agents))
	s.leaderAmong(s.servers)
	s.waitVoters(3)
	s.began = time.Now()
	w, all := startWatches(t, s.agents)
	deliver := func(n int64) {
		t.Helper()
		want := min(w.delivered.Load()+n, target)
		eventually(t, 2*time.Minute, fmt.Sprintf("%d deliveries", want), func() error {
			if got := w.delivered.Load(); got < want {
				return fmt.Errorf("%d so far", got)
			}
			return nil
		})
	}
	for _, pick := range []func() *agent{
		func() *agent { return s.leaderAmong(s.servers) },
		func() *agent { return s.others(s.leaderAmong(s.servers))[0] },
		func() *agent { return s.leaderAmong(s.servers) },
	} {
		deliver(target / 8)
		a := pick()
		a.kill()
		s.logf("killed %s", a.name)
		s.leaderAmong(s.others(a))
		deliver(target / 8) // long past the log that is kept for it
		a.start()
		s.leaderAmong(s.servers)
		s.logf("%s is back", a.name)
	}
	deliver(target)
	w.catchUp(all)
	w.end()
	s.logf("%d deliveries of %d watchers, %d answers with the old value", w.delivered.Load(), len(all), w.spurious.Load())
}

// fetch makes one request of an agent.
func fetch(ctx context.Context, client *http.Client, limit time.Duration, a *agent, method, path, body string) (int, http.Header, string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+a.addr+":8500"+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(answer), err
}

// pauseAfterFailure keeps clients whose agent is down from spinning.
func pauseAfterFailure(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(retryPause):
	}
}
