package consensus

import (
	"errors"
	"fmt"

	"muster/consensus/core"
)

// Errors that this package adds to those of core. Except for ErrUnknown, an
// error of Propose or Change means that the command did not and will not take
// effect, so that it may be tried again.
var (
	// ErrUnknown: the command may or may not take effect. Leadership was lost,
	// the deadline passed or the server stopped while it was being replicated.
	ErrUnknown = errors.New("outcome unknown: the command was handed to the replicated log, but this server cannot tell whether it was committed")
	// ErrStopped: the node is stopping or was never started.
	ErrStopped = errors.New("consensus is not running on this server")
	// ErrTooLarge: the command is beyond Config.MaxCommandBytes.
	ErrTooLarge = errors.New("command is too large for the replicated log")
	// ErrPromised: another cluster than the one to be begun holds this server's
	// promise.
	ErrPromised = errors.New("this server has promised itself to cluster")
)

// notDone is the error of a proposal in whose place another entry was committed.
func notDone(id core.EntryID) error {
	return fmt.Errorf("entry %d of term %d was rolled back and did not take effect: %w",
		id.Index, id.Term, core.ErrLeadershipLost)
}
