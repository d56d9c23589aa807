package clients

import (
	"io"
	"reflect"
	"testing"

	"github.com/hashicorp/consul/api/watch"

	consul "github.com/hashicorp/consul/api"
)

// Each watch of Consul's client reports what is there and then what changes.
func TestWatches(t *testing.T) {
	a := startAgents(t)
	register(t, a.client, "web1", "web", 80, "v1")
	flip := func(status string) func(t *testing.T) {
		return func(t *testing.T) { setHealth(t, a.client, "web1", status) }
	}
	fire := func(t *testing.T) {
		if _, _, err := a.client.Event().Fire(&consul.UserEvent{Name: "deploy", Payload: []byte("now")}, nil); err != nil {
			t.Fatal(err)
		}
	}
	node := func(t *testing.T) {
		if _, err := a.server.Catalog().Register(&consul.CatalogRegistration{Node: "ext-" + t.Name(), Address: "192.0.2.9"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	service := func(t *testing.T) { register(t, a.client, "s-"+t.Name(), "s-"+t.Name(), 99) }
	for _, w := range []struct {
		name   string
		params map[string]any
		change func(t *testing.T)
	}{
		{"nodes", map[string]any{"type": "nodes"}, node},
		{"services", map[string]any{"type": "services"}, service},
		{"service", map[string]any{"type": "service", "service": "web", "tag": "v1"}, flip("critical")},
		{"service passing only", map[string]any{"type": "service", "service": "web", "passingonly": true}, flip("passing")},
		{"checks of a service", map[string]any{"type": "checks", "service": "web"}, flip("warning")},
		{"checks in a state", map[string]any{"type": "checks", "state": "critical"}, flip("critical")},
		{"agent_service", map[string]any{"type": "agent_service", "service_id": "web1"}, func(t *testing.T) { register(t, a.client, "web1", "web", 80, "v1", t.Name()) }},
		{"event", map[string]any{"type": "event", "name": "deploy"}, fire},
	} {
		t.Run(w.name, func(t *testing.T) {
			client := a.client
			changed := make(chan any, 100)
			plan, err := watch.Parse(w.params)
			if err != nil {
				t.Fatal(err)
			}
			plan.LogOutput = io.Discard
			plan.HybridHandler = func(_ watch.BlockingParamVal, got any) { changed <- got }
			ran := make(chan error, 1)
			go func() { ran <- plan.RunWithClientAndHclog(client, nil) }()
			defer func() {
				plan.Stop()
				if err := <-ran; err != nil {
					t.Error(err)
				}
			}()
			first := <-changed
			w.change(t)
			if next := <-changed; reflect.DeepEqual(first, next) {
				t.Errorf("the watch reported the same again: %v", next)
			}
		})
	}
}
