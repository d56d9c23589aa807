package agent

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"muster/agent/config"
	"muster/catalog"
	"muster/catalog/ca"
	"muster/catalog/state"
)

const (
	// authorityLook is how often a leader looks at least whether a root is due: the
	// wall clock, which the ends of certificates go by, may be set.
	authorityLook = time.Hour
	// authorityRetry is the pause after a command that could not be committed.
	authorityRetry = time.Second
)

// authority is what a leader does about the certificate authority: it makes the first
// root, renews one in time, and has older ones forgotten when their leaves are gone.
type authority struct {
	cfg       config.Connect
	clusterID func() string
	store     *state.Store
	propose   func(context.Context, catalog.Command) (catalog.Result, error)
	// confirm returns once this server is known to lead and has applied all that
	// was committed.
	confirm func(context.Context) error
	logger  *slog.Logger
}

// run does so until ctx ends, as it does when this server leads no longer.
func (a *authority) run(ctx context.Context) {
	for ctx.Err() == nil {
		view := a.store.View()
		wait, err := a.look(ctx, view.CA())
		if err != nil && ctx.Err() == nil {
			a.logger.Warn("the certificate authority stays as it is for now", "error", err)
			wait = authorityRetry
		}
		pause, cancel := context.WithTimeout(ctx, wait)
		// What is woken, or waits in vain, looks again.
		_ = a.store.Wait(pause, view.Topics(), view.Index())
		cancel()
	}
}

// look has done what is due, and gives how long it is until something may be again.
func (a *authority) look(ctx context.Context, now *catalog.CA) (time.Duration, error) {
	if err := a.confirm(ctx); err != nil {
		return 0, err
	}
	at := time.Now()
	set, why, again := &catalog.SetCA{}, "the cluster had none", at.Add(authorityLook)
	if now == nil {
		first, err := ca.New(a.cfg.CA, a.cfg.Shown, a.clusterID(), at)
		if err != nil {
			return 0, fmt.Errorf("make the first root: %w", err)
		}
		set.CA = *first
	} else {
		next, reason, due, err := ca.Maintain(now, at)
		if err != nil {
			return 0, err
		}
		if next == nil {
			return min(max(due.Sub(at), authorityRetry), authorityLook), nil
		}
		set.CA, set.Index, why = *next, now.ModifyIndex, reason
	}
	result, err := a.propose(ctx, set)
	if err == nil {
		err = result.Err
	}
	if err != nil {
		return 0, err
	}
	if result.Value == true {
		a.logger.Info("the certificate authority has changed", "why", why, "root", set.CA.Active().ID, "roots", len(set.CA.Roots))
	}
	return min(max(again.Sub(at), authorityRetry), authorityLook), nil
}
