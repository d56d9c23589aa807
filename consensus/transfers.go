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
	// next is when the next piece may leave, held one that came before.
	next core.Instant
	held *core.Message
}

// minChunkRate is the least number of pieces a second: with fewer, one that is
// held back would be taken for lost.
const minChunkRate = 8

// note takes down that a piece of a snapshot is to leave, and says whether it may
// do so now; else it is held until its time. each is what a piece takes.
func (t *transfers) note(m core.Message, now, each core.Instant) (leaves bool) {
	i := slices.IndexFunc(*t, func(tr transfer) bool { return tr.to == m.To })
	if i < 0 {
		i = len(*t)
		*t = append(*t, transfer{to: m.To})
	}
	tr := &(*t)[i]
	tr.index, tr.until = m.Snapshot.Index, now+transferGrace
	if now < tr.next {
		tr.held = &m // in the place of an earlier one: it is asked for again
		return false
	}
	tr.next, tr.held = now+each, nil
	return true
}

// due gives the pieces whose time has come.
func (t *transfers) due(now, each core.Instant) (ms []core.Message) {
	for i := range *t {
		if tr := &(*t)[i]; tr.held != nil && now >= tr.next {
			ms = append(ms, *tr.held)
			tr.next, tr.held = now+each, nil
		}
	}
	return ms
}

// deadline is when due has something to give.
func (t *transfers) deadline() core.Instant {
	next := core.Never
	for _, tr := range *t {
		if tr.held != nil {
			next = min(next, tr.next)
		}
	}
	return next
}

// chunkTime is how long a piece of a snapshot takes at the rate that is allowed.
func (c *Config) chunkTime() core.Instant {
	if c.SnapshotRate == 0 {
		return 0
	}
	return core.Instant(int64(time.Second) * int64(c.ChunkBytes) / int64(c.SnapshotRate))
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
