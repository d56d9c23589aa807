package catalogapi

import (
	"maps"
	"slices"

	"muster/catalog"
	"muster/catalog/acl"
	"muster/catalog/gateway"
)

// The functions below leave out of an answer what a caller may not see. While
// everything is allowed they return it as it is.

func seesNode(az acl.Authorizer, name string) bool { return az.Allowed(acl.Node, name, acl.Read) }

func seesService(az acl.Authorizer, name string) bool { return az.Allowed(acl.Service, name, acl.Read) }

// seesCheck: a check of a service is the service's business, the others are the node's.
func seesCheck(az acl.Authorizer, c *catalog.Check) bool {
	if c.ServiceName != "" {
		return seesService(az, c.ServiceName)
	}
	return seesNode(az, c.Node)
}

// only keeps the elements that are visible, and says whether that left any out.
func only[T any](list []T, visible func(T) bool) ([]T, bool) {
	kept := make([]T, 0, len(list))
	for _, e := range list {
		if visible(e) {
			kept = append(kept, e)
		}
	}
	return kept, len(kept) < len(list)
}

func visibleNodes(az acl.Authorizer, answer any) (any, bool) {
	return only(answer.([]*catalog.Node), func(n *catalog.Node) bool { return seesNode(az, n.Node) })
}

func visibleChecks(az acl.Authorizer, answer any) (any, bool) {
	return only(answer.([]*catalog.Check), func(c *catalog.Check) bool { return seesCheck(az, c) })
}

func visibleServiceNodes(az acl.Authorizer, answer any) (any, bool) {
	return only(answer.([]serviceNode), func(s serviceNode) bool {
		return seesNode(az, s.Node) && seesService(az, s.ServiceName)
	})
}

func visibleInstances(az acl.Authorizer, answer any) (any, bool) {
	return only(answer.([]instance), func(in instance) bool {
		return seesNode(az, in.Node.Node) && seesService(az, in.Service.Service)
	})
}

func visibleGatewayServices(az acl.Authorizer, answer any) (any, bool) {
	return only(answer.([]gateway.Service), func(s gateway.Service) bool {
		return seesService(az, s.Gateway.Name) && seesService(az, s.Service.Name)
	})
}

// visibleServiceTags takes both forms of the names of services.
func visibleServiceTags(az acl.Authorizer, answer any) (any, bool) {
	if list, ok := answer.(serviceTags); ok {
		kept, cut := visibleServiceNodes(az, []serviceNode(list))
		return serviceTags(kept.([]serviceNode)), cut
	}
	names := answer.(map[string][]string)
	kept := maps.Clone(names)
	maps.DeleteFunc(kept, func(name string, _ []string) bool { return !seesService(az, name) })
	return kept, len(kept) < len(names)
}

func visibleNodeServices(az acl.Authorizer, answer any) (any, bool) {
	n := answer.(*nodeServices)
	if n == nil {
		return n, false
	}
	if !seesNode(az, n.Node.Node) {
		return (*nodeServices)(nil), true
	}
	kept := maps.Clone(n.Services)
	maps.DeleteFunc(kept, func(_ string, s *catalog.Service) bool { return !seesService(az, s.Service) })
	return &nodeServices{n.Node, kept}, len(kept) < len(n.Services)
}

func visibleNodeServiceList(az acl.Authorizer, answer any) (any, bool) {
	n := answer.(*nodeServiceList)
	if n.Node == nil {
		return n, false
	}
	if !seesNode(az, n.Node.Node) {
		return &nodeServiceList{}, true
	}
	kept, cut := only(n.Services, func(s *catalog.Service) bool { return seesService(az, s.Service) })
	if len(kept) == 0 {
		kept = nil // null, as Consul has it
	}
	return &nodeServiceList{n.Node, kept}, cut
}

// sortedSet sorts a list and drops doubles. It is never nil.
func sortedSet(list []string) []string {
	set := append([]string{}, list...)
	slices.Sort(set)
	return slices.Compact(set)
}
