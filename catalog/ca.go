package catalog

import (
	"fmt"
	"log/slog"
	"slices"
)

// CA is the built-in certificate authority: it vouches for which service somebody
// is (https://developer.hashicorp.com/consul/docs/secure-mesh/certificate/built-in).
// One value holds for the whole cluster. Package ca makes it, its successors, and the
// certificates that it signs.
type CA struct {
	// ClusterID is what the trust domain is named after; it never changes.
	ClusterID string
	// Config is a JSON object of the settings, as they were given, but for a root
	// with its private key.
	Config []byte
	// Unlinked has a new root come without a certificate of the one before, so that
	// those who don't know it yet trust none of its leaves.
	Unlinked bool `codec:",omitempty"`
	// Roots are those that are trusted, the newest last, which is the one that signs.
	Roots []CARoot
	Indexes
}

// CARoot is a certificate that others are trusted by.
type CARoot struct {
	ID        string // SHA-1 of the certificate, as hexadecimal numbers with colons
	Name      string // for people
	Serial    uint64
	KeyID     string // SHA-256 of the public key, in the same form
	KeyType   string // "ec" or "rsa"
	KeyBits   int
	NotBefore int64  // Unix seconds
	NotAfter  int64  // Unix seconds
	Cert      string // PEM
	// Link is a certificate for this root's key by the one before: who trusts only
	// that one comes by it to the leaves of this one. PEM, "" if there is none.
	Link string `codec:",omitempty"`
	// Key is PEM too. Only the root that signs has it.
	Key PrivateKey `codec:",omitempty"`
	// LeavesUntil is when the last leaf ends, in Unix seconds, that the root can have
	// signed before what is said here was written.
	LeavesUntil int64 `codec:",omitempty"`
	Indexes
}

// Active is the root that signs.
func (a *CA) Active() *CARoot { return &a.Roots[len(a.Roots)-1] }

// TrustDomain is what the names of all services of the cluster begin with.
func (a *CA) TrustDomain() string { return a.ClusterID + ".consul" }

// Same reports whether both say the same, whatever their indexes.
func (a *CA) Same(o *CA) bool {
	return a.ClusterID == o.ClusterID && a.Unlinked == o.Unlinked && string(a.Config) == string(o.Config) &&
		slices.EqualFunc(a.Roots, o.Roots, func(x, y CARoot) bool { return x.Same(&y) })
}

// Same reports whether both say the same, whatever their indexes.
func (r *CARoot) Same(o *CARoot) bool {
	x, y := *r, *o
	x.Indexes, y.Indexes = Indexes{}, Indexes{}
	return x == y
}

// PrivateKey is a key in PEM that must not be shown: whatever prints it prints
// "hidden". Only the log and snapshots have it in the clear.
type PrivateKey string

// String implements fmt.Stringer.
func (k PrivateKey) String() string {
	if k == "" {
		return ""
	}
	return "hidden"
}

// GoString implements fmt.GoStringer.
func (k PrivateKey) GoString() string { return fmt.Sprintf("%q", k.String()) }

// LogValue implements slog.LogValuer.
func (k PrivateKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText implements encoding.TextMarshaler.
func (k PrivateKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// SetCA replaces the certificate authority where the present one's ModifyIndex is
// Index, 0 where there is none. So of two leaders that each make one only the first
// has an effect. Its result's Value is a bool: whether that was so.
type SetCA struct {
	CA    CA
	Index uint64
}

// Op implements Command.
func (*SetCA) Op() Op { return OpSetCA }
