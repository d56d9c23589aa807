// Package operatorapi holds the routes about the quorum, below /v1/status and
// /v1/operator. They are answered by a server from what it knows of Raft, which
// it has through Quorum, and not from the catalog.
package operatorapi
