// Package api is the HTTP API: a table of routes, and everything that is the same
// for all of them written once around it.
//
// A Route is one row: method, path, kind, what its caller must be allowed, one
// line of documentation, the query parameters it knows and a small handler. The
// packages below api (agentapi, catalogapi, kvapi, operatorapi, queryapi,
// sessionapi, snapshotapi, txnapi) hold the rows; package agent hands them to New with the
// parts of the agent that they stand on. The Server does not listen: it is an
// http.Handler twice over, Handler for users and ClusterHandler for other agents.
// The only goroutines that it starts are those of shared blocking queries
// (share.go); none outlives its last asker.
//
// # The life of a request
//
//	guard.go    panics, blocked endpoints, foreign web pages, response headers
//	mux.go      path and method to a row, or 404, 405, OPTIONS
//	serve.go    datacenter, options, token, authorization, body
//	admit.go    no more at once than this agent can do
//	forward.go  to a server, if this agent may not answer
//	share.go    one blocking query at a server for all who ask a client agent the same
//	read.go     consistency, waiting, answers (cache.go), filter (filter.go)
//	stream.go   a read that goes on, as server-sent events
//	transfer.go bodies that are too large to be held
//	write.go    a command into the log, unless it would change nothing
//	batch.go    from a follower to the leader, with the others that wait
//	respond.go  headers, JSON, pretty, gzip; errors.go is the only place that
//	            knows which error has which status
//
// # Who answers
//
// A Local route is about this agent and is answered here, always. A Read is
// answered by any server from its own copy of the catalog: at once if it may be
// stale, else after ReadIndex, which makes it linearizable. A Write is committed
// by the leader; another server sends it the command, where that is made of the
// request alone. Whoever may not answer passes the request on as it came to a
// server's cluster port and hands the answer's bytes back unchanged. The cluster
// port serves no Local routes: they would bypass the addresses and endpoints that
// an operator has closed, and a check registered there would run commands.
//
// Where there is no leader a request waits for one, up to HoldTimeout, and is
// tried again as soon as that may help. Only what is known not to have taken
// effect is tried again: a connection that was refused, or an answer that says so
// in its X-Muster-Not-Done header. A write whose outcome is unknown is reported as
// such.
//
// # Answers are made once
//
// An answer is kept as finished JSON with the topics that it was made of. Until
// one of these moves, whoever asks the same question with the same rights gets
// the same bytes; when one moves, one evaluation serves all that wait. A blocking
// query returns when its answer is other bytes than before, or its time is up.
package api
