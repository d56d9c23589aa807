// Package transport carries Raft's messages between servers.
package transport
