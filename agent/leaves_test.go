package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	consul "github.com/hashicorp/consul/api"

	"muster/agent/config"
	"muster/api/agentapi"
	"muster/api/connectapi"
	"muster/catalog"
	"muster/catalog/ca"
)

// signatory is an authority in this process that leaves can be signed by.
type signatory struct {
	mu     sync.Mutex
	a      *catalog.CA
	index  uint64
	moved  chan struct{}
	signed int
	fails  error
}

func newSignatory(t *testing.T) *signatory {
	cfg, shown, err := ca.Parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := ca.New(cfg, shown, "c1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &signatory{a: a, index: 1, moved: make(chan struct{})}
}

func (s *signatory) signer(ctx context.Context, index uint64) (signerInfo, error) {
	for {
		s.mu.Lock()
		root, moved := s.a.Active(), s.moved
		info := signerInfo{Index: s.index, RootID: root.ID, TrustDomain: s.a.TrustDomain(), KeyType: root.KeyType, KeyBits: root.KeyBits}
		s.mu.Unlock()
		if info.Index > index || ctx.Err() != nil {
			return info, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
		}
	}
}

func (s *signatory) sign(_ context.Context, request []byte) (*ca.Leaf, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != nil {
		return nil, s.fails
	}
	csr, _, err := ca.Requested(s.a, "dc1", request)
	if err != nil {
		return nil, err
	}
	s.signed++
	return ca.Sign(s.a, csr, time.Now())
}

func (s *signatory) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = err
}

func (s *signatory) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.signed
}

// rotate has another root sign.
func (s *signatory) rotate(t *testing.T, settings string) {
	cfg, shown, err := ca.ParseJSON([]byte(settings))
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.a, err = ca.Reconfigure(s.a, cfg, shown, false, time.Now()); err != nil {
		t.Fatal(err)
	}
	s.index++
	close(s.moved)
	s.moved = make(chan struct{})
}

// withLeaves runs leaves over a signatory in a bubble with a clock of its own.
func withLeaves(t *testing.T, test func(t *testing.T, s *signatory, l *leaves)) {
	synctest.Test(t, func(t *testing.T) {
		s := newSignatory(t)
		l := newLeaves("dc1", &signing{}, 30*time.Second, 7*time.Second, slog.New(slog.DiscardHandler))
		l.signer, l.sign = s.signer, s.sign
		ctx, stop := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { _ = l.run(ctx) })
		test(t, s, l)
		stop()
		running.Wait()
		if _, _, err := l.Leaf(context.Background(), "late"); err == nil {
			t.Error("an agent that has stopped gives a certificate")
		}
	})
}

