package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	clientsPerAgent = 4
	// opsPerKey is after how many operations a group turns to a new key, which
	// keeps each key's history small enough to judge.
	opsPerKey = 200
	// opTimeout is when a client gives up on an answer. It is longer than an
	// election and shorter than rpc_hold_timeout.
	opTimeout = 3 * time.Second
	// retryPause keeps clients whose agent is down from spinning.
	retryPause = 10 * time.Millisecond
)

// load is clients that write and read through every agent of a cluster at
// once. Client i of each agent works on the same key, so that a key has as many
// clients as there are agents and each of its histories crosses all of them.
type load struct {
	t       testing.TB
	agents  []*agent
	clients []*loadClient
	history *history
	indexes *indexes
	groups  [clientsPerAgent]atomic.Int64 // operations begun by each group

	acked  atomic.Int64 // writes and removals
	stales atomic.Int64
	stop   context.CancelFunc
	done   sync.WaitGroup
}

// loadClient is one client of one agent.
type loadClient struct {
	*load
	id    int
	group int
	agent *agent
	http  *http.Client
}

// startLoad begins to work until finish.
func startLoad(t testing.TB, agents []*agent) *load {
	ctx, stop := context.WithCancel(context.Background())
	l := &load{t: t, agents: agents, history: newHistory(), indexes: newIndexes(t), stop: stop}
	for _, a := range agents {
		transport := &http.Transport{
			MaxIdleConnsPerHost: clientsPerAgent,
			DialContext:         (&net.Dialer{Timeout: opTimeout}).DialContext,
		}
		for group := range clientsPerAgent {
			c := &loadClient{load: l, id: len(l.clients), group: group, agent: a, http: &http.Client{Transport: transport}}
			l.clients = append(l.clients, c)
			l.done.Go(func() { c.run(ctx) })
		}
	}
	t.Cleanup(l.end)
	return l
}

// end stops the clients and waits for them.
func (l *load) end() {
	l.stop()
	l.done.Wait()
	for _, c := range l.clients {
		c.http.CloseIdleConnections()
	}
}

// progress waits until n more writes have been acknowledged.
func (l *load) progress(n int64) {
	l.t.Helper()
	want := l.acked.Load() + n
	eventually(l.t, 30*time.Second, fmt.Sprintf("%d more writes acknowledged", n), func() error {
		if got := l.acked.Load(); got < want {
			return fmt.Errorf("%d are missing", want-got)
		}
		return nil
	})
}

// reach waits until n operations are on record.
func (l *load) reach(n int) {
	l.t.Helper()
	eventually(l.t, 2*time.Minute, fmt.Sprintf("%d operations", n), func() error {
		if got := l.history.len(); got < n {
			return fmt.Errorf("%d so far", got)
		}
		return nil
	})
}

// keys are all that were worked on.
func (l *load) keys() []string {
	var all []string
	for group := range l.groups {
		for n := int64(0); n*opsPerKey < l.groups[group].Load(); n++ {
			all = append(all, keyOf(group, n))
		}
	}
	return all
}

func keyOf(group int, n int64) string { return fmt.Sprintf("key-%d-%d", group, n) }

func (c *loadClient) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		key := keyOf(c.group, (c.groups[c.group].Add(1)-1)/opsPerKey)
		var ok bool
		switch dice := rand.IntN(100); {
		case dice < 35:
			ok = c.write(key, fmt.Sprintf("%d.%d", c.id, n))
		case dice < 40:
			ok = c.remove(key)
		case dice < 65:
			ok = c.read(key, "consistent")
		case dice < 90 || c.agent.isClient:
			ok = c.read(key, "")
		default:
			ok = c.read(key, "stale")
		}
		if !ok {
			pauseAfterFailure(ctx)
		}
	}
}

// write registers key with a value, and removes takes it out of the catalog.
func (c *loadClient) write(key, value string) bool {
	body := fmt.Sprintf(`{"Node":%q,"Address":"192.0.2.1","NodeMeta":{"v":%q}}`, key, value)
	return c.change(operation{key: key, client: c.id, what: action{write, value}}, "/v1/catalog/register", body)
}

func (c *loadClient) remove(key string) bool {
	return c.change(operation{key: key, client: c.id, what: action{kind: remove}}, "/v1/catalog/deregister", fmt.Sprintf(`{"Node":%q}`, key))
}

