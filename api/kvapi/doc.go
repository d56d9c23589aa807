// Package kvapi holds the rows of the key/value store, and the shapes of their
// answers.
//
// A read's View gives entries; only Render makes of them what the caller wants: the
// entries, a value as it is, or keys, and 404 where there is nothing. So one rule of
// what is visible serves all.
package kvapi
