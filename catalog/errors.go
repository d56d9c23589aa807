package catalog

import (
	"errors"
	"fmt"
)

// Kind classifies an Error; api turns it into a status code.
type Kind uint8

// The kinds of errors. Numbers are part of the log's result format.
const (
	Invalid     Kind = 1 // the request can never succeed as it is
	NotFound    Kind = 2
	Conflict    Kind = 3 // it contradicts what is stored
	Denied      Kind = 4
	TooLarge    Kind = 5
	TooMany     Kind = 6 // a limit; try again later
	Unavailable Kind = 7 // no leader, or not now; known not done
	Unknown     Kind = 8 // the outcome is unknown; it may yet take effect
	Internal    Kind = 9 // Consul answers 500 with this text
	// Blocked is Unavailable with a reason that somebody has to see to: known not
	// done, and it won't be before, unless another server can do it.
	Blocked Kind = 10
	Reused  Kind = 11 // another request has the idempotency key
)

// Error is an error with a kind. Its text is for people and, where Consul's
// clients match on it, is Consul's.
type Error struct {
	Kind  Kind
	Text  string
	cause error
}

// Errorf makes an Error of a kind.
func Errorf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Text: fmt.Sprintf(format, args...)}
}

// Wrap gives an error a kind. It says what err says, and errors.Is and errors.As
// see through it.
func Wrap(kind Kind, err error) *Error {
	return &Error{Kind: kind, Text: err.Error(), cause: err}
}

func (e *Error) Error() string { return e.Text }

// Unwrap gives the error that Wrap was given, nil if there is none.
func (e *Error) Unwrap() error { return e.cause }

// KindOf gives the kind of the first Error in err's chain, Internal if there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}
