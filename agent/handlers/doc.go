// Package handlers runs what users have an agent do when something changes: a
// program or a request over HTTP for each watch of the configuration.
//
// https://developer.hashicorp.com/consul/docs/dynamic-app-config/watches
package handlers
