package api

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// What is too large to be held in memory is sent and received a piece at a time.

// download answers with bytes as they are made.
func (c *call) download(age time.Duration) error {
	answer, err := c.row.Download(c.req)
	if err != nil {
		return err
	}
	h := c.w.Header()
	c.consulHeaders(answer.Index, age, false).set(h)
	h.Set("Content-Type", answer.ContentType)
	c.status = http.StatusOK
	c.w.WriteHeader(http.StatusOK)
	over := func() error { return cmp.Or(c.req.ctx.Err(), c.s.draining.Err()) }
	out := &patientWriter{over: over, w: c.w, conn: http.NewResponseController(c.w)}
	if err := answer.Write(out); err != nil {
		c.s.log.Warn("an answer was cut short", "route", c.row.Path, "error", err)
		// Half an answer must not look like a whole one.
		panic(http.ErrAbortHandler)
	}
	return nil
}

// patientWriter sends a body to a caller who takes each piece in time.
type patientWriter struct {
	over func() error // says why nothing more is to be sent
	w    http.ResponseWriter
	conn *http.ResponseController
}

// Write implements io.Writer.
func (p *patientWriter) Write(b []byte) (int, error) {
	if err := p.over(); err != nil {
		return 0, fmt.Errorf("the caller has gone, or this agent ends: %w", err)
	}
	// Not every ResponseWriter has deadlines; those of a listening server have.
	_ = p.conn.SetWriteDeadline(time.Now().Add(streamPatience))
	return p.w.Write(b)
}

// upload is a body that whoever answers reads a piece at a time, from a caller who
// sends each in time.
type upload struct {
	body io.ReadCloser
	conn *http.ResponseController

	mu    sync.Mutex
	read  bool // guarded by mu; some of it was, or is being
	ended bool // guarded by mu; the request is answered
}

func newUpload(w http.ResponseWriter, r *http.Request) *upload {
	return &upload{body: r.Body, conn: http.NewResponseController(w)}
}

// Read implements io.Reader.
func (u *upload) Read(b []byte) (int, error) {
	if err := u.begin(); err != nil {
		return 0, err
	}
	return u.body.Read(b)
}

func (u *upload) begin() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		// Who passes a request on may still be sending it when it is answered.
		return errors.New("the request is answered already")
	}
	u.read = true
	// Not every ResponseWriter has deadlines; those of a listening server have.
	_ = u.conn.SetReadDeadline(time.Now().Add(bodyTimeout))
	return nil
}

// Close implements io.Closer for who passes the request on. The body is closed by
// the server that it came to.
func (u *upload) Close() error { return nil }

// begun says whether some of it was read, and so can't be read again. Without an
// upload nothing was.
func (u *upload) begun() bool {
	if u == nil {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.read
}

// end is called when the request is answered.
func (u *upload) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ended = true
	_ = u.conn.SetReadDeadline(time.Time{})
}
