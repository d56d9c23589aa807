package ui

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"
)

// fakeAgent answers for an agent's API, blocking queries included, out of a
// small catalog.
type fakeAgent struct {
	url string

	mu      sync.Mutex
	nodes   []map[string]any
	entries []entry
	index   uint64
	changed chan struct{} // closed at the next change
	down    string        // what to say instead of answering
	waiting map[string]int
}

// entry is a service instance with its own checks.
type entry struct {
	node, service, id string
	tags              []string
	checks            []check
}

type check struct{ name, status, output string }

const leader = "10.0.0.1:8300"

// startAgent serves the page and a catalog with the servers' own service.
func startAgent(t testing.TB) *fakeAgent {
	a := &fakeAgent{index: 10, changed: make(chan struct{}), waiting: map[string]int{}}
	a.addNode("n1", "10.0.0.1")
	a.entries = []entry{{node: "n1", service: "consul", id: "consul"}}
	mux := http.NewServeMux()
	mux.Handle(Path, Handler())
	mux.HandleFunc("GET /v1/agent/self", a.once(func(*http.Request) any {
		return map[string]any{"Config": map[string]any{"Datacenter": "dc1", "NodeName": "n1", "Server": true}}
	}))
	mux.HandleFunc("GET /v1/status/leader", a.once(func(*http.Request) any { return leader }))
	mux.HandleFunc("GET /v1/internal/ui/nodes", a.blocking(a.dump))
	mux.HandleFunc("GET /v1/catalog/node/{name}", a.blocking(a.node))
	mux.HandleFunc("GET /v1/health/service/{name}", a.blocking(a.health))
	mux.HandleFunc("GET /v1/health/node/{name}", a.blocking(func(r *http.Request) any {
		return a.checks(func(c map[string]any) bool { return c["Node"] == r.PathValue("name") })
	}))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	a.url = server.URL + Path
	return a
}

// change edits the catalog and wakes who waits for it.
func (a *fakeAgent) change(edit func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	edit()
	a.index++
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *fakeAgent) addNode(name, address string) {
	a.nodes = append(a.nodes, map[string]any{"ID": "", "Node": name, "Address": address, "Meta": map[string]string{"consul-version": "1.21.4"}})
}

// queries counts the blocking queries that wait, by path.
func (a *fakeAgent) queries() map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	waiting := map[string]int{}
	for path, n := range a.waiting {
		if n > 0 {
			waiting[path] = n
		}
	}
	return waiting
}

func (a *fakeAgent) once(answer func(*http.Request) any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.write(w, answer(r))
	}
}

// blocking answers when there is something newer than what the reader has.
func (a *fakeAgent) blocking(answer func(*http.Request) any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		index, _ := strconv.ParseUint(r.URL.Query().Get("index"), 10, 64)
		if wait, err := time.ParseDuration(r.URL.Query().Get("wait")); err == nil && index == a.index && a.down == "" {
			changed := a.changed
			a.waiting[r.URL.Path]++
			a.mu.Unlock()
			select {
			case <-changed:
			case <-r.Context().Done():
			case <-time.After(wait):
			}
			a.mu.Lock()
			a.waiting[r.URL.Path]--
		}
		w.Header().Set("X-Consul-Index", strconv.FormatUint(a.index, 10))
		a.write(w, answer(r))
	}
}

func (a *fakeAgent) write(w http.ResponseWriter, answer any) {
	w.Header().Set("Content-Type", "application/json")
	if a.down != "" {
		http.Error(w, a.down, http.StatusInternalServerError)
		return
	}
	data, err := json.Marshal(answer)
	if err != nil {
		panic(fmt.Sprintf("the fake agent's answer is no JSON: %v", err))
	}
	_, _ = w.Write(data) // the page may have stopped to listen
}

func (a *fakeAgent) dump(*http.Request) any {
	found := []any{}
	for _, n := range a.nodes {
		services := []any{}
		for i, e := range a.entries {
			if e.node == n["Node"] {
				services = append(services, a.instance(i))
			}
		}
		node := maps.Clone(n)
		node["Services"] = services
		node["Checks"] = a.checks(func(c map[string]any) bool { return c["Node"] == n["Node"] })
		found = append(found, node)
	}
	return found
}

func (a *fakeAgent) health(r *http.Request) any {
	found := []any{}
	for i, e := range a.entries {
		if e.service == r.PathValue("name") {
			found = append(found, map[string]any{
				"Node":    map[string]any{"Node": e.node, "Address": a.address(e.node)},
				"Service": a.instance(i),
				"Checks": a.checks(func(c map[string]any) bool {
					return c["Node"] == e.node && (c["ServiceID"] == e.id || c["ServiceID"] == "")
				}),
			})
		}
	}
	return found
}

func (a *fakeAgent) node(r *http.Request) any {
	services := map[string]any{}
	for i, e := range a.entries {
		if e.node == r.PathValue("name") {
			services[e.id] = a.instance(i)
		}
	}
	for _, n := range a.nodes {
		if n["Node"] == r.PathValue("name") {
			return map[string]any{"Node": n, "Services": services}
		}
	}
	return nil
}

func (a *fakeAgent) instance(i int) map[string]any {
	e := a.entries[i]
	return map[string]any{"ID": e.id, "Service": e.service, "Tags": e.tags, "Port": port(i), "Address": "", "Meta": map[string]string{"team": "<b>shop</b>"}}
}

// port gives the first instance, a server, the port that the leader has.
func port(i int) int { return 8300 + i }

func (a *fakeAgent) address(node string) any {
	for _, n := range a.nodes {
		if n["Node"] == node {
			return n["Address"]
		}
	}
	return ""
}

func (a *fakeAgent) checks(want func(map[string]any) bool) any {
	found := []any{}
	add := func(node, id, service string, c check) {
		m := map[string]any{"Node": node, "CheckID": id + c.name, "Name": c.name, "Status": c.status, "Output": c.output, "ServiceID": id, "ServiceName": service}
		if want(m) {
			found = append(found, m)
		}
	}
	for _, n := range a.nodes {
		add(n["Node"].(string), "", "", check{"Serf Health Status", "passing", "Agent alive and reachable"})
	}
	for _, e := range a.entries {
		for _, c := range e.checks {
			add(e.node, e.id, e.service, c)
		}
	}
	return found
}
