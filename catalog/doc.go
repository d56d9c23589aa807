// Package catalog holds the nouns of service discovery (nodes, service instances
// and health checks), the rules they obey, and the commands that change them.
//
// It stores nothing, starts no goroutine and reads no clock. catalog/state keeps
// the nouns, api turns requests into commands, and agent carries commands through
// consensus as plain bytes.
//
// # The life of a command
//
// A proposer builds a Register or a Deregister, calls Normalize, which fills in
// what a request may leave out, and Validate, which says everything that is wrong
// at once. EncodeCommand then gives the bytes of a log entry, and on every server
// DecodeCommand reads them back. Validate's rules may be tightened from one
// release to the next; applying a committed command never consults them, so that
// servers of different releases apply the same log alike.
//
// # The format of a command
//
//	offset  size  content
//	0       1     operation (Op)
//	1       1     version of this operation's body, now 1
//	2       ≤1M   body: one msgpack map from field name to value, keys sorted
//
// Encoding is canonical: equal commands have equal bytes, and what DecodeCommand
// read encodes to the same command again. A decoder refuses an operation or a
// version that it doesn't know, and skips fields that it doesn't know. So within
// a version a field may be added only if leaving it out keeps the old meaning,
// and may be sent only once every server of the cluster knows it; any other
// change takes a new version.
//
// # JSON
//
// The nouns marshal to the JSON that Consul's catalog and health endpoints give.
// They are written once and then shared: whoever has one from a store copies it
// before changing anything.
package catalog
