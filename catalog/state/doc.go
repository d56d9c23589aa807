// Package state is the replicated catalog in memory.
package state
