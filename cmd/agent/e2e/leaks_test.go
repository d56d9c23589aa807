package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"
)

// Property 45: a server that a thousand clients came to and left, in the midst
// of a watch or without a word, is as it was before: goroutines and open files.
func TestLeaks_AfterAThousandConnectionsAndWatches(t *testing.T) {
	c := newCluster(t)
	s := c.servers(1, "-log-level", "info")[0].start()
	client := c.client("client", "-log-level", "info").start()
	s.waitLeader()
	waitMembers(t, []*agent{s, client}, 2)
	waitInstances(t, client, "consul", false, 1)
	agents := []*agent{s, client}
	_, header, _ := s.get("/v1/catalog/nodes")
	index := header.Get("X-Consul-Index")

	cycle := func(a *agent, n int) {
		own := &http.Client{Transport: &http.Transport{}}
		defer own.CloseIdleConnections()
		watching, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		path := "/v1/health/service/none?index=" + index + "&wait=1m"
		if n%2 == 0 {
			path = "/v1/catalog/nodes?stale&index=" + index + "&wait=1m"
		}
		_, _, _, err := fetch(watching, own, time.Minute, a, http.MethodGet, path, "")
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", s.addr+":8300")
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	for n := range 50 { // what is made once is made
		cycle(agents[n%2], n)
	}
	before := map[*agent][2]int{}
	for _, a := range agents {
		before[a] = footprint(t, a)
	}
	cycles := 1000
	if raceEnabled {
		cycles = 200
	}
	for n := range cycles {
		cycle(agents[n%2], n)
	}
	for _, a := range agents {
		eventually(t, 30*time.Second, a.name+" is as it was", func() error {
			now, was := footprint(t, a), before[a]
			const slack = 12 // connections of the moment, far below one a cycle
			if now[0] > was[0]+slack || now[1] > was[1]+slack {
				return fmt.Errorf("goroutines %d, were %d; open files %d, were %d", now[0], was[0], now[1], was[1])
			}
			return nil
		})
		t.Logf("%s: goroutines and open files %v before, %v after %d cycles", a.name, before[a], footprint(t, a), cycles)
	}
}

// footprint is an agent's goroutines and open files.
func footprint(t testing.TB, a *agent) [2]int {
	t.Helper()
	return [2]int{int(metric(t, a, "go_goroutines")), openFiles(t, a)}
}
