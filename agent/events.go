package agent

import (
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"muster/agent/local"
	"muster/api/agentapi"
	"muster/catalog"
	"muster/gossip"
)

const (
	// userEvent begins the names of the events that users fire.
	userEvent = "user:"
	// eventsKept is how many of the last events an agent remembers.
	eventsKept = 256
	// eventVersion is the form in which events travel.
	eventVersion = 1
)

// firedEvent is an event as it travels; short names leave the more room for what
// its sender has to say.
type firedEvent struct {
	ID      string `codec:"i"`
	Payload []byte `codec:"p,omitempty"`
	Node    string `codec:"n,omitempty"`
	Service string `codec:"s,omitempty"`
	Tag     string `codec:"t,omitempty"`
	Version int    `codec:"v"`
}

// events are the users' events that were meant for this agent.
type events struct {
	node   string
	state  *local.State
	logger *slog.Logger

	mu      sync.Mutex
	last    []agentapi.Event // oldest first; replaced, never changed
	changed chan struct{}    // closed and replaced at each event
}

func newEvents(node string, logger *slog.Logger) *events {
	return &events{node: node, logger: logger, changed: make(chan struct{})}
}

// fire sends an event to all agents and gives it with its ID.
func fire(pool *gossip.Pool, e agentapi.Event) (agentapi.Event, error) {
	id, err := uuid.NewRandom()
	if err != nil {
		return e, err
	}
	e.ID, e.Version = id.String(), eventVersion
	payload, err := catalog.Marshal(firedEvent{e.ID, e.Payload, e.NodeFilter, e.ServiceFilter, e.TagFilter, e.Version})
	if err != nil {
		return e, err
	}
	if err := pool.Fire(userEvent+e.Name, payload); err != nil {
		return e, catalog.Wrap(catalog.Invalid, err)
	}
	return e, nil
}

// hear takes an event in if it is meant for this agent.
func (es *events) hear(g gossip.Event) {
	name, ok := strings.CutPrefix(g.Name, userEvent)
	if !ok {
		return
	}
	var f firedEvent
	if err := catalog.Unmarshal(g.Payload, &f); err != nil || f.Version != eventVersion {
		es.logger.Warn("an event can't be read", "event", name, "version", f.Version, "error", err)
		return
	}
	e := agentapi.Event{
		ID: f.ID, Name: name, Payload: f.Payload, NodeFilter: f.Node, ServiceFilter: f.Service, TagFilter: f.Tag,
		Version: f.Version, LTime: g.LTime,
	}
	if !es.concerns(&e) {
		return
	}
	es.logger.Debug("new event", "event", name, "id", e.ID)
	es.mu.Lock()
	defer es.mu.Unlock()
	es.last = append(slices.Clone(es.last[max(0, len(es.last)+1-eventsKept):]), e)
	close(es.changed)
	es.changed = make(chan struct{})
}

// concerns says whether this agent is among those that an event is for.
func (es *events) concerns(e *agentapi.Event) bool {
	if e.NodeFilter != "" && !es.matches(e.NodeFilter, e, es.node) {
		return false
	}
	if e.ServiceFilter == "" {
		return true
	}
	for _, s := range es.state.Services() {
		if es.matches(e.ServiceFilter, e, s.Service) && (e.TagFilter == "" || es.matches(e.TagFilter, e, s.Tags...)) {
			return true
		}
	}
	return false
}

// matches says whether a regular expression fits any of the names. It takes time
// in proportion to their length, whoever wrote it.
func (es *events) matches(expr string, e *agentapi.Event, names ...string) bool {
	re, err := regexp.Compile(expr)
	if err != nil {
		es.logger.Warn("an event has a bad filter", "event", e.Name, "filter", expr, "error", err)
		return false
	}
	return slices.ContainsFunc(names, re.MatchString)
}

func (es *events) list() []agentapi.Event {
	es.mu.Lock()
	defer es.mu.Unlock()
	return es.last
}

func (es *events) more() <-chan struct{} {
	es.mu.Lock()
	defer es.mu.Unlock()
	return es.changed
}

// Fire implements agentapi.Events.
func (l localAPI) Fire(e agentapi.Event) (agentapi.Event, error) { return fire(l.agent.pool, e) }

// Events implements agentapi.Events.
func (l localAPI) Events() []agentapi.Event { return l.agent.events.list() }

// MoreEvents implements agentapi.Events.
func (l localAPI) MoreEvents() <-chan struct{} { return l.agent.events.more() }
