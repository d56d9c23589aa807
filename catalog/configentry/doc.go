// Package configentry holds the kinds of config entries, which say how services and
// the mesh between them are to behave
// (https://developer.hashicorp.com/consul/docs/fundamentals/config-entry): what an
// entry of a kind may say, what it says where something is left out, and what is
// wrong with one.
//
// Decode makes a catalog.ConfigEntry of what a request says, whose Body is JSON in
// one form: a later release can add a field to a kind without a new form of commands
// or snapshots. Read gives the fields of such a body to those who act on them. The
// package keeps nothing and starts no goroutine.
//
// What only proxies look at is kept and given back; Muster ships no proxy.
package configentry
