// Package agentapi holds the routes about one agent, below /v1/agent: what it
// promised its users, whom it sees, and how it fares as a process.
//
// The agent itself is behind the interface Agent, so that the routes can be
// tested without one. They are Local, answered by the agent that is asked and
// never passed on, and decode strictly: what an agent does not understand of a
// registration it refuses.
package agentapi
