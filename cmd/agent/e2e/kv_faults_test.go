package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

const (
	// opsPerPair and unknownPerPair are after how many operations, and of these of
	// unknown outcome, a group turns to a new pair: what may have happened at any
	// time is what makes a history hard to judge.
	opsPerPair     = 100
	unknownPerPair = 3
)

// TestKV_IsLinearizableUnderFaults kills the leader, stops it, and cuts it off from
// the others, while clients of all agents put, delete, compare and set, and read
// pairs of entries, singly and by transactions. What they saw must be explained by
// one order, in which each transaction is done at once or not at all.
func TestKV_IsLinearizableUnderFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED in short mode: half a minute of faults")
	}
	s := newScene(t, 3)
	s.assemble()
	load := startPairs(t, s.agents)
	load.progress(50)

	leader := s.leaderAmong(s.servers)
	leader.kill()
	s.logf("killed %s; %s leads", leader.name, s.leaderAmong(s.others(leader)).name)
	load.progress(100)
	leader.start()
	load.progress(50)

	leader = s.leaderAmong(s.servers)
	leader.signal(syscall.SIGSTOP)
	s.logf("stopped %s; %s leads", leader.name, s.leaderAmong(s.others(leader)).name)
	load.progress(100)
	leader.signal(syscall.SIGCONT)
	load.progress(50)

	leader = s.leaderAmong(s.servers)
	rest := s.others(leader)
	part([]*agent{leader}, rest)
	s.logf("%s is alone; %s leads", leader.name, s.leaderAmong(rest).name)
	load.progress(100)
	rejoin([]*agent{leader}, rest)
	s.leaderAmong(s.servers)
	load.progress(100)

	load.end()
	s.compareEntries()
	load.history.judge(t)
	s.end()
}

// compareEntries demands that each server's own copy comes to say what a consistent
// read says.
func (s *scene) compareEntries() {
	s.t.Helper()
	var truth string
	eventually(s.t, 15*time.Second, "a consistent read of all entries", func() error {
		status, _, body, err := s.servers[0].tryGet("/v1/kv/?recurse&consistent")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("%d %s", status, body)
		}
		truth = body
		return err
	})
	for _, a := range s.servers {
		eventually(s.t, 15*time.Second, a.name+" holds what the others hold", func() error {
			_, _, own, err := a.tryGet("/v1/kv/?recurse&stale")
			if err == nil && own != truth {
				err = fmt.Errorf("it has %.2000s\nelsewhere is %.2000s", own, truth)
			}
			return err
		})
	}
}

// pairLoad is clients that work on pairs through every agent of a cluster at once.
type pairLoad struct {
	t       testing.TB
	history *pairHistory
	groups  [clientsPerAgent]pairGroup
	acked   atomic.Int64 // writes
	stop    context.CancelFunc
	done    sync.WaitGroup
	clients []*http.Client
}

// pairGroup is a client of each agent, who work on the same pair.
type pairGroup struct {
	mu           sync.Mutex
	n            int // of the pair
	ops, unknown int // on it
}

// pair gives the number of the pair to work on next.
func (g *pairGroup) pair() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ops == opsPerPair || g.unknown >= unknownPerPair {
		g.n, g.ops, g.unknown = g.n+1, 0, 0
	}
	g.ops++
	return g.n
}

// lost notes an operation of unknown outcome on a pair.
func (g *pairGroup) lost(pair int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if pair == g.n {
		g.unknown++
	}
}

// pairClient is one client of one agent.
type pairClient struct {
	*pairLoad
	id    int
	group int
	agent *agent
	http  *http.Client

	pair int
	seen [2]entry // what it last read of the pair
}

// entry is a value with the index that it has, both zero where there is none.
type entry struct {
	value string
	index uint64
}

// startPairs begins to work until end.
func startPairs(t testing.TB, agents []*agent) *pairLoad {
	ctx, stop := context.WithCancel(context.Background())
	l := &pairLoad{t: t, history: newPairHistory(), stop: stop}
	for i, a := range agents {
		client := &http.Client{Transport: &http.Transport{
			MaxIdleConnsPerHost: clientsPerAgent, DialContext: (&net.Dialer{Timeout: opTimeout}).DialContext}}
		l.clients = append(l.clients, client)
		for group := range clientsPerAgent {
			c := &pairClient{pairLoad: l, id: i*clientsPerAgent + group, group: group, agent: a, http: client, pair: -1}
			l.done.Go(func() { c.run(ctx) })
		}
	}
	t.Cleanup(l.end)
	return l
}

// end stops the clients and waits for them.
func (l *pairLoad) end() {
	l.stop()
	l.done.Wait()
	for _, c := range l.clients {
		c.CloseIdleConnections()
	}
}

// progress waits until n more writes have been acknowledged.
func (l *pairLoad) progress(n int64) {
	l.t.Helper()
	want := l.acked.Load() + n
	eventually(l.t, 30*time.Second, fmt.Sprintf("%d more writes acknowledged", n), func() error {
		if got := l.acked.Load(); got < want {
			return fmt.Errorf("%d are missing", want-got)
		}
		return nil
	})
}

