package clients

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery"
	prom "github.com/prometheus/prometheus/discovery/consul"
	"github.com/prometheus/prometheus/discovery/targetgroup"

	consul "github.com/hashicorp/consul/api"
)

// Prometheus finds what is registered, with its labels, and what comes and goes.
func TestPrometheus(t *testing.T) {
	a := startAgents(t)
	register(t, a.client, "web1", "web", 80, "v1", "prod")
	for name, agent := range a.both() {
		t.Run(name, func(t *testing.T) {
			targets := discover(t, agent)
			labels := targets.wait(t, "192.0.2.1:80")["192.0.2.1:80"]
			for label, want := range map[string]string{
				"__meta_consul_node": "client", "__meta_consul_dc": "dc1", "__meta_consul_service": "web",
				"__meta_consul_service_id": "web1", "__meta_consul_service_port": "80", "__meta_consul_tags": ",v1,prod,",
				"__meta_consul_service_metadata_team": "a", "__meta_consul_service_address": "192.0.2.1", "__meta_consul_health": "passing",
			} {
				if got := string(labels[model.LabelName(label)]); got != want {
					t.Errorf("%s is %q, want %q", label, got, want)
				}
			}
			register(t, a.client, "web2", "web", 81)
			targets.wait(t, "192.0.2.1:80", "192.0.2.1:81")
			if err := a.client.Agent().ServiceDeregister("web2"); err != nil {
				t.Fatal(err)
			}
			targets.wait(t, "192.0.2.1:80")
		})
	}
}

// targets are what discovery last said, by source and then by address.
type targets struct {
	groups  chan []*targetgroup.Group
	sources map[string]*targetgroup.Group
}

// discover runs Prometheus' discovery until the test ends.
func discover(t *testing.T, agent *consul.Client) *targets {
	t.Helper()
	address, err := agentAddress(agent)
	if err != nil {
		t.Fatal(err)
	}
	cfg := prom.DefaultSDConfig
	cfg.Server = address
	cfg.RefreshInterval = model.Duration(50 * time.Millisecond)
	registry := prometheus.NewRegistry()
	metrics := cfg.NewDiscovererMetrics(registry, discovery.NewRefreshMetrics(registry))
	if err := metrics.Register(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(metrics.Unregister)
	d, err := prom.NewDiscovery(&cfg, slog.New(slog.DiscardHandler), metrics)
	if err != nil {
		t.Fatal(err)
	}
	all := &targets{groups: make(chan []*targetgroup.Group), sources: map[string]*targetgroup.Group{}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); d.Run(ctx, all.groups) }()
	t.Cleanup(func() { cancel(); <-done })
	return all
}

// wait takes what discovery says until the targets of service web are as wanted.
func (all *targets) wait(t *testing.T, want ...string) map[string]model.LabelSet {
	t.Helper()
	timeout := time.After(patience)
	for {
		found := map[string]model.LabelSet{}
		for _, g := range all.sources {
			for _, labels := range g.Targets {
				if g.Labels["__meta_consul_service"] == "web" {
					found[string(labels[model.AddressLabel])] = g.Labels.Merge(labels)
				}
			}
		}
		names := slices.Sorted(maps.Keys(found))
		if slices.Equal(names, want) {
			return found
		}
		select {
		case groups := <-all.groups:
			for _, g := range groups {
				all.sources[g.Source] = g
			}
		case <-timeout:
			t.Fatal(fmt.Errorf("targets are %s, want %s", strings.Join(names, " "), strings.Join(want, " ")))
		}
	}
}
