package agent

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"muster/consensus/transport"
)

const (
	// failedFor is how long a server that could not be reached, or could not
	// reach a leader, is asked last.
	failedFor = 5 * time.Second
	// silentFor is how long a server that has a request to answer may say
	// nothing before it is probed, and later requests go to others first.
	silentFor = 200 * time.Millisecond
	// aliveWithin is how long it may take to answer the probe, which waits for
	// nothing, neither a leader nor a disk.
	aliveWithin = 300 * time.Millisecond
	// probeAgain is how often a server that was found silent is probed.
	probeAgain = time.Second
	// dialTimeout bounds connecting to a server, so that one that is gone costs
	// a request little before the next is asked.
	dialTimeout = time.Second
	// pingAfter and pingTimeout bound how long a connection may be silent before
	// it is given up, and with it what waits for an answer on it. A machine that
	// is cut off is noticed earlier, by what it does not acknowledge (see
	// transport.LimitSilence); this is for a process that stands still.
	pingAfter   = time.Second
	pingTimeout = time.Second
)

// alivePath is what a probe asks a server for.
const alivePath = "/internal/alive"

// errSilent ends a request that can be made again elsewhere.
var errSilent = errors.New("the server is silent: it answers neither requests nor probes")

// peers asks servers on their cluster ports and keeps how they answer.
//
// A server that is cut off or stands still must not cost those who ask it a
// timeout each. So once a request has waited for silentFor, and its server has
// said nothing at all since, the server is probed, and asked last until it
// answers. If it isn't there for the first probe, requests that may be made twice
// are given up with errSilent, so that their callers ask the next server. Others
// stay until their connection is lost, as only then it's certain that no answer
// comes. A false alarm on a busy machine costs a read elsewhere; a server that
// waits for a leader, or works on a long answer, answers probes.
type peers struct {
	http *http.Transport
	// overdue are the addresses of servers to probe.
	overdue chan string

	mu  sync.Mutex
	all map[string]*peer // by address
}

// peer is one server. The lock of peers guards it.
type peer struct {
	failed time.Time // when it last could not be reached or had no leader
	heard  time.Time // when it last answered anything
	silent time.Time // since when it is probed; zero unless it is
	// waiting are the requests that may be given up.
	waiting map[*exchange]struct{}
}

// exchange is a request under way.
type exchange struct {
	addr   string
	began  time.Time
	giveUp context.CancelCauseFunc
}

func newPeers() *peers {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second, Control: transport.LimitSilence}
	return &peers{
		overdue: make(chan string, 16),
		all:     map[string]*peer{},
		http: &http.Transport{
			Protocols:          protocols,
			DialContext:        dialer.DialContext,
			DisableCompression: true, // bytes are passed on as they are
			IdleConnTimeout:    time.Minute,
			HTTP2: &http.HTTP2Config{
				SendPingTimeout: pingAfter,
				PingTimeout:     pingTimeout,
			},
		},
	}
}

// run probes servers that are overdue, until ctx ends.
func (p *peers) run(ctx context.Context) {
	defer p.http.CloseIdleConnections()
	var probes sync.WaitGroup
	defer probes.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case addr := <-p.overdue:
			probes.Go(func() { p.probe(ctx, addr) })
		}
	}
}

// of gives a server. The caller holds mu.
func (p *peers) of(addr string) *peer {
	one := p.all[addr]
	if one == nil {
		one = &peer{waiting: map[*exchange]struct{}{}}
		p.all[addr] = one
	}
	return one
}

// Failed notes that a server could not be reached, or can't reach a leader.
func (p *peers) Failed(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.of(addr).failed = time.Now()
}

// trouble gives for each server that failed lately, or is silent, since when.
func (p *peers) trouble(addrs []string) map[string]time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	since := map[string]time.Time{}
	for _, addr := range addrs {
		one := p.all[addr]
		switch {
		case one == nil:
		case !one.silent.IsZero():
			since[addr] = one.silent
		case time.Since(one.failed) < failedFor:
			since[addr] = one.failed
		}
	}
	return since
}

// keep forgets servers that are not among addrs.
func (p *peers) keep(addrs []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.all, func(addr string, one *peer) bool {
		return len(one.waiting) == 0 && !slices.Contains(addrs, addr)
	})
}

// RoundTrip sends a request to a server's cluster port. The caller closes the
// body of the answer.
func (p *peers) RoundTrip(addr string, req *http.Request) (*http.Response, error) {
	req.URL.Scheme, req.URL.Host = "http", addr
	ctx, giveUp := context.WithCancelCause(req.Context())
	x := &exchange{addr: addr, began: time.Now(), giveUp: giveUp}
	if repeatable(req) {
		p.await(x)
	}
	if !blocks(req) {
		timer := time.AfterFunc(silentFor, func() { p.late(x) })
		defer timer.Stop()
	}
	resp, err := p.http.RoundTrip(req.WithContext(ctx))
	p.ended(x, err == nil)
	if err != nil {
		if errors.Is(context.Cause(ctx), errSilent) {
			err = errSilent
		}
		giveUp(nil)
		return nil, err
	}
	resp.Body = &answerBody{resp.Body, giveUp}
	return resp, nil
}

// answerBody ends its request's context when it is closed.
type answerBody struct {
	io.ReadCloser
	end context.CancelCauseFunc
}

// Close implements io.Closer.
func (b *answerBody) Close() error {
	defer b.end(nil)
	return b.ReadCloser.Close()
}

// blocks says whether a request may rightly be answered late.
func blocks(req *http.Request) bool { return strings.Contains(req.URL.RawQuery, "index=") }

// repeatable says whether it does no harm to send a request to two servers: reads,
// and agents' commands, which carry a sequence number.
func repeatable(req *http.Request) bool {
	return req.Method == http.MethodGet || req.URL.Path == commandPath
}

// await adds to the requests that may be given up.
func (p *peers) await(x *exchange) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.of(x.addr).waiting[x] = struct{}{}
}

func (p *peers) ended(x *exchange, answered bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.of(x.addr)
	delete(one.waiting, x)
	if answered {
		one.heard = time.Now()
	}
}

// late has a server probed that has said nothing since a request of its began.
func (p *peers) late(x *exchange) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.of(x.addr)
	if one.heard.After(x.began) || !one.silent.IsZero() {
		return // it lives, or is being probed
	}
	select {
	case p.overdue <- x.addr:
		one.silent = time.Now()
	default: // others are to be probed first; the next late request asks again
	}
}

// probe asks a silent server whether it is there, until it says so or is gone
// from the cluster.
func (p *peers) probe(ctx context.Context, addr string) {
	for ctx.Err() == nil {
		began := time.Now()
		if p.judge(addr, began, p.alive(ctx, addr)) {
			return
		}
		waitFor(ctx, probeAgain, nil, nil)
	}
}

// alive says whether a server answers at all.
func (p *peers) alive(ctx context.Context, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, aliveWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+alivePath, nil)
	if err != nil {
		return false
	}
	resp, err := p.http.RoundTrip(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close() // whatever it says
	return true
}

// judge takes note of a probe, and says whether it was the last one.
func (p *peers) judge(addr string, began time.Time, alive bool) (last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.all[addr]
	if one == nil {
		return true // forgotten
	}
	if alive || one.heard.After(began) {
		one.heard, one.silent = time.Now(), time.Time{}
		return true
	}
	for x := range one.waiting {
		x.giveUp(errSilent)
	}
	return false
}
