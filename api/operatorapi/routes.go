package operatorapi

import "muster/api"

// Routes are the routes below /v1/status and /v1/operator.
func Routes(q Quorum) []api.Route { return nil }
