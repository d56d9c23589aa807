package api

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"muster/catalog/state"
)

// read answers a Read, here or through a server.
func (c *call) read() error {
	if c.s.deps.Replica == nil {
		return c.forward()
	}
	if c.row.OfLeader && c.req.Options.Consistency != Stale {
		if here, err := c.toLeader(); !here {
			return err
		}
	}
	if err := c.authorize(); err != nil {
		return err
	}
	age, err := c.catchUp()
	if err != nil {
		return err
	}
	if c.streams {
		return c.stream(age)
	}
	if c.row.Download != nil {
		return c.download(age)
	}
	if c.row.Ask != nil {
		answer, err := c.row.Ask(c.req)
		var hidden bool
		if err == nil {
			answer, hidden, err = c.cut(answer)
		}
		if err != nil {
			return err
		}
		if a, ok := answer.(*Answer); ok && a.Index > 0 {
			c.consulHeaders(a.Index, age, hidden).set(c.w.Header())
			if c.req.Has("cached") {
				c.cacheHeaders()
			}
		}
		return c.render(answer)
	}
	a, err := c.await()
	if err != nil {
		return err
	}
	c.consulHeaders(a.index, age, a.hidden).set(c.w.Header())
	if c.req.Has("cached") {
		c.cacheHeaders()
	}
	c.sendHead(a.head, a.payload)
	return nil
}

// consulHeaders are those of an answer that this server gives.
func (c *call) consulHeaders(index uint64, age time.Duration, hidden bool) consulHeaders {
	consistency := c.req.Options.Consistency.String()
	if c.row.Plain {
		consistency = ""
	}
	return consulHeaders{
		index:       index,
		knownLeader: c.req.Options.Consistency != Stale || c.s.deps.Replica.KnownLeader(),
		lastContact: age,
		consistency: consistency,
		cut:         hidden,
	}
}

// cacheHeaders tell a caller who asked for it whether its answer was kept. One
// that was is as current as a new one: its age is always 0, which no max-age or
// stale-if-error of the caller's Cache-Control is below.
func (c *call) cacheHeaders() {
	if !c.kept {
		c.w.Header().Set("X-Cache", "MISS")
		return
	}
	c.w.Header().Set("X-Cache", "HIT")
	c.w.Header().Set("Age", "0")
}

// catchUp waits until this server's copy is as current as the caller wants, and
// says how old it may be.
func (c *call) catchUp() (age time.Duration, err error) {
	o, replica := &c.req.Options, c.s.deps.Replica
	if o.Consistency == Stale {
		age = replica.LastContact()
		if replica.Ready() && (o.MaxStale == 0 || age <= o.MaxStale && replica.KnownLeader()) {
			return age, nil
		}
		o.Consistency = Leader // as Consul does
	}
	if c.row.Ask != nil && !c.row.Current && !c.row.OfLeader {
		return 0, nil
	}
	catchUp := replica.ReadIndex
	if o.Consistency == Consistent {
		catchUp = replica.Confirm
	}
	return 0, c.hold(func(ctx context.Context) error {
		err := catchUp(ctx)
		if err == nil || blocked(err) {
			return err
		}
		return fmt.Errorf("%w: %w", errNoLeader, err)
	})
}

// await gives the answer, once it is newer than what a blocking query has.
//
// It waits on what the answer depends on and not for an index to pass. Where
// something of that moved and the answer is still the same bytes, it goes on
// waiting: its caller would learn nothing.
func (c *call) await() (*answer, error) {
	o, store := &c.req.Options, c.s.deps.Replica.Store()
	first, err := c.answer()
	if err != nil || o.Index == 0 || first.index > o.Index {
		return first, err
	}
	if o.Consistency != Stale && o.Index > max(store.Index(), 1) {
		// No answer of this cluster had such an index: it was restored to an
		// older state, or the caller came from another one. It must start anew.
		return first, nil
	}
	ctx, end := c.whileLed()
	defer end()
	timer := time.AfterFunc(c.s.waitTime(o.Wait), end)
	defer timer.Stop()
	for last := first; ; {
		if store.Wait(ctx, last.topics, last.index) != nil {
			if context.Cause(ctx) == errNoLeader {
				return nil, errNoLeader
			}
			return last, c.req.ctx.Err()
		}
		// The token may have been revoked meanwhile.
		if err := c.authorize(); err != nil {
			return nil, err
		}
		next, err := c.answer()
		if err != nil {
			return nil, err
		}
		// A stale answer's server may be behind its caller, who must not go back: until
		// it has caught up, what it had is nothing that news could be told by.
		if o.Consistency == Stale && next.index <= o.Index {
			first = next
		} else if !(next.head.equal(&first.head) && bytes.Equal(next.data, first.data)) {
			return next, nil
		}
		last = next
	}
}

// whileLed gives a context that also ends, with errNoLeader as its cause, once
// this server has been without a leader for too long: who waits here for a change
// that must be current would wait in vain, and another server may know of it.
//
// It is one context, as ten thousand queries may hold theirs at once.
func (c *call) whileLed() (_ context.Context, end func()) {
	if c.row.View == nil || c.req.Options.Consistency == Stale {
		return context.WithCancel(c.req.ctx)
	}
	ctx, cancel := context.WithCancelCause(c.req.ctx)
	stop := context.AfterFunc(c.s.deps.Replica.Led(), func() { cancel(errNoLeader) })
	return ctx, func() { stop(); cancel(nil) }
}

// waitTime is how long a blocking query waits: as long as asked within bounds,
// and up to a sixteenth longer, so that those that began together don't all come
// back together.
func (s *Server) waitTime(asked time.Duration) time.Duration {
	if asked == 0 {
		asked = s.cfg.DefaultQueryTime
	}
	asked = min(asked, s.cfg.MaxQueryTime)
	return asked + rand.N(asked/16+1)
}

// answer evaluates the row, or finds the answer that someone else had made.
func (c *call) answer() (a *answer, err error) {
	a, c.kept, err = c.s.answers.get(c.s.deps.Replica.Store(), c.question(), func(v *state.View) (*answer, error) {
		raw, err := c.row.View(v, c.req)
		if err != nil {
			return nil, err
		}
		cut, hidden, err := c.cut(raw)
		if err != nil {
			return nil, err
		}
		if c.row.Render != nil {
			cut = c.row.Render(c.req, cut)
		}
		h, data, err := finish(cut)
		if err != nil {
			return nil, err
		}
		return &answer{head: h, payload: &payload{data: data}, index: v.Index(), topics: v.Topics(), hidden: hidden}, nil
	})
	return a, err
}

// question is all that an answer depends on besides the catalog.
func (c *call) question() string {
	var b strings.Builder
	part := func(s string) {
		b.WriteString(strconv.Itoa(len(s)))
		b.WriteByte(':')
		b.WriteString(s)
	}
	part(c.row.Path)
	if c.streams && c.row.Render != nil {
		part(streamType)
	}
	part(c.req.Authz.ViewID())
	for _, name := range c.row.vars {
		part(c.req.vars[name])
	}
	for _, p := range c.row.Params {
		if values, ok := c.req.Query[p.Name]; ok {
			part(p.Name)
			for _, v := range values {
				part("=" + v)
			}
			if p.Name == "near" && values[0] != "" {
				part(strconv.FormatUint(c.s.deps.Replica.Store().View().LastCoordinate(), 10))
			}
		}
	}
	return b.String()
}
