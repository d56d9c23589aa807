package agentapi

import (
	"net/http"
	"sync"

	"muster/api"
	"muster/catalog"
	"muster/catalog/acl"
)

var filter = api.Param{Name: "filter", Doc: "an expression that entries must match"}

// Routes are the routes below /v1/agent and /v1/event.
func Routes(a Agent, o RouteOptions) []api.Route {
	h := handlers{a, o, sync.OnceValue(func() SelfConfig { return a.Self().Config })}
	var rows []api.Route
	for _, area := range [][]api.Route{h.serviceRoutes(), h.checkRoutes(), h.clusterRoutes(), api.Undivided.Of(h.processRoutes()), api.Undivided.Of(h.eventRoutes()), h.identityRoutes()} {
		rows = append(rows, area...)
	}
	for i := range rows {
		rows[i].Kind = api.Local
	}
	return rows
}

func (h handlers) onAgent(access acl.Access) api.Rule {
	return api.Rule{Resource: acl.Agent, Access: access, Name: func(*api.Request) string { return h.config().NodeName }}
}

func (h handlers) onNode(access acl.Access) api.Rule {
	return api.Rule{Resource: acl.Node, Access: access, Name: func(*api.Request) string { return h.config().NodeName }}
}

func visibleServices(az acl.Authorizer, answer any) (any, bool) {
	all := answer.(map[string]*agentService)
	kept := map[string]*agentService{}
	for id, s := range all {
		if az.Allowed(acl.Service, s.Service, acl.Read) {
			kept[id] = s
		}
	}
	return kept, len(kept) < len(all)
}

func visibleChecks(az acl.Authorizer, answer any) (any, bool) {
	all := answer.(map[string]*catalog.Check)
	kept := map[string]*catalog.Check{}
	for id, c := range all {
		if c.ServiceName != "" && az.Allowed(acl.Service, c.ServiceName, acl.Read) ||
			c.ServiceName == "" && az.Allowed(acl.Node, c.Node, acl.Read) {
			kept[id] = c
		}
	}
	return kept, len(kept) < len(all)
}

func (h handlers) serviceRoutes() []api.Route {
	return []api.Route{
		{
			Method: http.MethodGet, Path: "/v1/agent/services",
			Doc:    "Lists the services of this agent.",
			Params: []api.Param{filter}, Filter: &agentService{},
			Answer: map[string]*agentService{},
			Do:     h.services, Visible: visibleServices, Changed: h.agent.Changed,
		},
		{
			Method: http.MethodGet, Path: "/v1/agent/service/{id}",
			Doc: "Reads one service; with a hash, once it has changed.",
			Params: []api.Param{{Name: "hash", Doc: "the X-Consul-ContentHash that the caller has: wait for another"},
				{Name: "wait", Doc: "how long to wait, such as 10s; 5m where it is left out"}},
			Answer: agentService{},
			Do:     h.service,
		},
		{
			Method: http.MethodPut, Path: "/v1/agent/service/register",
			Doc:    "Registers a service with its checks, or replaces it.",
			Params: []api.Param{{Name: "replace-existing-checks", Doc: "drop the service's checks that are not named again"}},
			Body:   serviceBody{},
			Do:     h.registerService,
		},
		{
			Method: http.MethodPut, Path: "/v1/agent/service/deregister/{id}",
			Doc: "Removes a service with its checks.",
			Do:  h.deregisterService,
		},
		{
			Method: http.MethodPut, Path: "/v1/agent/service/maintenance/{id}",
			Doc:    "Puts a service into maintenance mode, or ends it.",
			Params: maintenanceParams,
			Do:     h.maintainService,
		},
		{
			Method: http.MethodGet, Path: "/v1/agent/health/service/id/{id}",
			Doc:    "Tells the health of a service by status code: 200, 429 or 503.",
			Params: formatParams,
			Answer: serviceHealth{},
			Do:     h.healthByID,
		},
		{
			Method: http.MethodGet, Path: "/v1/agent/health/service/name/{name}",
			Doc:    "Tells the worst health of the services of a name by status code.",
			Params: formatParams,
			Answer: []serviceHealth{},
			Do:     h.healthByName,
		},
	}
}

var (
	maintenanceParams = []api.Param{{Name: "enable", Doc: "true or false"}, {Name: "reason", Doc: "a text for people"}}
	formatParams      = []api.Param{{Name: "format", Doc: "text answers with one word"}}
	noteParams        = []api.Param{{Name: "note", Doc: "the check's new output"}}
)

