package e2e

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// probeEvery is how often a probe begins at each agent.
	probeEvery = 25 * time.Millisecond
	// faultLasts is how long a fault is watched.
	faultLasts = 2500 * time.Millisecond
	// soon is how late a request may be and count as undisturbed: more than an
	// election, and less than it takes to notice a silent connection.
	soon = 700 * time.Millisecond
)

// A server that is cut off, or stands still, costs those who asked it one short
// retry: neither a TCP timeout nor the whole time for which requests wait for a
// leader, and not each request anew.
func TestCutOff_CostsOneShortRetry(t *testing.T) {
	for _, fault := range []struct {
		name string
		// begin does it to one server, and end undoes it.
		begin, end func(s *scene, one *agent)
	}{
		{"cut off from the other servers",
			func(s *scene, one *agent) { part([]*agent{one}, s.others(one)) },
			func(s *scene, one *agent) { rejoin([]*agent{one}, s.others(one)) }},
		{"cut off from all",
			func(s *scene, one *agent) { part([]*agent{one}, append(s.others(one), s.client)) },
			func(s *scene, one *agent) { rejoin([]*agent{one}, append(s.others(one), s.client)) }},
		{"standing still",
			func(_ *scene, one *agent) { one.signal(syscall.SIGSTOP) },
			func(_ *scene, one *agent) { one.signal(syscall.SIGCONT) }},
	} {
		t.Run(fault.name, func(t *testing.T) {
			s := newScene(t, 3)
			s.assemble()
			for _, one := range s.servers { // the client agent asks one of them
				leads := s.leaderAmong(s.servers) == one
				asked := append(s.others(one), s.client)
				p := startProbes(t, asked)
				p.reach(20)
				fault.begin(s, one)
				p.began = time.Now()
				lasting(faultLasts)
				p.end()
				fault.end(s, one)
				s.logf("%s (leads: %v) %s:", one.name, leads, fault.name)
				for _, a := range asked {
					p.judge(a)
				}
				s.leaderAmong(s.servers)
				waitMembers(t, s.agents, len(s.agents))
			}
		})
	}
}

// probes are requests that begin at a steady rate at some agents, however long
// those before them take: reads and writes in turn.
type probes struct {
	t     testing.TB
	began time.Time // of the fault
	stop  context.CancelFunc
	done  sync.WaitGroup

	mu  sync.Mutex
	all map[*agent][]probe
}

type probe struct {
	began, ended time.Time
	err          error
}

func startProbes(t testing.TB, agents []*agent) *probes {
	ctx, stop := context.WithCancel(t.Context())
	p := &probes{t: t, stop: stop, all: map[*agent][]probe{}}
	for _, a := range agents {
		p.done.Go(func() { p.run(ctx, a) })
	}
	t.Cleanup(p.end)
	return p
}

func (p *probes) run(ctx context.Context, a *agent) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	defer client.CloseIdleConnections()
	var underWay sync.WaitGroup
	defer underWay.Wait()
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		underWay.Go(func() {
			one := ask(client, a, n)
			p.mu.Lock()
			defer p.mu.Unlock()
			p.all[a] = append(p.all[a], one)
		})
	}
}

func ask(client *http.Client, a *agent, n int) probe {
	one := probe{began: time.Now()}
	method, path, body := http.MethodGet, "/v1/catalog/node/none", ""
	if n%2 == 0 {
		method, path = http.MethodPut, "/v1/catalog/register"
		body = fmt.Sprintf(`{"Node":"probe-%s","Address":"192.0.2.1","NodeMeta":{"v":"%d"}}`, a.name, one.began.UnixNano())
	}
	status, _, answer, err := fetch(context.Background(), client, 15*time.Second, a, method, path, body)
	one.ended, one.err = time.Now(), err
	if err == nil && status != http.StatusOK {
		one.err = fmt.Errorf("%d %s", status, answer)
	}
	return one
}

// reach waits until each agent has answered n probes.
func (p *probes) reach(n int) {
	p.t.Helper()
	eventually(p.t, 10*time.Second, "probes are answered", func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		for a, all := range p.all {
			if len(all) < n {
				return fmt.Errorf("%d at %s", len(all), a.name)
			}
		}
		return nil
	})
}

// end waits for all answers.
func (p *probes) end() {
	p.stop()
	p.done.Wait()
}

// judge looks at the probes that an agent had to answer after the fault began.
func (p *probes) judge(a *agent) {
	p.t.Helper()
	var late, failed, total int
	var first, slowest time.Duration
	var example error
	for _, one := range p.all[a] {
		if !one.ended.After(p.began) {
			continue
		}
		took := one.ended.Sub(one.began)
		total++
		slowest = max(slowest, took)
		if one.err != nil {
			failed++
			example = one.err
			continue
		}
		if took > soon {
			late++
		}
		if at := one.ended.Sub(p.began); one.began.After(p.began) && (first == 0 || at < first) {
			first = at
		}
	}
	p.t.Logf("    %-8s first success after %v; of %d requests %d late, %d failed (%v); slowest %v",
		a.name, first.Round(time.Millisecond), total, late, failed, example, slowest.Round(time.Millisecond))
	if first == 0 || first > 2*time.Second {
		p.t.Errorf("%s: the first success is %v after the fault, want within 2 s", a.name, first)
	}
	if slowest > 5*time.Second {
		p.t.Errorf("%s: a request took %v, want a lost connection noticed within 2 s", a.name, slowest)
	}
	if late+failed > total/2 {
		p.t.Errorf("%s: %d of %d requests were late and %d failed, want those of the first moments only", a.name, late, total, failed)
	}
}
