package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// in runs a command line that must succeed.
func in(t *testing.T, line string) string {
	t.Helper()
	out, errOut, code := muster(t, strings.Fields(line)...)
	if code != 0 || errOut != "" {
		t.Fatalf("%s: code %d, %s%s", line, code, out, errOut)
	}
	return out
}

func readCertificate(t *testing.T, name string) *x509.Certificate {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	block, rest := pem.Decode(data)
	if block == nil || len(rest) > 0 {
		t.Fatalf("%s is not one PEM block", name)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// Names, times and usages are those of what Consul 1.21.4 made.
func TestTLS_MakesWhatConsulMakes(t *testing.T) {
	t.Chdir(t.TempDir())
	if out := in(t, "tls ca create"); out != "==> Saved consul-agent-ca.pem\n==> Saved consul-agent-ca-key.pem\n" {
		t.Error(out)
	}
	ca := readCertificate(t, "consul-agent-ca.pem")
	if want := fmt.Sprintf("Consul Agent CA %d", ca.SerialNumber); !ca.IsCA || ca.Subject.CommonName != want || ca.KeyUsage != x509.KeyUsageDigitalSignature|x509.KeyUsageCertSign|x509.KeyUsageCRLSign {
		t.Errorf("the authority is %q, usage %b", ca.Subject.CommonName, ca.KeyUsage)
	}
	if got := ca.NotAfter.Sub(ca.NotBefore); got != 1825*24*time.Hour {
		t.Errorf("the authority lasts %v", got)
	}
	const both = "==> Using consul-agent-ca.pem and consul-agent-ca-key.pem\n==> Saved %s.pem\n==> Saved %[1]s-key.pem\n"
	serverAuth, clientAuth := x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth
	for _, tc := range []struct {
		flags, file, names, addresses string
		usage                         []x509.ExtKeyUsage
		days                          int
	}{
		{"-server", "dc1-server-consul-0", "server.dc1.consul localhost", "127.0.0.1", []x509.ExtKeyUsage{serverAuth, clientAuth}, 365},
		{"-server -days=1", "dc1-server-consul-1", "server.dc1.consul localhost", "127.0.0.1", []x509.ExtKeyUsage{serverAuth, clientAuth}, 1},
		{"-server -node=n1 -dc=dc2 -additional-dnsname=a.b -additional-ipaddress=192.0.2.1", "dc2-server-consul-0",
			"a.b n1.server.dc2.consul server.dc2.consul localhost", "192.0.2.1 127.0.0.1", []x509.ExtKeyUsage{serverAuth, clientAuth}, 365},
		{"-client", "dc1-client-consul-0", "client.dc1.consul localhost", "127.0.0.1", []x509.ExtKeyUsage{clientAuth, serverAuth}, 365},
		{"-cli", "dc1-cli-consul-0", "cli.dc1.consul localhost", "", nil, 365},
	} {
		want := fmt.Sprintf(both, tc.file)
		if strings.HasPrefix(tc.flags, "-server") {
			want = serverWarning + want
		}
		if out := in(t, "tls cert create "+tc.flags); out != want {
			t.Errorf("%s prints\n%s\nwant\n%s", tc.flags, out, want)
		}
		cert := readCertificate(t, tc.file+".pem")
		names := strings.Fields(tc.names)
		if !slices.Equal(cert.DNSNames, names) || fmt.Sprint(cert.IPAddresses) != "["+tc.addresses+"]" || cert.Subject.CommonName != names[len(names)-2] {
			t.Errorf("%s: subject %s, names %q, addresses %v", tc.flags, cert.Subject, cert.DNSNames, cert.IPAddresses)
		}
		if !slices.Equal(cert.ExtKeyUsage, tc.usage) || cert.KeyUsage != x509.KeyUsageDigitalSignature|x509.KeyUsageKeyEncipherment || cert.IsCA {
			t.Errorf("%s: usage %b %v", tc.flags, cert.KeyUsage, cert.ExtKeyUsage)
		}
		if got := cert.NotAfter.Sub(cert.NotBefore); got != time.Duration(tc.days)*24*time.Hour {
			t.Errorf("%s: lasts %v", tc.flags, got)
		}
		if err := cert.CheckSignatureFrom(ca); err != nil {
			t.Errorf("%s: %v", tc.flags, err)
		}
		for name, mode := range map[string]os.FileMode{tc.file + ".pem": 0o644, tc.file + "-key.pem": 0o600} {
			if info, err := os.Stat(name); err != nil || info.Mode() != mode {
				t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
			}
		}
	}
	in(t, "tls ca create -domain=dom -name-constraint -additional-name-constraint=foo.example -cluster-id=1234 -common-name=Mine -days=3")
	bound := readCertificate(t, "dom-agent-ca.pem")
	if !slices.Equal(bound.PermittedDNSDomains, []string{"foo.example", "dom", "localhost"}) || !bound.PermittedDNSDomainsCritical ||
		fmt.Sprint(bound.URIs) != "[spiffe://1234.dom]" || bound.Subject.CommonName != "Mine" {
		t.Errorf("the bound authority %s: %q, %v", bound.Subject, bound.PermittedDNSDomains, bound.URIs)
	}
	in(t, "tls cert create -client -domain=dom -additional-dnsname=x.foo.example")
}

// A server and a client that trust the authority meet, each with its certificate.
func TestTLS_CertificatesServe(t *testing.T) {
	t.Chdir(t.TempDir())
	in(t, "tls ca create")
	in(t, "tls cert create -server")
	in(t, "tls cert create -client")
	load := func(name string) tls.Certificate {
		pair, err := tls.LoadX509KeyPair(name+".pem", name+"-key.pem")
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	trusted := x509.NewCertPool()
	trusted.AddCert(readCertificate(t, "consul-agent-ca.pem"))
	near, far := net.Pipe()
	server := tls.Server(near, &tls.Config{Certificates: []tls.Certificate{load("dc1-server-consul-0")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: trusted})
	client := tls.Client(far, &tls.Config{Certificates: []tls.Certificate{load("dc1-client-consul-0")}, RootCAs: trusted, ServerName: "server.dc1.consul"})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	answered := make(chan error, 1)
	go func() { answered <- server.HandshakeContext(ctx) }()
	err := client.HandshakeContext(ctx)
	if serverErr := <-answered; err != nil || serverErr != nil {
		t.Errorf("client: %v, server: %v", err, serverErr)
	}
	_, _ = near.Close(), far.Close()
}

func TestTLS_SaysWhatIsWrong(t *testing.T) {
	t.Chdir(t.TempDir())
	in(t, "tls ca create")
	in(t, "tls ca create -domain=dom -name-constraint")
	in(t, "tls cert create -client")
	if err := os.WriteFile("no.pem", []byte("hi\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"ca create":         "consul-agent-ca.pem already exists.\n",
		"ca create -days=0": "-days must be from 1 to 365000, not 0\n",
		"ca create x":       "Too many arguments (expected 0, got 1)\n",
		"ca create -domain=a..b -name-constraint": "Error generating CA: x509: ",
		"cert create":                              "Please provide either -server, -client, or -cli\n",
		"cert create -server -client":              "Please provide either -server, -client, or -cli\n",
		"cert create -client -node=n":              "-node requires -server\n",
		"cert create -client -days=-1":             "-days must be from 1 to 365000, not -1\n",
		"cert create -server -ca=nope.pem":         "Error reading CA: open nope.pem: no such file or directory\n",
		"cert create -server -key=nope.pem":        "Error reading CA key: open nope.pem: no such file or directory\n",
		"cert create -client -ca=no.pem":           "Error creating the certificate with no.pem and consul-agent-ca-key.pem: ",
		"cert create -client -key=no.pem":          "Error creating the certificate with consul-agent-ca.pem and no.pem: ",
		"cert create -client -ca=dom-agent-ca.pem": "Error creating the certificate with dom-agent-ca.pem and consul-agent-ca-key.pem: tls: private key does not match public key\n",
		"cert create -client -ca=dc1-client-consul-0.pem -key=dc1-client-consul-0-key.pem": "Error creating the certificate with dc1-client-consul-0.pem and dc1-client-consul-0-key.pem: the certificate of \"client.dc1.consul\" is not that of an authority\n",
		"cert create -cli -domain=dom -additional-dnsname=other.example":                   "Error creating the certificate with dom-agent-ca.pem and dom-agent-ca-key.pem: x509: a root or intermediate certificate is not authorized to sign for this name",
		"cert create -client -additional-ipaddress=nope":                                   "-additional-ipaddress \"nope\" is no IP address\n",
	} {
		_, errOut, code := muster(t, append([]string{"tls"}, strings.Fields(args)...)...)
		if code != 1 || !strings.HasPrefix(errOut, want) {
			t.Errorf("%s: code %d, %s\nwant %s", args, code, errOut, want)
		}
	}
	files, err := os.ReadDir(".")
	if err != nil || len(files) != 7 {
		t.Errorf("what was refused left files: %q, %v", names(files), err)
	}
}
