package api

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// streamType is the media type of server-sent events (HTML Standard §9.2).
	streamType = "text/event-stream"

	// heartbeat is how often a stream with no news carries a comment, so that
	// whoever is in between keeps the connection and a caller that is gone is noticed.
	heartbeat = 15 * time.Second

	// streamPatience is how long a caller may take to accept an event. One that
	// doesn't is cut off, and has the answer of that time when it comes back.
	streamPatience = 30 * time.Second
)

// A stream is a read that goes on: an event with the answer, then another one
// whenever the answer is different. An event's id is the answer's index, its data
// the answer's JSON. Nothing is queued for a slow caller: when it has taken an event
// the next one is of the state of that moment, so that some in between may be
// skipped but the last never is. Streams ask as blocking queries do: all that watch
// the same thing share one evaluation.

// wantsStream says whether a request's caller wants a stream.
func (r *row) wantsStream(req *http.Request) bool {
	if req.Method != http.MethodGet || r.Download != nil || r.Kind != Read && r.Changed == nil {
		return false
	}
	for _, accepted := range req.Header["Accept"] {
		for one := range strings.SplitSeq(accepted, ",") {
			if kind, _, err := mime.ParseMediaType(one); err == nil && kind == streamType {
				return true
			}
		}
	}
	return false
}

// resume takes the index that a stream goes on from: that of the last event that
// its caller had before it lost the connection, else ?index=.
func (c *call) resume() error {
	last := c.r.Header.Get("Last-Event-ID")
	if last == "" {
		return nil
	}
	index, err := strconv.ParseUint(last, 10, 64)
	if err != nil {
		return invalid("Last-Event-ID must be the id of an event, which is a whole number, not %q", last)
	}
	c.req.Options.Index = index
	return nil
}

// moment is the answer at one moment.
type moment struct {
	data   []byte
	index  uint64 // 0 where the answer is not made of the catalog
	hidden bool
	// over returns nil once the answer may be another one, else ctx's error.
	over func(ctx context.Context) error
}

