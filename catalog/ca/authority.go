package ca

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"time"

	"muster/catalog"
)

const (
	// backdate is how far before its making a certificate begins, for clocks that
	// are slow.
	backdate = time.Minute
	// slack is how much longer a root that signs no more is trusted than its leaves
	// last, for clocks that are slow.
	slack = 10 * time.Minute
	// maxRoots bounds the roots that are trusted at one time.
	maxRoots = 64
)

// New makes the authority of a cluster that has none.
func New(cfg Config, shown []byte, clusterID string, now time.Time) (*catalog.CA, error) {
	if cfg.ClusterID != "" {
		clusterID = cfg.ClusterID
	}
	a := &catalog.CA{ClusterID: strings.ToLower(clusterID), Config: shown}
	if u, err := url.Parse("spiffe://" + a.TrustDomain()); err != nil || u.Host != a.TrustDomain() {
		return nil, invalid("the cluster ID %q is no name for a trust domain", clusterID)
	}
	root, err := newRoot(a, cfg, now)
	if err != nil {
		return nil, err
	}
	a.Roots = []catalog.CARoot{*root}
	return a, nil
}

// Reconfigure gives the authority that has other settings. Where these ask for
// another key than the one that signs there is a new root.
func Reconfigure(old *catalog.CA, cfg Config, shown []byte, unlinked bool, now time.Time) (*catalog.CA, error) {
	if cfg.ClusterID != "" && !strings.EqualFold(cfg.ClusterID, old.ClusterID) {
		return nil, invalid("the trust domain of a cluster can't change: its ClusterID is %s", old.ClusterID)
	}
	same, err := sameKey(old.Active(), cfg)
	if err != nil || same && string(shown) == string(old.Config) && unlinked == old.Unlinked {
		return old, err
	}
	a, err := dated(old, now)
	if err != nil {
		return nil, err
	}
	a.Config, a.Unlinked = shown, unlinked
	if same {
		return a, nil
	}
	return a, rotate(a, cfg, now)
}

// sameKey says whether the root that signs is one that the settings ask for.
func sameKey(root *catalog.CARoot, cfg Config) (bool, error) {
	if cfg.Key == "" {
		return (cfg.KeyType == "" || cfg.KeyType == root.KeyType) && (cfg.KeyBits == 0 || cfg.KeyBits == root.KeyBits), nil
	}
	key, err := parseKey(cfg.Key)
	if err != nil {
		return false, err
	}
	id, err := keyID(key.Public())
	if err != nil || id != root.KeyID || cfg.RootCert == "" {
		return id == root.KeyID, err
	}
	cert, err := parseCert(cfg.RootCert)
	return err == nil && fingerprint(cert) == root.ID, err
}

// dated copies the authority, and notes until when the leaves last that it can have
// signed with the settings that it has had.
func dated(old *catalog.CA, now time.Time) (*catalog.CA, error) {
	cfg, _, err := ParseJSON(old.Config)
	if err != nil {
		return nil, fmt.Errorf("the CA's own configuration: %w", err)
	}
	a := *old
	a.Roots = slices.Clone(old.Roots)
	active := a.Active()
	active.LeavesUntil = min(active.NotAfter, max(active.LeavesUntil, now.Add(cfg.LeafTTL+slack).Unix()))
	return &a, nil
}

// rotate adds a root, which signs from then on.
func rotate(a *catalog.CA, cfg Config, now time.Time) error {
	if len(a.Roots) >= maxRoots {
		return catalog.Errorf(catalog.TooMany, "%d roots are trusted already; try again when the leaves of the oldest have ended", len(a.Roots))
	}
	root, err := newRoot(a, cfg, now)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(a.Roots, func(r catalog.CARoot) bool { return r.ID == root.ID }) {
		return invalid("this root was in use before; give another")
	}
	before := a.Active()
	if !a.Unlinked {
		if root.Link, err = link(before, root, cfg.LinkTTL, now); err != nil {
			return err
		}
	}
	before.Key = ""
	a.Roots = append(a.Roots, *root)
	return nil
}

// Maintain gives the authority as it is to be now, and why: with a successor of a
// root whose time is almost over, and without those whose leaves are gone. It gives
// nil where nothing is due, and when to look again.
func Maintain(old *catalog.CA, now time.Time) (next *catalog.CA, why string, again time.Time, err error) {
	cfg, _, err := ParseJSON(old.Config)
	if err != nil {
		return nil, "", now.Add(time.Hour), fmt.Errorf("the CA's own configuration: %w", err)
	}
	due := renewal(old.Active(), cfg)
	if !now.Before(due) {
		if next, err = dated(old, now); err != nil {
			return nil, "", now.Add(time.Hour), err
		}
		// Of what was given for it: a key that has had its time isn't used again.
		active := old.Active()
		cfg.Key, cfg.RootCert, cfg.KeyType, cfg.KeyBits = "", "", active.KeyType, active.KeyBits
		if err := rotate(next, cfg, now); err != nil {
			return nil, "", now.Add(time.Hour), err
		}
		return next, "its root had to be renewed", now, nil
	}
	again = due
	over := func(r catalog.CARoot) bool { return r.Key == "" && now.Unix() > min(r.LeavesUntil, r.NotAfter) }
	for i := range old.Roots {
		if r := &old.Roots[i]; r.Key == "" && !over(*r) {
			if end := time.Unix(min(r.LeavesUntil, r.NotAfter)+1, 0); end.Before(again) {
				again = end
			}
		}
	}
	if !slices.ContainsFunc(old.Roots, over) {
		return nil, "", again, nil
	}
	a := *old
	a.Roots = slices.DeleteFunc(slices.Clone(old.Roots), over)
	return &a, "the leaves of an older root have ended", again, nil
}

