package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/catalog"
	"muster/consensus"
	"muster/consensus/core"
)

// leaderOf waits for the server that leads.
func leaderOf(t *testing.T, servers ...*testAgent) (leader *testAgent) {
	t.Helper()
	eventually(t, "a leader", func() error {
		for _, s := range servers {
			if s.quorum.node.IsLeader() {
				leader = s
				return nil
			}
		}
		return errors.New("none")
	})
	return leader
}

// A leader that is told to end hands leadership over before it goes: those who
// write meanwhile wait for a few round trips and not for an election timeout.
func TestRun_ALeaderThatEndsHandsLeadershipOver(t *testing.T) {
	c := newTestCluster(t)
	servers := []*testAgent{c.start(c.config(3)), c.start(c.config(3)), c.start(c.config(3))}
	oneCluster(t, servers...)
	old := leaderOf(t, servers...)
	others := slices.DeleteFunc(slices.Clone(servers), func(s *testAgent) bool { return s == old })

	// Writers propose at whichever server is the leader, as requests do that are
	// passed on.
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var (
		mu      sync.Mutex
		acked   []string
		times   []time.Time
		unknown int
		writers sync.WaitGroup
	)
	for w := range 4 {
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				name := fmt.Sprintf("w%d-%d", w, i)
				err := proposeAnywhere(ctx, servers, &catalog.Register{Node: catalog.Node{Node: name, Address: "192.0.2.1"}})
				mu.Lock()
				switch {
				case err == nil:
					acked, times = append(acked, name), append(times, time.Now())
				case ctx.Err() != nil: // the test is over
				case errors.Is(err, consensus.ErrUnknown):
					unknown++
				default:
					t.Errorf("%s: %v", name, err)
				}
				mu.Unlock()
			}
		})
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(acked) }
	atLeast := func(n int) {
		t.Helper()
		eventually(t, "writes", func() error {
			if count() < n {
				return fmt.Errorf("%d of %d", count(), n)
			}
			return nil
		})
	}
	atLeast(200)
	begun := time.Now()
	old.end()
	took := time.Since(begun)
	atLeast(count() + 200)
	stop()
	writers.Wait()

	heir := leaderOf(t, others...)
	if follows := old.quorum.node.Leader(); follows != core.ServerID(heir.nodeID) {
		t.Errorf("the leader ended while it followed %q: leadership was not handed over", follows)
	}
	eventually(t, "the successor has applied all", func() error { return heir.quorum.ReadIndex(t.Context()) })
	view := heir.quorum.store.View()
	for _, name := range acked {
		if view.Node(name) == nil {
			t.Errorf("write %s was acknowledged and is lost", name)
		}
	}
	slices.SortFunc(times, func(a, b time.Time) int { return a.Compare(b) })
	gap := time.Duration(0)
	for i := 1; i < len(times); i++ {
		gap = max(gap, times[i].Sub(times[i-1]))
	}
	t.Logf("%d writes acknowledged, %d unknown; longest pause between two %v; the leader ended in %v", len(acked), unknown, gap, took)
	if unknown > 4 {
		t.Errorf("%d writes of unknown outcome, 4 were under way", unknown)
	}
	if gap > time.Second {
		t.Errorf("nothing was acknowledged for %v", gap)
	}
}

