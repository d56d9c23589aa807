package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// flights lets those who ask a client agent the same blocking query share one at
// a server.
//
// An answer never comes from a query that was begun before its asker asked. Else
// one who joins could be answered by a server that lags: it wakes an old query
// with the first of two changes, when both were committed before the newcomer
// asked. So where someone joined after the query was sent, its end tells no more
// than that it is time to ask again, once and for all who are aboard by then;
// those who come later begin a flight of their own. What a server promises to a
// query of its own, whatever its consistency, therefore holds for each asker, and
// its X-Consul headers are as true.
//
// A query at a server waits as long as any asker may. Who wants to wait less is
// answered by another one, shared too, which does not wait.
type flights struct {
	limit int // bytes of answers that are held at once

	mu    sync.Mutex
	open  map[string]*flight // guarded by mu; by question, those that can be joined
	bytes int                // guarded by mu; of the answers that are held
}

// flight is one question to the servers. It lasts until the last of its askers
// has gone, who ends its goroutine and waits for that.
type flight struct {
	key string
	end context.CancelFunc

	askers int  // guarded by flights.mu
	joined bool // guarded by flights.mu; someone came after the query was sent
	bytes  int  // guarded by flights.mu; what of flights.bytes is this one's

	over   chan struct{} // closed once one of the following is set
	answer *relayed
	err    error
}

// relayed is another agent's answer. It never changes.
type relayed struct {
	status int
	header http.Header
	*payload
}

// query asks the servers.
type query func(ctx context.Context) (*http.Response, error)

var (
	// errWaited says that an asker has waited as long as it wanted to.
	errWaited = errors.New("nothing has changed while the query waited")
	// errApart says that there is no room for an answer: it can go to each asker
	// only as it comes.
	errApart = errors.New("the answer is too large to be shared")
)

func newFlights(limit int) *flights {
	return &flights{limit: limit, open: map[string]*flight{}}
}

// ask has give write the answer to a question, which begin makes the query of if
// nobody asks it yet. It fails with errWaited once ctx is over.
func (fs *flights) ask(ctx context.Context, key string, begin func() query, give func(*relayed)) error {
	if ctx.Err() != nil {
		return errWaited
	}
	f := fs.join(key, begin)
	defer fs.leave(f)
	select {
	case <-f.over:
	case <-ctx.Done():
		return errWaited
	}
	if f.err == nil {
		give(f.answer)
	}
	return f.err
}

func (fs *flights) join(key string, begin func() query) *flight {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f := fs.open[key]; f != nil {
		f.askers++
		f.joined = true
		return f
	}
	// It is no asker's context: whoever came first may go first.
	ctx, cancel := context.WithCancel(context.Background())
	f := &flight{key: key, end: cancel, askers: 1, over: make(chan struct{})}
	fs.open[key] = f
	send := begin()
	go fs.fly(ctx, f, send)
	return f
}

// leave counts an asker out. The last one ends the flight and lets its answer go.
func (fs *flights) leave(f *flight) {
	fs.mu.Lock()
	f.askers--
	last := f.askers == 0
	if last {
		fs.shut(f)
	}
	fs.mu.Unlock()
	if !last {
		return
	}
	f.end()
	<-f.over
	fs.mu.Lock()
	fs.bytes -= f.bytes
	fs.mu.Unlock()
}

// shut keeps others from joining a flight. The caller holds mu.
func (fs *flights) shut(f *flight) {
	if fs.open[f.key] == f {
		delete(fs.open, f.key)
	}
}

// fly gets the outcome of a flight.
func (fs *flights) fly(ctx context.Context, f *flight, send query) {
	defer close(f.over)
	resp, err := send(ctx)
	fs.mu.Lock()
	fs.shut(f)
	again := f.joined
	fs.mu.Unlock()
	if err == nil && again {
		resp.Body.Close()
		resp, err = send(ctx)
	}
	if err != nil {
		f.err = err
		return
	}
	defer resp.Body.Close()
	f.answer, f.err = fs.take(f, resp)
}

// take reads an answer if there is room for it.
func (fs *flights) take(f *flight, resp *http.Response) (*relayed, error) {
	size := resp.ContentLength
	fs.mu.Lock()
	fits := size >= 0 && size <= int64(fs.limit-fs.bytes)
	if fits {
		f.bytes = int(size)
		fs.bytes += f.bytes
	}
	fs.mu.Unlock()
	if !fits {
		return nil, errApart
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(resp.Body, data); err != nil {
		return nil, fmt.Errorf("%w: read a server's answer: %w", errNoLeader, err)
	}
	return &relayed{resp.StatusCode, resp.Header, &payload{data: data}}, nil
}

// shared says whether others may ask the same and wait for the same.
func (c *call) shared() bool {
	return c.row.View != nil && c.req.Options.Index > 0 && !c.streams && c.s.flights.limit > 0
}

// atOnce is a wait that is over as soon as it has begun; 0 would be the default.
const atOnce = time.Nanosecond

// share answers a blocking query by one that all share who ask the same.
func (c *call) share() error {
	waiting, cancel := context.WithTimeout(c.req.ctx, c.s.waitTime(c.req.Options.Wait))
	defer cancel()
	err := c.board(waiting, c.s.cfg.MaxQueryTime)
	if c.req.ctx.Err() == nil && (errors.Is(err, errWaited) || errors.Is(err, errApart)) {
		err = c.board(c.req.ctx, atOnce)
	}
	if errors.Is(err, errApart) {
		c.req.Options.Wait = atOnce
		c.req.Query.Set("wait", atOnce.String())
		c.requery()
		err = c.passOn()
	}
	return err
}

// board joins those who wait for the answer to a call's question, until ctx is over.
func (c *call) board(ctx context.Context, wait time.Duration) error {
	key := c.sameQuestion(wait)
	begin := func() query {
		up := c.upstream(context.Background(), wait)
		return func(ctx context.Context) (*http.Response, error) {
			up.req.ctx = ctx
			return up.anyServer()
		}
	}
	return c.keepAsking(wait, func() error {
		return c.s.flights.ask(ctx, key, begin, c.give)
	})
}

// upstream is a call as the servers are asked it: it waits as said, and its
// answer comes as plain bytes, for each asker to have in a form of its own.
// It has nothing of the call but what stays when that has ended.
func (c *call) upstream(ctx context.Context, wait time.Duration) *call {
	up := &call{s: c.s, row: c.row, r: c.r.Clone(ctx), hops: c.hops}
	up.r.URL.RawQuery = c.upstreamQuery(wait)
	up.r.Header.Set("Accept-Encoding", "identity")
	up.req = &Request{ctx: ctx, Agent: c.req.Agent, Options: c.req.Options}
	return up
}

func (c *call) upstreamQuery(wait time.Duration) string {
	q := maps.Clone(c.req.Query)
	q.Del("pretty")
	q.Set("wait", wait.String())
	return q.Encode()
}

// sameQuestion is all of a request that its answer may depend on.
func (c *call) sameQuestion(wait time.Duration) string {
	var b strings.Builder
	for _, part := range []string{c.r.URL.EscapedPath(), c.upstreamQuery(wait), c.req.Token, c.req.Accept} {
		b.WriteString(strconv.Itoa(len(part)))
		b.WriteByte(':')
		b.WriteString(part)
	}
	return b.String()
}

// give writes a shared answer to this caller.
func (c *call) give(a *relayed) {
	c.relayHeader(a.header)
	c.send(a.status, a.header.Get("Content-Type"), a.payload)
}
