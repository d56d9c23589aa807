package api

import (
	"fmt"
	"net/http"
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
	ctx, end := c.s.untilDrained(c.req.ctx)
	defer end()
	out := &patientWriter{over: ctx.Err, w: c.w, conn: http.NewResponseController(c.w)}
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
