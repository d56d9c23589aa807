package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// wipeTwo takes two of five servers their logs, the leader's first, so that for a
// while both are gone at once and what was acknowledged is on the other three
// alone. They must come back with all of it, and as voters: with one of the three
// they are a quorum once the other two are killed (property 23).
func wipeTwo(s *scene) {
	leader := s.leaderAmong(s.servers)
	wiped := []*agent{leader, s.others(leader)[0]}
	for i, a := range wiped {
		a.kill()
		if err := os.RemoveAll(filepath.Join(a.dir, "raft")); err != nil {
			s.t.Fatal(err)
		}
		s.logf("%s is down and its log is gone", a.name)
		s.leaderAmong(s.others(wiped[:i+1]...))
		s.load.progress(100)
	}
	for _, a := range wiped {
		a.start()
	}
	s.leaderAmong(s.servers)
	for _, a := range wiped { // from then on the leader knows, and no older answer counts
		eventually(s.t, 15*time.Second, a.name+" is sent what it lost", func() error {
			if metric(s.t, a, "muster_raft_applied_index") == 0 {
				return errors.New("it has applied nothing")
			}
			return nil
		})
	}
	s.waitTolerance(2)
	s.logf("%s are voters again", names(wiped))
	kept := s.others(wiped...)[:2]
	for _, a := range kept {
		a.kill()
	}
	s.logf("killed %s", names(kept))
	s.leaderAmong(s.others(kept...))
	s.load.progress(100)
	for _, a := range kept {
		a.start()
	}
	s.leaderAmong(s.servers)
}

// waitTolerance waits until all servers are healthy, and n of them can be lost.
func (s *scene) waitTolerance(n int) {
	s.t.Helper()
	eventually(s.t, 30*time.Second, fmt.Sprintf("all servers healthy, so that %d can be lost", n), func() error {
		status, _, body, err := s.client.tryGet("/v1/operator/autopilot/health")
		if err != nil || status != http.StatusOK {
			return fmt.Errorf("%d %s %w", status, body, err)
		}
		var health struct{ FailureTolerance int }
		if err := json.Unmarshal([]byte(body), &health); err != nil {
			return err
		}
		if health.FailureTolerance != n {
			return errors.New(body)
		}
		return nil
	})
}
