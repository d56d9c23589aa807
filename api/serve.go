package api

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"muster/catalog"
	"muster/catalog/acl"
)

// call is one request on its way through the pipeline.
type call struct {
	s       *Server
	w       http.ResponseWriter
	r       *http.Request
	row     *row
	req     *Request
	cluster bool    // it came in on the cluster port
	hops    int     // how many more times it may be passed on
	streams bool    // it is answered by a stream
	kept    bool    // the answer was there already
	upload  *upload // of a row that has it

	cmd     catalog.Command // of a row that MayRead, once it is made
	onceKey string          // of a row that takes one, "" for none
	status  int             // what was answered
}

// serve answers a request for the API.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, cluster bool) {
	ep, vars, err := s.table.find(r)
	if err != nil {
		s.plain(w, statusOf(err), err.Error())
		return
	}
	if ep == nil {
		s.notFound(w, r)
		return
	}
	w.Header().Set("X-Consul-Default-ACL-Policy", "allow")
	w.Header().Set("Vary", "Accept-Encoding")
	row := ep.rows[r.Method]
	switch {
	case row == nil && r.Method == http.MethodOptions && !cluster:
		w.Header().Set("Allow", ep.allow())
		w.Header().Set("Content-Type", jsonType)
		w.WriteHeader(http.StatusOK)
		return
	case row == nil:
		w.Header().Set("Allow", ep.allow())
		s.plain(w, http.StatusMethodNotAllowed, "method "+r.Method+" not allowed")
		return
	case cluster && row.Kind == Local:
		s.plain(w, http.StatusNotFound, "this endpoint is about one agent; ask that agent itself")
		return
	}
	c := &call{s: s, w: w, r: r, row: row, cluster: cluster, hops: maxHops}
	c.req = &Request{ctx: r.Context(), vars: vars, Accept: r.Header.Get("Accept")}
	if c.streams = row.wantsStream(r); c.streams {
		c.req.Streams = true
		var end func()
		c.req.ctx, end = s.untilDrained(r.Context())
		defer end()
	}
	done := row.metrics.begin()
	defer func() { done(c.status, c.streams || c.req.Options.Index > 0) }()
	if err := c.run(); err != nil {
		c.fail(err)
	}
}

// notFound answers for a path that is none of the table's. What only another spelling
// keeps from being one is sent on there, with its method and body, as Consul does: many
// a client joins an address that ends in a slash with /v1/kv, and asks for /v1/kv?recurse.
func (s *Server) notFound(w http.ResponseWriter, r *http.Request) {
	if to := s.table.respelled(r.URL); to != nil {
		http.Redirect(w, r, to.String(), http.StatusTemporaryRedirect)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/v1/") {
		s.plain(w, http.StatusNotFound, "Invalid URL path: not a recognized HTTP API endpoint\n")
		return
	}
	s.plain(w, http.StatusNotFound, "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'\n")
}

// run takes a request apart and has it answered by whoever may.
func (c *call) run() error {
	if err := c.parse(); err != nil {
		return err
	}
	leave, err := c.admit()
	if err != nil {
		return err
	}
	defer leave()
	switch {
	case c.row.Upload:
		c.upload = newUpload(c.w, c.r)
		c.req.Upload = c.upload
		defer c.upload.end()
	case c.r.Method != http.MethodGet:
		if c.req.Body, err = c.body(); err != nil {
			return err
		}
	}
	switch c.row.Kind {
	case Local:
		return c.local()
	case Write, Leading:
		if c.row.MayRead {
			return c.readOrWrite()
		}
		return c.write()
	default:
		return c.read()
	}
}

// parse reads all that a request says but its body, and nothing of what it means.
func (c *call) parse() (err error) {
	if c.req.Query, err = url.ParseQuery(c.r.URL.RawQuery); err != nil {
		c.req.Query = url.Values{}
		return invalid("the query string is malformed: %v", err)
	}
	c.nearAgent()
	q := c.req.Query
	if c.cluster {
		if c.hops, err = parseHops(c.r.Header); err != nil {
			return err
		}
	}
	if err = c.divisions(); err != nil {
		return err
	}
	c.req.Token = tokenOf(c.r, q)
	if c.row.takesOnceKey() {
		if c.onceKey, err = onceKey(c.r.Header); err != nil {
			return err
		}
	}
	c.asker()
	if c.row.Kind == Read || c.row.MayRead {
		if c.req.Options, err = parseOptions(q); err != nil {
			return err
		}
		if c.streams {
			if err := c.resume(); err != nil {
				return err
			}
		}
	} else {
		c.req.Options.Filter = q.Get("filter")
	}
	if c.row.Kind != Local {
		if dc := q.Get("dc"); dc != "" && dc != c.s.cfg.Datacenter {
			return ErrNoPath
		}
	}
	return nil
}

