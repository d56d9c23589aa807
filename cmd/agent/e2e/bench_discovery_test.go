package e2e

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// benchConfig lets one client open all connections that a benchmark needs, and
// profiles be taken.
const benchConfig = `limits { http_max_conns_per_client = 20000 }
enable_debug = true`

var profiles = flag.String("profiles", "", "directory for profiles of each benchmark's server: of 2 s, or of its heap")

// profile takes a profile of an agent, in the directory asked for, from now on.
func profile(b *testing.B, a *agent) {
	var taking sync.WaitGroup
	taking.Go(func() { keepProfile(b, a, "profile?seconds=2", ".cpu") })
	b.Cleanup(taking.Wait)
}

func keepProfile(b *testing.B, a *agent, what, suffix string) {
	if *profiles == "" {
		return
	}
	_, _, body, err := a.tryGet("/debug/pprof/" + what)
	name := filepath.Join(*profiles, strings.ReplaceAll(b.Name(), "/", "-")+suffix)
	if err := errors.Join(err, os.WriteFile(name, []byte(body), 0o600)); err != nil {
		b.Errorf("profile of %s: %v", a.name, err)
	}
}

// benchServer starts one server with disk that leads.
func benchServer(b *testing.B, c *cluster) *agent {
	b.Helper()
	a := c.servers(1, "-log-level", "warn", "-config-file", writeFile(b, "bench.hcl", benchConfig))[0].start()
	a.waitLeader()
	return a
}

// BenchmarkDiscovery measures one server with disk over loopback, 64 clients, and
// in the same run a bare server that writes the same bytes. cpu is the server's
// processor time per operation; slower and cpu-times are ours by the bare one's.
func BenchmarkDiscovery(b *testing.B) {
	c := newCluster(b)
	server, bare := benchServer(b, c), c.bare()
	for _, n := range []int{10, 100, 1000} {
		service := fmt.Sprintf("web-%d", n)
		fill(b, server, service, n)
		path := "/v1/health/service/" + service + "?passing"
		b.Run(fmt.Sprintf("health/instances=%d", n), func(b *testing.B) {
			bare.copies(server, path)
			request := getRequest(path)
			compare(b, server, bare, func(int, int) []byte { return request })
		})
	}
	written := func(name, path string, request func(client, n int) []byte) {
		b.Run(name, func(b *testing.B) {
			bare.copies(server, path)
			compare(b, server, bare, request)
		})
	}
	// The answers of writes are a few bytes, as that of status/leader is.
	const brief = "/v1/status/leader"
	written("catalog-register", brief, func(client, n int) []byte {
		return putRequest("/v1/catalog/register", fmt.Sprintf(`{"Node":"n-%d-%d","Address":"192.0.2.1","Service":{"ID":"web-1","Service":"web","Port":80,"Tags":["v1"]},`+
			`"Check":{"CheckID":"web-alive","Name":"web alive","Status":"passing","ServiceID":"web-1"}}`, client, n))
	})
	written("agent-register", brief, func(client, n int) []byte {
		return putRequest("/v1/agent/service/register", fmt.Sprintf(`{"ID":"local-%d-%d","Name":"local","Port":%d,"Check":{"TTL":"10m","Status":"passing"}}`,
			client, n%4, 1+n%60000))
	})
	for client := range clients {
		server.set("/v1/agent/service/register", fmt.Appendf(nil, `{"ID":"beats-%d","Name":"beats","Check":{"TTL":"10m"}}`, client))
	}
	written("ttl-pass/unchanged", brief, func(client, n int) []byte {
		return putRequest(fmt.Sprintf("/v1/agent/check/pass/service:beats-%d", client), "")
	})
	written("ttl-pass/flapping", brief, func(client, n int) []byte {
		return putRequest(fmt.Sprintf("/v1/agent/check/%s/service:beats-%d", [...]string{"pass", "warn"}[n%2], client), "")
	})
	written("kv-put", brief, func(client, n int) []byte {
		return putRequest(fmt.Sprintf("/v1/kv/bench/%d", client), fmt.Sprintf("value %d of this key", n))
	})
	kvGet := getRequest("/v1/kv/bench/1")
	server.set("/v1/kv/bench/1", []byte("a value"))
	written("kv-get", "/v1/kv/bench/1", func(int, int) []byte { return kvGet })

	fill(b, server, "web-1", 1)
	for _, q := range []struct {
		qtype     uint16
		instances int
	}{{dns.TypeA, 1}, {dns.TypeA, 100}, {dns.TypeSRV, 100}} {
		b.Run(fmt.Sprintf("dns/%s/instances=%d", dns.TypeToString[q.qtype], q.instances), func(b *testing.B) {
			compareDNS(b, server, bare, fmt.Sprintf("web-%d.service.consul.", q.instances), q.qtype, q.instances)
		})
	}
}

