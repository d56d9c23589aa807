package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"
)

// BenchmarkKV measures puts and gets of 256-byte values at one and at three servers
// with disk over loopback, from 1 to 256 clients, each with a key of its own, and in the
// same run a bare server. cpu is the processor time of all servers per operation.
func BenchmarkKV(b *testing.B) {
	for _, n := range []int{1, 3} {
		b.Run(fmt.Sprintf("servers=%d", n), func(b *testing.B) {
			c := newCluster(b)
			servers := c.servers(n, "-log-level", "warn", "-config-file", writeFile(b, "bench.hcl", benchConfig))
			for _, s := range servers {
				s.start()
			}
			leader := leaderOf(servers, servers[0])
			asked := map[string]*agent{"": leader}
			if n > 1 {
				asked["-at-follower"] = servers[(slices.Index(servers, leader)+1)%n]
			}
			benchKV(b, c.bare(), servers, asked)
		})
	}
}

func benchKV(b *testing.B, bare *agent, servers []*agent, asked map[string]*agent) {
	value := strings.Repeat("v", 256)
	path := func(client int) string { return fmt.Sprintf("/v1/kv/bench/%d", client) }
	for client := range 256 {
		asked[""].set(path(client), []byte(value))
	}
	put := func(client, n int) []byte { return putRequest(path(client), fmt.Sprintf("%08d", n)+value[8:]) }
	get := func(mode string) func(int, int) []byte {
		return func(client, _ int) []byte { return getRequest(path(client) + mode) }
	}
	for _, op := range []struct {
		name    string
		request func(client, n int) []byte
		answer  string // what the bare server gives
	}{{"put", put, "/v1/status/leader"}, {"get", get(""), path(0)}, {"get-consistent", get("?consistent"), path(0)}, {"get-stale", get("?stale"), path(0)}} {
		for at, a := range asked {
			for _, clients := range []int{1, 16, 64, 256} {
				b.Run(fmt.Sprintf("%s%s/clients=%d", op.name, at, clients), func(b *testing.B) {
					bare.copies(a, op.answer)
					compareSides(b, newSideOf(b, clients, servers, func() asker { return dialHTTP(b, a) }),
						newSideOf(b, clients, []*agent{bare}, func() asker { return dialHTTP(b, bare) }), op.request)
				})
			}
		}
	}
}

// contenders is how many clients want one lock.
const contenders = 10

// BenchmarkLock measures how long it takes until the next of ten contenders, at three servers and
// a client agent, holds a lock: after its holder's session was destroyed, and after
// the machine that the holder and its session were on has died. There is no
// lock-delay.
func BenchmarkLock(b *testing.B) {
	c := newCluster(b)
	servers := c.servers(3, "-log-level", "warn")
	client := c.client("client", "-log-level", "warn")
	all := append(slices.Clone(servers), client)
	for _, a := range all {
		a.start()
	}
	waitMembers(b, all, len(all))
	for _, a := range all {
		a.waitLeader()
	}
	machines := 0
	for _, how := range []string{"session-destroyed", "machine-killed"} {
		b.Run(how, func(b *testing.B) {
			var lat latencies
			var holder *agent
			for b.Loop() {
				if holder == nil {
					machines++
					holder = c.client(fmt.Sprintf("holder-%d", machines), "-log-level", "warn").start()
					holder.waitLeader()
				}
				kill := how == "machine-killed"
				lat.add(handOn(b, all, holder, kill))
				if kill {
					holder = nil
				}
			}
			b.ReportMetric(0, "ns/op")
			lat.report(b)
		})
	}
}

