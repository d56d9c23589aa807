package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"
)

// The tests TestUsers_NN are about what users of today's systems complain about,
// by the row of the table in docs/testing.md.

// quiet makes agents that write nothing of their own once they have settled,
// compare themselves with the catalog all the time, and let one host have
// thousands of connections.
const quiet = `disable_coordinates = true ae_interval = "200ms" limits { http_max_conns_per_client = 8000 }`

// metric adds up the series of an agent's metrics that begin with a prefix.
func metric(t testing.TB, a *agent, prefix string) float64 {
	t.Helper()
	_, _, text := a.get("/metrics")
	sum, found := 0.0, false
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || !strings.HasPrefix(name, prefix) {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("metric %q of %s: %v", line, a.name, err)
		}
		sum, found = sum+n, true
	}
	if !found {
		t.Fatalf("%s has no metric %s", a.name, prefix)
	}
	return sum
}

// fullSyncs is how often an agent has compared itself with the catalog and found,
// or made, both the same.
func fullSyncs(a *agent) int {
	_, _, text, err := a.tryGet("/metrics")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(text, `muster_local_syncs_total{kind="full",result="ok"} `)
	line, _, _ := strings.Cut(rest, "\n")
	n, _ := strconv.Atoi(line) // none so far
	return n
}

// awaitFullSyncs waits for n more of them.
func awaitFullSyncs(t testing.TB, n int, agents ...*agent) {
	t.Helper()
	for _, a := range agents {
		want := fullSyncs(a) + n
		eventually(t, 30*time.Second, fmt.Sprintf("%d comparisons of %s with the catalog", n, a.name), func() error {
			if got := fullSyncs(a); got < want {
				return fmt.Errorf("%d are missing", want-got)
			}
			return nil
		})
	}
}

// appliedIndex is how far a server has applied the Raft log: other figures of Raft
// may be a moment old.
func appliedIndex(t testing.TB, a *agent) int {
	t.Helper()
	self, err := a.consul().Agent().Self()
	if err != nil {
		t.Fatal(err)
	}
	raft, _ := self["Stats"]["raft"].(map[string]any)
	text, _ := raft["applied_index"].(string)
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s tells no applied_index: %v", a.name, raft)
	}
	return n
}

