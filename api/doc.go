// Package api is the HTTP API: a table of routes, and everything that is the
// same for all of them written once around it.
package api
