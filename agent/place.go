package agent

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/serf/coordinate"

	"muster/catalog"
)

const (
	// nearlyStill is how far this node's coordinate must have moved for the
	// catalog to be told: half a millisecond, and a tenth in its error.
	nearlyStill      = 500 * time.Microsecond
	nearlyAsCertain  = 0.1
	placeSyncTimeout = 10 * time.Second
)

// keepPlace tells the catalog this node's network coordinate when it has moved,
// at most as often as the servers can take from a cluster of this size.
func (a *Agent) keepPlace(ctx context.Context) error {
	var told *coordinate.Coordinate
	for {
		pause := a.cfg.CoordinateInterval
		if rate := a.cfg.CoordinateRate; rate > 0 {
			pause = max(pause, time.Duration(float64(len(a.pool.Members()))/rate*float64(time.Second)))
		}
		if waitFor(ctx, pause/2+rand.N(pause/2+1), nil, nil); ctx.Err() != nil {
			return nil
		}
		at, err := a.pool.Coordinate()
		if err != nil || told != nil && still(told, at) {
			continue
		}
		cmd := &catalog.Coordinates{Updates: []catalog.NodeCoordinate{{Node: a.cfg.NodeName, Coord: at}}}
		tell, cancel := context.WithTimeout(ctx, placeSyncTimeout)
		err = a.uplink.command(tell, cmd)
		cancel()
		if err != nil {
			a.logger.Debug("tell the catalog this node's coordinate", "error", err)
			continue
		}
		told = at
	}
}

// still says whether a coordinate is about where it was.
func still(was, is *coordinate.Coordinate) bool {
	if !was.IsCompatibleWith(is) {
		return false
	}
	// Two nodes that share a place are as far apart as their heights add up to.
	moved := was.DistanceTo(is) - time.Duration((was.Height+is.Height)*float64(time.Second))
	less := was.Error - is.Error
	return moved.Abs() < nearlyStill && max(less, -less) < nearlyAsCertain
}
