// Package ui is the web page of an agent, embedded in the binary.
//
// It is a static page: everything it shows it asks the agent's HTTP API for, in
// the browser, with blocking queries, and so it is live and has no rights that
// its reader hasn't. It holds no state and knows no other package; package api
// mounts Handler at Path.
//
// What agents and services say about themselves is put on the page as text only,
// and the Content-Security-Policy allows no script or style but the embedded
// files, so that a service named like markup stays a name.
package ui