// change has a write done and records it by its answer. It says whether it was
// acknowledged.
func (c *loadClient) change(op operation, path, body string) bool {
	op.via = c.agent.name
	op.call = c.history.now()
	status, _, answer, err := c.do(http.MethodPut, path, body)
	op.end, op.answered = c.history.now(), answer
	switch outcomeOf(status, answer, err) {
	case done:
		c.acked.Add(1)
		c.history.add(op)
		return true
	case notDone:
		if op.what.kind == write {
			c.history.refuse(op)
		}
	default:
		op.end = never
		c.history.add(op)
	}
	return false
}

// outcome is what a client knows of its write.
type outcome uint8

const (
	unknown outcome = iota
	done
	notDone
)

// outcomeOf reads an answer as the documentation says: 4xx and the texts below
// promise that the write has not taken and will not take effect.
func outcomeOf(status int, answer string, err error) outcome {
	var op *net.OpError
	switch {
	case errors.As(err, &op) && op.Op == "dial":
		return notDone // nothing was sent
	case err != nil:
		return unknown
	case status == http.StatusOK:
		return done
	case status >= 400 && status < 500,
		strings.HasPrefix(answer, "No cluster leader"),
		strings.HasPrefix(answer, "too few servers have room on their disk"),
		strings.Contains(answer, "did not take effect"):
		return notDone
	}
	return unknown
}

// read reads key in one of the consistency modes, "" being the default.
func (c *loadClient) read(key, mode string) bool {
	op := operation{key: key, client: c.id, via: c.agent.name + " " + mode}
	floor := c.indexes.before(c.agent, key, mode)
	op.call = c.history.now()
	status, header, answer, err := c.do(http.MethodGet, "/v1/catalog/node/"+key+"?"+mode, "")
	op.end = c.history.now()
	if err != nil || status != http.StatusOK {
		return false // a read that failed says nothing
	}
	value, err := valueOf(answer)
	if err != nil {
		c.t.Errorf("%s: %v", op.via, err)
		return false
	}
	c.indexes.after(c.agent, key, mode, header.Get("X-Consul-Index"), floor)
	if mode == "stale" {
		c.stales.Add(1)
		return true
	}
	op.what = action{read, value}
	c.history.add(op)
	return true
}

// valueOf is the value in an answer of /v1/catalog/node, "" if there is no such
// node.
func valueOf(answer string) (string, error) {
	var found *struct {
		Node struct{ Meta struct{ V string } }
	}
	if err := json.Unmarshal([]byte(answer), &found); err != nil {
		return "", fmt.Errorf("answer %.200q: %w", answer, err)
	}
	if found == nil {
		return "", nil
	}
	return found.Node.Meta.V, nil
}

// do makes a request that goes on though the load ends, so that its outcome is
// known.
func (c *loadClient) do(method, path, body string) (int, http.Header, string, error) {
	return fetch(context.Background(), c.http, opTimeout, c.agent, method, path, body)
}

// indexes holds X-Consul-Index against property 33: of one query it never goes
// back, over default and consistent reads of all agents, and over stale reads
// of each server.
type indexes struct {
	t testing.TB

	mu   sync.Mutex
	most map[string]uint64
}

func newIndexes(t testing.TB) *indexes { return &indexes{t: t, most: map[string]uint64{}} }

func indexSeries(a *agent, query, mode string) string {
	if mode == "stale" {
		return query + " stale at " + a.name
	}
	return query
}

// before gives the largest index that anyone had seen when a read began.
func (x *indexes) before(a *agent, query, mode string) uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.most[indexSeries(a, query, mode)]
}

// after compares the index of a read that ended with what before gave.
func (x *indexes) after(a *agent, query, mode, index string, floor uint64) uint64 {
	n, err := strconv.ParseUint(index, 10, 64)
	if err != nil || n == 0 {
		x.t.Errorf("%s of %s (%s): X-Consul-Index %q", query, a.name, mode, index)
		return floor
	}
	if n < floor {
		x.t.Errorf("property 33: %s of %s (%s): X-Consul-Index went from %d back to %d", query, a.name, mode, floor, n)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	series := indexSeries(a, query, mode)
	x.most[series] = max(x.most[series], n)
	return n
}
