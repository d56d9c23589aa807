package api

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"muster/catalog"
)

const (
	// hopsHeader says how many more times a request may be passed on. It counts
	// on the cluster port only.
	hopsHeader = "X-Muster-Hops"
	maxHops    = 2

	// agentHeader names the agent that was asked first. It counts on the cluster
	// port only.
	agentHeader = "X-Muster-Agent"

	// fromHeader is the address that agent was asked from. It counts on the cluster
	// port only.
	fromHeader = "X-Muster-From"

	// notDoneHeader marks a failure that is known to have had no effect. Where it
	// says notDoneBlocked the answer's text is a reason that somebody has to see to.
	notDoneHeader  = "X-Muster-Not-Done"
	notDoneBlocked = "blocked"

	// maxReason is the length in bytes beyond which such a text is cut: less than
	// what answers are compressed from.
	maxReason = 1000

	// retryEvery is how soon what had no effect is tried again if nothing seems
	// to have changed.
	retryEvery = 50 * time.Millisecond

	// passedHold is how long a server keeps what another agent has passed on to
	// it if it knows no leader: longer than most elections. Beyond that this
	// server may be the one that is cut off, and the agent asks another.
	passedHold = 500 * time.Millisecond
)

// parseHops reads how many more times a request may be passed on.
func parseHops(h http.Header) (int, error) {
	hops, err := strconv.Atoi(h.Get(hopsHeader))
	if err != nil || hops < 0 || hops > maxHops {
		return 0, invalid("the %s header must be a number from 0 to %d", hopsHeader, maxHops)
	}
	return hops, nil
}

// hold tries until it is done or known that it can't be, for as long as requests
// wait for a leader. What fails without effect is tried again as soon as the
// leader or the servers change, and now and then besides. A request that was
// passed on is held by those before it, so here for a short while only, and if
// it may not be passed on any more it is tried once.
//
// In the end the caller is told what somebody has to see to, if any try has found
// such a reason, and otherwise that there is no leader.
func (c *call) hold(try func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(c.req.ctx, c.s.cfg.HoldTimeout)
	defer cancel()
	patience := ctx // ends when nothing is tried again
	if c.hops < maxHops {
		patience, cancel = context.WithTimeout(ctx, passedHold)
		defer cancel()
	}
	for reason := error(errNoLeader); ; {
		changed := c.s.deps.Cluster.Changed()
		err := try(ctx)
		if err == nil || !notDone(err) || c.hops == 0 {
			return err
		}
		if blocked(err) {
			reason = err
		}
		if !pause(patience, changed) {
			return reason
		}
	}
}

// pause waits until something changed, a short while at most. It says whether
// there is time left.
func pause(ctx context.Context, changed <-chan struct{}) bool {
	timer := time.NewTimer(retryEvery)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-changed:
	case <-timer.C:
	}
	return ctx.Err() == nil
}

// forward has any server answer.
func (c *call) forward() error {
	if c.shared() {
		return c.share()
	}
	return c.passOn()
}

// passOn has any server answer this call alone.
func (c *call) passOn() error {
	return c.keepAsking(c.s.waitTime(c.req.Options.Wait), func() error {
		resp, err := c.anyServer()
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		c.relay(resp)
		return nil
	})
}

// errBrokeOff says that no server answers a blocking query, but that one had kept
// it for longer than hold tries: not while it waited for a leader.
var errBrokeOff = errors.New("a server broke off a blocking query that it had kept")

// keepAsking has servers asked as hold does. When a blocking query breaks off that
// a server had kept, the time in which another one may be asked begins, until the
// query has waited as long as it may: servers that all stand still keep queries too.
func (c *call) keepAsking(wait time.Duration, ask func() error) error {
	for until := time.Now().Add(wait); ; {
		err := c.hold(func(context.Context) error { return ask() })
		if !errors.Is(err, errBrokeOff) {
			return err
		}
		if c.req.ctx.Err() != nil || !time.Now().Before(until) {
			return errNoLeader
		}
	}
}

// anyServer asks one server after the other until one answers. The caller closes
// the answer's body.
func (c *call) anyServer() (*http.Response, error) {
	err, brokeOff := fmt.Errorf("%w: no servers are known", errNoLeader), false
	for _, addr := range c.s.deps.Cluster.Servers() {
		asked := time.Now()
		resp, failed := c.exchange(addr)
		if failed == nil || !notDone(failed) {
			return resp, failed
		}
		err = telling(err, failed)
		if c.req.Options.Index > 0 && !neverSent(failed) && time.Since(asked) >= c.s.cfg.HoldTimeout {
			brokeOff = true
		}
	}
	if brokeOff {
		return nil, errBrokeOff
	}
	return nil, err
}