func (c *pairClient) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		if pair := c.groups[c.group].pair(); pair != c.pair {
			c.pair, c.seen = pair, [2]entry{}
		}
		a := pairAction{key: rand.IntN(2), value: fmt.Sprintf("%d.%d", c.id, n)}
		switch dice := rand.IntN(100); {
		case dice < 30:
			a.kind, a.value = pairGet, ""
		case dice < 45:
			a.kind, a.value = pairGetBoth, ""
		case dice < 55:
			a.kind = pairPut
		case dice < 65:
			a.kind = pairPutBoth
		case dice < 72:
			a.kind, a.value = pairDelete, ""
		case dice < 88:
			a.kind, a.expect = pairCAS, c.seen[a.key].value
		default:
			a.kind, a.expect = pairCASBoth, c.seen[a.key].value
		}
		if !c.do(a) {
			pauseAfterFailure(ctx)
		}
	}
}

func (c *pairClient) name() string { return fmt.Sprintf("pair-%d-%d", c.group, c.pair) }

func (c *pairClient) key(i int) string { return fmt.Sprintf("%s/%d", c.name(), i) }

// do does one operation and records it by its answer. It says whether that told
// anything.
func (c *pairClient) do(a pairAction) bool {
	method, path, body := c.request(a)
	op := porcupine.Operation{ClientId: c.id, Input: a, Call: c.history.now()}
	status, _, answer, failed := fetch(context.Background(), c.http, opTimeout, c.agent, method, path, body)
	op.Return = c.history.now()
	told, err := c.answer(a, status, answer, failed)
	reads := a.kind == pairGet || a.kind == pairGetBoth
	switch {
	case err == nil:
		if !reads {
			c.acked.Add(1)
		}
	case reads:
		return false // one that failed says nothing
	case outcomeOf(status, answer, failed) == notDone:
		c.history.refuse(a.value, fmt.Sprintf("%s by %s: %v", a, c.agent.name, err))
		return false
	default:
		op.Return = never
		c.groups[c.group].lost(c.pair)
	}
	op.Output = told
	c.history.add(c.name(), op)
	return err == nil
}

// request gives what an action asks of the API. Reads are default or consistent.
func (c *pairClient) request(a pairAction) (method, path, body string) {
	mode := []string{"", "consistent"}[rand.IntN(2)]
	one, other := c.key(a.key), c.key(1-a.key)
	op := func(verb, key string, index uint64) string {
		return fmt.Sprintf(`{"KV":{"Verb":%q,"Key":%q,"Value":%q,"Index":%d}}`, verb, key, base64.StdEncoding.EncodeToString([]byte(a.value)), index)
	}
	index := c.seen[a.key].index
	switch a.kind {
	case pairGet:
		return http.MethodGet, "/v1/kv/" + one + "?" + mode, ""
	case pairPut:
		return http.MethodPut, "/v1/kv/" + one, a.value
	case pairDelete:
		return http.MethodDelete, "/v1/kv/" + one, ""
	case pairCAS:
		return http.MethodPut, fmt.Sprintf("/v1/kv/%s?cas=%d", one, index), a.value
	case pairGetBoth:
		return http.MethodPut, "/v1/txn?" + mode, "[" + op("get-or-empty", c.key(0), 0) + "," + op("get-or-empty", c.key(1), 0) + "]"
	case pairPutBoth:
		return http.MethodPut, "/v1/txn", "[" + op("set", one, 0) + "," + op("set", other, 0) + "]"
	}
	return http.MethodPut, "/v1/txn", "[" + op("set", other, 0) + "," + op("cas", one, index) + "]"
}

// answer reads what an action's client was told; err says that it was told nothing
// of the action's outcome.
func (c *pairClient) answer(a pairAction, status int, body string, failed error) (told pairAnswer, err error) {
	refused := status == http.StatusConflict && a.kind == pairCASBoth && strings.Contains(body, `"OpIndex":1`)
	absent := status == http.StatusNotFound && a.kind == pairGet
	if failed == nil && status != http.StatusOK && !refused && !absent {
		failed = fmt.Errorf("%d %s", status, body)
	}
	if failed != nil {
		return told, failed
	}
	told.known = true
	switch a.kind {
	case pairGet:
		if absent {
			c.seen[a.key] = entry{}
			return told, nil
		}
		var found []kvEntry
		if err := json.Unmarshal([]byte(body), &found); err != nil || len(found) != 1 {
			c.t.Errorf("%s of %s: %.200q: %v", a, c.agent.name, body, err)
			return pairAnswer{}, fmt.Errorf("answer %.200q: %w", body, err)
		}
		c.seen[a.key] = found[0].entry()
		told.values[a.key] = c.seen[a.key].value
	case pairGetBoth:
		var found struct{ Results []struct{ KV kvEntry } }
		if err := json.Unmarshal([]byte(body), &found); err != nil || len(found.Results) != 2 {
			c.t.Errorf("%s of %s: %.200q: %v", a, c.agent.name, body, err)
			return pairAnswer{}, fmt.Errorf("answer %.200q: %w", body, err)
		}
		for i, r := range found.Results {
			c.seen[i] = r.KV.entry()
			told.values[i] = c.seen[i].value
		}
	case pairCAS:
		told.met = strings.TrimSpace(body) == "true"
	default:
		told.met = !refused
	}
	return told, nil
}

// kvEntry is an entry as the API gives it.
type kvEntry struct {
	Value       []byte
	ModifyIndex uint64
}

func (e kvEntry) entry() entry { return entry{string(e.Value), e.ModifyIndex} }
