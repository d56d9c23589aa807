package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// keyedWriter counts an entry up by check-and-set, each step under a key of its own,
// and repeats what is not answered, at one agent after the other, until it is.
type keyedWriter struct {
	agents  []*agent
	steps   int
	repeats int
}

// put sends one step once; an answer is true or false.
func (w *keyedWriter) put(ctx context.Context, a *agent, step int, index uint64) (answer string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	url := fmt.Sprintf("http://%s:8500/v1/kv/count?cas=%d", a.addr, index)
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, strings.NewReader(strconv.Itoa(step)))
	if err != nil {
		return "", err
	}
	req.Header.Set("Idempotency-Key", fmt.Sprint("step ", step))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%d %s", resp.StatusCode, body)
	}
	return strings.TrimSpace(string(body)), err
}

// run does steps until ctx ends. Nobody else writes: each must be told to have had
// its effect, also where that was done by a try whose answer was lost.
func (w *keyedWriter) run(ctx context.Context) error {
	index := uint64(0)
	for ctx.Err() == nil {
		w.steps++
		for try := 0; ; try++ {
			answer, err := w.put(context.WithoutCancel(ctx), w.agents[(w.steps+try)%len(w.agents)], w.steps, index)
			if err != nil && try < 100 {
				w.repeats++
				continue
			}
			if err != nil || answer != "true" {
				return fmt.Errorf("step %d, try %d, is answered %q, %v", w.steps, try+1, answer, err)
			}
			break
		}
		var err error
		if index, err = w.indexOf(w.steps); err != nil {
			return err
		}
	}
	return nil
}

// indexOf reads the entry, which must say that a step was the last.
func (w *keyedWriter) indexOf(step int) (uint64, error) {
	var last error
	for try := range 100 {
		p, _, err := w.agents[try%len(w.agents)].consul().KV().Get("count", nil)
		if err != nil {
			last = err
			continue
		}
		if p == nil || string(p.Value) != strconv.Itoa(step) {
			return 0, fmt.Errorf("after step %d the entry is %+v", step, p)
		}
		return p.ModifyIndex, nil
	}
	return 0, last
}

// A retry under an Idempotency-Key is answered as the request whose answer was lost,
// by the next leader too: without the key its check-and-set would fail.
func TestIdempotencyKey_RetriesTakeEffectOnceWhileLeadersDie(t *testing.T) {
	c := newCluster(t)
	servers := c.servers(3)
	all := append(servers, c.client("client"))
	for _, a := range all {
		a.start()
	}
	for _, a := range all {
		a.waitLeader()
	}
	w := &keyedWriter{agents: all}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.run(ctx) }()
	for range 3 {
		leader := leaderOf(servers, all[3])
		leader.kill()
		eventually(t, 20*time.Second, "another leader", func() error {
			status, _, body, err := all[3].tryGet("/v1/kv/count?consistent")
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("%d %s", status, body)
			}
			return err
		})
		leader.start()
		leader.waitLeader()
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	t.Logf("%d steps, %d repeats", w.steps, w.repeats)
	if w.repeats == 0 {
		t.Error("no answer was lost: the test shows nothing")
	}
}
