// Package catalogapi holds the routes that read and write the catalog, below
// /v1/catalog and /v1/health.
//
// Reads are pure functions of a view of the store and the request; package api
// does all the rest. Where an answer is more than a list of the catalog's nouns,
// shapes.go has its JSON form, and visible.go says who may see what of it.
package catalogapi
