// Package operatorapi is the routes about the quorum.
package operatorapi
