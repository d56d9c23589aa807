package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"

	"muster/agent/local"
	"muster/catalog"
	"muster/gossip"
)

func client(t *testing.T, a *testAgent) *consul.Client {
	t.Helper()
	c, err := consul.NewClient(&consul.Config{Address: a.cfg.HTTP[0].Address})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// An event comes to the agents that it is meant for, whichever agent it was
// fired at, and wakes who waits for it there.
func TestEvents_ReachWhomTheyAreFor(t *testing.T) {
	c := newTestCluster(t)
	server, other := c.start(c.config(1)), c.start(c.config(0))
	eventually(t, "the agents know each other", func() error {
		if n := len(server.pool.Members()); n != 2 {
			return fmt.Errorf("%d members", n)
		}
		return nil
	})
	if err := other.state.AddService(catalog.Service{Service: "web", Tags: []string{"v1"}}, nil, local.Options{}); err != nil {
		t.Fatal(err)
	}

	waiting := client(t, server).Event()
	none, meta, err := waiting.List("last", nil)
	if err != nil || len(none) != 0 {
		t.Fatal(none, err)
	}
	woken := make(chan error, 1)
	go func() {
		got, _, err := waiting.List("last", &consul.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: time.Minute})
		if err == nil && (len(got) != 1 || string(got[0].Payload) != "over") {
			err = fmt.Errorf("woken with %d events", len(got))
		}
		woken <- err
	}()

	fire := func(e *consul.UserEvent) {
		t.Helper()
		if _, _, err := client(t, other).Event().Fire(e, nil); err != nil {
			t.Fatal(err)
		}
	}
	fire(&consul.UserEvent{Name: "node", NodeFilter: "^agent-2$"})
	fire(&consul.UserEvent{Name: "service", ServiceFilter: "^we"})
	fire(&consul.UserEvent{Name: "tag", ServiceFilter: "web", TagFilter: "^v1$"})
	fire(&consul.UserEvent{Name: "othertag", ServiceFilter: "web", TagFilter: "^v2$"})
	fire(&consul.UserEvent{Name: "last", Payload: []byte("over")})
	if err := <-woken; err != nil {
		t.Error(err)
	}
	for a, want := range map[*testAgent]string{server: "last", other: "node service tag last"} {
		eventually(t, a.cfg.NodeName+" has its events", func() error {
			list, _, err := client(t, a).Event().List("", nil)
			var names []string
			for _, e := range list {
				names = append(names, e.Name)
			}
			if got := strings.Join(names, " "); got != want {
				return errors.Join(err, fmt.Errorf("has %q, want %q", got, want))
			}
			return err
		})
	}

	_, _, err = client(t, other).Event().Fire(&consul.UserEvent{Name: "big", Payload: make([]byte, 600)}, nil)
	if err == nil || !strings.Contains(err.Error(), "exceeds configured limit of 512 bytes") {
		t.Errorf("600 bytes: %v", err)
	}
}

// Of many events the last ones are kept.
func TestEvents_AreBounded(t *testing.T) {
	es := newEvents("n", slog.New(slog.DiscardHandler))
	for i := range eventsKept + 10 {
		payload, err := catalog.Marshal(firedEvent{ID: fmt.Sprint(i), Version: eventVersion})
		if err != nil {
			t.Fatal(err)
		}
		es.hear(gossip.Event{Name: userEvent + "x", Payload: payload})
		es.hear(gossip.Event{Name: "x", Payload: payload})                    // not a user's
		es.hear(gossip.Event{Name: userEvent + "x", Payload: []byte("\xff")}) // damaged
	}
	list := es.list()
	if len(list) != eventsKept || list[0].ID != "10" || list[eventsKept-1].ID != fmt.Sprint(eventsKept+9) {
		t.Errorf("%d events from %s are kept", len(list), list[0].ID)
	}
}
