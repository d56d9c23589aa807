package catalog

import (
	"fmt"
	"slices"
	"time"
)

// What becomes of the entries that a session holds when it ends.
const (
	BehaviorRelease = "release" // they are unlocked
	BehaviorDelete  = "delete"  // they are deleted
)

// Bounds of a session's TTL, and the lock-delay of one that names none
// (https://developer.hashicorp.com/consul/api-docs/session).
const (
	MinSessionTTL    = 10 * time.Second
	MaxSessionTTL    = 24 * time.Hour
	DefaultLockDelay = 15 * time.Second
	// LeastLockDelay is the least that is kept: a shorter one is over before its end is
	// in the log. Callers mean none by it, as the official client sends no 0; and it takes
	// a lock that is refused without a holder for one to ask for again in 5 s.
	LeastLockDelay = 10 * time.Millisecond
)

// Session is what locks are held by. It ends when it is destroyed, when one of
// its checks is critical or gone, when its node goes, or when it is not renewed
// within its TTL.
type Session struct {
	ID            string
	Name          string
	Node          string
	LockDelay     time.Duration // how long what it held stays unlocked when it ends
	Behavior      string
	TTL           string // as it was given; "" for none
	NodeChecks    []string
	ServiceChecks []ServiceCheck
	Indexes
}

// ServiceCheck names a check of a service on the session's node.
type ServiceCheck struct {
	ID        string
	Namespace string
}

// Checks are the IDs of all checks that the session lives by.
func (s *Session) Checks() []string {
	ids := slices.Clone(s.NodeChecks)
	for _, c := range s.ServiceChecks {
		ids = append(ids, c.ID)
	}
	return ids
}

// Lifetime is how long the session lives without being renewed, 0 for ever.
func (s *Session) Lifetime() (time.Duration, error) {
	if s.TTL == "" {
		return 0, nil
	}
	ttl, err := time.ParseDuration(s.TTL)
	if err != nil {
		return 0, fmt.Errorf("Session TTL '%s' invalid: %w", s.TTL, err)
	}
	return ttl, nil
}

// Validate says what is wrong with a session, nil if nothing.
func (s *Session) Validate() error {
	ttl, err := s.Lifetime()
	switch {
	case s.ID == "" || s.Node == "":
		return Errorf(Invalid, "a session needs an ID and a node")
	case s.Behavior != BehaviorRelease && s.Behavior != BehaviorDelete:
		return Errorf(Invalid, "Invalid Behavior setting '%s'", s.Behavior)
	case err != nil:
		return Errorf(Invalid, "%v", err)
	case ttl != 0 && (ttl < MinSessionTTL || ttl > MaxSessionTTL):
		return Errorf(Invalid, "Invalid Session TTL '%s', must be between [%v=%v]", s.TTL, MinSessionTTL, MaxSessionTTL)
	case s.LockDelay < 0:
		return Errorf(Invalid, "Invalid LockDelay '%v', must not be negative", s.LockDelay)
	}
	return nil
}

// CreateSession makes a session. Its result's Value is the *Session.
type CreateSession struct {
	Session Session
}

// Op implements Command.
func (*CreateSession) Op() Op { return OpCreateSession }

// DestroySession ends a session. That of one that is not there is no error.
type DestroySession struct {
	ID string
}

// Op implements Command.
func (*DestroySession) Op() Op { return OpDestroySession }

// LockDelay keeps an entry from being locked for a while, after the session that
// held it has ended other than by unlocking it. Index is that of its beginning.
type LockDelay struct {
	Key   string
	Delay time.Duration
	Index uint64
}

// EndLockDelays ends the lock-delays of keys. One that has begun anew since, at
// another index, goes on.
type EndLockDelays struct {
	Delays []LockDelay
}

// Op implements Command.
func (*EndLockDelays) Op() Op { return OpEndLockDelays }
