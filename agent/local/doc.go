// Package local holds what an agent promised its users, and keeps the catalog
// equal to it.
package local