// moment evaluates the row for a stream.
func (c *call) moment() (moment, error) {
	if c.row.View != nil {
		a, err := c.answer()
		if err != nil {
			return moment{}, err
		}
		store := c.s.deps.Replica.Store()
		over := func(ctx context.Context) error { return store.Wait(ctx, a.topics, a.index) }
		return moment{a.data, a.index, a.hidden, over}, nil
	}
	ask, changes := c.row.Ask, c.s.deps.Cluster.Changed
	if c.row.Kind == Local {
		ask = c.row.Do
	}
	if c.row.Changed != nil {
		changes = c.row.Changed
	}
	changed := changes() // before looking
	answer, err := ask(c.req)
	if a, ok := answer.(*Answer); ok {
		answer = a.Body
	}
	if err != nil {
		return moment{}, err
	}
	answer, hidden, err := c.cut(answer)
	if err != nil {
		return moment{}, err
	}
	data, err := encode(answer)
	return moment{data, 0, hidden, func(ctx context.Context) error {
		select {
		case <-changed:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}, err
}

// stream answers with a stream until its caller has gone, the agent ends, or a
// last event of type error says why: the caller may no longer see the answer, or
// this server has lost its leader.
func (c *call) stream(age time.Duration) error {
	now, err := c.moment()
	if err != nil {
		return err
	}
	ctx, end := c.whileLed()
	defer end()
	out := c.openStream(now, age)
	var shown []byte // what the caller has, nil while that isn't known
	for {
		news := c.isNews(now, shown)
		if news && out.event(now) != nil {
			return nil // the caller has gone
		}
		if news || c.req.Options.Consistency != Stale { // else this server may be behind its caller
			shown = now.data
		}
		if err = c.beat(ctx, now, out); err != nil && context.Cause(ctx) != errNoLeader {
			return nil
		}
		if err == nil {
			err = c.authorize()
		}
		if err == nil {
			now, err = c.moment()
		}
		if err != nil {
			_ = out.fault(err) // the stream ends either way
			return nil
		}
	}
}

// isNews says whether an answer is another one than the caller has.
func (c *call) isNews(now moment, shown []byte) bool {
	resumed, o := c.req.Options.Index, &c.req.Options
	if shown == nil && resumed > 0 && now.index > 0 {
		if now.index > resumed {
			return true
		}
		// An index beyond all that this cluster has had is another cluster's, or of
		// before it was restored; only a stale answer's server may yet get there.
		return o.Consistency != Stale && resumed > max(c.s.deps.Replica.Store().Index(), 1)
	}
	return shown == nil || !bytes.Equal(now.data, shown)
}

// beat waits until an answer is over, with a heartbeat now and then.
func (c *call) beat(ctx context.Context, now moment, out *events) error {
	for {
		soon, cancel := context.WithTimeout(ctx, heartbeat)
		err := now.over(soon)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := out.comment("heartbeat"); err != nil {
			return err
		}
	}
}

// events writes a stream.
type events struct {
	w    io.Writer
	conn *http.ResponseController
	sent func()
}

// openStream sends the head of a stream.
func (c *call) openStream(first moment, age time.Duration) *events {
	h := c.w.Header()
	if first.index > 0 {
		c.consulHeaders(first.index, age, first.hidden).set(h)
	}
	h.Set("Content-Type", streamType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	h.Set("Vary", "Accept")
	c.status = http.StatusOK
	c.w.WriteHeader(http.StatusOK)
	out := &events{c.w, http.NewResponseController(c.w), c.s.metrics.events.Inc}
	// Those who lose a server together should not come back together. An error
	// here comes again with the first event.
	_ = out.write("retry: ", strconv.Itoa(1000+rand.IntN(2000)), "\n\n")
	return out
}

// event sends an answer.
func (e *events) event(m moment) error {
	id := ""
	if m.index > 0 {
		id = "id: " + strconv.FormatUint(m.index, 10) + "\n"
	}
	e.sent()
	return e.write(id, "data: ", string(m.data), "\n\n")
}

// fault sends an error as the last event.
func (e *events) fault(err error) error {
	data, encodeErr := encode(struct {
		Status int
		Error  string
	}{statusOf(err), err.Error()})
	if encodeErr != nil {
		return encodeErr
	}
	return e.write("event: error\ndata: ", string(data), "\n\n")
}

func (e *events) comment(text string) error { return e.write(": ", text, "\n\n") }

// write sends the parts of one event, in time.
func (e *events) write(parts ...string) error {
	// Not every ResponseWriter has deadlines; those of a listening server have.
	_ = e.conn.SetWriteDeadline(time.Now().Add(streamPatience))
	for _, p := range parts {
		if _, err := io.WriteString(e.w, p); err != nil {
			return err
		}
	}
	return e.conn.Flush()
}

// sendLines answers with lines as they come.
func (c *call) sendLines(status int, body Lines) {
	defer body.Close()
	ctx, end := c.s.untilDrained(c.req.ctx)
	defer end()
	c.w.Header().Set("Content-Type", body.ContentType)
	c.status = status
	c.w.WriteHeader(status)
	out := &events{w: c.w, conn: http.NewResponseController(c.w)}
	var line []byte
	for err := out.write(); err == nil; err = out.write(string(line)) {
		if line, err = body.Next(ctx); err != nil {
			return
		}
	}
}

// untilDrained gives a context that also ends when the agent does. Call end.
func (s *Server) untilDrained(parent context.Context) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancel(parent)
	stop := context.AfterFunc(s.draining, cancel)
	return ctx, func() { stop(); cancel() }
}

// relayStream hands a stream on from another agent, each part as it comes.
func (c *call) relayStream(body io.Reader) {
	conn := http.NewResponseController(c.w)
	buffer := make([]byte, 16<<10)
	for {
		n, err := body.Read(buffer)
		if n > 0 {
			_ = conn.SetWriteDeadline(time.Now().Add(streamPatience))
			if _, err := c.w.Write(buffer[:n]); err != nil || conn.Flush() != nil {
				return
			}
		}
		if err != nil {
			return // the caller comes back with Last-Event-ID, and finds another server
		}
	}
}