func mustLeaf(t *testing.T, l *leaves, service string) *agentapi.Leaf {
	t.Helper()
	leaf, _, err := l.Leaf(context.Background(), service)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// Whoever waits for the next certificate always has it before the last one ends.
func TestLeaves_AreRenewedInTime(t *testing.T) {
	withLeaves(t, func(t *testing.T, s *signatory, l *leaves) {
		leaf, changed, err := l.Leaf(context.Background(), "web")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tls.X509KeyPair([]byte(leaf.CertPEM), []byte(leaf.PrivateKeyPEM)); err != nil || leaf.ServiceURI != "spiffe://c1.consul/ns/default/dc/dc1/svc/web" {
			t.Fatal(leaf.ServiceURI, err)
		}
		for range 5 {
			for waiting := true; waiting; {
				select {
				case <-changed:
					waiting = false
				case <-time.After(10 * time.Minute): // a blocking query ends and is sent again
				}
				if !time.Now().Before(leaf.ValidBefore.Add(-14 * time.Hour)) {
					t.Fatalf("at %s the certificate until %s was not renewed", time.Now(), leaf.ValidBefore)
				}
				var next *agentapi.Leaf
				if next, changed, err = l.Leaf(context.Background(), "web"); err != nil {
					t.Fatal(err)
				}
				if !waiting && (next.ModifyIndex <= leaf.ModifyIndex || next.SerialNumber == leaf.SerialNumber || next.PrivateKeyPEM == leaf.PrivateKeyPEM) {
					t.Errorf("%d is followed by %d", leaf.ModifyIndex, next.ModifyIndex)
				}
				leaf = next
			}
		}
		if s.count() != 6 {
			t.Errorf("%d certificates were signed", s.count())
		}
	})
}

func TestLeaves_AreRenewedSoonAfterThereIsAnotherRoot(t *testing.T) {
	withLeaves(t, func(t *testing.T, s *signatory, l *leaves) {
		first := mustLeaf(t, l, "web")
		synctest.Wait()
		s.rotate(t, `{"PrivateKeyBits":384}`)
		time.Sleep(31 * time.Second) // of the bubble's own time
		second := mustLeaf(t, l, "web")
		if second.SerialNumber == first.SerialNumber || strings.Count(second.CertPEM, "BEGIN CERTIFICATE") != 2 {
			t.Error("it is still signed by the old root")
		}
		time.Sleep(time.Minute) // of the bubble's own time
		if n := s.count(); n != 2 {
			t.Errorf("%d certificates were signed", n)
		}
	})
}

// Where no server can be reached the old certificate serves to its end.
func TestLeaves_OutliveAnOutage(t *testing.T) {
	withLeaves(t, func(t *testing.T, s *signatory, l *leaves) {
		s.fail(errors.New("no server answers"))
		if _, _, err := l.Leaf(context.Background(), "web"); err == nil || !strings.Contains(err.Error(), "no server answers") {
			t.Fatalf("without any: %v", err)
		}
		s.fail(nil)
		leaf := mustLeaf(t, l, "web")
		s.fail(errors.New("no server answers"))
		for time.Now().Before(leaf.ValidBefore.Add(-time.Hour)) {
			time.Sleep(30 * time.Minute) // of the bubble's own time
			if now := mustLeaf(t, l, "web"); now.SerialNumber != leaf.SerialNumber {
				t.Fatal("who signed that?")
			}
		}
		for range 3 {
			time.Sleep(30 * time.Minute) // of the bubble's own time
			_, _, _ = l.Leaf(context.Background(), "web")
		}
		if _, _, err := l.Leaf(context.Background(), "web"); err == nil {
			t.Error("a certificate whose time is over is given out")
		}
		s.fail(nil)
		if next := mustLeaf(t, l, "web"); next.ModifyIndex <= leaf.ModifyIndex {
			t.Errorf("%d is followed by %d", leaf.ModifyIndex, next.ModifyIndex)
		}
	})
}

func TestLeaves_ThatNobodyAsksForEnd(t *testing.T) {
	withLeaves(t, func(t *testing.T, s *signatory, l *leaves) {
		_, changed, err := l.Leaf(context.Background(), "web")
		if err != nil {
			t.Fatal(err)
		}
		<-changed
		time.Sleep(72 * time.Hour) // of the bubble's own time
		l.mu.Lock()
		kept := len(l.all)
		l.mu.Unlock()
		if kept != 0 || s.count() != 1 {
			t.Errorf("%d are kept, %d were signed", kept, s.count())
		}
		mustLeaf(t, l, "web")
	})
}

func TestGate_LetsNoMoreThroughThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		var done sync.WaitGroup
		var mu sync.Mutex
		passed, refused := 0, 0
		for range 200 {
			done.Go(func() {
				leave, err := g.enter(context.Background(), 50, 0)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					passed++
					leave()
				} else if catalog.KindOf(err) == catalog.TooMany {
					refused++
				}
			})
		}
		began := time.Now()
		done.Wait()
		// Half a second's worth waits, the rest is told to come again.
		if passed != 26 || refused != 174 || time.Since(began) != 500*time.Millisecond {
			t.Errorf("%d passed and %d were refused in %s", passed, refused, time.Since(began))
		}
		var h gate
		first, err := h.enter(context.Background(), 50, 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.enter(context.Background(), 50, 1); catalog.KindOf(err) != catalog.TooMany {
			t.Errorf("a second at a time: %v", err)
		}
		first()
		if leave, err := h.enter(context.Background(), 50, 1); err != nil {
			t.Error(err)
		} else {
			leave()
		}
	})
}

// identityOf is what a program has of its agent: a certificate, and whom to trust.
type identityOf struct {
	leaf  agentapi.Leaf
	roots connectapi.Roots
}

