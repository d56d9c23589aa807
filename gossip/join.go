package gossip

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/serf/serf"
)

// Join contacts the given addresses (host or host:port) one after the other and
// returns how many answered; the error is nil if any did. A refusal, by either
// side's guard, comes as a RefusedError.
func (p *Pool) Join(ctx context.Context, addrs []string) (n int, err error) {
	var errs []error
	for _, addr := range addrs {
		joined, err := p.joinOne(ctx, addr)
		n += joined
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	if n > 0 {
		return n, nil
	}
	return 0, errors.Join(errs...)
}

func (p *Pool) joinOne(ctx context.Context, addr string) (int, error) {
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	err := p.call(func() {
		n, err := p.serf.Join([]string{addr}, true)
		done <- result{n, err}
	})
	if err != nil {
		return 0, err
	}
	select {
	case r := <-done:
		return r.n, p.explain(addr, r.err)
	case <-ctx.Done():
		return 0, fmt.Errorf("gossip: join %s: %w", addr, ctx.Err())
	}
}

// explain puts the guard's refusal back where memberlist has made it a text.
func (p *Pool) explain(addr string, err error) error {
	if err == nil {
		return nil
	}
	if refused := p.guard.lastRefusal(); refused != nil && strings.Contains(err.Error(), refused.Error()) {
		return fmt.Errorf("gossip: join %s: %w", addr, refused)
	}
	return fmt.Errorf("gossip: join %s: %s", addr, flatten(err))
}

// flatten makes one line of a multi-error, which memberlist returns even for one.
func flatten(err error) string {
	type multi interface{ WrappedErrors() []error }
	var m multi
	if !errors.As(err, &m) {
		return err.Error()
	}
	var texts []string
	for _, e := range m.WrappedErrors() {
		texts = append(texts, e.Error())
	}
	return strings.Join(texts, "; ")
}

// firstRetry is the pause after the first failed attempt of RetryJoin; it
// doubles until it reaches the interval. Servers that are started together find
// each other in seconds that way, and not in an interval.
const firstRetry = 500 * time.Millisecond

// RetryJoin tries addrs until another member is found, which ends it with nil.
// The pauses grow to interval; when max attempts at that pace (0: no bound) have
// failed, it ends with an error. An agent may find itself under these addresses:
// that is no success unless there is nothing else to be found.
func (p *Pool) RetryJoin(ctx context.Context, addrs []string, interval time.Duration, max int) error {
	if len(addrs) == 0 {
		return nil
	}
	pause, slow := min(firstRetry, interval), 0
	for {
		n, err := p.Join(ctx, addrs)
		if n > 0 && (p.hasCompany() || n == len(addrs) && allLiteral(addrs)) {
			p.log.Info("joined the cluster", "answered", n)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if pause >= interval {
			slow++
		}
		if max > 0 && slow >= max {
			if n > 0 {
				return nil // alone, but on its own list
			}
			return fmt.Errorf("gossip: retry-join: max retries (%d) exceeded: %w", max, err)
		}
		if n > 0 {
			p.log.Debug("only this agent answers at the addresses to join", "retry_in", pause)
		} else {
			p.log.Warn("join failed, will retry", "error", err, "retry_in", pause)
		}
		if !sleep(ctx, jitter(pause)) {
			return ctx.Err()
		}
		pause = min(2*pause, interval)
	}
}

// allLiteral says whether all addresses are IPs: a name may stand for others
// tomorrow.
func allLiteral(addrs []string) bool {
	return !slices.ContainsFunc(addrs, func(a string) bool {
		if host, _, err := net.SplitHostPort(a); err == nil {
			a = host
		}
		_, err := netip.ParseAddr(a)
		return err != nil
	})
}

const (
	reannounceAfter = 500 * time.Millisecond
	reannounceTo    = 3
)

// reannounce tells a few members where we are for as long as somebody believes
// us at an earlier address. An agent that was killed and came back elsewhere is
// not believed until its earlier life is seen to have failed, and would
// otherwise stay unknown until the next full exchange. It ends with ctx.
func (p *Pool) reannounce(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.guard.displaced:
		}
		if !sleep(ctx, jitter(reannounceAfter)) {
			return
		}
		var others []string
		for _, m := range p.serf.Members() {
			if m.Name != p.config.NodeName && m.Status == serf.StatusAlive {
				addr := net.TCPAddr{IP: m.Addr, Port: int(m.Port)}
				others = append(others, addr.String())
			}
		}
		rand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
		if _, err := p.Join(ctx, others[:min(len(others), reannounceTo)]); err != nil && ctx.Err() == nil {
			p.log.Debug("can't announce the new address yet", "error", err)
		}
	}
}

// jitter spreads d over [d/2, d].
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

// sleep waits for d; false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
