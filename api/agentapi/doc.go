// Package agentapi is the routes about one agent: what it promised, whom it sees, how it is.
package agentapi