// instance writes the instance of a service on the node "host" into the catalog.
func instance(t testing.TB, a *agent, service, status string, meta map[string]string) {
	t.Helper()
	_, err := a.consul().Catalog().Register(&consul.CatalogRegistration{
		Node: "host", Address: "192.0.2.1", SkipNodeUpdate: true,
		Service: &consul.AgentService{ID: service, Service: service, Port: 80, Meta: meta},
		Check:   &consul.AgentCheck{CheckID: service, Name: service, Status: status, ServiceID: service},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

// A thousand watchers sleep while something else changes, be it a service on the
// same node; a change wakes those who watch it and nobody else.
func TestUsers_01_ForeignChangesWakeNobody(t *testing.T) {
	const names, perName = 96, 10
	c := newCluster(t)
	server := c.servers(1, "-hcl", quiet, "-log-level", "info")[0].start()
	client := c.client("client", "-hcl", quiet, "-log-level", "info").start()
	server.waitLeader()
	waitMembers(t, []*agent{server, client}, 2)
	paths := []string{"/v1/catalog/nodes?", "/v1/catalog/services?", "/v1/health/node/client?", "/v1/health/state/critical?"}
	for i := range names {
		name := fmt.Sprintf("web-%d", i)
		if i < names-5 { // nobody has registered the last ones
			instance(t, server, name, consul.HealthPassing, nil)
		}
		paths = append(paths, "/v1/health/service/"+name+"?passing")
	}
	instance(t, server, "busy", consul.HealthPassing, nil)
	for _, a := range []*agent{server, client} {
		waitNode(t, server, a.name, "is as its agent has it", func(n *consul.Node) bool { return n != nil && len(n.TaggedAddresses) > 0 })
		waitMemberHealth(t, server, a.name)
	}
	waitInstances(t, client, "busy", true, 1)

	ctx, stop := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	defer watching.Wait()
	defer stop()
	woken := make([]atomic.Int64, len(paths))
	own := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: -1}}
	for i, path := range paths {
		for n := range perName {
			a := []*agent{server, client}[n%2]
			watching.Go(func() {
				_, h, _, err := fetch(ctx, own, time.Minute, a, http.MethodGet, path, "")
				if err != nil {
					t.Errorf("%s: %v", path, err)
					return
				}
				status, _, body, err := fetch(ctx, own, 5*time.Minute, a, http.MethodGet, path+"&wait=4m&index="+h.Get("X-Consul-Index"), "")
				if ctx.Err() == nil {
					woken[i].Add(1)
					if err != nil || status != http.StatusOK {
						t.Errorf("%s: %d %.100s %v", path, status, body, err)
					}
				}
			})
		}
	}
	// Half of them ask the client agent, which asks the server once for each path.
	atClient := float64(len(paths) * perName / 2)
	atServer := atClient + float64(len(paths))
	waiting := func(atClient, atServer float64) error {
		own, passed := metric(t, client, "muster_http_waiting"), metric(t, server, "muster_http_waiting")
		if own != atClient || passed != atServer {
			return fmt.Errorf("%v of %v at the client agent, %v of %v at the server", own, atClient, passed, atServer)
		}
		return nil
	}
	eventually(t, 30*time.Second, "all watchers wait", func() error { return waiting(atClient, atServer) })

	const changes = 300
	made := metric(t, server, "muster_http_answers_made_total")
	for i := range changes {
		instance(t, server, "busy", consul.HealthPassing, map[string]string{"v": strconv.Itoa(i)})
	}
	if n := metric(t, server, "muster_http_answers_made_total") - made; n > 0 {
		t.Errorf("%d foreign changes cost %v evaluations", changes, n)
	}
	for i := range woken {
		if n := woken[i].Load(); n != 0 {
			t.Errorf("%d watchers of %s were woken by a foreign change", n, paths[i])
		}
	}
	// Of what wasn't there, too: its first instance wakes those who wait for it.
	for _, i := range []int{7, names - 1} {
		path := "/v1/health/service/web-" + strconv.Itoa(i) + "?passing"
		at := len(paths) - names + i
		instance(t, client, "web-"+strconv.Itoa(i), consul.HealthPassing, map[string]string{"new": "yes"})
		eventually(t, 10*time.Second, "all watchers of "+path+" are woken", func() error {
			if n := woken[at].Load(); n != perName {
				return fmt.Errorf("%d of %d", n, perName)
			}
			return nil
		})
	}
	// A new name is news for /v1/catalog/services; the other watchers still wait.
	eventually(t, 10*time.Second, "nobody else was woken", func() error {
		return waiting(atClient-3*perName/2, atServer-3*perName/2-3)
	})
	t.Logf("%v watchers slept through %d foreign changes", len(paths)*perName, changes)
}

// Streams through every agent, with a filter, while one server after the other
// is killed and comes back: none is shown what the filter hides or anything older
// than before, and the last state arrives at each.
func TestUsers_02_TheLastStateArrives(t *testing.T) {
	c := newCluster(t)
	s := &scene{cluster: c, servers: c.servers(3, "-log-level", "info"), client: c.client("client", "-log-level", "info")}
	smallSnapshots(s)
	for _, a := range s.agents {
		a.start()
	}
	waitMembers(t, s.agents, len(s.agents))
	s.leaderAmong(s.servers)
	s.waitVoters(3)
	via := s.client
	if _, err := via.consul().Catalog().Register(&consul.CatalogRegistration{Node: "host", Address: "192.0.2.1"}, nil); err != nil {
		t.Fatal(err)
	}

	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	seen := make([]atomic.Int64, len(s.agents))
	var events atomic.Int64
	for i, a := range s.agents {
		running.Go(func() {
			last := ""
			for ctx.Err() == nil {
				_ = follow(ctx, a, "/v1/health/service/web?passing&filter=Service.Meta.keep==yes", &last, func(data string) {
					events.Add(1)
					shown(t, a, data, &seen[i])
				})
				pauseAfterFailure(ctx) // the stream ended with its server
			}
		})
	}
	// Each round writes one state that all are shown, and some that none is.
	value := int64(0)
	round := func() {
		value++
		for _, keep := range []string{"no", "yes"} {
			for _, status := range []string{consul.HealthCritical, consul.HealthPassing} {
				eventually(t, 20*time.Second, "a write", func() error {
					_, err := via.consul().Catalog().Register(&consul.CatalogRegistration{
						Node: "host", Address: "192.0.2.1", SkipNodeUpdate: true,
						Service: &consul.AgentService{ID: "web", Service: "web", Meta: map[string]string{"keep": keep, "v": strconv.FormatInt(value, 10)}},
						Check:   &consul.AgentCheck{CheckID: "web", Name: "web", Status: status, ServiceID: "web"},
					}, nil)
					return err
				})
			}
		}
	}
	arrived := func() {
		t.Helper()
		for i, a := range s.agents {
			eventually(t, 20*time.Second, fmt.Sprintf("%s shows %d", a.name, value), func() error {
				if got := seen[i].Load(); got != value {
					return fmt.Errorf("shows %d", got)
				}
				return nil
			})
		}
	}
	round()
	arrived()
	for _, down := range s.servers {
		down.kill()
		s.leaderAmong(s.others(down))
		for range 100 { // past the log that is kept for it
			round()
		}
		down.start()
		arrived()
	}
	t.Logf("%d states, %d events on %d streams", value, events.Load(), len(s.agents))
}

// shown judges one event of TestUsers_02.
func shown(t testing.TB, a *agent, data string, seen *atomic.Int64) {
	var entries []*consul.ServiceEntry
	if err := json.Unmarshal([]byte(data), &entries); err != nil {
		t.Errorf("%s: event %.200q: %v", a.name, data, err)
		return
	}
	for _, e := range entries {
		v, _ := strconv.ParseInt(e.Service.Meta["v"], 10, 64)
		if e.Service.Meta["keep"] != "yes" || e.Checks.AggregatedStatus() != consul.HealthPassing {
			t.Errorf("%s shows what was filtered out: %s %v", a.name, e.Checks.AggregatedStatus(), e.Service.Meta)
		}
		if before := seen.Swap(max(v, seen.Load())); v < before {
			t.Errorf("%s shows %d after %d", a.name, v, before)
		}
	}
}

// follow reads one stream until it ends, from the event last on.
func follow(ctx context.Context, a *agent, path string, last *string, event func(data string)) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.addr+":8500"+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/event-stream")
	if *last != "" {
		req.Header.Set("Last-Event-ID", *last)
	}
	own := &http.Transport{DisableKeepAlives: true}
	resp, err := own.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "text/event-stream") {
		return fmt.Errorf("%s answers %d with %s", path, resp.StatusCode, kind)
	}
	return readEvents(resp.Body, func(id, data string) {
		if id != "" {
			*last = id
		}
		event(data)
	})
}

