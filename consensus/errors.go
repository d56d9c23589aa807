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
	// ErrNotEmpty: a promise or a bootstrap needs a server without any log.
	ErrNotEmpty = errors.New("this server already has Raft state")
)

// notDone is the error of a proposal in whose place another entry was committed.
func notDone(id core.EntryID) error {
	return fmt.Errorf("entry %d of term %d was rolled back and did not take effect: %w",
		id.Index, id.Term, core.ErrLeadershipLost)
}

// PromiseError says why a promise was refused: another one stands.
type PromiseError struct {
	Held Promise
	Want string // cluster ID asked for
}

func (e *PromiseError) Error() string {
	return fmt.Sprintf("refused to promise cluster %s: promised to cluster %s, whose coordinator is server %s; release that promise first if the coordinator is gone for good",
		e.Want, e.Held.ClusterID, e.Held.Coordinator)
}
