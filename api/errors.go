package api

import (
	"context"
	"errors"
	"net/http"

	"muster/catalog"
)

// ErrNoPath is the answer to a request for a datacenter that is not known.
var ErrNoPath = catalog.Errorf(catalog.Internal, "No path to datacenter")

// errNoLeader is the answer where no leader came in time.
var errNoLeader = catalog.Errorf(catalog.Unavailable, "No cluster leader")

// statusError is an error that has a status of its own, for what only HTTP knows.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return e.text }

// Refusal is an error that is answered with more than a text.
type Refusal struct {
	Answer Answer
	Text   string // for logs
}

func (r *Refusal) Error() string { return r.Text }

// statusOf is the status that an error is answered with.
func statusOf(err error) int {
	var s *statusError
	if errors.As(err, &s) {
		return s.status
	}
	switch catalog.KindOf(err) {
	case catalog.Invalid:
		return http.StatusBadRequest
	case catalog.NotFound:
		return http.StatusNotFound
	case catalog.Conflict:
		return http.StatusConflict
	case catalog.Denied:
		return http.StatusForbidden
	case catalog.TooLarge:
		return http.StatusRequestEntityTooLarge
	case catalog.TooMany:
		return http.StatusTooManyRequests
	case catalog.Reused:
		return http.StatusUnprocessableEntity
	}
	// Unavailable, Blocked and Unknown too: Consul's clients look for 500.
	return http.StatusInternalServerError
}

// notDone says whether what failed is known to have had no effect, so that it
// may be tried again.
func notDone(err error) bool {
	return catalog.KindOf(err) == catalog.Unavailable || blocked(err)
}

// blocked says whether err has a reason why nothing can be done that somebody has
// to see to.
func blocked(err error) bool { return catalog.KindOf(err) == catalog.Blocked }

// telling gives the later of two errors of what had no effect, unless only the
// earlier one has a reason.
func telling(earlier, later error) error {
	if blocked(earlier) && !blocked(later) {
		return earlier
	}
	return later
}

// gone says whether the caller went away, so that nobody reads the answer.
func gone(ctx context.Context) bool {
	return errors.Is(context.Cause(ctx), context.Canceled)
}
