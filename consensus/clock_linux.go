package consensus

import (
	"time"

	"golang.org/x/sys/unix"

	"muster/consensus/core"
)

// clock gives the time since boot, suspension included: a server that slept must
// not wake up and believe in the leadership it had.
func clock() core.Instant {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return core.Instant(time.Since(started))
	}
	return core.Instant(ts.Nano())
}

var started = time.Now()
