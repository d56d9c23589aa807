package agent

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"muster/agent/config"
)

func TestHTTP_RefusesConnectionsBeyondTheBoundUntilOthersClose(t *testing.T) {
	c := newTestCluster(t)
	cfg := c.config(1)
	cfg.HTTPLimits.MaxConnsPerClient = 2
	a := c.start(cfg)
	status := func() (net.Conn, int) {
		t.Helper()
		conn, err := net.Dial("tcp", a.cfg.HTTP[0].Address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if _, err := fmt.Fprintf(conn, "GET /v1/status/peers HTTP/1.1\r\nHost: %s\r\n\r\n", a.cfg.HTTP[0].Address); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return conn, resp.StatusCode
	}
	first, code := status()
	if code != http.StatusOK {
		t.Fatalf("the first connection: %d", code)
	}
	status()
	if _, code := status(); code != http.StatusTooManyRequests {
		t.Errorf("a third connection of two: %d", code)
	}
	first.Close()
	eventually(t, "a place is free again", func() error {
		conn, code := status()
		conn.Close()
		if code != http.StatusOK {
			return fmt.Errorf("status %d", code)
		}
		return nil
	})
}

func TestHTTP_IsServedOnAUnixSocket(t *testing.T) {
	c := newTestCluster(t)
	cfg := c.config(1)
	path := filepath.Join(t.TempDir(), "http.sock")
	cfg.HTTP = []config.Listener{{Network: "unix", Address: path}}
	cfg.UnixSocket.Mode = "0600"
	if err := os.WriteFile(path, nil, 0o600); err != nil { // what an agent that was killed leaves
		t.Fatal(err)
	}
	c.start(cfg)
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
	defer client.CloseIdleConnections()
	eventually(t, "an answer", func() error {
		resp, err := client.Get("http://localhost/v1/status/leader")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", resp.StatusCode)
		}
		return nil
	})
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket mode %v, %v", info.Mode(), err)
	}
	other := c.config(1)
	other.HTTP = cfg.HTTP
	if _, err := New(other, Options{}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second agent on the socket: %v", err)
	}
}

func TestNodeID_StaysAndIsRefusedWhenDamaged(t *testing.T) {
	dir := t.TempDir()
	first, err := loadNodeID(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := loadNodeID(dir, ""); err != nil || again != first {
		t.Errorf("%s became %s, %v", first, again, err)
	}
	const given = "AAAAAAAA-0000-0000-0000-000000000000"
	if id, err := loadNodeID(dir, given); err != nil || id != strings.ToLower(given) {
		t.Errorf("a given ID: %s, %v", id, err)
	}
	if id, err := loadNodeID(dir, ""); err != nil || id != strings.ToLower(given) {
		t.Errorf("a given ID isn't kept: %s, %v", id, err)
	}
	path := filepath.Join(dir, nodeIDFile)
	if err := os.WriteFile(path, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadNodeID(dir, ""); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a damaged file: %v", err)
	}
	if a, err := loadNodeID("", ""); err != nil || a == "" {
		t.Errorf("without a directory: %q, %v", a, err)
	}
}

func TestNew_GivesBackWhatItTookWhenItFails(t *testing.T) {
	c := newTestCluster(t)
	cfg := c.config(1)
	taken, err := net.Listen("tcp", cfg.HTTP[0].Address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(cfg, Options{}); err == nil || !strings.Contains(err.Error(), cfg.HTTP[0].Address) {
		t.Fatalf("a taken port: %v", err)
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	oneCluster(t, c.start(cfg)) // lock, ports and files are free again
}
