package api

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"muster/catalog"
)

const (
	jsonType = "application/json"
	textType = "text/plain; charset=utf-8"

	// gzipFrom is the size in bytes from which an answer is compressed.
	gzipFrom = 1400
)

// consulHeaders are those of a read of the catalog.
type consulHeaders struct {
	index       uint64
	knownLeader bool
	lastContact time.Duration
	consistency string
	cut         bool
}

func (h consulHeaders) set(header http.Header) {
	header.Set("X-Consul-Index", strconv.FormatUint(max(h.index, 1), 10))
	h.setContact(header)
	header.Set("X-Consul-Query-Backend", "blocking-query")
	if h.consistency != "" {
		header.Set("X-Consul-Effective-Consistency", h.consistency)
	}
	if h.cut {
		header.Set("X-Consul-Results-Filtered-By-ACLs", "true")
	}
}

// setContact sets those that tell how current an answer is.
func (h consulHeaders) setContact(header http.Header) {
	header.Set("X-Consul-KnownLeader", strconv.FormatBool(h.knownLeader))
	header.Set("X-Consul-LastContact", strconv.FormatInt(h.lastContact.Milliseconds(), 10))
}

// render writes what a handler returned: nothing for nil, JSON for most.
func (c *call) render(answer any) error {
	h, body := unwrap(answer)
	if lines, ok := body.(Lines); ok {
		h.set(c.w.Header())
		c.sendLines(h.status, lines)
		return nil
	}
	h, data, err := finish(answer)
	if err == nil {
		c.sendHead(h, &payload{data: data})
	}
	return err
}

// unwrap takes an answer apart.
func unwrap(answer any) (head, any) {
	a, ok := answer.(*Answer)
	if !ok {
		return head{status: http.StatusOK}, answer
	}
	return head{status: cmp.Or(a.Status, http.StatusOK), header: a.Header}, a.Body
}

// finish gives the bytes of an answer, and what comes before them.
func finish(answer any) (_ head, data []byte, err error) {
	h, body := unwrap(answer)
	switch body := body.(type) {
	case nil:
		if h.status == http.StatusOK {
			h.contentType = jsonType
		}
	case Raw:
		h.contentType, data = body.ContentType, body.Data
	default:
		h.contentType = jsonType
		data, err = encode(body)
	}
	return h, data, err
}

func (h head) set(header http.Header) {
	for name, value := range h.header {
		header.Set(name, value)
	}
}

// encode makes the JSON of an answer.
func encode(answer any) ([]byte, error) {
	data, err := json.Marshal(answer)
	if err != nil {
		return nil, catalog.Errorf(catalog.Internal, "encode the answer: %v", err)
	}
	return data, nil
}

// fail answers with an error.
func (c *call) fail(err error) {
	if gone(c.r.Context()) {
		// The caller went away, or this agent is ending and does not know how the
		// request ended. An empty answer would be a 200.
		panic(http.ErrAbortHandler)
	}
	if refusal := (*Refusal)(nil); errors.As(err, &refusal) {
		if err = c.render(&refusal.Answer); err == nil {
			return
		}
	}
	status := statusOf(err)
	text := err.Error()
	switch {
	case c.cluster && blocked(err):
		c.w.Header().Set(notDoneHeader, notDoneBlocked)
		text = strings.ToValidUTF8(text[:min(len(text), maxReason)], "")
	case c.cluster && notDone(err):
		c.w.Header().Set(notDoneHeader, "true")
	}
	if c.row.View != nil && status >= http.StatusInternalServerError {
		consulHeaders{}.set(c.w.Header())
	}
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		c.w.Header().Set("Retry-After", retryAfter())
	}
	c.s.log.Debug("request failed", "method", c.r.Method, "route", c.row.Path, "status", status, "error", err)
	c.respond(status, textType, []byte(text))
}

// respond writes an answer.
func (c *call) respond(status int, contentType string, data []byte) {
	c.send(status, contentType, &payload{data: data})
}

// sendHead writes a finished answer.
func (c *call) sendHead(h head, p *payload) {
	h.set(c.w.Header())
	c.send(h.status, h.contentType, p)
}

// send writes a payload, indented or compressed as the caller wants it.
func (c *call) send(status int, contentType string, p *payload) {
	if contentType == jsonType && len(p.data) > 0 && c.req.Has("pretty") {
		var indented bytes.Buffer
		if json.Indent(&indented, p.data, "", "    ") == nil {
			p = &payload{data: append(indented.Bytes(), '\n')}
		}
	}
	h, data := c.w.Header(), p.data
	if contentType != "" {
		h.Set("Content-Type", contentType)
	}
	if len(data) >= gzipFrom && acceptsGzip(c.r) {
		h.Set("Content-Encoding", "gzip")
		data = p.gzipped()
	}
	h.Set("Content-Length", strconv.Itoa(len(data)))
	c.status = status
	c.w.WriteHeader(status)
	_, _ = c.w.Write(data) // the caller has gone if it fails
}

// compress gives the gzip form of an answer.
func compress(data []byte) []byte {
	var out bytes.Buffer
	z := gzips.Get().(*gzip.Writer)
	defer gzips.Put(z)
	z.Reset(&out)
	_, err := z.Write(data)
	if err = errors.Join(err, z.Close()); err != nil {
		panic(fmt.Sprintf("api: gzip into memory: %v", err))
	}
	return out.Bytes()
}

var gzips = sync.Pool{New: func() any {
	z, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(fmt.Sprintf("api: gzip knows no level %d: %v", gzip.BestSpeed, err))
	}
	return z
}}

// acceptsGzip says whether a caller wants its answer compressed.
func acceptsGzip(r *http.Request) bool {
	for _, accepted := range r.Header["Accept-Encoding"] {
		for one := range strings.SplitSeq(accepted, ",") {
			coding, weight, _ := strings.Cut(strings.TrimSpace(one), ";")
			if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
				continue
			}
			q, found := strings.CutPrefix(strings.ReplaceAll(weight, " ", ""), "q=")
			if v, err := strconv.ParseFloat(q, 64); found && err == nil && v == 0 {
				return false
			}
			return true
		}
	}
	return false
}
