package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Server answers the HTTP API of one agent. It starts no goroutine but those of
// shared blocking queries, which the last of their askers waits for.
type Server struct {
	cfg     Config
	deps    Deps
	log     *slog.Logger
	table   *table
	answers *answers
	flights *flights // used on client agents
	batcher *batcher // used on followers
	metrics *metrics
	origins map[string]bool // web origins whose pages may write

	active  *room // reads and writes
	waiting *room // blocking queries and streams

	draining context.Context // over once Drain was called
	drain    context.CancelFunc
}

// New makes a Server of route tables, one for each area.
func New(cfg Config, deps Deps, tables ...[]Route) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Cluster == nil {
		return nil, errors.New("api: a Server needs a Cluster")
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		cfg:     cfg,
		deps:    deps,
		log:     deps.Logger.With("component", "http"),
		answers: newAnswers(cfg.CacheBytes),
		flights: newFlights(cfg.CacheBytes),
		batcher: newBatcher(deps.Cluster),
		origins: map[string]bool{},
		active:  newRoom(cfg.MaxActive, "this agent answers as many requests as it can; try again later"),
		waiting: newRoom(cfg.MaxWaiting, "this agent holds as many blocking queries and streams as it can; try again later"),
	}
	s.draining, s.drain = context.WithCancel(context.Background())
	for _, o := range cfg.AllowedOrigins {
		s.origins[o] = true
	}
	for name, value := range cfg.ResponseHeaders {
		if strings.EqualFold(name, "Access-Control-Allow-Origin") {
			s.origins[value] = true
		}
	}
	var err error
	if s.metrics, err = newMetrics(deps.Registerer, s.answers, s.active, s.waiting); err != nil {
		return nil, fmt.Errorf("api: register metrics: %w", err)
	}
	s.table, err = newTable(append(tables, []Route{s.openAPIRoute()}), s.metrics)
	return s, err
}

// Handler serves users: all routes, the UI and /metrics.
func (s *Server) Handler() http.Handler {
	metrics := http.HandlerFunc(s.notFound)
	if s.deps.Gatherer != nil {
		metrics = promhttp.HandlerFor(s.deps.Gatherer, promhttp.HandlerOpts{}).ServeHTTP
	}
	return s.recovering(s.guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case strings.HasPrefix(path, "/v1/"):
			s.serve(w, r, false)
		case path == "/metrics":
			metrics.ServeHTTP(w, r)
		case s.deps.UI != nil && (path == "/" || path == "/ui"):
			http.Redirect(w, r, "/ui/", http.StatusMovedPermanently)
		case s.deps.UI != nil && strings.HasPrefix(path, "/ui/"):
			s.deps.UI.ServeHTTP(w, r)
		default:
			s.notFound(w, r)
		}
	})))
}

// Drain ends all streams, which otherwise last as long as their callers like. Call
// it when the listeners begin to shut down. It may be called more than once.
func (s *Server) Drain() { s.drain() }

// InternalPrefix is where on the cluster port the agent's own endpoints are.
const InternalPrefix = "/internal/"

// ClusterHandler serves other agents on the cluster port: all but Local
// routes, and commands of other servers' callers. What the agent itself serves to others, internal, is below
// InternalPrefix.
func (s *Server) ClusterHandler(internal http.Handler) http.Handler {
	return s.recovering(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		switch {
		case r.URL.Path == commandsPath:
			s.serveCommands(w, r)
		case strings.HasPrefix(r.URL.Path, InternalPrefix) && internal != nil:
			internal.ServeHTTP(w, r)
		case strings.HasPrefix(r.URL.Path, "/v1/"):
			s.serve(w, r, true)
		default:
			s.notFound(w, r)
		}
	}))
}

// Routes lists the rows of the table, sorted by path and method.
func (s *Server) Routes() []Route {
	var all []Route
	for _, path := range slices.Sorted(maps.Keys(s.table.paths)) {
		ep := s.table.paths[path]
		for _, method := range slices.Sorted(maps.Keys(ep.rows)) {
			all = append(all, *ep.rows[method].Route)
		}
	}
	return all
}
