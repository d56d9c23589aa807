package ca

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"muster/catalog"
)

const cluster = "11111111-2222-3333-4444-555555555555"

var start = time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)

func authority(t testing.TB, settings string) *catalog.CA {
	t.Helper()
	cfg, shown, err := ParseJSON([]byte(settings))
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(cfg, shown, cluster, start)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func reconfigured(t testing.TB, a *catalog.CA, settings string, unlinked bool, now time.Time) *catalog.CA {
	t.Helper()
	cfg, shown, err := ParseJSON([]byte(settings))
	if err != nil {
		t.Fatal(err)
	}
	next, err := Reconfigure(a, cfg, shown, unlinked, now)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// leaf is a service's certificate with its key.
func leaf(t testing.TB, a *catalog.CA, service string, now time.Time) (tls.Certificate, *Leaf) {
	t.Helper()
	root := a.Active()
	key, request, err := Request(ServiceURI(a.TrustDomain(), "dc1", service), root.KeyType, root.KeyBits)
	if err != nil {
		t.Fatal(err)
	}
	csr, id, err := Requested(a, "dc1", request)
	if err != nil || id.Service != service {
		t.Fatal(id, err)
	}
	l, err := Sign(a, csr, now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair([]byte(l.Chain), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return pair, l
}

func bundle(roots ...catalog.CARoot) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, r := range roots {
		pool.AppendCertsFromPEM([]byte(r.Cert))
	}
	return pool
}

// verify checks a certificate as somebody does who trusts these roots.
func verify(pair tls.Certificate, trusted *x509.CertPool, now time.Time) error {
	links := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		links.AddCert(cert)
	}
	_, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: trusted, Intermediates: links, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err
}

func TestSign_MakesWhatASPIFFEPeerVerifies(t *testing.T) {
	for _, settings := range []string{`{}`, `{"PrivateKeyBits":224}`, `{"private_key_bits":384}`, `{"PrivateKeyBits":521}`, `{"PrivateKeyType":"rsa"}`} {
		a := authority(t, settings)
		pair, l := leaf(t, a, "we b.x", start)
		if err := verify(pair, bundle(*a.Active()), start.Add(71*time.Hour)); err != nil {
			t.Errorf("%s: %v", settings, err)
		}
		if err := verify(pair, bundle(*a.Active()), start.Add(73*time.Hour)); err == nil {
			t.Errorf("%s: it is still good after its time", settings)
		}
		if err := verify(pair, bundle(*authority(t, settings).Active()), start); err == nil {
			t.Errorf("%s: another cluster's root verifies it", settings)
		}
		id, err := ParseURI(l.URI)
		if err != nil || id != (ServiceID{cluster + ".consul", "dc1", "we b.x"}) || len(pair.Leaf.URIs) != 1 || pair.Leaf.URIs[0].String() != l.URI || pair.Leaf.IsCA {
			t.Errorf("%s: it names %+v, %v", settings, id, err)
		}
	}
}

// What no service may ask for is refused, whoever asks.
func TestRequested_RefusesOtherNames(t *testing.T) {
	a := authority(t, `{}`)
	for uri, want := range map[string]string{
		"spiffe://other.consul/ns/default/dc/dc1/svc/web":                     "is for trust domain other.consul",
		"spiffe://" + cluster + ".consul/ns/default/dc/dc2/svc/web":           `for datacenter "dc2"`,
		"spiffe://" + cluster + ".consul/agent/server/dc/dc1":                 "names no service",
		"spiffe://" + cluster + ".consul/ns/other/dc/dc1/svc/web":             "names no service",
		"spiffe://" + cluster + ".consul/ns/default/dc/dc1/svc/":              "names no service",
		"spiffe://" + cluster + ".consul/ns/default/dc/dc1/svc/web/more":      "names no service",
		"spiffe://user@" + cluster + ".consul/ns/default/dc/dc1/svc/web":      "names no service",
		"https://" + cluster + ".consul/ns/default/dc/dc1/svc/web":            "names no service",
		"spiffe://" + cluster + ".consul/ns/default/dc/dc1/svc/web?x=1":       "names no service",
		"spiffe://" + cluster + ".consul/ns/default/dc/dc1/svc/web#fragments": "names no service",
	} {
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		_, request, err := Request(u, "", 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err = Requested(a, "dc1", request); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", uri, err)
		}
	}
	_, request, err := Request(ServiceURI(a.TrustDomain(), "dc1", "web"), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{URIs: []*url.URL{ServiceURI(a.TrustDomain(), "dc1", "web")}}, small)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Requested(a, "dc1", weak); err == nil || !strings.Contains(err.Error(), "1024 bits") {
		t.Errorf("a weak key: %v", err)
	}
	request[len(request)-1] ^= 1
	if _, _, err := Requested(a, "dc1", request); err == nil {
		t.Error("a request with another's signature is taken")
	}
}

func FuzzRequested(f *testing.F) {
	a := authority(f, `{}`)
	_, request, err := Request(ServiceURI(a.TrustDomain(), "dc1", "web"), "", 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(request, string(ServiceURI(a.TrustDomain(), "dc1", "a").String()))
	f.Fuzz(func(t *testing.T, request []byte, uri string) {
		if csr, id, err := Requested(a, "dc1", request); err == nil && (id.Datacenter != "dc1" || id.Service == "" || csr == nil) {
			t.Errorf("%+v passed", id)
		}
		if id, err := ParseURI(uri); err == nil && (id.Service == "" || id.TrustDomain == "") {
			t.Errorf("%q is %+v", uri, id)
		}
	})
}

// Whatever root somebody knows that is still listed, the leaves of every later one
// are good for him; without links only those who know the new root trust it.
func TestReconfigure_OldBundlesVerifyNewLeaves(t *testing.T) {
	a := authority(t, `{}`)
	now := start
	oldest := *a.Active()
	before, _ := leaf(t, a, "web", now)
	for i, settings := range []string{`{"PrivateKeyType":"rsa"}`, `{"PrivateKeyType":"ec","PrivateKeyBits":384}`, `{"PrivateKeyBits":256}`} {
		now = now.Add(time.Hour)
		a = reconfigured(t, a, settings, false, now)
		if len(a.Roots) != i+2 {
			t.Fatalf("there are %d roots", len(a.Roots))
		}
		for j, r := range a.Roots[:len(a.Roots)-1] {
			if r.Key != "" {
				t.Errorf("root %d keeps its key", j)
			}
		}
		pair, l := leaf(t, a, "web", now)
		if l.RootID != a.Active().ID || len(pair.Certificate) != i+2 {
			t.Errorf("a chain of %d certificates", len(pair.Certificate))
		}
		for j, r := range a.Roots {
			if err := verify(pair, bundle(r), now); err != nil {
				t.Errorf("who trusts root %d of %d: %v", j, len(a.Roots), err)
			}
		}
		if err := verify(before, bundle(a.Roots...), now); err != nil {
			t.Errorf("an old leaf: %v", err)
		}
	}
	a = reconfigured(t, a, `{"PrivateKeyType":"rsa"}`, true, now)
	pair, _ := leaf(t, a, "web", now)
	if err := verify(pair, bundle(oldest), now); err == nil || len(pair.Certificate) != 1 {
		t.Error("there is a link though it was forbidden")
	}
	if err := verify(pair, bundle(a.Roots...), now); err != nil {
		t.Error(err)
	}
}

func TestReconfigure_TakesARootThatWasMadeElsewhere(t *testing.T) {
	a, other := authority(t, `{}`), authority(t, `{"PrivateKeyType":"rsa"}`)
	own := fmt.Sprintf(`{"PrivateKey":%q,"RootCert":%q}`, string(other.Active().Key), other.Active().Cert)
	b := reconfigured(t, a, own, false, start)
	if b.Active().ID != other.Active().ID || b.Active().KeyType != "rsa" || strings.Contains(string(b.Config), "PRIVATE") {
		t.Errorf("%+v with %s", b.Active(), b.Config)
	}
	pair, _ := leaf(t, b, "web", start)
	for _, r := range b.Roots {
		if err := verify(pair, bundle(r), start); err != nil {
			t.Errorf("who trusts %s: %v", r.ID, err)
		}
	}
	if again := reconfigured(t, b, own, false, start); again != b {
		t.Error("the same root is another one")
	}
	if c := reconfigured(t, b, `{"LeafCertTTL":"2h"}`, false, start); len(c.Roots) != 2 || c.Active().ID != b.Active().ID {
		t.Error("settings without a key have made another root")
	}
	key := fmt.Sprintf(`{"PrivateKey":%q}`, string(authority(t, `{}`).Active().Key))
	if c := reconfigured(t, b, key, false, start); len(c.Roots) != 3 {
		t.Error("a key alone has made no root")
	}
	for settings, want := range map[string]string{
		fmt.Sprintf(`{"PrivateKey":%q,"RootCert":%q}`, string(a.Active().Key), other.Active().Cert): "not of the PrivateKey",
		`{"PrivateKey":"x"}`: "no PEM-encoded data",
		fmt.Sprintf(`{"PrivateKey":%q}`, "-----BEGIN EC PRIVATE KEY-----\nQUJDREVGR0g=\n-----END EC PRIVATE KEY-----\n"): "malformed",
		`{"ClusterID":"other"}`: "can't change",
	} {
		cfg, shown, err := ParseJSON([]byte(settings))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Reconfigure(a, cfg, shown, false, start); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "QUJD") || catalog.KindOf(err) != catalog.Invalid {
			t.Errorf("%s: %v", settings, err)
		}
	}
	cfg, shown, err := ParseJSON([]byte(own))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Reconfigure(a, cfg, shown, false, start.Add(20*365*24*time.Hour)); err == nil || !strings.Contains(err.Error(), "which is not now") {
		t.Errorf("a root whose time is over: %v", err)
	}
}

// Through all the years of three roots there is always one that signs, and each leaf
// is good to its end with what is trusted then.
func TestMaintain_RenewsRootsBeforeTheyEndAndForgetsThem(t *testing.T) {
	for _, settings := range []string{
		`{"LeafCertTTL":"1000h","IntermediateCertTTL":"3000h","RootCertTTL":"3001h"}`,
		`{"LeafCertTTL":"1000h","RotationPeriod":"1001h"}`,
	} {
		a := authority(t, settings)
		type out struct {
			pair tls.Certificate
			ends time.Time
		}
		var leaves []out
		renewed, forgotten := 0, 0
		for now := start; now.Before(start.Add(9000 * time.Hour)); now = now.Add(100 * time.Hour) {
			for {
				next, why, again, err := Maintain(a, now)
				if err != nil {
					t.Fatal(err)
				}
				if next == nil {
					if !again.After(now) {
						t.Fatalf("at %s it is to look again at %s", now, again)
					}
					break
				}
				if len(next.Roots) > len(a.Roots) {
					renewed++
				} else {
					forgotten++
				}
				if a = next; why == "" {
					t.Error("it does not say why")
				}
			}
			pair, l := leaf(t, a, "web", now)
			leaves = append(leaves, out{pair, l.NotAfter})
			if l.NotAfter.Before(now.Add(1000 * time.Hour)) {
				t.Errorf("%s: a leaf of %s ends with its root, at %s", settings, now, l.NotAfter)
			}
			for _, o := range leaves {
				if !o.ends.Before(now) {
					if err := verify(o.pair, bundle(a.Roots...), now); err != nil {
						t.Fatalf("%s: at %s: %v", settings, now, err)
					}
				}
			}
		}
		if renewed < 2 || forgotten < 2 || len(a.Roots) > 3 {
			t.Errorf("%s: %d renewed, %d forgotten, %d left", settings, renewed, forgotten, len(a.Roots))
		}
	}
}

// A lower LeafCertTTL doesn't have a root forgotten while longer leaves are out.
func TestMaintain_RemembersLeavesOfEarlierSettings(t *testing.T) {
	a := authority(t, `{"LeafCertTTL":"100h"}`)
	old, _ := leaf(t, a, "web", start)
	a = reconfigured(t, a, `{"LeafCertTTL":"1h"}`, false, start)
	a = reconfigured(t, a, `{"LeafCertTTL":"1h","PrivateKeyBits":384}`, false, start.Add(time.Hour))
	now := start.Add(99 * time.Hour)
	if next, why, _, err := Maintain(a, now); next != nil || err != nil || verify(old, bundle(a.Roots...), now) != nil {
		t.Fatalf("it would change as %s, %v", why, err)
	}
	next, _, _, err := Maintain(a, start.Add(101*time.Hour))
	if err != nil || next == nil || len(next.Roots) != 1 || len(Links(next)) != 0 {
		t.Fatalf("%+v %v", next, err)
	}
}

// Two programs talk mutual TLS with nothing but their leaves and the roots.
func TestLeaves_AreAllThatMutualTLSNeeds(t *testing.T) {
	a := authority(t, `{}`)
	now := start.Add(time.Minute)
	config := func(service string) *tls.Config {
		pair, _ := leaf(t, a, service, now)
		return &tls.Config{
			Certificates: []tls.Certificate{pair}, RootCAs: bundle(*a.Active()), ClientCAs: bundle(*a.Active()),
			ClientAuth: tls.RequireAndVerifyClientCert, Time: func() time.Time { return now },
			// A leaf has no DNS name: who it is stands in its URI.
			InsecureSkipVerify: true,
			VerifyConnection: func(s tls.ConnectionState) error {
				return verify(tls.Certificate{Certificate: [][]byte{s.PeerCertificates[0].Raw}, Leaf: s.PeerCertificates[0]}, bundle(*a.Active()), now)
			},
		}
	}
	near, far := net.Pipe()
	server, client := tls.Server(near, config("web")), tls.Client(far, config("api"))
	served := make(chan error, 1)
	go func() {
		defer near.Close()
		err := server.Handshake()
		if err == nil && server.ConnectionState().PeerCertificates[0].URIs[0].Path != "/ns/default/dc/dc1/svc/api" {
			err = errors.New("the client is somebody else")
		}
		if err == nil {
			_, err = io.WriteString(server, "hello")
		}
		served <- err
	}()
	said := make([]byte, 5)
	if _, err := io.ReadFull(client, said); err != nil || string(said) != "hello" {
		t.Error(err, string(said))
	}
	far.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func BenchmarkSign(b *testing.B) {
	a := authority(b, `{}`)
	_, request, err := Request(ServiceURI(a.TrustDomain(), "dc1", "web"), "", 0)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		csr, _, err := Requested(a, "dc1", request)
		if err == nil {
			_, err = Sign(a, csr, start)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
