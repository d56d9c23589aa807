package agentapi

import "muster/api"

// Routes are the routes below /v1/agent.
func Routes(a Agent, o RouteOptions) []api.Route { return nil }