// renewal is when a root gets a successor: so early that no leaf has to end before
// its time.
func renewal(root *catalog.CARoot, cfg Config) time.Time {
	begin, end := time.Unix(root.NotBefore, 0), time.Unix(root.NotAfter, 0)
	due := end.Add(-2 * cfg.LeafTTL)
	if half := begin.Add(end.Sub(begin) / 2); due.Before(half) {
		due = half // a root that was given may be shorter than leaves
	}
	if by := begin.Add(backdate + cfg.Rotation); cfg.Rotation > 0 && by.Before(due) {
		due = by
	}
	return due
}

// newRoot makes the root that settings ask for.
func newRoot(a *catalog.CA, cfg Config, now time.Time) (*catalog.CARoot, error) {
	key, err := newKey(cfg)
	if err != nil {
		return nil, err
	}
	serial := uint64(1)
	if len(a.Roots) > 0 {
		serial = a.Active().Serial + 1
	}
	var cert *x509.Certificate
	if cfg.RootCert != "" {
		cert, err = given(cfg.RootCert, key, now)
		if err == nil && cert.SerialNumber.IsUint64() {
			serial = cert.SerialNumber.Uint64()
		}
	} else {
		cert, err = selfSigned(a.TrustDomain(), serial, key, cfg.RootTTL, now)
	}
	if err != nil {
		return nil, err
	}
	id, err := keyID(key.Public())
	if err != nil {
		return nil, err
	}
	secret, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	kind, bits := describeKey(key.Public())
	return &catalog.CARoot{
		ID: fingerprint(cert), Name: "Consul CA Primary Cert", Serial: serial, KeyID: id, KeyType: kind, KeyBits: bits,
		NotBefore: cert.NotBefore.Unix(), NotAfter: cert.NotAfter.Unix(), Cert: encodeCert(cert.Raw), Key: catalog.PrivateKey(secret),
	}, nil
}

// selfSigned makes a root's certificate.
func selfSigned(trustDomain string, serial uint64, key crypto.Signer, ttl time.Duration, now time.Time) (*x509.Certificate, error) {
	skid, err := subjectKeyID(key.Public())
	if err != nil {
		return nil, err
	}
	// A name of its own: who verifies a leaf looks for its root by name.
	draw, err := randomSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetUint64(serial),
		Subject:      pkix.Name{CommonName: fmt.Sprintf("pri-%08x.ca.%.8s.consul", uint32(draw.Uint64()), trustDomain)},
		URIs:         []*url.URL{{Scheme: "spiffe", Host: trustDomain}},
		NotBefore:    now.Add(-backdate), NotAfter: now.Add(ttl),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage:     x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		SubjectKeyId: skid, AuthorityKeyId: skid,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make a root certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// given checks a root's certificate that somebody else has made.
func given(text string, key crypto.Signer, now time.Time) (*x509.Certificate, error) {
	cert, err := parseCert(text)
	if err != nil {
		return nil, err
	}
	id, err := keyID(key.Public())
	if err != nil {
		return nil, err
	}
	switch other, err := keyID(cert.PublicKey); {
	case err != nil:
		return nil, err
	case other != id:
		return nil, invalid("the RootCert is not of the PrivateKey that is given with it")
	case !cert.IsCA || !cert.BasicConstraintsValid || cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return nil, invalid("the RootCert is of no certificate authority: it may not sign others")
	case cert.CheckSignatureFrom(cert) != nil:
		return nil, invalid("the RootCert is not signed by its own key")
	case now.Before(cert.NotBefore) || now.Add(minLeafTTL).After(cert.NotAfter):
		return nil, invalid("the RootCert lasts from %s to %s, which is not now or not for another %s", cert.NotBefore, cert.NotAfter, minLeafTTL)
	}
	return cert, nil
}

// link has an old root vouch for a new one's key.
func link(old, root *catalog.CARoot, ttl time.Duration, now time.Time) (string, error) {
	parent, key, err := signer(old)
	if err != nil {
		return "", err
	}
	cert, err := parseCert(root.Cert)
	if err != nil {
		return "", err
	}
	serial, err := randomSerial()
	if err != nil {
		return "", err
	}
	template := &x509.Certificate{
		SerialNumber: serial, RawSubject: cert.RawSubject,
		NotBefore: now.Add(-backdate), NotAfter: earlier(now.Add(ttl), parent.NotAfter),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		SubjectKeyId: cert.SubjectKeyId,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, cert.PublicKey, key)
	if err != nil {
		return "", fmt.Errorf("cross-sign the new root: %w", err)
	}
	return encodeCert(der), nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// signer is a root's certificate and key.
func signer(root *catalog.CARoot) (*x509.Certificate, crypto.Signer, error) {
	cert, err := parseCert(root.Cert)
	if err != nil {
		return nil, nil, err
	}
	key, err := parseKey(root.Key)
	return cert, key, err
}
