package agent

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/serf/coordinate"

	"muster/catalog"
)

// Every agent's coordinate comes into the catalog, and lists can be sorted by it.
func TestCoordinates_ComeIntoTheCatalogAndSort(t *testing.T) {
	c := newTestCluster(t)
	serverCfg, clientCfg := c.config(1), c.config(0)
	serverCfg.CoordinateInterval, clientCfg.CoordinateInterval = 20*time.Millisecond, 20*time.Millisecond
	server, client := c.start(serverCfg), c.start(clientCfg)
	for _, name := range []string{server.cfg.NodeName, client.cfg.NodeName} {
		eventually(t, name+" has a coordinate", func() error {
			for _, at := range server.quorum.store.View().Coordinates() {
				if at.Node == name {
					return nil
				}
			}
			return fmt.Errorf("it has none")
		})
	}

	at := func(name string, x float64) {
		t.Helper()
		where := &coordinate.Coordinate{Vec: []float64{x, 0, 0, 0, 0, 0, 0, 0}}
		register := &catalog.Register{Node: catalog.Node{Node: name, Address: "192.0.2.1"}}
		register.Normalize()
		place := &catalog.Coordinates{Updates: []catalog.NodeCoordinate{{Node: name, Coord: where}}}
		for _, cmd := range []catalog.Command{register, place} {
			if err := client.uplink.command(t.Context(), cmd); err != nil {
				t.Fatal(err)
			}
		}
	}
	at("x-far", 100)
	at("y-here", 0)
	at("z-near", 1)
	body := get(t, client, "/v1/catalog/nodes?near=y-here&filter=Address==`192.0.2.1`")
	for _, name := range []string{"y-here", "z-near", "x-far"} {
		_, rest, found := strings.Cut(body, name)
		if !found {
			t.Fatalf("%s does not come where its distance puts it:\n%s", name, body)
		}
		body = rest
	}
	// This agent's own place stands behind _agent, whoever answers.
	if got := get(t, client, "/v1/catalog/nodes?near=_agent"); strings.Index(got, client.cfg.NodeName) > strings.Index(got, "x-far") {
		t.Errorf("the agent is farther from itself than x-far:\n%s", got)
	}
}

func TestStill(t *testing.T) {
	place := func(x, err float64) *coordinate.Coordinate {
		return &coordinate.Coordinate{Vec: []float64{x, 0, 0}, Error: err, Height: 0.01}
	}
	for _, c := range []struct {
		was, is *coordinate.Coordinate
		want    bool
	}{
		{place(0, 1), place(0, 1), true},
		{place(0, 1), place(0.0004, 1), true},
		{place(0, 1), place(0.0006, 1), false},
		{place(0, 1), place(0, 0.95), true},
		{place(0, 1), place(0, 0.8), false},
		{place(0, 1), &coordinate.Coordinate{Vec: []float64{0}}, false},
	} {
		if got := still(c.was, c.is); got != c.want {
			t.Errorf("from %v to %v: still = %t", c.was, c.is, got)
		}
	}
}

func get(t *testing.T, a *testAgent, path string) string {
	t.Helper()
	resp, err := http.Get("http://" + a.cfg.HTTP[0].Address + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s %s %v", path, resp.Status, body, err)
	}
	return string(body)
}
