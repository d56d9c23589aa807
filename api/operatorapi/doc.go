// Package operatorapi holds the routes about the quorum and about gossip's keys,
// below /v1/status and /v1/operator. They are answered by a server from what it
// knows of Raft and of gossip, which it has through Quorum and Keyring, and not
// from the catalog.
package operatorapi