// Every read can be had as a stream, whose first event is the answer.
func TestUsers_03_EveryReadCanBeStreamed(t *testing.T) {
	c := newCluster(t)
	server := c.servers(1, "-hcl", quiet)[0].start()
	client := c.client("client", "-hcl", quiet).start()
	server.waitLeader()
	waitMembers(t, []*agent{server, client}, 2)
	register(t, client, "web", 0)
	waitInstances(t, server, "web", false, 1)
	waitInstances(t, client, "consul", true, 1)
	for _, path := range []string{
		"/v1/catalog/datacenters", "/v1/catalog/nodes", "/v1/catalog/services", "/v1/catalog/service/web", "/v1/catalog/connect/web",
		"/v1/catalog/node/client", "/v1/catalog/node-services/client", "/v1/health/node/client", "/v1/health/checks/web",
		"/v1/health/service/web", "/v1/health/connect/web", "/v1/health/state/any", "/v1/coordinate/nodes", "/v1/sd/prometheus",
		"/v1/status/leader", "/v1/status/peers", "/v1/operator/raft/configuration", "/v1/agent/services", "/v1/agent/checks",
	} {
		for _, a := range []*agent{server, client} {
			_, _, want := a.get(path)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			last, got := "", ""
			err := follow(ctx, a, path, &last, func(data string) { got = data; cancel() })
			cancel()
			if got == "" {
				t.Errorf("%s of %s: %v", path, a.name, err)
			} else if strings.TrimSpace(want) != got {
				t.Errorf("%s of %s: the stream begins with %.300s\nand the answer is %.300s", path, a.name, got, want)
			}
		}
	}
}