// fill registers instances of a service, each with a check on a node of its own.
func fill(b *testing.B, server *agent, service string, instances int) {
	b.Helper()
	c := dialHTTP(b, server)
	defer c.close()
	for i := range instances {
		if err := c.ask(webInstance(service, i, 80)); err != nil {
			b.Fatal(err)
		}
	}
}

// webInstance registers one instance.
func webInstance(service string, i, port int) []byte {
	return putRequest("/v1/catalog/register", fmt.Sprintf(`{"Node":"%s-%d","Address":"10.0.%d.%d","Service":{"ID":"web-1","Service":"%s","Port":%d,"Tags":["v1"],"Meta":{"version":"1.2.3"}},`+
		`"Check":{"CheckID":"web-alive","Name":"web alive","Status":"passing","ServiceID":"web-1"}}`, service, i, i>>8, i&255, service, port))
}

// compare has the same requests answered by an agent and by the bare server, in
// turns, so that what else the machine does hits both.
func compare(b *testing.B, server, bare *agent, request func(client, n int) []byte) {
	compareSides(b, newSide(b, []*agent{server}, func() asker { return dialHTTP(b, server) }),
		newSide(b, []*agent{bare}, func() asker { return dialHTTP(b, bare) }), request)
}

func compareDNS(b *testing.B, server, bare *agent, name string, qtype uint16, records int) {
	m := new(dns.Msg).SetQuestion(name, qtype)
	m.SetEdns0(16384, false)
	client := dns.Client{UDPSize: 16384}
	answer, _, err := client.Exchange(m, server.addr+":8600")
	if err != nil || len(answer.Answer) != records {
		b.Fatalf("%v with %d records, not %d", err, len(answer.Answer), records)
	}
	answer.Compress = true
	packed, err := answer.Pack()
	if err != nil {
		b.Fatal(err)
	}
	bare.set("/bare/dns", packed)
	question, err := m.Pack()
	if err != nil {
		b.Fatal(err)
	}
	compareSides(b, newSide(b, []*agent{server}, func() asker { return dialDNS(b, server) }),
		newSide(b, []*agent{bare}, func() asker { return dialDNS(b, bare) }), func(int, int) []byte { return question })
}

// turn is how long one side is under load at a time.
const turn = 250 * time.Millisecond

func compareSides(b *testing.B, ours, bare *side, request func(client, n int) []byte) {
	profile(b, ours.agents[0])
	for b.Loop() {
		bare.drive(b, turn, request)
		ours.drive(b, turn, request)
		if b.Failed() {
			return
		}
	}
	b.ReportMetric(0, "ns/op") // of a turn: says nothing
	b.ReportMetric(ours.rate(), "ops/s")
	b.ReportMetric(bare.rate(), "bare-ops/s")
	b.ReportMetric(bare.rate()/ours.rate(), "slower-×")
	b.ReportMetric(ours.cpuPerOp(), "cpu-µs")
	b.ReportMetric(bare.cpuPerOp(), "bare-cpu-µs")
	b.ReportMetric(ours.cpuPerOp()/bare.cpuPerOp(), "cpu-×")
	ours.lat.reportAs(b, "")
	bare.lat.reportAs(b, "bare-")
}

// reportAs gives p50 and p99.
func (l *latencies) reportAs(b *testing.B, prefix string) {
	slices.Sort(l.all)
	for _, q := range []struct {
		name string
		at   float64
	}{{"p50-ms", 0.5}, {"p99-ms", 0.99}} {
		b.ReportMetric(l.quantile(q.at).Seconds()*1000, prefix+q.name)
	}
}

// quantile needs all to be sorted.
func (l *latencies) quantile(q float64) time.Duration {
	if len(l.all) == 0 {
		return 0
	}
	return l.all[int(q*float64(len(l.all)-1))]
}

const watchedService = "watched"

// wakeRequest changes one of the instances that watchers watch.
func wakeRequest(n int) []byte { return webInstance(watchedService, 0, 1000+n) }

