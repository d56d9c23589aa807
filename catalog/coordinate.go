package catalog

import (
	"math"
	"slices"

	"github.com/hashicorp/serf/coordinate"
)

// NodeCoordinate says where a node is in the space of network coordinates, in
// which distances are round trips (https://developer.hashicorp.com/consul/docs/architecture/coordinates).
type NodeCoordinate struct {
	Node    string
	Segment string // always empty: network segments are not supported
	Coord   *coordinate.Coordinate
}

// dimensions of every coordinate that agents of a cluster exchange.
const dimensions = 8

// Validate says what is wrong with an update of coordinates, nil if nothing.
func (c *Coordinates) Validate() error {
	for i := range c.Updates {
		u := &c.Updates[i]
		switch {
		case u.Node == "":
			return Errorf(Invalid, "coordinate update: Node must be given")
		case u.Segment != "":
			return Errorf(Invalid, "coordinate update: node %q is in segment %q; network segments are not supported", u.Node, u.Segment)
		case u.Coord == nil:
			return Errorf(Invalid, "coordinate update: Coord of node %q must be given", u.Node)
		case len(u.Coord.Vec) != dimensions:
			return Errorf(Invalid, "incompatible coordinate")
		case !u.Coord.IsValid():
			return Errorf(Invalid, "invalid coordinate")
		}
	}
	return nil
}

// Same says whether two coordinates are equal.
func (c *NodeCoordinate) Same(o *NodeCoordinate) bool {
	return c.Node == o.Node && c.Segment == o.Segment && slices.Equal(c.Coord.Vec, o.Coord.Vec) &&
		c.Coord.Error == o.Coord.Error && c.Coord.Adjustment == o.Coord.Adjustment && c.Coord.Height == o.Coord.Height
}

// Distance estimates the round trip between two nodes, in seconds. It is
// infinite where a coordinate is nil or of another space.
func Distance(a, b *NodeCoordinate) float64 {
	if a == nil || b == nil || !a.Coord.IsCompatibleWith(b.Coord) {
		return math.Inf(1)
	}
	return a.Coord.DistanceTo(b.Coord).Seconds()
}
