package checks

import (
	"context"
	"log/slog"
)

// Config is what all checks of an agent share.
type Config struct {
	// UserAgent is the header of that name in HTTP checks.
	UserAgent string
	// Report hears of every answer, whether or not it changes anything. It must
	// not call Remove.
	Report func(checkID, status, output string)
	Logger *slog.Logger
}

// Runner runs checks.
type Runner struct{ cfg Config }

// NewRunner makes a runner; its checks begin with Run.
func NewRunner(cfg Config) *Runner { return &Runner{cfg: cfg} }

// Run runs the checks until ctx ends and returns when all have stopped.
func (r *Runner) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Add begins to run a check, in the place of one that has the same ID. status is
// the state it is in now.
func (r *Runner) Add(d Definition, status string) error { return d.Validate() }

// Remove stops a check and returns when it has stopped.
func (r *Runner) Remove(checkID string) {}

// SetTTL is a service's own report on its TTL check. It gives the output as the
// check now shows it.
func (r *Runner) SetTTL(checkID, status, output string) error { return nil }
