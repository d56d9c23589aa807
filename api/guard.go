package api

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
)

// recovering turns a panic of a handler into a 500.
func (s *Server) recovering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.recover(w, r)
		next.ServeHTTP(w, r)
	})
}

// guard sets the headers that every response to a user has, and refuses what
// never reaches a handler.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		for name, value := range s.cfg.ResponseHeaders {
			h.Set(name, value)
		}
		switch {
		case !s.calledByName(r):
			s.plain(w, http.StatusMisdirectedRequest, "this agent does not go by the name \""+r.Host+"\" on a loopback address; use an IP address or localhost, "+
				"or name the origin in http_config.response_headers as Access-Control-Allow-Origin")
		case s.blocked(r.URL.Path):
			s.plain(w, http.StatusForbidden, "Endpoint is blocked by agent configuration")
		case !s.fromHere(r):
			s.plain(w, http.StatusForbidden, "this request comes from a web page of another site, which may not write; "+
				"if it should, name its origin in http_config.response_headers as Access-Control-Allow-Origin")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// calledByName says whether a request over loopback names this machine. A web
// page of another site can have its own name resolve to 127.0.0.1 and would then
// be taken for a page of this agent's (DNS rebinding); it can't do so with an
// address, with localhost, or with a name that has no dots.
func (s *Server) calledByName(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok || !local.IP.IsLoopback() {
		return true
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if _, err := netip.ParseAddr(host); err == nil || !strings.Contains(host, ".") || strings.HasSuffix(host, ".localhost") {
		return true
	}
	for origin := range s.origins {
		if u, err := url.Parse(origin); origin == "*" || err == nil && strings.EqualFold(u.Hostname(), host) {
			return true
		}
	}
	return false
}

// recover answers for a handler that panicked. Other requests go on.
func (s *Server) recover(w http.ResponseWriter, r *http.Request) {
	fault := recover()
	if fault == nil {
		return
	}
	if fault == http.ErrAbortHandler {
		panic(fault)
	}
	s.log.Error("a request handler panicked", "method", r.Method, "path", r.URL.Path, "panic", fault, "stack", string(debug.Stack()))
	s.metrics.panics.Inc()
	s.plain(w, http.StatusInternalServerError, "internal error; the agent's log has the details")
}

func (s *Server) plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // the caller has gone if it fails
}

// blocked says whether an operator has closed a path.
func (s *Server) blocked(path string) bool {
	return slices.ContainsFunc(s.cfg.BlockEndpoints, func(prefix string) bool { return strings.HasPrefix(path, prefix) })
}

// fromHere says whether a request may have been made on purpose by whoever runs
// it: a browser that was led here by a page of another site says so.
func (s *Server) fromHere(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return true
	}
	origin := r.Header.Get("Origin")
	if origin != "" && (s.origins[origin] || s.origins["*"]) {
		return true
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
	default:
		return false
	}
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}
