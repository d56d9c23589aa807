package agent

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/agent/config"
)

// dialFrom opens a connection to an agent's HTTP port from a loopback address.
func dialFrom(t *testing.T, from string, a *testAgent) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.DialContext(t.Context(), "tcp", a.cfg.HTTP[0].Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestHTTP_HeadersWithoutMeasureAreRefused(t *testing.T) {
	c := newTestCluster(t)
	a := c.start(c.config(1))
	for name, header := range map[string]string{
		"100,000 headers": strings.Repeat("X-Header-Of-Mine: value\r\n", 100_000),
		"one of 2 MiB":    "X-Long: " + strings.Repeat("a", 2<<20) + "\r\n",
		"a path of 2 MiB": "",
	} {
		conn := dialFrom(t, "127.0.0.1", a)
		path := "/v1/status/leader"
		if header == "" {
			path = "/v1/kv/" + strings.Repeat("k", 2<<20)
		}
		// The agent answers and closes before it has read all: the rest can't be sent.
		_, _ = io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n"+header+"\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%s: %s", name, resp.Status)
		}
	}
}

// Half requests that never end take a connection each, and nothing of others.
func TestHTTP_HalfRequestsHarmNobodyElse(t *testing.T) {
	c := newTestCluster(t)
	a := c.start(c.config(1))
	for i := range 500 {
		conn := dialFrom(t, fmt.Sprintf("127.0.1.%d", 1+i/170), a)
		half := "GET /v1/status/leader HTTP/1.1\r\nHost: loc"
		if i%2 == 0 {
			half = "PUT /v1/kv/half HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf"
		}
		if _, err := io.WriteString(conn, half); err != nil {
			t.Fatal(err)
		}
	}
	conn := dialFrom(t, "127.0.0.1", a)
	answers := bufio.NewReader(conn)
	for range 100 {
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.WriteString(conn, "GET /v1/agent/version HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		if resp.Body.Close(); resp.StatusCode != http.StatusOK {
			t.Fatalf("%s", resp.Status)
		}
	}
}

// syncBuffer is a log that may be written while it is read.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// What an agent is told in confidence, the key of gossip and the tokens of
// requests and registrations, comes out nowhere: not in its log at the finest
// level, in metrics, or in what it says of itself.
func TestSecrets_StayInside(t *testing.T) {
	const (
		key   = "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s="
		token = "7b1f2c0e-token-of-somebody"
	)
	cfg := newTestCluster(t).config(1)
	cfg.Encrypt = config.Secret(key)
	var log syncBuffer
	a, err := New(cfg, Options{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug - 4}))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	eventually(t, "a leader", func() error {
		if !a.quorum.IsLeader() {
			return fmt.Errorf("none")
		}
		return nil
	})

	client := &http.Client{}
	defer client.CloseIdleConnections()
	ask := func(method, path, body string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+cfg.HTTP[0].Address+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Consul-Token", token)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{key, token} {
			if bytes.Contains(answer, []byte(secret)) {
				t.Errorf("%s %s shows %s: %.300s", method, path, secret, answer)
			}
		}
	}
	ask("PUT", "/v1/agent/service/register", `{"Name":"web","Token":"`+token+`","Check":{"TTL":"10s","Token":"`+token+`"}}`)
	ask("PUT", "/v1/agent/check/register", `{"Name":"c","TTL":"10s","Token":"`+token+`","ServiceID":"nope"}`)
	ask("PUT", "/v1/catalog/register?token="+token, `{"Node":"n"}`)
	ask("PUT", "/v1/kv/a?token="+token+"&cas=x", "1")
	for _, path := range []string{
		"/v1/agent/self", "/v1/agent/metrics", "/v1/agent/metrics?format=prometheus", "/metrics", "/v1/agent/services", "/v1/agent/service/web",
		"/v1/agent/checks", "/v1/agent/members", "/v1/catalog/service/web", "/v1/health/service/web?filter=)", "/v1/openapi.json", "/v1/nope?token=" + token,
	} {
		ask("GET", path, "")
	}
	for _, secret := range []string{key, token} {
		if text := log.String(); strings.Contains(text, secret) {
			i := strings.Index(text, secret)
			t.Errorf("the log shows %s: …%s", secret, text[max(0, i-200):i])
		}
	}
}
