package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/agent/config"
	"muster/gossip"
)

// wanServer lays out the next server, in a datacenter and in the WAN pool.
func (c *testCluster) wanServer(datacenter string, join ...string) *config.Config {
	cfg := c.config(1)
	cfg.Datacenter = datacenter
	cfg.SerfWANBindAddr, cfg.SerfWANPort = cfg.BindAddr, 8302
	cfg.RetryJoin = nil
	cfg.RetryJoinWAN, cfg.RetryIntervalWAN = join, 100*time.Millisecond
	cfg.ReconnectTimeoutWAN = 72 * time.Hour
	cfg.GossipWAN = gossip.DevTiming()
	return cfg
}

func wanMembers(a *testAgent, status gossip.Status) string {
	var names []string
	for _, m := range a.wan.pool.Members() {
		if m.Status == status {
			names = append(names, m.Name)
		}
	}
	return strings.Join(names, " ")
}

// One server of a datacenter that joins one of another has all know all.
func TestWAN_ServersOfAllDatacentersMeet(t *testing.T) {
	c := newTestCluster(t)
	east1 := c.start(c.wanServer("east"))
	east2cfg := c.wanServer("east")
	east2cfg.BootstrapExpect, east2cfg.RetryJoin = 0, []string{east1.cfg.BindAddr}
	east2 := c.start(east2cfg)
	west := c.start(c.wanServer("west", east1.cfg.BindAddr))
	clientCfg := c.config(0)
	clientCfg.Datacenter, clientCfg.RetryJoin = "east", []string{east1.cfg.BindAddr}
	client := c.start(clientCfg)

	all := "agent-1.east agent-2.east agent-3.west"
	for _, a := range []*testAgent{east1, east2, west} {
		eventually(t, a.cfg.NodeName+" knows all servers", func() error {
			if got := wanMembers(a, gossip.StatusAlive); got != all {
				return fmt.Errorf("it knows %q", got)
			}
			return nil
		})
	}
	for _, a := range []*testAgent{east1, client} {
		eventually(t, a.cfg.NodeName+" lists the datacenters", func() error {
			got, err := datacentersOverHTTP(a)
			if err == nil && !slices.Equal(got, []string{"east", "west"}) {
				err = fmt.Errorf("it lists %v", got)
			}
			return err
		})
	}
	if got := (datacenters{west.Agent}).Names(); got[0] != "west" {
		t.Errorf("west has %v, want itself to be the nearest", got)
	}

	if err := west.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "west has left", func() error {
		if got := wanMembers(east2, gossip.StatusLeft); got != "agent-3.west" {
			return fmt.Errorf("left are %q", got)
		}
		return nil
	})
	eventually(t, "its datacenter is no more", func() error {
		if got := (datacenters{east1.Agent}).Names(); !slices.Equal(got, []string{"east"}) {
			return fmt.Errorf("datacenters are %v", got)
		}
		return nil
	})
}

func datacentersOverHTTP(a *testAgent) (names []string, err error) {
	resp, err := http.Get("http://" + a.cfg.HTTP[0].Address + "/v1/catalog/datacenters")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	err = json.NewDecoder(resp.Body).Decode(&names)
	return names, err
}