// divisions refuses to look into a part of the catalog that there isn't: an answer from
// the whole of it would not be what was asked for.
func (c *call) divisions() error {
	for _, d := range []struct {
		within                 Scope // and what is smaller
		param, header, feature string
	}{
		{Namespaced, "ns", "X-Consul-Namespace", "Namespaces"},
		{Partitioned, "partition", "X-Consul-Partition", "Partitions"},
	} {
		if c.row.Scope > d.within {
			continue
		}
		if c.req.Query.Get(d.param) != "" {
			return invalid("Invalid query parameter: %q - %s are a Consul Enterprise feature", d.param, d.feature)
		}
		if c.r.Header.Get(d.header) != "" {
			return invalid("Invalid header: %q - %s are a Consul Enterprise feature", d.header, d.feature)
		}
	}
	return nil
}

// asker finds out which agent was asked first, and from where.
func (c *call) asker() {
	from := c.r.RemoteAddr
	if c.cluster {
		c.req.Agent, from = c.r.Header.Get(agentHeader), c.r.Header.Get(fromHeader)
	} else {
		c.req.Agent = c.s.cfg.NodeName
		if host, _, err := net.SplitHostPort(from); err == nil {
			from = host
		}
		if said := c.r.Header.Get("X-Forwarded-For"); said != "" {
			said, _, _ = strings.Cut(said, ",")
			from = strings.TrimSpace(said)
		}
	}
	c.req.From, _ = netip.ParseAddr(from)
}

// nearAgent names the agent that ?near=_agent means, also to whoever the request
// is passed on to: it is the one that was asked first.
func (c *call) nearAgent() {
	if c.cluster || c.req.Query.Get("near") != "_agent" {
		return
	}
	c.req.Query.Set("near", c.s.cfg.NodeName)
	c.requery()
}

// requery has the request passed on with the query parameters that it has now.
func (c *call) requery() {
	r, u := *c.r, *c.r.URL
	u.RawQuery = c.req.Query.Encode()
	r.URL = &u
	c.r = &r
}

// bodyTimeout is how long a caller may take to send a body.
const bodyTimeout = 30 * time.Second

// body reads a bounded body.
func (c *call) body() ([]byte, error) {
	limit := c.s.cfg.limit(c.row.Limit)
	if c.r.ContentLength > limit {
		return nil, c.s.cfg.tooLarge(c.r.ContentLength, c.row.Limit)
	}
	data, err := readBody(c.w, c.r, limit)
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return nil, c.s.cfg.tooLarge(0, c.row.Limit)
	case err != nil:
		return nil, invalid("read the request body: %v", err)
	}
	return data, nil
}

// readBody reads a body of at most limit bytes.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	// A caller that sends a byte now and then holds memory and a connection. Not
	// every ResponseWriter has deadlines; those of a listening server have.
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Now().Add(bodyTimeout))
	defer func() { _ = conn.SetReadDeadline(time.Time{}) }()
	return io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
}

// authorize finds out what the caller may do, and asks for the row's rule.
func (c *call) authorize() (err error) {
	c.req.Authz = acl.AllowAll{}
	if c.s.deps.Authorize != nil {
		if c.req.Authz, err = c.s.deps.Authorize(c.req.ctx, c.req.Token); err != nil {
			return err
		}
	}
	rule := c.row.ACL
	if rule.Resource == 0 {
		return nil
	}
	name := ""
	if rule.Name != nil {
		name = rule.Name(c.req)
	}
	return acl.Check(c.req.Authz, rule.Resource, name, rule.Access)
}

// local answers for this agent.
func (c *call) local() error {
	if err := c.authorize(); err != nil {
		return err
	}
	if c.streams {
		return c.stream(0)
	}
	answer, err := c.row.Do(c.req)
	if err != nil {
		return err
	}
	if answer, _, err = c.cut(answer); err != nil {
		return err
	}
	return c.render(answer)
}

// cut leaves out of an answer what its caller may not or does not want to see,
// in this order: a filter must not be a way to ask about what is hidden.
func (c *call) cut(answer any) (_ any, hidden bool, err error) {
	if c.row.Visible != nil {
		answer, hidden = c.row.Visible(c.req.Authz, answer)
	}
	if c.row.Filter == nil || c.req.Options.Filter == "" {
		return answer, hidden, nil
	}
	eval, err := compileFilter(c.req.Options.Filter, c.row.Filter)
	if err != nil {
		return nil, false, err
	}
	answer, err = applyFilter(eval, answer)
	return answer, hidden, err
}
