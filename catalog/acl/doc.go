// Package acl decides who may do what.
//
// It defines the question, an Authorizer with its resources and access levels,
// and for now the one answer that allows everything. It knows nothing of HTTP,
// of tokens on the wire or of how rules are stored: a later resolver turns a
// token into an Authorizer, and nothing that asks needs to change.
//
// Two rules bind its callers. Every endpoint asks before it answers, also while
// ACLs are off, so that turning them on changes rules and never code. And what
// an Authorizer hides is left out before a caller's own filter runs: a filter
// that could see hidden entries would be a way to read them.
//
// An Authorizer is immutable and safe for concurrent use. Answers may be shared
// between callers whose Authorizers have the same ViewID, and only these.
package acl
