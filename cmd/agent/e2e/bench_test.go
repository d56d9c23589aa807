package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// These benchmarks time whole processes from outside. Each prints its own
// figures; ns/op is that of the operation named.

// BenchmarkColdStart: exec of one server with an empty disk, to its first
// acknowledged write.
func BenchmarkColdStart(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		a := newCluster(b).servers(1)[0]
		b.StartTimer()
		a.start()
		for !a.tryCatalogRegister("first") {
		}
		b.StopTimer()
		a.kill()
		b.StartTimer()
	}
}

// BenchmarkRegister: PUT /v1/catalog/register of a node with a service and a
// check, all different, from a number of clients at once, to the leader.
func BenchmarkRegister(b *testing.B) {
	for _, servers := range []int{1, 3} {
		for _, clients := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("servers=%d/clients=%d", servers, clients), func(b *testing.B) {
				c := newCluster(b)
				all := c.servers(servers, "-log-level", "warn")
				for _, a := range all {
					a.start()
				}
				leader := leaderOf(all, all[0])
				client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
				before := cpuOf(b, all)
				var next atomic.Int64
				var lat latencies
				var wg sync.WaitGroup
				b.ResetTimer()
				for range clients {
					wg.Go(func() {
						for {
							n := next.Add(1)
							if n > int64(b.N) {
								return
							}
							start := time.Now()
							if err := catalogRegister(client, leader, fmt.Sprintf("bench-%d", n)); err != nil {
								b.Error(err)
								return
							}
							lat.add(time.Since(start))
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
				b.ReportMetric(float64((cpuOf(b, all)-before).Microseconds())/float64(b.N), "server-cpu-µs/op")
				lat.report(b)
			})
		}
	}
}

// BenchmarkFailover: SIGKILL of the leader of three servers to the next
// acknowledged write, asked of the survivors.
func BenchmarkFailover(b *testing.B) {
	c := newCluster(b)
	servers := c.servers(3, "-log-level", "warn")
	for _, s := range servers {
		s.start()
	}
	waitMembers(b, servers, 3)
	var lat latencies
	n := 0
	for b.Loop() {
		b.StopTimer()
		for _, s := range servers {
			s.waitLeader()
		}
		leader := leaderOf(servers, servers[0])
		via := servers[(slices.Index(servers, leader)+1)%3]
		eventually(b, 20*time.Second, "three voters that follow", func() error {
			if !via.tryCatalogRegister(fmt.Sprintf("before-%d", n)) {
				return fmt.Errorf("no write yet")
			}
			return nil
		})
		b.StartTimer()
		leader.kill()
		start := time.Now()
		for !via.tryCatalogRegister(fmt.Sprintf("after-%d", n)) {
		}
		lat.add(time.Since(start))
		b.StopTimer()
		leader.start()
		leader.waitLeader()
		waitMembers(b, servers, 3)
		n++
		b.StartTimer()
	}
	lat.report(b)
}

// BenchmarkIdleMemory: resident memory of one server with disk that has nothing
// to do.
func BenchmarkIdleMemory(b *testing.B) {
	a := newCluster(b).servers(1, "-log-level", "warn")[0].start()
	a.waitLeader()
	for b.Loop() {
		a.tryCatalogRegister("idle")
	}
	b.ReportMetric(float64(rss(b, a))/(1<<20), "MiB-rss")
}

var benchClient = &http.Client{Timeout: 10 * time.Second}

func (a *agent) tryCatalogRegister(node string) bool {
	return catalogRegister(benchClient, a, node) == nil
}

func catalogRegister(client *http.Client, a *agent, node string) error {
	body := fmt.Sprintf(`{"Node":%q,"Address":"192.0.2.1","Service":{"ID":"web-1","Service":"web","Port":80,"Tags":["v1"]},
		"Check":{"CheckID":"web-alive","Name":"web alive","Status":"passing","ServiceID":"web-1"}}`, node)
	req, err := http.NewRequest(http.MethodPut, "http://"+a.addr+":8500/v1/catalog/register", strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%d %s", resp.StatusCode, answer)
	}
	return err
}

// latencies gathers durations from several goroutines.
type latencies struct {
	mu  sync.Mutex
	all []time.Duration
}

func (l *latencies) add(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, d)
}

func (l *latencies) report(b *testing.B) {
	if len(l.all) == 0 {
		return
	}
	slices.Sort(l.all)
	at := func(q float64) float64 {
		return float64(l.all[int(q*float64(len(l.all)-1))].Microseconds()) / 1000
	}
	b.ReportMetric(at(0.5), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
	b.ReportMetric(at(1), "worst-ms")
}

// cpuOf is the processor time that agents have used so far.
func cpuOf(t testing.TB, agents []*agent) time.Duration {
	t.Helper()
	const hz = 100 // USER_HZ, the same on every Linux
	total := time.Duration(0)
	for _, a := range agents {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", a.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		for _, f := range fields[11:13] { // utime, stime
			n, err := strconv.ParseInt(string(f), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			total += time.Duration(n) * time.Second / hz
		}
	}
	return total
}

func rss(t testing.TB, a *agent) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", a.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(syscall.Getpagesize())
}
