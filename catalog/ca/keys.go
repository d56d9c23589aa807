package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"muster/catalog"
)

func newKey(cfg Config) (crypto.Signer, error) {
	if cfg.Key != "" {
		return parseKey(cfg.Key)
	}
	return drawKey(cfg.KeyType, cfg.KeyBits)
}

// drawKey makes a key; "" and 0 leave it to the defaults.
func drawKey(kind string, bits int) (crypto.Signer, error) {
	if kind == "rsa" {
		if bits == 0 {
			bits = 2048
		}
		return rsa.GenerateKey(rand.Reader, bits)
	}
	curve := map[int]elliptic.Curve{0: elliptic.P256(), 224: elliptic.P224(), 256: elliptic.P256(), 384: elliptic.P384(), 521: elliptic.P521()}[bits]
	if curve == nil {
		return nil, fmt.Errorf("there are no EC keys with %d bits", bits)
	}
	return ecdsa.GenerateKey(curve, rand.Reader)
}

func describeKey(public crypto.PublicKey) (kind string, bits int) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return "rsa", k.N.BitLen()
	case *ecdsa.PublicKey:
		return "ec", k.Curve.Params().BitSize
	}
	return "", 0
}

// parseKey reads a private key in any of the forms that tools write.
func parseKey(text catalog.PrivateKey) (crypto.Signer, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, invalid("error parsing private key: no PEM-encoded data found")
	}
	var key any
	var err error
	switch block.Type {
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	default:
		return nil, invalid("error parsing private key: its PEM block is a %q", block.Type)
	}
	if err != nil {
		// What the parser says may quote the key.
		return nil, invalid("error parsing private key: it is malformed")
	}
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		return key, nil
	case *rsa.PrivateKey:
		if key.N.BitLen() < 2048 {
			return nil, invalid("the private key is an RSA key of less than 2048 bits")
		}
		return key, nil
	}
	return nil, invalid("the private key is neither an EC nor an RSA key")
}

func encodeKey(key crypto.Signer) (string, error) {
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		der, err := x509.MarshalECPrivateKey(k)
		return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})), err
	case *rsa.PrivateKey:
		return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)})), nil
	}
	return "", errors.New("keys of this type are not known")
}

func parseCert(text string) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, invalid("error parsing root cert: no PEM-encoded certificate found")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, invalid("error parsing root cert: %v", err)
	}
	return cert, nil
}

func encodeCert(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// randomSerial draws a serial number that no certificate has had (RFC 5280 §4.1.2.2).
func randomSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	return n.Add(n, big.NewInt(1)), nil
}

func subjectKeyID(public crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("encode a public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return sum[:], nil
}

func keyID(public crypto.PublicKey) (string, error) {
	sum, err := subjectKeyID(public)
	return colons(sum), err
}

// fingerprint names a certificate, as everybody's tools do; it proves nothing.
func fingerprint(cert *x509.Certificate) string {
	sum := sha1.Sum(cert.Raw)
	return colons(sum[:])
}

// colons writes bytes as hexadecimal numbers with colons between them.
func colons(b []byte) string {
	return strings.ReplaceAll(fmt.Sprintf("% x", b), " ", ":")
}
