package agentapi

import (
	"maps"
	"slices"

	"muster/api"
	"muster/catalog"
	"muster/catalog/acl"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func (h handlers) checks(*api.Request) (any, error) { return h.agent.Checks(), nil }

func (h handlers) registerCheck(r *api.Request) (any, error) {
	var body checkBody
	if err := api.Decode(r.Body, &body); err != nil {
		return nil, err
	}
	if body.CheckID != "" {
		return nil, invalid("Request decode failed: json: unknown field %q", "CheckID")
	}
	if body.Name == "" {
		return nil, invalid("Missing check name")
	}
	if !knownStatus(body.Status) {
		return nil, invalid("Bad check status")
	}
	if err := enterprise(body.Namespace, body.Partition); err != nil {
		return nil, err
	}
	c := body.check()
	if err := h.mayWriteCheck(r, c.ServiceID); err != nil {
		return nil, err
	}
	return nil, h.agent.AddCheck(c, Options{Token: tokenFor(body.Token, r)})
}

// mayWriteCheck asks for the right to write checks of a service, or of the node.
func (h handlers) mayWriteCheck(r *api.Request, serviceID string) error {
	if serviceID == "" {
		return acl.Check(r.Authz, acl.Node, h.config().NodeName, acl.Write)
	}
	s, ok := h.agent.Service(serviceID)
	if !ok {
		return catalog.Errorf(catalog.NotFound, "ServiceID %q does not exist", serviceID)
	}
	return acl.Check(r.Authz, acl.Service, s.Service, acl.Write)
}

// ownCheck finds the check that a path names, if the caller may write it.
func (h handlers) ownCheck(r *api.Request) (*catalog.Check, error) {
	id := r.Var("id")
	if c, ok := h.agent.Check(id); ok {
		return c, h.mayWriteCheck(r, c.ServiceID)
	}
	return nil, catalog.Errorf(catalog.NotFound, "Unknown check ID %q. Ensure that the check ID is passed, not the check name.", id)
}

func (h handlers) deregisterCheck(r *api.Request) (any, error) {
	c, err := h.ownCheck(r)
	if err != nil {
		return nil, err
	}
	return nil, h.agent.RemoveCheck(c.CheckID)
}

// report answers the three short forms of a report on a TTL check.
func (h handlers) report(status string) func(*api.Request) (any, error) {
	return func(r *api.Request) (any, error) {
		c, err := h.ownCheck(r)
		if err != nil {
			return nil, err
		}
		return nil, h.agent.UpdateTTL(c.CheckID, status, r.Query.Get("note"))
	}
}

// updateBody is the body of /v1/agent/check/update.
type updateBody struct {
	Status string
	Output string
}

func (h handlers) updateCheck(r *api.Request) (any, error) {
	var body updateBody
	if err := api.Decode(r.Body, &body); err != nil {
		return nil, err
	}
	switch body.Status {
	case catalog.StatusPassing, catalog.StatusWarning, catalog.StatusCritical:
	default:
		return nil, invalid("Invalid check status: '%.128s'", body.Status)
	}
	c, err := h.ownCheck(r)
	if err != nil {
		return nil, err
	}
	return nil, h.agent.UpdateTTL(c.CheckID, body.Status, body.Output)
}
