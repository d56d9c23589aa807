package api

import "net/http"

// Server answers the HTTP API of one agent. It starts no goroutine of its own.
type Server struct{}

// New makes a Server of route tables, one for each area.
func New(cfg Config, deps Deps, tables ...[]Route) (*Server, error) { return &Server{}, nil }

// Handler serves users: all routes, the UI and /metrics.
func (s *Server) Handler() http.Handler { return http.NotFoundHandler() }

// ClusterHandler serves other agents on the cluster port: Read and Write routes
// only. What the agent itself registers on internal is served below /internal/.
func (s *Server) ClusterHandler(internal http.Handler) http.Handler { return http.NotFoundHandler() }
