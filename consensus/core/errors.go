package core

import "errors"

// The errors a Core answers with, in Outcome.Err, ReadReady.Err or directly.
// Each says that the request did not take effect; errors.Is finds them through
// the detail a Core adds.
var (
	ErrNotLeader           = errors.New("this server is not the leader")
	ErrNoLeader            = errors.New("no leader is known")
	ErrLeadershipLost      = errors.New("leadership was lost while the request waited")
	ErrOverloaded          = errors.New("too much of the log is uncommitted; retry later")
	ErrDiskFull            = errors.New("too few servers have room on their disk")
	ErrChangePending       = errors.New("another membership change is not committed yet; retry later")
	ErrNotCaughtUp         = errors.New("the server's log has not caught up with the leader's")
	ErrTransferring        = errors.New("a leadership transfer is under way; retry at the new leader")
	ErrTransferFailed      = errors.New("the leadership transfer did not end within an election timeout")
	ErrUnknownServer       = errors.New("no such server in the configuration")
	ErrAlreadyBootstrapped = errors.New("this server already has Raft state and cannot be bootstrapped")
	ErrNoQuorumAfter       = errors.New("too few of the voters that the change would leave follow this leader; retry once more of them do")
	ErrLastVoter           = errors.New("the change would leave no voter")
	ErrInvalidChange       = errors.New("the membership change does not fit the configuration")
)
