package consensus

import (
	"slices"
	"time"

	"muster/consensus/core"
)

// transferGrace is how long after the last piece of a snapshot the follower may
// take to install it and ask for the log behind it.
const transferGrace = core.Instant(5 * time.Second)

// transfers are the snapshots that this server is sending, or has just sent. The
// log behind them is kept, and their files: else a follower that takes long
// would find both gone when it is done, and begin again for ever. A follower
// that is away holds nothing up: the core soon turns to the newest snapshot.
type transfers []transfer

type transfer struct {
	to    core.ServerID
	index uint64
	until core.Instant
}

// note takes down that a piece of a snapshot leaves.
func (t *transfers) note(m core.Message, now core.Instant) {
	tr := transfer{to: m.To, index: m.Snapshot.Index, until: now + transferGrace}
	for i := range *t {
		if (*t)[i].to == m.To {
			(*t)[i] = tr
			return
		}
	}
	*t = append(*t, tr)
}

// oldest is the lowest index among the snapshots under way.
func (t *transfers) oldest(now core.Instant) (index uint64, ok bool) {
	*t = slices.DeleteFunc(*t, func(tr transfer) bool { return tr.until < now })
	for _, tr := range *t {
		if !ok || tr.index < index {
			index, ok = tr.index, true
		}
	}
	return index, ok
}