func (h handlers) checkRoutes() []api.Route {
	rows := []api.Route{
		{
			Method: http.MethodGet, Path: "/v1/agent/checks",
			Doc:    "Lists the checks of this agent.",
			Params: []api.Param{filter}, Filter: &catalog.Check{},
			Answer: map[string]*catalog.Check{},
			Do:     h.checks, Visible: visibleChecks, Changed: h.agent.Changed,
		},
		{
			Method: http.MethodPut, Path: "/v1/agent/check/register",
			Doc:  "Registers a check, or replaces it.",
			Body: checkBody{},
			Do:   h.registerCheck,
		},
		{
			Method: http.MethodPut, Path: "/v1/agent/check/deregister/{id}",
			Doc: "Removes a check.",
			Do:  h.deregisterCheck,
		},
		{
			Method: http.MethodPut, Path: "/v1/agent/check/update/{id}",
			Doc:  "Reports on a TTL check: its state and output.",
			Body: updateBody{},
			Do:   h.updateCheck,
		},
	}
	for _, short := range []struct{ verb, status string }{
		{"pass", catalog.StatusPassing}, {"warn", catalog.StatusWarning}, {"fail", catalog.StatusCritical},
	} {
		rows = append(rows, api.Route{
			Method: http.MethodPut, Path: "/v1/agent/check/" + short.verb + "/{id}",
			Doc:    "Reports that a TTL check is " + short.status + ".",
			Params: noteParams,
			Do:     h.report(short.status),
		})
	}
	return rows
}

func (h handlers) clusterRoutes() []api.Route {
	wan := api.Param{Name: "wan", Doc: "of the servers of all datacenters"}
	return []api.Route{
		{
			Method: http.MethodGet, Path: "/v1/agent/members", Scope: api.Partitioned,
			Doc:    "Lists the members of the cluster that gossip knows.",
			Params: []api.Param{filter, wan, {Name: "segment", Doc: "only the one segment is known"}}, Filter: Member{},
			Answer: []Member{},
			Do:     h.members, Visible: visibleMembers,
		},
		{
			Method: http.MethodPut, Path: "/v1/agent/join/{address}", Scope: api.Partitioned,
			Doc: "Joins the cluster of another agent.",
			ACL: h.onAgent(acl.Write), Params: []api.Param{wan},
			Do: h.join,
		},
		{
			Method: http.MethodPut, Path: "/v1/agent/leave", Scope: api.Undivided,
			Doc: "Takes this agent out of the cluster and ends it.",
			ACL: h.onAgent(acl.Write),
			Do:  h.leave,
		},
		{
			Method: http.MethodPut, Path: "/v1/agent/force-leave/{node}", Scope: api.Partitioned,
			Doc:    "Declares a failed member left.",
			ACL:    api.Rule{Resource: acl.Operator, Access: acl.Write},
			Params: []api.Param{wan, {Name: "prune", Doc: "forget the member at once"}},
			Do:     h.forceLeave,
		},
		{
			Method: http.MethodPut, Path: "/v1/agent/maintenance", Scope: api.Undivided,
			Doc: "Puts this node into maintenance mode, or ends it.",
			ACL: h.onNode(acl.Write), Params: maintenanceParams,
			Do: h.maintainNode,
		},
	}
}

func (h handlers) processRoutes() []api.Route {
	return []api.Route{
		{
			Method: http.MethodGet, Path: "/v1/agent/self",
			Doc:    "Describes this agent: configuration, membership and figures.",
			ACL:    h.onAgent(acl.Read),
			Answer: Self{},
			Do:     h.self,
		},
		{
			Method: http.MethodGet, Path: "/v1/agent/version",
			Doc:    "Tells which build this agent is.",
			ACL:    h.onAgent(acl.Read),
			Answer: Version{},
			Do:     h.version,
		},
		{
			Method: http.MethodGet, Path: "/v1/agent/host",
			Doc: "Describes the machine that this agent runs on.",
			ACL: api.Rule{Resource: acl.Operator, Access: acl.Read},
			Do:  h.host,
		},
		{
			Method: http.MethodGet, Path: "/v1/agent/metrics",
			Doc: "Gives this agent's metrics, as JSON or for Prometheus.",
			ACL: h.onAgent(acl.Read), Params: []api.Param{{Name: "format", Doc: "prometheus gives Prometheus's text format"}},
			Do: h.metrics,
		},
		{
			Method: http.MethodGet, Path: "/v1/agent/metrics/stream",
			Doc: "Gives this agent's metrics as JSON at once and every 10 seconds, until the caller goes.",
			ACL: h.onAgent(acl.Read),
			Do:  h.metricsStream,
		},
		{
			Method: http.MethodGet, Path: "/v1/agent/monitor",
			Doc: "Gives the agent's log as it is written.",
			ACL: h.onAgent(acl.Read), Params: []api.Param{{Name: "loglevel", Doc: "trace, debug, info, warn or error; info where it is left out"},
				{Name: "logjson", Doc: "give each line as JSON"}},
			Do: h.monitor,
		},
		{
			Method: http.MethodPut, Path: "/v1/agent/token/{type}",
			Doc: "Sets a token of the agent's own; refused while there are no ACLs.",
			ACL: h.onAgent(acl.Write),
			Do:  h.setToken,
		},
		{
			Method: http.MethodPut, Path: "/v1/agent/reload",
			Doc: "Reads the configuration files again.",
			ACL: h.onAgent(acl.Write),
			Do:  h.reload,
		},
	}
}
