package catalogapi

import (
	"cmp"
	"slices"
	"strings"

	"muster/api"
	"muster/catalog"
	"muster/catalog/acl"
	"muster/catalog/state"
)

// Distant is the coordinates of the servers of one datacenter, as
// /v1/coordinate/datacenters gives them.
type Distant struct {
	Datacenter  string
	AreaID      string
	Coordinates []*catalog.NodeCoordinate
}

func listCoordinates(v *state.View, r *api.Request) (any, error) {
	return inSegment(v.Coordinates(), r), nil
}

func readCoordinate(v *state.View, r *api.Request) (any, error) {
	found := slices.DeleteFunc(inSegment(v.Coordinates(), r), func(c *catalog.NodeCoordinate) bool {
		return catalog.Fold(c.Node) != catalog.Fold(r.Var("node"))
	})
	if len(found) == 0 {
		return nil, catalog.Errorf(catalog.NotFound, "")
	}
	return found, nil
}

// inSegment keeps the coordinates of a network segment that was asked for. There
// is only the one without a name.
func inSegment(all []*catalog.NodeCoordinate, r *api.Request) []*catalog.NodeCoordinate {
	if r.Query.Get("segment") != "" {
		return []*catalog.NodeCoordinate{}
	}
	return all
}

func visibleCoordinates(az acl.Authorizer, answer any) (any, bool) {
	return only(answer.([]*catalog.NodeCoordinate), func(c *catalog.NodeCoordinate) bool { return seesNode(az, c.Node) })
}

// updateCoordinate makes the command that sets a node's coordinate.
func (h handlers) updateCoordinate(r *api.Request) (catalog.Command, error) {
	var in catalog.NodeCoordinate
	if err := api.Decode(r.Body, &in); err != nil {
		return nil, err
	}
	cmd := &catalog.Coordinates{Updates: []catalog.NodeCoordinate{in}}
	if err := cmd.Validate(); err != nil {
		return nil, err
	}
	return cmd, acl.Check(r.Authz, acl.Node, in.Node, acl.Write)
}

// sortNear sorts a list by the estimated round trip from the node that ?near=
// names; what is equally far, or unknown, keeps its order.
func sortNear[T any](v *state.View, r *api.Request, list []T, nodeOf func(T) string) []T {
	near := strings.TrimSpace(r.Query.Get("near"))
	if near == "" {
		return list
	}
	distance := v.Near(near)
	if distance == nil {
		return list
	}
	type placed struct {
		element T
		far     float64
	}
	all := make([]placed, len(list))
	for i, e := range list {
		all[i] = placed{e, distance(nodeOf(e))}
	}
	slices.SortStableFunc(all, func(a, b placed) int { return cmp.Compare(a.far, b.far) })
	for i := range all {
		list[i] = all[i].element
	}
	return list
}
