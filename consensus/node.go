package consensus

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"muster/consensus/core"
)

// Node is one running server of a Raft cluster.
type Node struct {
	cfg     Config
	engine  *Engine // owned by the loop while Run runs
	inbox   *inbox
	wakes   [numLanes]chan struct{}
	metrics *metrics
	board   board
	dropped atomic.Uint64 // received messages beyond the inbox's bounds
	stopped chan struct{} // closed when no Turn will come any more
	closing sync.Once
	closed  error
}

// New opens the log and restores fsm from the newest snapshot. Nothing runs
// until Run; a Node that is never run is to be closed.
func New(cfg Config, fsm FSM) (*Node, error) {
	n := &Node{cfg: cfg, inbox: newInbox(cfg.MaxInbox), stopped: make(chan struct{})}
	for l := range n.wakes {
		n.wakes[l] = make(chan struct{}, 1)
	}
	var err error
	if n.engine, err = OpenEngine(cfg, fsm, n, clock()); err != nil {
		return nil, err
	}
	if n.metrics, err = newMetrics(cfg.Registerer, n); err != nil {
		return nil, errors.Join(fmt.Errorf("register raft metrics: %w", err), n.engine.Close())
	}
	n.engine.Observe = n.metrics.committed
	n.board.init()
	n.publish(clock())
	return n, nil
}

// Run runs the server until ctx ends (then nil) or its disk or state machine
// fails (then the reason; the process must stop, since what this server
// acknowledged hangs on them). When it returns, no goroutine of it is left and
// the files are closed. It can be called once.
func (n *Node) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range Lanes() {
		g.Go(func() error { return n.work(ctx, l) })
	}
	g.Go(func() error { return n.loop(ctx) })
	g.Go(func() error { return n.engine.disk.log.Run(ctx) })
	err := g.Wait()
	if cerr := n.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("raft: %w", err)
	}
	return nil
}

// Close closes the files of a Node that is not running. Run does it by itself.
func (n *Node) Close() error {
	n.closing.Do(func() {
		n.inbox.close().refuse(ErrStopped)
		n.engine.waiting.stop()
		close(n.stopped)
		n.board.stop()
		n.metrics.unregister()
		n.closed = n.engine.Close()
	})
	return n.closed
}

// loop is the only goroutine that touches the engine's state.
func (n *Node) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.inbox.wake:
		case <-timer.C:
		}
		if n.engine.crowded() {
			// Whoever was just answered is about to ask again. Those who get to do
			// so first share this turn, and with it writes and messages.
			runtime.Gosched()
		}
		in := n.inbox.take()
		now := clock() // after take: see Engine.Turn
		if err := n.engine.Turn(now, in); err != nil {
			return err
		}
		n.publish(now)
		timer.Reset(wait(now, n.engine.Deadline()))
	}
}

// wait is the time from now to a deadline that may have passed, or be Never.
func wait(now, deadline core.Instant) time.Duration {
	return time.Duration(max(0, min(deadline-now, core.Instant(time.Hour))))
}

// work serves one lane.
func (n *Node) work(ctx context.Context, l Lane) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.wakes[l]:
		}
		start := time.Now()
		done := n.engine.Work(l)
		n.metrics.worked(l, time.Since(start))
		n.inbox.finished(done)
	}
}

// Wake implements Host.
func (n *Node) Wake(l Lane) {
	select {
	case n.wakes[l] <- struct{}{}:
	default: // the worker will find this work with what woke it
	}
}

// Send implements Host: it passes a message to the network.
func (n *Node) Send(m core.Message) {
	if n.cfg.Net != nil {
		n.cfg.Net.Send(m)
	}
}

// Receive takes a message that the network delivered. It never blocks; a server
// that is flooded drops messages, which the protocol bears.
func (n *Node) Receive(m core.Message) {
	if !n.inbox.message(m) {
		n.dropped.Add(1)
	}
}
