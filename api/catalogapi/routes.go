package catalogapi

import "muster/api"

// Routes are the routes below /v1/catalog and /v1/health.
func Routes(datacenter string) []api.Route { return nil }
