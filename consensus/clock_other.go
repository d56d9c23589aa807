//go:build !linux

package consensus

import (
	"time"

	"muster/consensus/core"
)

// clock gives the time since this process started. Whether it counts suspended
// time depends on the system.
func clock() core.Instant { return core.Instant(time.Since(started)) }

var started = time.Now()