// proposeAnywhere proposes a command until a leader has taken it.
func proposeAnywhere(ctx context.Context, servers []*testAgent, cmd catalog.Command) error {
	for {
		for _, s := range servers {
			if !s.quorum.IsLeader() {
				continue
			}
			if _, err := s.quorum.Propose(ctx, cmd); err == nil || catalog.KindOf(err) != catalog.Unavailable {
				return err
			}
		}
		waitFor(ctx, time.Millisecond, nil, nil)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// operate makes a request of an operator and gives its status and body.
func operate(t *testing.T, a *testAgent, method, path string) (int, string) {
	t.Helper()
	return operateWith(t, a, method, path, "")
}

func operateWith(t *testing.T, a *testAgent, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+a.cfg.HTTP[0].Address+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// Each server is asked for, through a follower, before and after one is gone.
func TestOperator_SafeToStop(t *testing.T) {
	c := newTestCluster(t)
	servers := []*testAgent{c.start(c.config(3)), c.start(c.config(3)), c.start(c.config(3))}
	oneCluster(t, servers...)
	for _, s := range servers {
		eventually(t, "each may be stopped", func() error {
			status, body := operate(t, servers[1], "GET", "/v1/operator/raft/stop-safe?node="+s.cfg.NodeName)
			if status != http.StatusOK || !strings.Contains(body, `"Safe":true`) {
				return fmt.Errorf("%d: %s", status, body)
			}
			return nil
		})
	}
	eventually(t, "all healthy", func() error {
		status, body := operate(t, servers[2], "GET", "/v1/operator/autopilot/health")
		if status != http.StatusOK || !strings.Contains(body, `"FailureTolerance":1`) {
			return fmt.Errorf("%d: %s", status, body)
		}
		return nil
	})

	servers[0].end()
	eventually(t, "with one gone another must stay", func() error {
		status, body := operate(t, servers[1], "GET", "/v1/operator/raft/stop-safe?node="+servers[2].cfg.NodeName)
		if status != http.StatusOK || !strings.Contains(body, `"Safe":false`) || !strings.Contains(body, servers[0].cfg.NodeName+": ") {
			return fmt.Errorf("%d: %s", status, body)
		}
		return nil
	})
	if status, body := operate(t, servers[2], "GET", "/v1/operator/autopilot/health"); status != http.StatusTooManyRequests || !strings.Contains(body, `"Healthy":false,"FailureTolerance":0`) {
		t.Errorf("health with one gone: %d %s", status, body)
	}
	if status, body := operate(t, servers[1], "DELETE", "/v1/operator/raft/peer?id="+servers[2].nodeID); status != http.StatusConflict {
		t.Errorf("a change that could never be committed: %d %s", status, body)
	}
	if status, body := operate(t, servers[1], "DELETE", "/v1/operator/raft/peer?id="+servers[0].nodeID); status != http.StatusOK {
		t.Errorf("removing the one that is gone: %d %s", status, body)
	}
	if n := leaderOf(t, servers[1], servers[2]).quorum.node.Status().Config.Voters(); n != 2 {
		t.Errorf("%d voters", n)
	}
}

func TestOperator_TransferLeader(t *testing.T) {
	c := newTestCluster(t)
	servers := []*testAgent{c.start(c.config(3)), c.start(c.config(3)), c.start(c.config(3))}
	oneCluster(t, servers...)
	for _, to := range servers {
		status, body := operate(t, servers[0], "POST", "/v1/operator/raft/transfer-leader?id="+to.nodeID)
		if status != http.StatusOK || !strings.Contains(body, `"Success":true`) {
			t.Fatalf("%d %s", status, body)
		}
		eventually(t, "the chosen one leads", func() error {
			if !to.quorum.node.IsLeader() {
				return errors.New("not yet")
			}
			return nil
		})
	}
}

// A leader that is removed from the configuration commits that, has another one
// elected at once, and, alive as it is, comes back as a voter.
func TestOperator_RemovingTheLeaderMovesLeadership(t *testing.T) {
	c := newTestCluster(t)
	servers := []*testAgent{c.start(c.config(3)), c.start(c.config(3)), c.start(c.config(3))}
	oneCluster(t, servers...)
	old := leaderOf(t, servers...)
	eventually(t, "the others are sound, and the leader is removed", func() error {
		if status, body := operate(t, old, "DELETE", "/v1/operator/raft/peer?id="+old.nodeID); status != http.StatusOK {
			return fmt.Errorf("%d: %s", status, body)
		}
		return nil
	})
	others := slices.DeleteFunc(slices.Clone(servers), func(s *testAgent) bool { return s == old })
	heir := leaderOf(t, others...)
	if _, err := heir.quorum.Propose(t.Context(), &catalog.Register{Node: catalog.Node{Node: "after", Address: "192.0.2.1"}}); err != nil {
		t.Error(err)
	}
	oneCluster(t, servers...)
	if s := heir.quorum.node.Status(); !s.Config.IsVoter(core.ServerID(old.nodeID)) {
		t.Errorf("%v", s.Config.Servers)
	}
}
