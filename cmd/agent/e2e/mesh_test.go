package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"
)

// program is what a program knows that has asked its agent who it is and whom to
// trust, and nobody anything else.
type program struct {
	leaf  *consul.LeafCert
	index uint64
	roots *consul.CARootList
}

// identify asks an agent, as soon as it can answer.
func identify(t *testing.T, a *agent, service string) (p program) {
	t.Helper()
	eventually(t, 20*time.Second, "a certificate for "+service, func() error {
		var meta *consul.QueryMeta
		var err error
		if p.leaf, meta, err = a.consul().Agent().ConnectCALeaf(service, nil); err != nil {
			return err
		}
		p.index = meta.LastIndex
		p.roots, _, err = a.consul().Agent().ConnectCARoots(nil)
		return err
	})
	return p
}

// tls is how the program talks to a service of the mesh, or lets that talk to it.
func (p program) tls(t *testing.T, peer string) *tls.Config {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(p.leaf.CertPEM), []byte(p.leaf.PrivateKeyPEM))
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	for _, r := range p.roots.Roots {
		trusted.AppendCertsFromPEM([]byte(r.RootCertPEM))
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert,
		InsecureSkipVerify: true, // it is VerifyConnection that does it: a service's name stands in its URI
		VerifyConnection: func(s tls.ConnectionState) error {
			links := x509.NewCertPool()
			for _, c := range s.PeerCertificates[1:] {
				links.AddCert(c)
			}
			leaf := s.PeerCertificates[0]
			if _, err := leaf.Verify(x509.VerifyOptions{Roots: trusted, Intermediates: links, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
				return err
			}
			if want := "spiffe://" + p.roots.TrustDomain + "/ns/default/dc/dc1/svc/" + peer; len(leaf.URIs) != 1 || leaf.URIs[0].String() != want {
				return fmt.Errorf("the other side is %v, not %s", leaf.URIs, want)
			}
			return nil
		},
	}
}

// talk has one program ask the other over HTTPS, on connections of their own.
func talk(t *testing.T, client, server program) error {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = server.tls(t, client.leaf.Service)
	s.StartTLS()
	defer s.Close()
	transport := &http.Transport{TLSClientConfig: client.tls(t, server.leaf.Service)}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get(s.URL)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if said, err := io.ReadAll(resp.Body); err != nil || string(said) != "hello" {
		return fmt.Errorf("it says %q, %w", said, err)
	}
	return nil
}

// TestMesh_MutualTLSThroughFailoverRotationAndRestore follows two programs, one of
// which never asks again: they talk after the leader was killed, after the root was
// replaced, and after a restore has brought the old root back.
func TestMesh_MutualTLSThroughFailoverRotationAndRestore(t *testing.T) {
	c := newCluster(t)
	soon := []string{"-hcl", `connect { test_ca_leaf_root_change_spread = "100ms" }`}
	servers := c.servers(3, soon...)
	asked := c.client("client", soon...)
	for _, a := range append(servers, asked) {
		a.start()
	}
	web := identify(t, asked, "web")
	old := identify(t, servers[0], "api") // it stays as it is
	if err := talk(t, old, web); err != nil {
		t.Fatal(err)
	}
	status, _, archive := asked.get("/v1/snapshot")
	if status != http.StatusOK {
		t.Fatalf("save: %d", status)
	}

	leader := leaderOf(servers, asked)
	leader.kill()
	another := identify(t, asked, "another")
	if another.roots.ActiveRootID != web.roots.ActiveRootID || len(another.roots.Roots) != 1 {
		t.Fatalf("the next leader has another root: %+v", another.roots)
	}
	if err := talk(t, another, web); err != nil {
		t.Errorf("with one that the next leader has signed: %v", err)
	}
	leader.start()

	settings := writeFile(t, "ca.json", `{"Provider":"consul","Config":{"PrivateKeyBits":384}}`)
	if out, code := asked.muster("connect", "ca", "set-config", "-config-file", settings); code != 0 {
		t.Fatal(out)
	}
	web = renewed(t, asked, web)
	if len(web.roots.Roots) != 2 || web.roots.ActiveRootID == old.roots.ActiveRootID {
		t.Fatalf("after the rotation there are %+v", web.roots)
	}
	if err := errors.Join(talk(t, old, web), talk(t, web, old)); err != nil {
		t.Errorf("with one that knows the old root only: %v", err)
	}

	if err := asked.consul().Snapshot().Restore(nil, strings.NewReader(archive)); err != nil {
		t.Fatal(err)
	}
	web = renewed(t, asked, web)
	if len(web.roots.Roots) != 1 || web.roots.ActiveRootID != old.roots.ActiveRootID {
		t.Fatalf("after the restore there are %+v", web.roots)
	}
	if err := talk(t, old, web); err != nil {
		t.Error(err)
	}

	for _, a := range c.agents {
		if strings.Contains(a.log.String(), "PRIVATE KEY") {
			t.Errorf("%s logs a private key", a.name)
		}
	}
	// What keeps no catalog keeps no key either.
	err := filepath.WalkDir(asked.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(data), "PRIVATE KEY") {
			err = fmt.Errorf("%s has a private key", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// renewed is a program that holds a blocking query, once its certificate is another.
func renewed(t *testing.T, a *agent, p program) program {
	t.Helper()
	service := p.leaf.Service
	eventually(t, 20*time.Second, "another certificate for "+service, func() error {
		leaf, meta, err := a.consul().Agent().ConnectCALeaf(service, &consul.QueryOptions{WaitIndex: p.index, WaitTime: 10 * time.Second})
		if err == nil && meta.LastIndex <= p.index {
			err = fmt.Errorf("index %d follows %d", meta.LastIndex, p.index)
		}
		if err != nil {
			return err
		}
		p.leaf, p.index = leaf, meta.LastIndex
		p.roots, _, err = a.consul().Agent().ConnectCARoots(nil)
		return err
	})
	return p
}
