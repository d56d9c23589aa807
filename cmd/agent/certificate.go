package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"time"
)

// What a certificate is for; also a part of its names.
const (
	roleServer = "server"
	roleClient = "client"
	roleCLI    = "cli"
)

// maxDays keeps the end of a certificate within what X.509 can say (the year 9999).
const maxDays = 365_000

// authorityRequest is what a certificate authority is to be.
type authorityRequest struct {
	commonName, clusterID, domain string
	days                          int
	domains                       []string // those it may sign for; nil is all
}

// certificateRequest is what a certificate is to be.
type certificateRequest struct {
	role, commonName string
	days             int
	names            []string
	addresses        []net.IP
}

// madeCertificate is a certificate and its key, both as PEM.
type madeCertificate struct{ cert, key []byte }

// newAuthority makes a certificate authority that signs itself. Its common name ends
// with its serial number where it is the default, so that two of them differ.
func newAuthority(r authorityRequest, now time.Time) (madeCertificate, error) {
	template, err := newTemplate(r.commonName, r.days, now)
	if err != nil {
		return madeCertificate{}, err
	}
	if r.commonName == caName {
		template.Subject.CommonName = fmt.Sprintf("%s %d", caName, template.SerialNumber)
	}
	template.Subject.Organization = []string{"Muster"}
	template.IsCA = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature
	if r.clusterID != "" {
		template.URIs = []*url.URL{{Scheme: "spiffe", Host: r.clusterID + "." + r.domain}}
	}
	if r.domains != nil {
		template.PermittedDNSDomainsCritical, template.PermittedDNSDomains = true, r.domains
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return madeCertificate{}, err
	}
	if template.SubjectKeyId, err = keyID(key.Public()); err != nil {
		return madeCertificate{}, err
	}
	template.AuthorityKeyId = template.SubjectKeyId
	return sign(template, template, key, key)
}

// signedBy makes the certificate, signed by an authority, which must be allowed to.
func (r certificateRequest) signedBy(caPEM, caKeyPEM []byte, now time.Time) (madeCertificate, error) {
	parent, caKey, err := readAuthority(caPEM, caKeyPEM)
	if err != nil {
		return madeCertificate{}, err
	}
	template, err := newTemplate(r.commonName, r.days, now)
	if err != nil {
		return madeCertificate{}, err
	}
	template.DNSNames, template.IPAddresses = r.names, r.addresses
	template.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	switch r.role {
	case roleServer:
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	case roleClient:
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return madeCertificate{}, err
	}
	if template.SubjectKeyId, err = keyID(key.Public()); err != nil {
		return madeCertificate{}, err
	}
	made, err := sign(template, parent, key, caKey)
	if err != nil {
		return madeCertificate{}, err
	}
	return made, made.verify(parent, now)
}

// newTemplate has what all certificates have: a random serial number of 128 bits, and
// its time.
func newTemplate(commonName string, days int, now time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: commonName},
		NotBefore: now, NotAfter: now.AddDate(0, 0, days), BasicConstraintsValid: true,
	}, nil
}

// keyID is the hash of a public key that certificates name it by.
func keyID(key crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(der)
	return sum[:], nil
}

func sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey, by crypto.Signer) (madeCertificate, error) {
	cert, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		return madeCertificate{}, err
	}
	if _, err := x509.ParseCertificate(cert); err != nil { // as with a domain that is no name
		return madeCertificate{}, err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return madeCertificate{}, err
	}
	return madeCertificate{
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}),
	}, nil
}

// readAuthority reads an authority's certificate and key, which must belong together.
func readAuthority(caPEM, keyPEM []byte) (*x509.Certificate, crypto.Signer, error) {
	pair, err := tls.X509KeyPair(caPEM, keyPEM)
	if err != nil {
		return nil, nil, err
	}
	signer, ok := pair.PrivateKey.(crypto.Signer)
	switch {
	case !ok:
		return nil, nil, errors.New("the key can't sign")
	case !pair.Leaf.IsCA:
		return nil, nil, fmt.Errorf("the certificate of %q is not that of an authority", pair.Leaf.Subject.CommonName)
	}
	return pair.Leaf, signer, nil
}

// verify says whether a certificate holds now for all its names: its authority may be
// bound to others, or have ended.
func (m madeCertificate) verify(parent *x509.Certificate, now time.Time) error {
	block, _ := pem.Decode(m.cert)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AddCert(parent)
	_, err = cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err
}

// save writes the certificate for all to read and the key for its owner alone, and
// tells of both. It overwrites nothing.
func (m madeCertificate) save(out io.Writer, certFile, keyFile string) error {
	for _, f := range []struct {
		name string
		data []byte
		mode os.FileMode
	}{{certFile, m.cert, 0o644}, {keyFile, m.key, 0o600}} {
		if err := writeNew(f.name, f.data, f.mode); err != nil {
			return failure("Error writing %s: %v", f.name, err)
		}
		fmt.Fprintf(out, "==> Saved %s\n", f.name)
	}
	return nil
}

// writeNew writes a file that must not be there yet.
func writeNew(name string, data []byte, mode os.FileMode) error {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Close())
}