// pass has one server answer. After nil the caller has its answer.
func (c *call) pass(addr string) error {
	resp, err := c.exchange(addr)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	c.relay(resp)
	return nil
}

// toLeader has the leader answer, unless that is here.
func (c *call) toLeader() (here bool, err error) {
	err = c.hold(func(context.Context) error {
		if here = c.s.deps.Replica.IsLeader(); here {
			return nil
		}
		addr := c.s.deps.Cluster.LeaderAddr()
		if addr == "" {
			return cmp.Or(c.s.deps.Replica.Blocked(), error(errNoLeader))
		}
		return c.pass(addr)
	})
	return here, err
}

// exchange asks one server. An error of kind Unavailable or Blocked says that it
// had no effect and that another server may be asked. The caller closes the answer's body.
func (c *call) exchange(addr string) (*http.Response, error) {
	if c.hops == 0 {
		return nil, errNoLeader
	}
	resp, err := c.s.deps.Cluster.RoundTrip(addr, c.outbound(addr))
	if err != nil {
		if gone(c.req.ctx) {
			return nil, err
		}
		c.s.deps.Cluster.Failed(addr)
		c.s.log.Debug("a server could not be asked", "server", addr, "error", err)
		if c.row.alters() && !neverSent(err) {
			return nil, lost(addr, err)
		}
		return nil, fmt.Errorf("%w: ask server %s: %w", errNoLeader, addr, err)
	}
	if mark := resp.Header.Get(notDoneHeader); mark != "" {
		defer resp.Body.Close()
		c.s.deps.Cluster.Failed(addr)
		reason := errNoLeader
		if mark == notDoneBlocked {
			// Half a reason is better than none.
			text, _ := io.ReadAll(io.LimitReader(resp.Body, maxReason))
			reason = catalog.Errorf(catalog.Blocked, "%s", text)
		}
		switch {
		case c.upload.begun():
			return nil, &statusError{http.StatusInternalServerError, reason.Text + ": nothing was done; send the request again"}
		case blocked(reason):
			return nil, reason
		}
		return nil, fmt.Errorf("%w: server %s says so", errNoLeader, addr)
	}
	return resp, nil
}

// lost is the error of a write that may have taken effect or not.
func lost(addr string, err error) error {
	return catalog.Errorf(catalog.Unknown, "the connection to server %s was lost: whether the request took effect is unknown: %v", addr, err)
}

// neverSent says whether a request failed before a byte of it was sent.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// hopByHop are headers that are about one connection, and what a browser said of
// the page that it was on, which has been judged already.
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Expect",
	"Origin", "Sec-Fetch-Site", notDoneHeader,
}

// outbound is the request as it is passed on: as it came, but for its hops.
func (c *call) outbound(addr string) *http.Request {
	out := c.r.Clone(c.req.ctx)
	out.RequestURI, out.Host, out.Close = "", addr, false
	for _, name := range hopByHop {
		out.Header.Del(name)
	}
	out.Header.Set(hopsHeader, strconv.Itoa(c.hops-1))
	out.Header.Set(agentHeader, c.req.Agent)
	out.Header.Del(fromHeader)
	if c.req.From.IsValid() {
		out.Header.Set(fromHeader, c.req.From.String())
	}
	out.TransferEncoding = nil
	if c.upload != nil {
		out.Body = c.upload // as long as the caller says
		return out
	}
	out.ContentLength = int64(len(c.req.Body))
	// With GetBody the transport sends a request again that the other side is
	// known not to have looked at: its connection was closing.
	out.GetBody = func() (io.ReadCloser, error) {
		if len(c.req.Body) == 0 {
			return http.NoBody, nil
		}
		return io.NopCloser(bytes.NewReader(c.req.Body)), nil
	}
	out.Body, _ = out.GetBody()
	return out
}

// relay hands an answer on as it is.
func (c *call) relay(resp *http.Response) {
	c.relayHeader(resp.Header)
	c.status = resp.StatusCode
	c.w.WriteHeader(resp.StatusCode)
	if c.streams {
		c.relayStream(resp.Body)
		return
	}
	if _, err := io.Copy(c.w, resp.Body); err != nil {
		// Half an answer must not look like a whole one.
		panic(http.ErrAbortHandler)
	}
}

// relayHeader hands an answer's header on, without what is about one connection.
func (c *call) relayHeader(from http.Header) {
	h := c.w.Header()
	for name, values := range from {
		h[name] = values
	}
	for _, name := range hopByHop {
		h.Del(name)
	}
}