// handOn has the holder lose its lock, and gives the time until another has it.
func handOn(b *testing.B, all []*agent, holder *agent, kill bool) time.Duration {
	b.Helper()
	key := fmt.Sprintf("locks/%s-%d", holder.name, time.Now().UnixNano())
	lock := func(a *agent) (_ *consul.Lock, session string) {
		// Not before the leader has heard of the machine: what tells of it may be lost
		// among those that are dead, and is then heard with the next exchange of all.
		eventually(b, time.Minute, "a session on "+a.name, func() (err error) {
			session, _, err = a.consul().Session().Create(&consul.SessionEntry{LockDelay: time.Nanosecond}, nil)
			return err
		})
		l, err := a.consul().LockOpts(&consul.LockOptions{Key: key, Session: session})
		if err != nil {
			b.Fatal(err)
		}
		return l, session
	}
	first, session := lock(holder)
	if _, err := first.Lock(nil); err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	held := make(chan time.Time, contenders)
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer stop()
	for i := range contenders {
		l, _ := lock(all[i%len(all)])
		waiting.Go(func() {
			lost, err := l.Lock(ctx.Done())
			if err == nil && lost != nil {
				held <- time.Now()
			}
		})
	}
	eventually(b, 10*time.Second, "all contenders wait", func() error {
		n := 0
		for _, a := range all {
			n += parked(b, a)
		}
		if n < contenders {
			return fmt.Errorf("only %d", n)
		}
		return nil
	})
	lost := time.Now()
	if kill {
		holder.kill()
	} else if _, err := all[0].consul().Session().Destroy(session, nil); err != nil {
		b.Fatal(err)
	}
	return (<-held).Sub(lost)
}

// BenchmarkBackup measures `snapshot save` and `restore` of one server: 100,000
// instances with a check each, and MUSTER_BACKUP_MIB (64) MiB of entries of 256 KiB. The
// peak is the most memory that the server had resident meanwhile.
func BenchmarkBackup(b *testing.B) {
	mib := 64
	if v := os.Getenv("MUSTER_BACKUP_MIB"); v != "" {
		var err error
		if mib, err = strconv.Atoi(v); err != nil {
			b.Fatal(err)
		}
	}
	const services, nodes = 100, 1000
	server := benchServer(b, newCluster(b))
	load := func(n int, request func(i int) []byte) {
		var wg sync.WaitGroup
		for first := range clients {
			c := dialHTTP(b, server)
			b.Cleanup(c.close)
			wg.Go(func() {
				for i := first; i < n; i += clients {
					if err := c.ask(request(i)); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	load(services*nodes, func(i int) []byte { return instanceOf(i/services, i%services) })
	load(4*mib, func(i int) []byte {
		return putRequest(fmt.Sprintf("/v1/kv/backup/%d", i), string(bytes.Repeat([]byte{byte('a' + i%26)}, 256<<10)))
	})
	settled(b, []*agent{server})
	archive := filepath.Join(b.TempDir(), "backup.snap")
	for _, verb := range []string{"save", "restore"} {
		b.Run(fmt.Sprintf("%s/MiB=%d", verb, mib), func(b *testing.B) {
			for b.Loop() {
				before, start := rss(b, server), time.Now()
				peak, stop := peakRSS(b, server)
				if out, code := server.muster("snapshot", verb, archive); code != 0 {
					b.Fatal(out)
				}
				b.ReportMetric(time.Since(start).Seconds(), "s")
				stop()
				b.ReportMetric(float64(before)/(1<<20), "MiB-before")
				b.ReportMetric(float64(*peak)/(1<<20), "MiB-peak")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
	info, err := os.Stat(archive)
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("the archive has %d MiB", info.Size()>>20)
	if status, _, value := server.get("/v1/kv/backup/1?raw"); status != http.StatusOK || len(value) != 256<<10 {
		b.Errorf("after the restore an entry is answered with %d and %d bytes", status, len(value))
	}
}

// peakRSS watches how much memory an agent has resident until stop.
func peakRSS(b *testing.B, a *agent) (peak *int64, stop func()) {
	peak = new(int64)
	ctx, cancel := context.WithCancel(b.Context())
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			*peak = max(*peak, rss(b, a))
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	return peak, func() { cancel(); done.Wait() }
}