func read(t *testing.T, a *testAgent, path string, into any) {
	t.Helper()
	status, body := operate(t, a, http.MethodGet, path)
	if status != http.StatusOK {
		t.Fatalf("%s: %d %s", path, status, body)
	}
	if err := json.Unmarshal([]byte(body), into); err != nil {
		t.Fatal(err)
	}
}

func identify(t *testing.T, a *testAgent, service string) (id identityOf) {
	t.Helper()
	read(t, a, "/v1/agent/connect/ca/leaf/"+service, &id.leaf)
	read(t, a, "/v1/agent/connect/ca/roots", &id.roots)
	return id
}

// config is the TLS configuration of a program that has nothing else.
func (id identityOf) config(t *testing.T, peer string) *tls.Config {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(id.leaf.CertPEM), []byte(id.leaf.PrivateKeyPEM))
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	for _, r := range id.roots.Roots {
		trusted.AppendCertsFromPEM([]byte(r.RootCert))
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert,
		// A leaf has no DNS name: who it is stands in its URI.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			links := x509.NewCertPool()
			for _, c := range s.PeerCertificates[1:] {
				links.AddCert(c)
			}
			leaf := s.PeerCertificates[0]
			if _, err := leaf.Verify(x509.VerifyOptions{Roots: trusted, Intermediates: links, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
				return err
			}
			if want := "spiffe://" + id.roots.TrustDomain + "/ns/default/dc/dc1/svc/" + peer; len(leaf.URIs) != 1 || leaf.URIs[0].String() != want {
				return fmt.Errorf("the other side is %v, not %s", leaf.URIs, want)
			}
			return nil
		},
	}
}

// talk has two programs shake hands over TCP and say a word.
func talk(server, client *tls.Config) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			defer conn.Close()
			_, err = io.WriteString(tls.Server(conn, server), "hello")
		}
		served <- err
	}()
	conn, err := tls.Dial("tcp", l.Addr().String(), client)
	if err != nil {
		l.Close()
		return errors.Join(err, <-served)
	}
	defer conn.Close()
	said, err := io.ReadAll(conn)
	if err == nil && string(said) != "hello" {
		err = fmt.Errorf("the server says %q", said)
	}
	return errors.Join(err, <-served)
}

