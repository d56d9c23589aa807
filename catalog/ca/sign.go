package ca

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"time"

	"muster/catalog"
)

// Leaf is a certificate that shows which service somebody is.
type Leaf struct {
	SerialNumber string // hexadecimal numbers with colons
	// Chain is the certificate and those that lead from it to the roots that are
	// older than the one that signed it. PEM.
	Chain     string
	URI       string
	NotBefore time.Time
	NotAfter  time.Time
	RootID    string // of the root that signed it
}

// Request makes a key, and the DER of a request that it be certified as a service's.
// The key is like that of the root that signs.
func Request(uri *url.URL, keyType string, keyBits int) (key catalog.PrivateKey, request []byte, err error) {
	signer, err := drawKey(keyType, keyBits)
	if err != nil {
		return "", nil, fmt.Errorf("make a key: %w", err)
	}
	if request, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{URIs: []*url.URL{uri}}, signer); err != nil {
		return "", nil, fmt.Errorf("make a certificate request: %w", err)
	}
	text, err := encodeKey(signer)
	return catalog.PrivateKey(text), request, err
}

// Requested is which service a request, in DER, is about. It refuses what is not
// about a service of this cluster and datacenter alone.
func Requested(a *catalog.CA, datacenter string, request []byte) (*x509.CertificateRequest, ServiceID, error) {
	csr, err := x509.ParseCertificateRequest(request)
	if err != nil {
		return nil, ServiceID{}, invalid("parse the certificate request: %v", err)
	}
	if key, ok := csr.PublicKey.(*rsa.PublicKey); ok && (key.N.BitLen() < 2048 || key.N.BitLen() > 8192) {
		return nil, ServiceID{}, invalid("the RSA key of a certificate request has %d bits, not 2048 to 8192", key.N.BitLen())
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, ServiceID{}, invalid("the certificate request is not signed by its key: %v", err)
	}
	if len(csr.URIs) != 1 || len(csr.DNSNames)+len(csr.IPAddresses)+len(csr.EmailAddresses) > 0 {
		return nil, ServiceID{}, invalid("a certificate request must have one URI and no other name")
	}
	id, err := parseURL(csr.URIs[0])
	switch {
	case err != nil || csr.URIs[0].Scheme != "spiffe":
		return nil, id, invalid("the URI of a certificate request, %s, names no service", csr.URIs[0])
	case id.TrustDomain != a.TrustDomain():
		return nil, id, invalid("the certificate request is for trust domain %s; this cluster is %s", id.TrustDomain, a.TrustDomain())
	case id.Datacenter != datacenter:
		return nil, id, invalid("the certificate request is for datacenter %q; this is %q", id.Datacenter, datacenter)
	}
	return csr, id, nil
}

// Sign makes the leaf that was asked for. It lasts no longer than the root.
func Sign(a *catalog.CA, csr *x509.CertificateRequest, now time.Time) (*Leaf, error) {
	cfg, _, err := ParseJSON(a.Config)
	if err != nil {
		return nil, fmt.Errorf("the CA's own configuration: %w", err)
	}
	root := a.Active()
	parent, key, err := signer(root)
	if err != nil {
		return nil, fmt.Errorf("the CA's root %s: %w", root.ID, err)
	}
	cert, err := leafOf(csr, parent, key, cfg.LeafTTL, now)
	if err != nil {
		return nil, err
	}
	return &Leaf{
		SerialNumber: colons(cert.SerialNumber.Bytes()), Chain: encodeCert(cert.Raw) + strings.Join(Links(a), ""),
		URI: csr.URIs[0].String(), NotBefore: cert.NotBefore.UTC(), NotAfter: cert.NotAfter.UTC(), RootID: root.ID,
	}, nil
}

func leafOf(csr *x509.CertificateRequest, parent *x509.Certificate, key crypto.Signer, ttl time.Duration, now time.Time) (*x509.Certificate, error) {
	var serial *big.Int
	skid, err := subjectKeyID(csr.PublicKey)
	if err == nil {
		serial, err = randomSerial()
	}
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, URIs: csr.URIs,
		NotBefore: now.Add(-backdate), NotAfter: earlier(now.Add(ttl), parent.NotAfter),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageDataEncipherment | x509.KeyUsageKeyAgreement,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		SubjectKeyId:          skid,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, csr.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("sign a leaf: %w", err)
	}
	return x509.ParseCertificate(der)
}

// Links are the certificates that lead from the root that signs to those before it
// which are still trusted, in PEM, as they follow a leaf.
func Links(a *catalog.CA) (chain []string) {
	for i := len(a.Roots) - 1; i > 0 && a.Roots[i].Link != ""; i-- {
		chain = append(chain, a.Roots[i].Link)
	}
	return chain
}