// BenchmarkWake measures how long after the answer to a write the watchers of
// a 10-instance service have theirs, medians of all rounds: 1,000 of them the first and the
// last, at one server, and at the leader, a follower and a client agent of three.
// A watcher that has its answer before the writer has counts below zero.
func BenchmarkWake(b *testing.B) {
	run := func(name string, watchers int, writeTo, watchAt *agent, all []*agent, bare *agent) {
		b.Run(fmt.Sprintf("%s/watchers=%d", name, watchers), func(b *testing.B) {
			ours := newWatchSide(b, watchers, writeTo, watchAt, all)
			var ceiling *watchSide
			if bare != nil {
				bare.copies(writeTo, "/v1/health/service/"+watchedService)
				ceiling = newWatchSide(b, watchers, bare, bare, []*agent{bare})
			}
			profile(b, watchAt)
			n := 0
			for b.Loop() {
				n++
				ours.round(b, n)
				if ceiling != nil {
					ceiling.round(b, n)
				}
			}
			b.ReportMetric(0, "ns/op")
			ours.report(b, "")
			if ceiling != nil {
				ceiling.report(b, "bare-")
			}
		})
	}
	c := newCluster(b)
	one, bare := benchServer(b, c), c.bare()
	fill(b, one, watchedService, 10)
	for _, n := range []int{1, 1000} {
		run("server", n, one, one, []*agent{one}, bare)
	}
	one.kill()

	c = newCluster(b)
	limits := writeFile(b, "bench.hcl", benchConfig)
	servers := c.servers(3, "-log-level", "warn", "-config-file", limits)
	client := c.client("client", "-log-level", "warn", "-config-file", limits)
	all := append(slices.Clone(servers), client)
	for _, a := range all {
		a.start()
	}
	leader := leaderOf(servers, client)
	fill(b, leader, watchedService, 10)
	follower := servers[(slices.Index(servers, leader)+1)%3]
	for _, n := range []int{1, 1000} {
		run("leader-of-3", n, leader, leader, servers, nil)
		run("follower-of-3", n, leader, follower, servers, nil)
		run("client-of-3", n, leader, client, all, nil)
	}
}

// watchSide is watchers of one agent, and one writer.
type watchSide struct {
	writer   *lineConn
	watchers []*lineConn
	agent    *agent
	all      []*agent // whose processor time counts

	first, last latencies
	cpu         time.Duration
	rounds      int
}

func newWatchSide(b *testing.B, n int, writeTo, watchAt *agent, all []*agent) *watchSide {
	s := &watchSide{writer: dialHTTP(b, writeTo), agent: watchAt, all: all}
	b.Cleanup(s.writer.close)
	s.watchers = dialWatchers(b, watchAt, n)
	return s
}

// dialWatchers opens connections and learns the index.
func dialWatchers(b *testing.B, at *agent, n int) []*lineConn {
	b.Helper()
	var all []*lineConn
	for range n {
		w := dialHTTP(b, at)
		b.Cleanup(w.close)
		if err := w.ask(getRequest("/v1/health/service/" + watchedService)); err != nil {
			b.Fatal(err)
		}
		all = append(all, w)
	}
	return all
}

// park sends everyone's blocking query and waits until the agent that they ask
// holds them and all is quiet.
func park(b *testing.B, watchers []*lineConn, at *agent, all []*agent) {
	b.Helper()
	for _, w := range watchers {
		if _, err := w.Write(getRequest(fmt.Sprintf("/v1/health/service/%s?wait=9m&index=%s", watchedService, w.index))); err != nil {
			b.Fatal(err)
		}
	}
	eventually(b, 20*time.Second, "all queries are held", func() error {
		if n := parked(b, at); n < len(watchers) {
			return fmt.Errorf("only %d", n)
		}
		return nil
	})
	settled(b, all)
}

// round has all watchers wait, writes, and notes when they have their answers.
func (s *watchSide) round(b *testing.B, n int) {
	b.Helper()
	park(b, s.watchers, s.agent, s.all)
	before := cpuOf(b, s.all)
	at := make([]time.Time, len(s.watchers))
	var wg sync.WaitGroup
	for i, w := range s.watchers {
		wg.Go(func() {
			if err := w.read(); err != nil {
				b.Errorf("watcher %d of %s: %v", i, s.agent.name, err)
			}
			at[i] = time.Now()
		})
	}
	if err := s.writer.ask(wakeRequest(n)); err != nil {
		b.Fatal(err)
	}
	written := time.Now()
	wg.Wait()
	s.cpu += settled(b, s.all) - before
	s.rounds++
	s.first.add(slices.MinFunc(at, time.Time.Compare).Sub(written))
	s.last.add(slices.MaxFunc(at, time.Time.Compare).Sub(written))
}

func (s *watchSide) report(b *testing.B, prefix string) {
	for name, l := range map[string]*latencies{"first-ms": &s.first, "last-ms": &s.last} {
		slices.Sort(l.all)
		b.ReportMetric(l.quantile(0.5).Seconds()*1000, prefix+name)
	}
	b.ReportMetric(s.last.quantile(1).Seconds()*1000, prefix+"worst-ms")
	b.ReportMetric(float64(s.cpu.Microseconds())/float64(s.rounds*len(s.watchers)), prefix+"cpu-µs")
}

