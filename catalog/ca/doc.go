// Package ca is the built-in certificate authority of the service mesh: it makes and
// renews the roots that catalog.CA has, and signs leaves, the certificates by which a
// service shows who it is. A leaf's name is a SPIFFE ID
// (https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md) in its only
// URI, spiffe://CLUSTER.consul/ns/default/dc/DATACENTER/svc/SERVICE.
//
// Everything is a function of its arguments and of the operating system's random
// numbers. The leader calls it and proposes what comes out; apply only stores that.
// Agents make the key and the request of a leaf here too. No private key but a
// leaf's own is ever in what is given out.
//
//	config.go     the settings: defaults, what may be said, in which words
//	authority.go  the first root, its successors, and when they are due
//	keys.go       keys, certificates, and what they are called
//	sign.go       requests and leaves
//	uri.go        the names of services
//
// # Rotation
//
// A new root comes with a link: a certificate for its key by the root before. A
// leaf's chain has the links as long as the older roots are trusted, so who has not
// heard of the new root yet verifies its leaves by the old one. An old root is trusted
// until the last leaf has ended that it can have signed, and its key is forgotten at
// once.
package ca
