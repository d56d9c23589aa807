// Package dns answers DNS questions about the catalog, as Consul does: services
// by name and tag, nodes by name, and names by address.
//
// It doesn't know where the catalog is. It asks a Lookup, which a server answers
// from its own copy and a client agent from what it watches; package agent holds
// both, binds the sockets, and is the only caller. What runs on the sockets is
// github.com/miekg/dns; this package is what it hands messages to.
//
// # The path of a question
//
// ServeDNS (server.go) refuses what isn't a plain question. A name in one of the
// zones is parsed (name.go) and answered from the catalog (zone.go), one below
// in-addr.arpa or ip6.arpa likewise, any other by the recursors
// (recurse.go). Then the answer is cut to what the asker can take (fit.go).
//
// # Cost
//
// A Lookup gives the same *Service until something of it changes, and the
// records made of a Service are kept with it, by question (records.go). A
// question asked before costs a look at the Service, a shuffle, and the packing
// of as many records as fit. Nothing is ever invalidated: a new Service has no
// records yet.
//
// # Goroutines
//
// New starts none. ServeDNS runs in whatever goroutine miekg/dns calls it from
// and starts none either; how many may wait for a recursor at once is bounded.
//
// # Invariants
//
//   - No message makes this package panic, and no answer over UDP is larger than
//     the asker said it takes, or 64 KiB over TCP.
//   - An answer that says that there is nothing has the zone's SOA, with the time
//     for which that may be believed.
//   - Records are shared between answers and never changed once made.
package dns