// What is asked of a follower it answers itself: the leader gives it read
// indexes and sees no request, and a thousand questions cost one evaluation.
func TestUsers_04_DefaultReadsSpareTheLeader(t *testing.T) {
	c := newCluster(t)
	servers := c.servers(3, "-hcl", quiet)
	for _, s := range servers {
		s.start()
	}
	waitMembers(t, servers, 3)
	leader := leaderOf(servers, servers[0])
	var follower *agent
	for _, s := range servers {
		if s != leader {
			follower = s
		}
	}
	if _, err := leader.consul().Catalog().Register(&consul.CatalogRegistration{Node: "host", Address: "192.0.2.1"}, nil); err != nil {
		t.Fatal(err)
	}
	instance(t, leader, "web", consul.HealthPassing, nil)
	waitInstances(t, follower, "web", true, 1)
	asked := []string{"/v1/health/service/web?passing", "/v1/sd/prometheus?service=web"}
	for _, path := range asked {
		follower.get(path)
	}
	route := func(a *agent, route string) float64 {
		_, _, text := a.get("/metrics")
		if !strings.Contains(text, `muster_http_requests_total{code="200",method="GET",route="`+route) {
			return 0
		}
		return metric(t, a, `muster_http_requests_total{code="200",method="GET",route="`+route)
	}
	before := route(leader, "/v1/health/service/{service}") + route(leader, "/v1/sd/prometheus")
	made := metric(t, follower, "muster_http_answers_made_total")
	for range 500 {
		for _, path := range asked {
			if status, _, _ := follower.get(path); status != http.StatusOK {
				t.Fatalf("%s: %d", path, status)
			}
		}
	}
	if after := route(leader, "/v1/health/service/{service}") + route(leader, "/v1/sd/prometheus"); after != before {
		t.Errorf("the leader answered %v requests that a follower was asked", after-before)
	}
	if n := metric(t, follower, "muster_http_answers_made_total") - made; n != 0 {
		t.Errorf("a thousand reads of what doesn't change cost %v evaluations", n)
	}
}

// A server that is asked for more than it can do refuses the rest at once, with
// the time to come back, and goes on telling that it lives.
func TestUsers_05_OverloadIsRefusedAndLivenessStays(t *testing.T) {
	c := newCluster(t)
	servers := c.servers(3, "-hcl", quiet, "-log-level", "info")
	for _, s := range servers {
		s.start()
	}
	waitMembers(t, servers, 3)
	left := servers[0]
	for _, s := range servers {
		s.waitLeader()
	}
	register(t, left, "web", 0)
	for _, s := range servers[1:] {
		s.kill() // without a majority writes wait, and pile up
	}
	ctx, stop := context.WithCancel(context.Background())
	var writing sync.WaitGroup
	defer writing.Wait()
	defer stop()
	refused := make(chan http.Header, 1)
	own := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: -1}}
	for range 2500 {
		writing.Go(func() {
			status, header, _, err := fetch(ctx, own, time.Minute, left, http.MethodPut, "/v1/catalog/register", `{"Node":"x","Address":"192.0.2.1"}`)
			if err == nil && status == http.StatusServiceUnavailable {
				select {
				case refused <- header:
				default:
				}
			}
		})
	}
	select {
	case h := <-refused:
		if seconds, err := strconv.Atoi(h.Get("Retry-After")); err != nil || seconds < 1 {
			t.Errorf("Retry-After is %q", h.Get("Retry-After"))
		}
	case <-time.After(30 * time.Second):
		t.Fatal("2,500 writes at once, and none was refused")
	}
	if err := left.consul().Agent().PassTTL("service:web-0", ""); err != nil {
		t.Errorf("a TTL report: %v", err)
	}
	for _, path := range []string{"/v1/status/leader", "/v1/status/peers", "/v1/agent/self", "/v1/agent/health/service/name/web", "/v1/agent/services", "/metrics"} {
		began := time.Now()
		if status, _, body := left.get(path); status != http.StatusOK {
			t.Errorf("%s: %d %.200s", path, status, body)
		}
		t.Logf("%s under overload: %v", path, time.Since(began).Round(time.Millisecond))
	}
	if n := metric(t, left, `muster_http_refused_total{sort="active"}`); n == 0 {
		t.Error("the metrics don't tell of refusals")
	}
}

// readEvents reads server-sent events until the stream ends.
func readEvents(r io.Reader, event func(id, data string)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	id, data := "", ""
	for lines.Scan() {
		line := lines.Text()
		switch {
		case line == "" && data != "":
			event(id, data)
			id, data = "", ""
		case strings.HasPrefix(line, "id: "):
			id = line[len("id: "):]
		case strings.HasPrefix(line, "data: "):
			data += line[len("data: "):]
		}
	}
	return lines.Err()
}