// idleWatchers is how many blocking queries are held for nothing.
const idleWatchers = 10_000

// unrelatedTurns is how many turns of writes a server takes beside them.
const unrelatedTurns = 12

// BenchmarkIdleWatchers measures what a blocking query that waits takes, above
// one of a bare net/http handler that waits for a channel, as resident memory of the process;
// and what they all cost a write that is none of their business, by the processor
// time of one that another server takes meanwhile, whom nobody watches.
func BenchmarkIdleWatchers(b *testing.B) {
	c := newCluster(b)
	server, bare, alone := benchServer(b, c), c.bare(), benchServer(b, newCluster(b))
	fill(b, server, watchedService, 10)
	bare.copies(server, "/v1/health/service/"+watchedService)
	each := func(a *agent) (kib float64, watchers []*lineConn) {
		before := rss(b, a)
		watchers = dialWatchers(b, a, idleWatchers)
		park(b, watchers, a, []*agent{a})
		return float64(rss(b, a)-before) / idleWatchers / 1024, watchers
	}
	ceiling, watchers := each(bare)
	for _, w := range watchers { // file descriptors are short
		w.close()
	}
	profile(b, server)
	ours, _ := each(server)
	keepProfile(b, server, "heap?gc=1", ".heap")
	var sides []*side
	for _, a := range []*agent{server, alone} {
		sides = append(sides, newSide(b, []*agent{a}, func() asker { return dialHTTP(b, a) }))
	}
	for range 2 * unrelatedTurns {
		sides[0].drive(b, turn, func(client, n int) []byte { return webInstance(fmt.Sprintf("other-%d", client), 0, n) })
		sides[0], sides[1] = sides[1], sides[0]
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ours, "KiB-each")
	b.ReportMetric(ceiling, "bare-KiB-each")
	b.ReportMetric(ours-ceiling, "KiB-above")
	b.ReportMetric(sides[0].cpuPerOp()/sides[1].cpuPerOp(), "unrelated-write-cpu-×")
}

// BenchmarkFirstLeader: exec of one server with an empty disk, until it answers
// who leads.
func BenchmarkFirstLeader(b *testing.B) {
	var lat latencies
	for b.Loop() {
		a := newCluster(b).servers(1, "-log-level", "warn")[0]
		start := time.Now()
		a.start()
		for {
			resp, err := benchClient.Get("http://" + a.addr + ":8500/v1/status/leader")
			if err != nil {
				runtime.Gosched() // it does not listen yet
				continue
			}
			known := resp.ContentLength > int64(len(`""`)) && resp.StatusCode == http.StatusOK
			resp.Body.Close()
			if known {
				break
			}
		}
		lat.add(time.Since(start))
		a.kill()
	}
	b.ReportMetric(0, "ns/op")
	slices.Sort(lat.all)
	b.ReportMetric(lat.quantile(0.5).Seconds()*1000, "leader-ms")
	b.ReportMetric(lat.quantile(1).Seconds()*1000, "worst-ms")
}

// BenchmarkCatalogMemory: resident memory of a server with 100,000 instances of
// 100 services, each with a check, on 1,000 nodes.
func BenchmarkCatalogMemory(b *testing.B) {
	const services, nodes = 100, 1000
	server := benchServer(b, newCluster(b))
	empty := rss(b, server)
	profile(b, server)
	start := time.Now()
	var wg sync.WaitGroup
	for i := range clients {
		c := dialHTTP(b, server)
		b.Cleanup(c.close)
		wg.Go(func() {
			for n := i; n < services*nodes; n += clients {
				if err := c.ask(instanceOf(n/services, n%services)); err != nil {
					b.Errorf("instance %d: %v", n, err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(services*nodes/time.Since(start).Seconds(), "writes/s")
	settled(b, []*agent{server})
	full := rss(b, server)
	keepProfile(b, server, "heap?gc=1", ".heap")
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(full)/(1<<20), "MiB")
	b.ReportMetric(float64(full-empty)/(services*nodes), "B-each")
}

func instanceOf(node, service int) []byte {
	return putRequest("/v1/catalog/register", fmt.Sprintf(`{"Node":"node-%d","Address":"10.0.%d.%d","Service":{"ID":"service-%d-1","Service":"service-%d","Port":%d,"Tags":["v1"],"Meta":{"version":"1.2.3"}},`+
		`"Check":{"CheckID":"service:service-%d-1","Name":"service alive","Status":"passing","ServiceID":"service-%d-1"}}`, node, node>>8, node&255, service, service, 8000+service, service, service))
}
