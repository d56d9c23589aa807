package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"
)

// TestKilledAgain kills the leader with SIGKILL, again and again, and counts
// what was acknowledged: all of it is on every server in the end. A follower's
// disk holds the same log as the leader's. It prints how long the cluster was
// without writes.
func TestKilledAgain(t *testing.T) {
	rounds := 50
	if raceEnabled || testing.Short() {
		rounds = 5
	}
	c := newCluster(t)
	servers := c.servers(3, "-log-level", "info")
	for _, s := range servers {
		s.start()
	}
	waitMembers(t, servers, 3)
	acked := 0
	write := func(via *agent) {
		t.Helper()
		eventually(t, 10*time.Second, "a catalog write", func() error {
			_, err := via.consul().Catalog().Register(&consul.CatalogRegistration{
				Node: fmt.Sprintf("external-%d", acked), Address: "192.0.2.1",
			}, nil)
			return err
		})
		acked++
	}
	var gaps []time.Duration
	for round := range rounds {
		for _, s := range servers {
			s.waitLeader()
		}
		leader := leaderOf(servers, servers[round%3])
		via := servers[(slices.Index(servers, leader)+1)%3]
		for i := range 5 {
			write(servers[(round+i)%3])
		}
		began := time.Now()
		leader.kill()
		write(via)
		gaps = append(gaps, time.Since(began))
		leader.start()
	}
	for _, s := range servers {
		eventually(t, 15*time.Second, "all acknowledged nodes on "+s.name, func() error {
			nodes, _, err := s.consul().Catalog().Nodes(&consul.QueryOptions{Filter: `Node matches "^external-"`})
			if err == nil && len(nodes) != acked {
				err = fmt.Errorf("%d of %d", len(nodes), acked)
			}
			return err
		})
	}
	slices.Sort(gaps)
	t.Logf("%d writes outlived %d kills; from SIGKILL to the next write: median %v, worst %v",
		acked, rounds, gaps[len(gaps)/2].Round(time.Millisecond), gaps[len(gaps)-1].Round(time.Millisecond))
}