// Two programs, one beside a client agent, talk mutual TLS with what the agents give
// them, and go on through a change of the root: also one that has not heard of it.
func TestIdentity_TwoProgramsTalkMutualTLSThroughARotation(t *testing.T) {
	c := newTestCluster(t)
	mesh := config.Connect{Enabled: true, LeafSpread: 50 * time.Millisecond}
	var err error
	if mesh.CA, mesh.Shown, err = ca.Parse(nil); err != nil {
		t.Fatal(err)
	}
	serverConfig, clientConfig := c.config(1), c.config(0)
	serverConfig.Connect, clientConfig.Connect = mesh, mesh
	server, client := c.start(serverConfig), c.start(clientConfig)
	eventually(t, "there is a root", func() error {
		if status, body := operate(t, client, http.MethodGet, "/v1/connect/ca/roots"); !strings.Contains(body, `"Active":true`) {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})

	web, api := identify(t, client, "web"), identify(t, server, "api")
	if err := talk(web.config(t, "api"), api.config(t, "web")); err != nil {
		t.Fatal(err)
	}
	if err := talk(web.config(t, "api"), identify(t, server, "other").config(t, "web")); err == nil {
		t.Error("somebody else passes for api")
	}

	woken := make(chan string, 1)
	go func() {
		_, body := operate(t, client, http.MethodGet, fmt.Sprintf("/v1/agent/connect/ca/leaf/web?index=%d&wait=1m", web.leaf.ModifyIndex))
		woken <- body
	}()
	if status, body := operateWith(t, server, http.MethodPut, "/v1/connect/ca/configuration", `{"Provider":"consul","Config":{"PrivateKeyType":"rsa"}}`); status != http.StatusOK {
		t.Fatal(status, body)
	}
	var renewed agentapi.Leaf
	if err := json.Unmarshal([]byte(<-woken), &renewed); err != nil || renewed.SerialNumber == web.leaf.SerialNumber {
		t.Fatalf("woken with %+v, %v", renewed, err)
	}
	block, _ := pem.Decode([]byte(renewed.CertPEM))
	if cert, err := x509.ParseCertificate(block.Bytes); err != nil || cert.SignatureAlgorithm != x509.SHA256WithRSA {
		t.Errorf("it is not signed by the new root: %v", err)
	}
	now := identify(t, client, "web")
	if len(now.roots.Roots) != 2 {
		t.Fatalf("%d roots are trusted", len(now.roots.Roots))
	}
	if err := talk(now.config(t, "api"), api.config(t, "web")); err != nil {
		t.Errorf("with a program that knows only the old root: %v", err)
	}
	if status, body := operate(t, server, http.MethodGet, "/metrics"); status != http.StatusOK || !strings.Contains(body, "\nmuster_ca_root_not_after_timestamp_seconds ") {
		t.Errorf("%d: the metrics don't say when the root ends", status)
	}
	for _, a := range []*testAgent{server, client} {
		if status, body := operate(t, a, http.MethodGet, "/v1/agent/self"); status != http.StatusOK || strings.Contains(body, "PRIVATE KEY") {
			t.Errorf("%d: %s", status, body)
		}
	}
}

// A leader that may sign one certificate in a long time says so, and the answer is
// one that clients try again.
func TestIdentity_SigningIsRateLimited(t *testing.T) {
	c := newTestCluster(t)
	cfg := c.config(1)
	cfg.Connect.Enabled = true
	var err error
	if cfg.Connect.CA, cfg.Connect.Shown, err = ca.Parse(map[string]any{"csr_max_per_second": 0.001}); err != nil {
		t.Fatal(err)
	}
	a := c.start(cfg)
	eventually(t, "a certificate is signed", func() error {
		if status, body := operate(t, a, http.MethodGet, "/v1/agent/connect/ca/leaf/web"); status != http.StatusOK {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	if status, body := operate(t, a, http.MethodGet, "/v1/agent/connect/ca/leaf/another"); status != http.StatusTooManyRequests || !strings.Contains(body, "rate limited") {
		t.Errorf("%d %s", status, body)
	}
	if status, body := operate(t, a, http.MethodGet, "/v1/agent/connect/ca/leaf/web"); status != http.StatusOK {
		t.Errorf("the one that is kept: %d %s", status, body)
	}
}

func TestIdentity_IsRefusedWhereConnectIsOff(t *testing.T) {
	c := newTestCluster(t)
	server, client := c.start(c.config(1)), c.start(c.config(0))
	for _, a := range []*testAgent{server, client} {
		for _, path := range []string{"/v1/agent/connect/ca/leaf/web", "/v1/agent/connect/ca/roots", "/v1/connect/ca/configuration"} {
			eventually(t, "an answer to "+path, func() error {
				status, body := operate(t, a, http.MethodGet, path)
				if status != http.StatusInternalServerError || body != "Connect must be enabled in order to use this endpoint" {
					return fmt.Errorf("%d %s", status, body)
				}
				return nil
			})
		}
	}
}

func TestIntentions_DefaultPolicyOfFiles(t *testing.T) {
	c := newTestCluster(t)
	cfg := c.config(1)
	cfg.Connect.IntentionPolicy = "deny"
	server := c.start(cfg)
	oneCluster(t, server)
	client := server.client()
	allowed := func(source string) (string, bool) {
		t.Helper()
		said, err := client.Agent().ConnectAuthorize(&consul.AgentAuthorizeParams{Target: "web", ClientCertURI: "spiffe://any.consul/ns/default/dc/dc1/svc/" + source})
		if err != nil {
			t.Fatal(err)
		}
		checked, _, err := client.Connect().IntentionCheck(&consul.IntentionCheck{Source: source, Destination: "web"}, nil)
		if err != nil || checked != said.Authorized {
			t.Errorf("%s: checked %v %v, authorized %+v", source, checked, err, said)
		}
		return said.Reason, said.Authorized
	}
	if _, err := client.Connect().IntentionUpsert(&consul.Intention{SourceName: "api", DestinationName: "web", Action: consul.IntentionActionAllow}, nil); err != nil {
		t.Fatal(err)
	}
	if why, ok := allowed("api"); !ok {
		t.Errorf("what an intention allows: %s", why)
	}
	if why, ok := allowed("other"); ok || why != "Default intention policy" {
		t.Errorf("what no intention is about: %v %s", ok, why)
	}
}
