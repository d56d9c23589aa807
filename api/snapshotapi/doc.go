// Package snapshotapi holds the rows that save the whole catalog to an archive and
// restore it from one.
package snapshotapi
