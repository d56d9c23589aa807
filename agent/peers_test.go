package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// startPeers gives peers that probe until the test ends.
func startPeers(t *testing.T) *peers {
	t.Helper()
	p := newPeers()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); p.run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	return p
}

// clusterPort serves a handler as a server's cluster port does, and gives its
// address.
func clusterPort(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// standstill is a server that takes connections and says nothing.
func standstill(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// ask sends a request and gives how it ended once it has.
func (p *peers) ask(ctx context.Context, t *testing.T, method, addr, path string) <-chan error {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+addr+path, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		resp, err := p.RoundTrip(addr, req)
		if err == nil {
			err = resp.Body.Close()
		}
		ended <- err
	}()
	return ended
}

// isTroubled says whether a server is one to ask last.
func (p *peers) isTroubled(addr string) bool { return !p.trouble([]string{addr})[addr].IsZero() }

func TestPeers_WhatMayBeRepeatedIsGivenUpOnceItsServerIsSilent(t *testing.T) {
	p, addr := startPeers(t), standstill(t)
	ctx, cancel := context.WithCancel(t.Context())
	write := p.ask(ctx, t, http.MethodPut, addr, "/v1/catalog/register")
	began := time.Now()
	for path, ended := range map[string]<-chan error{
		"a read":           p.ask(ctx, t, http.MethodGet, addr, "/v1/catalog/nodes"),
		"a blocking query": p.ask(ctx, t, http.MethodGet, addr, "/v1/catalog/nodes?index=7"),
		"an own command":   p.ask(ctx, t, http.MethodPut, addr, commandPath),
	} {
		if err := <-ended; !errors.Is(err, errSilent) {
			t.Errorf("%s ended with %v", path, err)
		}
	}
	if took := time.Since(began); took >= pingAfter {
		t.Errorf("reads were given up after %v, no earlier than a lost connection", took)
	}
	if !p.isTroubled(addr) {
		t.Error("the silent server is not asked last")
	}
	select {
	case err := <-write:
		t.Errorf("a write, whose outcome is unknown, was given up as well: %v", err)
	default:
	}
	cancel()
	<-write
}

func TestPeers_ASlowAnswerIsWaitedFor(t *testing.T) {
	var probes atomic.Int64
	release := make(chan struct{})
	addr := clusterPort(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == alivePath {
			probes.Add(1)
			return
		}
		<-release
	})
	p := startPeers(t)
	read := p.ask(t.Context(), t, http.MethodGet, addr, "/v1/catalog/nodes")
	eventually(t, "the server was probed, and is as good as any", func() error {
		if probes.Load() == 0 || p.isTroubled(addr) {
			return fmt.Errorf("%d probes", probes.Load())
		}
		return nil
	})
	close(release)
	if err := <-read; err != nil {
		t.Error(err)
	}
}

func TestPeers_ASilentServerIsAskedAgainOnceItAnswersProbes(t *testing.T) {
	thaw := make(chan struct{})
	addr := clusterPort(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-thaw:
		case <-r.Context().Done():
		}
	})
	p := startPeers(t)
	if err := <-p.ask(t.Context(), t, http.MethodGet, addr, "/v1/catalog/nodes"); !errors.Is(err, errSilent) {
		t.Fatal(err)
	}
	if !p.isTroubled(addr) {
		t.Error("the silent server is not asked last")
	}
	close(thaw)
	eventually(t, "the server is as good as any", func() error {
		if p.isTroubled(addr) {
			return errors.New("it is asked last")
		}
		return nil
	})
}

func TestPeers_ForgetsServersThatAreGone(t *testing.T) {
	p := newPeers()
	p.Failed("a:8300")
	p.Failed("b:8300")
	p.keep([]string{"b:8300"})
	if p.isTroubled("a:8300") || !p.isTroubled("b:8300") || len(p.all) != 1 {
		t.Errorf("kept %v", p.all)
	}
}

// All servers may have failed a moment ago: after an election each said that it
// had no leader. Then one that falls silent is still asked last.
func TestAskedLast_TheLatestTroubleAndTheDead(t *testing.T) {
	now := time.Now()
	addrs := []string{"dead", "silent", "waited", "good", "other"}
	askedLast(addrs, map[string]bool{"dead": true}, map[string]time.Time{"silent": now, "waited": now.Add(-time.Second)})
	if want := []string{"good", "other", "waited", "silent", "dead"}; !slices.Equal(addrs, want) {
		t.Errorf("asked in the order %v, want %v", addrs, want)
	}
}
