package agentapi

import "github.com/prometheus/client_golang/prometheus"

// RouteOptions is what the routes need besides the agent.
type RouteOptions struct {
	// Gatherer gives the agent's metrics; Hostname stands in the names of the
	// JSON form's gauges.
	Gatherer prometheus.Gatherer
	Hostname string
}
