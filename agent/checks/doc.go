// Package checks runs the health checks of one agent: it asks, on each check's
// interval, whether a thing is well, and reports what it finds.
//
// It is not where checks are kept, shown or sent to the catalog; package
// agent/local does that, and is the only caller of the Runner. What a check is
// asked to do stands in a Definition, which agent/config and api decode and
// which Validate refuses with a sentence an operator can act on.
//
// # Types
//
// Each type of check is one file with one probe, and one row in the table of
// types.go. A probe is a plain function of a context that answers with a status
// and an output; when it is asked, how long it may take, and how many equal
// answers make a new status is decided once, around all of them. A TTL check has
// no probe: it waits to hear from its service and turns critical when it doesn't.
//
// # Goroutines
//
// New starts none. Run owns one goroutine for each check and returns when all of
// them have; Add before Run only notes the check. Remove returns when the
// check's goroutine is gone, so after it no report of that check follows. Report
// is called from those goroutines, and from SetTTL's caller. It must not call
// back into the Runner: a TTL check reports under its own lock.
//
// # Invariants
//
//   - No check is asked more often than once a second, or twice at one time.
//   - A probe that outlives its timeout is ended with all it started: sockets are
//     closed and a script's process group is killed.
//   - Output is cut to OutputMaxSize before it leaves this package; nothing that
//     a checked service sends can make the agent's memory grow past that.
package checks
