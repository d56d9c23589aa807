package api

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync/atomic"
)

// room bounds how many requests of a sort are there at once. What doesn't fit is
// refused at once: a server that is asked for more than it can do shall say so,
// and not become slow for everyone.
type room struct {
	most    int64
	taken   atomic.Int64
	refused atomic.Uint64
	full    error
}

func newRoom(most int, full string) *room {
	return &room{most: int64(most), full: &statusError{http.StatusServiceUnavailable, full}}
}

func (r *room) enter() error {
	if r.taken.Add(1) > r.most {
		r.taken.Add(-1)
		r.refused.Add(1)
		return r.full
	}
	return nil
}

func (r *room) leave() { r.taken.Add(-1) }

// room is where a request counts; nil for one that is always answered. Those are
// what tells whether this agent lives and what its own services report to it:
// Local and Leading routes, and the quorum's. They cost little, and an overloaded agent that
// refused them would be taken for a dead one.
func (c *call) room() *room {
	switch {
	case c.row.Kind == Local || c.row.Kind == Leading || c.row.Ask != nil && !c.streams:
		return nil
	case c.streams || c.row.Kind == Read && c.req.Options.Index > 0:
		return c.s.waiting
	}
	return c.s.active
}

// admit lets a request in, or refuses it. Call leave when it was answered.
func (c *call) admit() (leave func(), err error) {
	in := c.room()
	if in == nil {
		return func() {}, nil
	}
	if err := in.enter(); err != nil {
		return nil, err
	}
	return in.leave, nil
}

// retryAfter is when to come back, in seconds; those who were refused together
// should not come back together.
func retryAfter() string { return strconv.Itoa(1 + rand.IntN(4)) }
