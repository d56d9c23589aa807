// Package archive is the file that a backup of the catalog is kept in: what
// GET /v1/snapshot gives and PUT /v1/snapshot takes.
//
// It is a gzipped tar file with three members, in this order, as Consul's backups
// have them; docs/formats.md has the details:
//
//	meta.json   what the backup is of: a Meta
//	state.bin   a snapshot of the catalog, as catalog/state writes it
//	SHA256SUMS  the SHA-256 of both, as sha256sum writes it
//
// Write and Reader stream: neither holds more of the state than one record. A
// Reader trusts nothing of what it reads. It has read the whole of an archive, and
// compared all checksums, only when Verify has returned nil, and who restores from
// it makes nothing final before.
package archive
