// Package sessionapi holds the rows of sessions, which locks in the key/value store
// are held by. Renewing a session is no change of the catalog: the leader alone
// keeps time, and starts its timer anew.
package sessionapi
