package agent

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/catalog"
	"muster/consensus"
	"muster/consensus/core"
	"muster/gossip"
)

func TestUnfit_GoesByTheLimitsThatAreSet(t *testing.T) {
	const beat = 50 * time.Millisecond
	limits := catalog.Autopilot{LastContactThreshold: time.Second, MaxTrailingLogs: 10}
	late := consensus.ServerHealth{Trouble: "it is late", Late: true}
	with := func(s consensus.ServerHealth, contact time.Duration, lacks uint64) consensus.ServerHealth {
		s.Contact, s.Lacks = contact, lacks
		return s
	}
	for name, tc := range map[string]struct {
		server consensus.ServerHealth
		status gossip.Status
		limits catalog.Autopilot
		want   string // a part of the reason, "" for healthy
	}{
		"within both":               {with(late, time.Second, 10), gossip.StatusAlive, limits, ""},
		"silent for too long":       {with(late, time.Second+beat, 0), gossip.StatusAlive, limits, "not answered for 1.05s, longer than 1s"},
		"silent, though not for us": {with(consensus.ServerHealth{}, 2*time.Second, 0), gossip.StatusAlive, limits, "not answered for 2s"},
		"too far behind":            {with(late, 0, 11), gossip.StatusAlive, limits, "it lacks 11 entries, more than 10"},
		"other trouble":             {consensus.ServerHealth{Trouble: "its disk is full"}, gossip.StatusAlive, limits, "its disk is full"},
		"failed in gossip":          {consensus.ServerHealth{}, gossip.StatusFailed, limits, "gossip says: failed"},
		"a few heartbeats":          {with(late, leastBeats*beat, 0), gossip.StatusAlive, catalog.Autopilot{}, ""},
		"more than a few":           {with(late, leastBeats*beat+1, 0), gossip.StatusAlive, catalog.Autopilot{}, "longer than 200ms"},
	} {
		got := unfit(tc.server, tc.status, tc.limits, beat)
		if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func TestCleanup_RemovesWhereTheRestCanBearMore(t *testing.T) {
	on := catalog.DefaultAutopilot()
	for name, tc := range map[string]struct {
		servers string // v and l are voters and learners, V and L dead ones
		limits  catalog.Autopilot
		want    int // servers removed
	}{
		"nobody is dead":                        {"vvv", on, 0},
		"one of three: nothing gained":          {"vvV", on, 0},
		"one of four":                           {"vvvV", on, 1},
		"one of five: nothing gained":           {"vvvvV", on, 0},
		"two of five":                           {"vvvVV", on, 2},
		"three of five: nothing can be changed": {"vvVVV", on, 0},
		"three of seven":                        {"vvvvVVV", on, 3},
		"two of seven":                          {"vvvvvVV", on, 2},
		"a learner":                             {"vvvL", on, 1},
		"a learner and a voter of three":        {"vvVL", on, 1},
		"no more than stay to be":               {"vvvVV", catalog.Autopilot{CleanupDeadServers: true, MinQuorum: 4}, 0},
		"as many as stay to be":                 {"vvvVV", catalog.Autopilot{CleanupDeadServers: true, MinQuorum: 3}, 2},
		"those beyond what stays to be":         {"vvvvVVV", catalog.Autopilot{CleanupDeadServers: true, MinQuorum: 5}, 2},
		"switched off":                          {"vvvVL", catalog.Autopilot{}, 0},
	} {
		var h consensus.Health
		voters := 0
		for i, kind := range tc.servers {
			s := consensus.ServerHealth{Server: core.Server{ID: core.ServerID(fmt.Sprint(i)), Suffrage: core.Voter}}
			if kind == 'l' || kind == 'L' {
				s.Suffrage = core.Learner
			} else {
				voters++
			}
			if kind == 'V' || kind == 'L' {
				s.Trouble = "dead"
			} else if kind == 'v' {
				h.Sound++
			}
			h.Servers = append(h.Servers, s)
		}
		h.Quorum = voters/2 + 1
		due := cleanup(h, tc.limits, func(s consensus.ServerHealth) bool { return s.Trouble == "dead" })
		if len(due) != tc.want {
			t.Errorf("%s (%s): %v", name, tc.servers, due)
		}
		for _, c := range due {
			i := slices.IndexFunc(h.Servers, func(s consensus.ServerHealth) bool { return s.ID == c.ID })
			if c.Kind != core.RemoveServer || h.Servers[i].Trouble == "" {
				t.Errorf("%s (%s): %v", name, tc.servers, c)
			}
		}
	}
}

// The fourth server dies and is taken out, since three can bear as much as four;
// when it comes back it is added again, and gets a vote once it has been healthy
// for the time that was set.
func TestAutopilot_RemovesADeadServerAndTakesItBack(t *testing.T) {
	c := newTestCluster(t)
	soon := func(a *Agent) { a.deadAfter = 200 * time.Millisecond }
	var servers []*testAgent
	for range 4 {
		servers = append(servers, c.start(c.config(3), soon))
	}
	oneCluster(t, servers...)
	if leaderOf(t, servers...) == servers[3] {
		servers[3], servers[2] = servers[2], servers[3]
	}
	set := `{"CleanupDeadServers": true, "LastContactThreshold": "5s", "ServerStabilizationTime": "1s"}`
	if status, body := operateWith(t, servers[1], http.MethodPut, "/v1/operator/autopilot/configuration", set); status != http.StatusOK || body != "true" {
		t.Fatalf("set the configuration: %d %s", status, body)
	}
	servers[3].end()
	oneCluster(t, servers[:3]...)

	back := c.start(servers[3].cfg, soon)
	eventually(t, "back as a learner or more", func() error {
		if n := len(leaderOf(t, servers[:3]...).quorum.node.Status().Config.Servers); n != 4 {
			return fmt.Errorf("%d servers", n)
		}
		return nil
	})
	oneCluster(t, servers[0], servers[1], servers[2], back)
	since, healthy := leaderOf(t, servers[:3]...).steady.healthySince(core.ServerID(back.nodeID))
	if !healthy || time.Since(since) < time.Second {
		t.Errorf("it has a vote though it has been healthy (%v) for %v only", healthy, time.Since(since))
	}
}

// What a file says is for a cluster that nobody has set anything of: what an
// operator sets stays, whatever the files of a later leader say.
func TestAutopilot_BeginsAsFilesSay(t *testing.T) {
	c := newTestCluster(t)
	cfg := c.config(1)
	fromFile := catalog.DefaultAutopilot()
	fromFile.MinQuorum, fromFile.LastContactThreshold = 3, 2*time.Second
	cfg.Autopilot = &fromFile
	server := c.start(cfg)
	shows := func(server *testAgent, want string) {
		t.Helper()
		eventually(t, "the configuration has "+want, func() error {
			status, body := operateWith(t, server, http.MethodGet, "/v1/operator/autopilot/configuration", "")
			if status != http.StatusOK || !strings.Contains(body, want) {
				return fmt.Errorf("%d %s", status, body)
			}
			return nil
		})
	}
	shows(server, `"MinQuorum":3`)
	shows(server, `"LastContactThreshold":"2s"`)
	if status, body := operateWith(t, server, http.MethodPut, "/v1/operator/autopilot/configuration", `{"MinQuorum": 5}`); status != http.StatusOK || body != "true" {
		t.Fatalf("set the configuration: %d %s", status, body)
	}
	server.end()
	again := c.start(cfg)
	oneCluster(t, again)
	shows(again, `"MinQuorum":5`)
}
