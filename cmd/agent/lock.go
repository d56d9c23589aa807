package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path"
	"strings"
	"syscall"
	"time"

	consul "github.com/hashicorp/consul/api"
	"github.com/urfave/cli/v2"
)

func lockCommand() *cli.Command {
	return &cli.Command{
		Name:      "lock",
		Usage:     "Runs a command while it holds a lock",
		ArgsUsage: "prefix child...",
		Description: `Waits for a lock below a prefix of the key/value store, and runs a command while it holds it, with CONSUL_LOCK_HELD=true in its environment. When the lock is lost the command is told so by SIGTERM, and killed if it still runs after 5s; so it is when muster itself gets SIGINT or SIGTERM. With -n several may hold the lock at once.

    $ muster lock jobs/nightly ./nightly.sh

What the command ends with is printed but no failure of muster's, unless -child-exit-code says so. Exits with 1 where the lock wasn't got.`,
		Flags: append(append(datacenterFlags(), childFlags()...),
			&cli.BoolFlag{Name: "child-exit-code", Usage: "exit with 2 if the command failed"},
			&cli.IntFlag{Name: "monitor-retry", Value: 3, Usage: "how many times to ask again, after 1s each, whether the lock is still held where the agent answers with an error; default is 3"},
			&cli.IntFlag{Name: "n", Value: 1, Usage: "how many may hold the lock at once; default is 1. With more than 1 the lock is a semaphore, which all its users have to know"},
			&cli.StringFlag{Name: "name", Usage: "name of the session that holds the lock; default tells the command and the prefix"},
			&cli.BoolFlag{Name: "pass-stdin", Usage: "give the command our standard input"},
			&cli.DurationFlag{Name: "timeout", Usage: "how long to wait for the lock; default is 0, without end"},
			&cli.DurationFlag{Name: "try", Usage: "the old name of timeout"},
			&cli.BoolFlag{Name: "verbose", Usage: "print each step"}),
		Action: runLocked,
	}
}

// lease is a lock, or a share of a semaphore.
type lease struct {
	path    string // as it is told to people
	acquire func(stop <-chan struct{}) (lost <-chan struct{}, err error)
	release func() error
	cleanup func() error // removes what nobody uses any more
}

func runLocked(c *cli.Context) error {
	timeout := c.Duration("timeout")
	if c.IsSet("try") {
		timeout = c.Duration("try")
	}
	switch {
	case c.NArg() < 2:
		return failure("Key prefix and child command must be specified")
	case c.Int("n") < 1:
		return failure("Lock holder limit must be positive")
	case timeout < 0:
		return failure("Timeout must be positive")
	case c.Int("monitor-retry") < 0:
		return failure("Number for 'monitor-retry' must be >= 0")
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	l, err := newLease(c, client, timeout)
	if err != nil {
		return failure("Lock setup failed: %v", err)
	}
	say := func(format string, args ...any) {
		if c.Bool("verbose") {
			fmt.Fprintf(c.App.Writer, format+"\n", args...)
		}
	}
	ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
	defer stop()
	say("Setting up %s", l.path)
	say("Attempting lock acquisition")
	lost, err := l.acquire(ctx.Done())
	switch {
	case err != nil:
		return failure("Lock acquisition failed: %v", err)
	case lost == nil:
		return failure("Shutdown triggered or timeout during lock acquisition")
	}
	childErr := runWhile(ctx, c, lost, say)
	if err := l.release(); err != nil && !errors.Is(err, consul.ErrLockNotHeld) && !errors.Is(err, consul.ErrSemaphoreNotHeld) {
		return failure("Lock release failed: %v", err)
	}
	switch err := l.cleanup(); {
	case err == nil:
		say("Cleanup succeeded")
	case errors.Is(err, consul.ErrLockInUse) || errors.Is(err, consul.ErrSemaphoreInUse):
		say("Cleanup aborted, lock in use")
	default:
		return failure("Lock cleanup failed: %v", err)
	}
	if childErr != nil && c.Bool("child-exit-code") {
		return cli.Exit("", exitNothing)
	}
	return nil
}

// newLease makes the lock, or the semaphore, that a command line asks for.
func newLease(c *cli.Context, client *consul.Client, timeout time.Duration) (*lease, error) {
	prefix := strings.Trim(c.Args().First(), "/")
	name, retries, once := c.String("name"), c.Int("monitor-retry"), timeout > 0
	if name == "" {
		name = fmt.Sprintf("Consul lock for '%s' at '%s'", strings.Join(c.Args().Tail(), " "), prefix)
	}
	if n := c.Int("n"); n > 1 {
		sem, err := client.SemaphoreOpts(&consul.SemaphoreOptions{
			Prefix: prefix, Limit: n, SessionName: name, MonitorRetries: retries, MonitorRetryTime: time.Second,
			SemaphoreTryOnce: once, SemaphoreWaitTime: timeout,
		})
		if err != nil {
			return nil, err
		}
		return &lease{fmt.Sprintf("semaphore (limit %d) at prefix: %s", n, prefix), sem.Acquire, sem.Release, sem.Destroy}, nil
	}
	key := path.Join(prefix, ".lock")
	lock, err := client.LockOpts(&consul.LockOptions{
		Key: key, SessionName: name, MonitorRetries: retries, MonitorRetryTime: time.Second,
		LockTryOnce: once, LockWaitTime: timeout,
	})
	if err != nil {
		return nil, err
	}
	return &lease{"lock at path: " + key, lock.Lock, lock.Unlock, lock.Destroy}, nil
}

// runWhile runs the command until it ends, the lock is lost or a signal comes. It
// prints what the command ended with if that is an error, and returns it.
func runWhile(ctx context.Context, c *cli.Context, lost <-chan struct{}, say func(string, ...any)) error {
	held, cancel := context.WithCancel(ctx)
	defer cancel()
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		select {
		case <-lost:
			say("Lock lost, killing child")
		case <-held.Done():
			if ctx.Err() != nil {
				say("Shutdown triggered, killing child")
			}
		}
		cancel()
	}()
	child := childCommand(held, c, c.Args().Tail())
	child.Env = append(child.Environ(), "CONSUL_LOCK_HELD=true")
	if c.Bool("pass-stdin") {
		child.Stdin = c.App.Reader
	}
	say("Starting handler")
	err := child.Start()
	if err != nil {
		fmt.Fprintln(c.App.ErrWriter, "Error starting handler:", err)
	} else if err = child.Wait(); err != nil {
		fmt.Fprintln(c.App.ErrWriter, "Error running handler:", err)
	}
	cancel()
	<-watching
	say("Child terminated, releasing lock")
	return err
}
