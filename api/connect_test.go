package api_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"

	"muster/api"
	"muster/api/connectapi"
	"muster/catalog"
	"muster/catalog/ca"
)

const testCluster = "11111111-2222-3333-4444-555555555555"

// found commits an authority with a root.
func (r *fakeReplica) found(t testing.TB) *catalog.CA {
	t.Helper()
	cfg, shown, err := ca.Parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := ca.New(cfg, shown, testCluster, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if result, err := r.Propose(context.Background(), &catalog.SetCA{CA: *a}); err != nil || result.Value != true {
		t.Fatal(err, result)
	}
	return a
}

// client is the official client of a rig.
func (r *rig) client(t testing.TB) *consul.Client {
	t.Helper()
	s := httptest.NewServer(r.users)
	t.Cleanup(s.Close)
	c, err := consul.NewClient(&consul.Config{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Nothing that the API answers has the key by which everything else is trusted.
func TestCA_GivesItsPrivateKeyToNobody(t *testing.T) {
	r := newRig(t)
	a := r.replica.found(t)
	secret := strings.Split(string(a.Active().Key), "\n")[1]
	if len(secret) < 32 {
		t.Fatalf("%q is no line of a key", secret)
	}
	put := r.do("PUT", "/v1/connect/ca/configuration", `{"Provider":"consul","Config":{"PrivateKey":"-----BEGIN X-----\n`+secret+`\n-----END X-----"}}`)
	if put.Code != http.StatusBadRequest || strings.Contains(put.Body.String(), secret) {
		t.Errorf("a key that is none is answered %d %s", put.Code, put.Body)
	}
	for _, route := range r.server.Routes() {
		if route.Method != http.MethodGet || route.Kind != api.Read || strings.Contains(route.Path, "{") || route.Path == "/v1/snapshot" {
			continue
		}
		w := r.do("GET", route.Path+"?pretty", "")
		if strings.Contains(w.Body.String(), secret) || strings.Contains(w.Body.String(), "PRIVATE") {
			t.Errorf("%s gives the CA's private key: %s", route.Path, w.Body)
		}
	}
}

func TestCARoots_AreWhatTheOfficialClientWantsOfThem(t *testing.T) {
	r := newRig(t)
	a := r.replica.found(t)
	client := r.client(t)
	roots, meta, err := client.Connect().CARoots(nil)
	if err != nil || len(roots.Roots) != 1 || meta.LastIndex == 0 {
		t.Fatalf("%+v %+v %v", roots, meta, err)
	}
	root := roots.Roots[0]
	if roots.TrustDomain != testCluster+".consul" || roots.ActiveRootID != root.ID || !root.Active || root.CreateIndex != meta.LastIndex || root.NotAfter.Sub(*root.NotBefore) < 87600*time.Hour {
		t.Errorf("%+v", root)
	}
	block, _ := pem.Decode([]byte(root.RootCertPEM))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil || !cert.IsCA || cert.CheckSignatureFrom(cert) != nil || cert.URIs[0].String() != "spiffe://"+roots.TrustDomain || encoded(cert) != a.Active().Cert {
		t.Errorf("root %v, %v", cert.URIs, err)
	}
	local, _, err := client.Agent().ConnectCARoots(nil)
	if err != nil || local.ActiveRootID != roots.ActiveRootID {
		t.Errorf("the agent's roots are %+v, %v", local, err)
	}
	if w := r.do("GET", "/v1/connect/ca/roots?pem=true", ""); w.Body.String() != root.RootCertPEM || w.Header().Get("Content-Type") != "application/pem-certificate-chain" {
		t.Errorf("in PEM: %v %s", w.Header(), w.Body)
	}
}

func encoded(cert *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}

func TestCAConfiguration_IsSetByTheOfficialClient(t *testing.T) {
	r := newRig(t)
	r.replica.found(t)
	client := r.client(t).Connect()
	before, _, err := client.CAGetConfig(nil)
	if err != nil || before.Provider != "consul" || before.Config["LeafCertTTL"] != "72h0m0s" {
		t.Fatalf("%+v %v", before, err)
	}
	parsed, err := consul.ParseConsulCAConfig(before.Config)
	if err != nil || parsed.RootCertTTL != 87600*time.Hour || parsed.IntermediateCertTTL != 8760*time.Hour {
		t.Errorf("%+v %v", parsed, err)
	}
	before.Config["LeafCertTTL"] = "24h"
	before.Config["PrivateKey"] = ""
	before.Config["IntermediateCertTTL"] = 300 * 24 * time.Hour
	before.Config["test_state"] = map[string]string{"foo": "bar"}
	if _, err := client.CASetConfig(before, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CASetConfig(before, nil); err == nil || !strings.Contains(err.Error(), "ModifyIndex did not match existing") {
		t.Errorf("with an old index: %v", err)
	}
	after, _, err := client.CAGetConfig(nil)
	if err != nil || after.Config["LeafCertTTL"] != "24h" || after.CreateIndex != before.CreateIndex || after.ModifyIndex <= before.ModifyIndex {
		t.Errorf("%+v %v", after, err)
	}
	if parsed, err = consul.ParseConsulCAConfig(after.Config); err != nil || parsed.IntermediateCertTTL != 300*24*time.Hour || after.State["foo"] != "bar" {
		t.Errorf("%+v %+v %v", parsed, after, err)
	}
	roots, _, err := client.CARoots(nil)
	if err != nil || len(roots.Roots) != 1 {
		t.Errorf("with the same key there are %d roots, %v", len(roots.Roots), err)
	}
	writes := r.replica.writes.Load()
	if _, err := client.CASetConfig(&consul.CAConfig{Provider: "consul", Config: after.Config}, nil); err != nil || r.replica.writes.Load() != writes {
		t.Errorf("what changes nothing takes an entry of the log: %v", err)
	}
}

// A new root comes while a blocking query waits for it, and the old one stays.
func TestCAConfiguration_WithAnotherKeyHasANewRoot(t *testing.T) {
	r := newRig(t)
	old := r.replica.found(t)
	client := r.client(t).Connect()
	_, meta, err := client.CARoots(nil)
	if err != nil {
		t.Fatal(err)
	}
	woken := make(chan *consul.CARootList, 1)
	go func() {
		roots, _, _ := client.CARoots(&consul.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: time.Minute})
		woken <- roots
	}()
	if _, err := client.CASetConfig(&consul.CAConfig{Provider: "consul", Config: map[string]any{"PrivateKeyBits": 384}}, nil); err != nil {
		t.Fatal(err)
	}
	roots := <-woken
	if roots == nil || len(roots.Roots) != 2 || !roots.Roots[0].Active || roots.Roots[1].Active || roots.Roots[1].ID != old.Active().ID || roots.ActiveRootID == old.Active().ID {
		t.Fatalf("%+v", roots)
	}
	var raw connectapi.Roots
	if err := json.Unmarshal(r.do("GET", "/v1/connect/ca/roots", "").Body.Bytes(), &raw); err != nil || len(raw.Roots[0].IntermediateCerts) != 1 || raw.Roots[0].PrivateKeyBits != 384 {
		t.Errorf("%+v %v", raw, err)
	}
}

func TestCA_RefusesWhereConnectIsOff(t *testing.T) {
	replica := newReplica()
	s, err := api.New(api.DefaultConfig(), api.Deps{Replica: replica, Cluster: newCluster()}, connectapi.Routes(false))
	if err != nil {
		t.Fatal(err)
	}
	for _, request := range [][2]string{{"GET", "/v1/connect/ca/roots"}, {"GET", "/v1/agent/connect/ca/roots"}, {"GET", "/v1/connect/ca/configuration"}, {"PUT", "/v1/connect/ca/configuration"}} {
		w := do(t, s.Handler(), request[0], request[1], "{}")
		if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "Connect must be enabled") {
			t.Errorf("%v: %d %s", request, w.Code, w.Body)
		}
	}
}

// Who has a certificate's index waits until there is another.
func TestLeaf_WaitsForAnother(t *testing.T) {
	r := newRig(t)
	client := r.client(t).Agent()
	leaf, meta, err := client.ConnectCALeaf("web", nil)
	if err != nil || leaf.Service != "web" || leaf.CertPEM != "cert" || leaf.PrivateKeyPEM != "key" || meta.LastIndex != leaf.ModifyIndex {
		t.Fatalf("%+v %+v %v", leaf, meta, err)
	}
	woken := make(chan *consul.LeafCert, 1)
	go func() {
		next, _, _ := client.ConnectCALeaf("web", &consul.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: time.Minute})
		woken <- next
	}()
	if err := r.agent.update(func() error { r.agent.calls = append(r.agent.calls, "renewed"); return nil }); err != nil {
		t.Fatal(err)
	}
	if next := <-woken; next == nil || next.ModifyIndex != leaf.ModifyIndex+1 {
		t.Errorf("woken with %+v", next)
	}
}

func TestLeaf_ThatIsNotSignedNowIsToBeAskedForAgain(t *testing.T) {
	w := newRig(t).do("GET", "/v1/agent/connect/ca/leaf/busy", "")
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "rate limited") {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}

// A service's private key is for those who may write it.
func TestLeaf_NeedsTheRightToTheService(t *testing.T) {
	r := newRig(t, func(_ *api.Config, d *api.Deps) { d.Authorize = authorizeByToken })
	if w := r.do("GET", "/v1/agent/connect/ca/leaf/web?token=none", ""); w.Code != http.StatusForbidden || strings.Contains(w.Body.String(), "key\"") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := r.do("GET", "/v1/agent/connect/ca/leaf/web?token=all", ""); w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestAuthorize_KnowsOwnTrustDomainAlone(t *testing.T) {
	official(t, func(t *testing.T, c *consul.Client) {
		ask := func(domain, service string) *consul.AgentAuthorize {
			t.Helper()
			answer, err := c.Agent().ConnectAuthorize(&consul.AgentAuthorizeParams{
				Target: "web", ClientCertURI: "spiffe://" + domain + "/ns/default/dc/dc1/svc/" + service, ClientCertSerial: "0a",
			})
			if err != nil {
				t.Fatal(err)
			}
			return answer
		}
		if a := ask(testCluster+".consul", "api"); !a.Authorized {
			t.Errorf("%+v", a)
		}
		if _, err := c.Connect().IntentionUpsert(&consul.Intention{SourceName: "api", DestinationName: "web", Action: consul.IntentionActionDeny}, nil); err != nil {
			t.Fatal(err)
		}
		if a := ask(testCluster+".consul", "api"); a.Authorized || !strings.Contains(a.Reason, "default/api => default/web") {
			t.Errorf("%+v", a)
		}
		if a := ask(testCluster+".consul", "other"); !a.Authorized {
			t.Errorf("%+v", a)
		}
	})
	r := newRig(t)
	r.replica.found(t)
	w := r.do("POST", "/v1/agent/connect/authorize", `{"Target":"web","ClientCertURI":"spiffe://other.consul/ns/default/dc/dc1/svc/api"}`)
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"Authorized":false`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	chain := r.do("GET", "/v1/discovery-chain/web", "").Body.String()
	if want := `"SNI":"web.default.dc1.internal.` + testCluster + `.consul"`; !strings.Contains(chain, want) {
		t.Errorf("the chain has no %s: %s", want, chain)
	}
}
