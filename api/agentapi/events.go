package agentapi

import (
	"context"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"muster/api"
	"muster/catalog/acl"
)

// Events are messages that users send to all agents, or to some.
type Events interface {
	// Fire sends an event and gives it with its ID.
	Fire(Event) (Event, error)
	// Events lists the last events that came to this agent, oldest first.
	Events() []Event
	// MoreEvents gives a channel that is closed when the next event comes: take
	// it before looking.
	MoreEvents() <-chan struct{}
}

// Event is a user event. Its JSON form is the API's. The filters are regular
// expressions: an agent takes an event in if its node's name, and the name and a
// tag of one of its services, match those that are given.
type Event struct {
	ID            string
	Name          string
	Payload       []byte
	NodeFilter    string
	ServiceFilter string
	TagFilter     string
	Version       int
	LTime         uint64
}

func (h handlers) eventRoutes() []api.Route {
	return []api.Route{
		{
			Method: http.MethodPut, Path: "/v1/event/fire/{name}",
			Doc: "Sends an event with the request's body to all agents, or to those that match.",
			Params: []api.Param{
				{Name: "node", Doc: "a regular expression that the node's name must match"},
				{Name: "service", Doc: "a regular expression that the name of one of its services must match"},
				{Name: "tag", Doc: "a regular expression that a tag of that service must match"},
				{Name: "dc", Doc: "the datacenter; only this agent's own is known"},
			},
			ACL:    api.Rule{Resource: acl.Event, Access: acl.Write, Name: func(r *api.Request) string { return r.Var("name") }},
			Answer: Event{},
			Do:     h.fireEvent,
		},
		{
			Method: http.MethodGet, Path: "/v1/event/list",
			Doc: "Lists the last events that came to this agent; with an index, once there is another one.",
			Params: []api.Param{
				{Name: "name", Doc: "only events of this name"},
				{Name: "index", Doc: "wait until the X-Consul-Index is another one; it names the last event and does not grow"},
				{Name: "wait", Doc: "how long to wait, such as 10s; 5m where it is left out, at most 10m"},
			},
			Answer: []Event{},
			Do:     h.listEvents, Changed: h.agent.MoreEvents,
		},
	}
}

func (h handlers) fireEvent(r *api.Request) (any, error) {
	e := Event{
		Name: r.Var("name"), NodeFilter: r.Query.Get("node"), ServiceFilter: r.Query.Get("service"), TagFilter: r.Query.Get("tag"),
	}
	if dc := r.Query.Get("dc"); dc != "" && dc != h.config().Datacenter {
		return nil, api.ErrNoPath
	}
	if e.Name == "" {
		return nil, invalid("Missing name")
	}
	if e.TagFilter != "" && e.ServiceFilter == "" {
		return nil, invalid("Cannot provide tag filter without service filter")
	}
	for what, expr := range map[string]string{"node": e.NodeFilter, "service": e.ServiceFilter, "tag": e.TagFilter} {
		if _, err := regexp.Compile(expr); err != nil {
			return nil, invalid("Invalid %s filter: %v", what, err)
		}
	}
	if len(r.Body) > 0 {
		e.Payload = r.Body
	}
	return h.agent.Fire(e)
}

func (h handlers) listEvents(r *api.Request) (any, error) {
	wait, err := waitTime(r)
	if err != nil {
		return nil, err
	}
	var index uint64
	if text := r.Query.Get("index"); text != "" {
		if index, err = strconv.ParseUint(text, 10, 64); err != nil {
			return nil, invalid("Invalid index")
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	for {
		more := h.agent.MoreEvents()
		found := h.visibleEvents(r)
		last := uint64(1)
		if n := len(found); n > 0 {
			last = found[n-1].index()
		}
		if index == last && ctx.Err() == nil {
			select {
			case <-more:
				continue
			case <-ctx.Done():
			}
		}
		header := map[string]string{"X-Consul-Index": strconv.FormatUint(last, 10)}
		return &api.Answer{Header: header, Body: found}, r.Context().Err()
	}
}

func (h handlers) visibleEvents(r *api.Request) []Event {
	found := []Event{}
	for _, e := range h.agent.Events() {
		if name := r.Query.Get("name"); (name == "" || name == e.Name) && r.Authz.Allowed(acl.Event, e.Name, acl.Read) {
			found = append(found, e)
		}
	}
	return found
}

// index is what X-Consul-Index says where e is the last event: the two halves of
// its ID, one over the other, as Consul's clients compute it.
func (e *Event) index() uint64 {
	digits := strings.ReplaceAll(e.ID, "-", "")
	if len(digits) != 32 {
		return 1
	}
	low, err1 := strconv.ParseUint(digits[:16], 16, 64)
	high, err2 := strconv.ParseUint(digits[16:], 16, 64)
	if err1 != nil || err2 != nil {
		return 1
	}
	return low ^ high
}
