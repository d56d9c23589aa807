// Package queryapi holds the rows of prepared queries: stored questions about
// services, and their answers.
package queryapi
