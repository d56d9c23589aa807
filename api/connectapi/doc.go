// Package connectapi has the routes of the certificate authority: its roots, by which
// anybody verifies the services of the cluster, and its settings. What agents do with
// it for their services is in agentapi.
package connectapi
