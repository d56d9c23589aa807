// Package chain compiles discovery chains: from the routers, splitters and resolvers
// that config entries describe it makes the graph of where requests for a service go
// (https://developer.hashicorp.com/consul/docs/manage-traffic/discovery-chain).
//
// Compile reads entries and nothing else. It keeps nothing and starts no goroutine.
// Entries are written one by one, so that what they say together may be in
// contradiction: that is an error of kind catalog.Invalid.
package chain
