package consensus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"muster/consensus/core"
)

// call is a Waiter that a goroutine waits on.
type call struct {
	done chan Result // holds one
}

// Done implements Waiter.
func (c *call) Done(r Result) { c.done <- r }

// calls reuses the channels of calls that have ended.
var calls = sync.Pool{New: func() any { return &call{done: make(chan Result, 1)} }}

// do queues a request and waits for its end. An abandoned call is not reused:
// the engine still holds it.
func (n *Node) do(ctx context.Context, size int, add func(in *Input, w Waiter)) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	c := calls.Get().(*call)
	if err := n.inbox.request(size, func(in *Input) { add(in, c) }); err != nil {
		calls.Put(c)
		return Result{}, err
	}
	select {
	case r := <-c.done:
		calls.Put(c)
		return r, r.Err
	case <-ctx.Done():
		return Result{}, &abandoned{cause: ctx.Err()}
	case <-n.stopped:
	}
	select {
	case r := <-c.done: // told just before
		return r, r.Err
	default:
		return Result{}, &abandoned{cause: ErrStopped}
	}
}

// abandoned is the error of a request whose caller stopped waiting for it.
type abandoned struct{ cause error }

func (a *abandoned) Error() string { return a.cause.Error() }
func (a *abandoned) Unwrap() error { return a.cause }

// unknown turns giving up on a write into ErrUnknown: it may yet be done.
func unknown(err error) error {
	if _, gaveUp := errors.AsType[*abandoned](err); gaveUp {
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return err
}

// Propose replicates data and returns what the state machine made of it, once
// it is applied on this server. Only the leader accepts it. With an error that
// is ErrUnknown the command may or may not take effect; with any other it does
// not and never will, so that it may be proposed again, here or elsewhere.
//
// data must not be changed afterwards.
func (n *Node) Propose(ctx context.Context, data []byte) (result any, id core.EntryID, err error) {
	if len(data) > n.cfg.MaxCommandBytes {
		return nil, id, fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, len(data), n.cfg.MaxCommandBytes)
	}
	start := time.Now()
	r, err := n.do(ctx, len(data), func(in *Input, w Waiter) {
		in.Proposals = append(in.Proposals, Proposal{Data: data, Waiter: w})
	})
	if err == nil {
		n.metrics.proposed(time.Since(start))
	}
	return r.Value, r.ID, unknown(err)
}

// ReadIndex waits until this server has applied all that was committed when it
// was called: a read of the local state machine after it is linearizable. It
// works on every server; a follower asks its leader.
//
// core.ReadUnderLease is answered by the leader's lease, on the leader itself
// without a message or a lock; it counts on clocks that drift apart by less than
// core.DriftShare says. Where no lease holds, and for core.ReadByRound, a round
// confirms with a quorum who leads; calls that wait at the same time share it.
func (n *Node) ReadIndex(ctx context.Context, kind core.ReadKind) (uint64, error) {
	if kind == core.ReadUnderLease {
		if index, ok := n.engine.ReadNow(clock); ok {
			return index, nil
		}
	}
	r, err := n.do(ctx, 0, func(in *Input, w Waiter) {
		if kind == core.ReadByRound {
			in.Confirms = append(in.Confirms, w)
		} else {
			in.Reads = append(in.Reads, w)
		}
	})
	return r.ID.Index, err
}

// Change makes one step of membership and returns when it is committed and
// applied here. Errors are as Propose's.
func (n *Node) Change(ctx context.Context, ch core.Change) error {
	_, err := n.do(ctx, 0, func(in *Input, w Waiter) {
		in.Changes = append(in.Changes, Change{Change: ch, Waiter: w})
	})
	return unknown(err)
}

// TransferLeadership hands leadership to another voter, with "" to the one that
// has caught up best. It ends, done or not, within an election timeout.
func (n *Node) TransferLeadership(ctx context.Context, to core.ServerID) error {
	_, err := n.do(ctx, 0, func(in *Input, w Waiter) {
		in.Transfers = append(in.Transfers, Transfer{To: to, Waiter: w})
	})
	return unknown(err)
}

// Bootstrap writes the first configuration of a new cluster into this empty
// server's log and returns when that is durable. It is for the caller to see to
// it that each server of cfg gets the same one, or none (see Consider). It is
// refused with core.ErrAlreadyBootstrapped where there is any Raft state, and
// with ErrPromised where another cluster holds this server's promise.
func (n *Node) Bootstrap(ctx context.Context, cfg core.Configuration) error {
	_, err := n.do(ctx, 0, func(in *Input, w Waiter) {
		in.Bootstrap = append(in.Bootstrap, Bootstrap{Config: cfg, Waiter: w})
	})
	return unknown(err)
}

// Consider puts a charter to this server, or what is known of it, and returns
// how the server stands when what follows is durable: it may have promised,
// sealed or withdrawn, begun the cluster, or be free again. A server that has
// Raft state only says so. The Waiter of r is set here.
func (n *Node) Consider(ctx context.Context, r PromiseRequest) (Standing, error) {
	if err := r.Charter.Validate(); err != nil {
		return Standing{}, err
	}
	result, err := n.do(ctx, 0, func(in *Input, w Waiter) {
		r.Waiter = w
		in.Promises = append(in.Promises, r)
	})
	if err != nil {
		return Standing{}, unknown(err)
	}
	return result.Value.(Standing), nil
}
