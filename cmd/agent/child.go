package main

import (
	"cmp"
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
)

// childGrace is how long a command may run on after SIGTERM before it is killed.
const childGrace = 5 * time.Second

// childFlags are those of a command that runs another one.
func childFlags() []cli.Flag {
	return []cli.Flag{&cli.BoolFlag{Name: "shell", Value: true, Usage: "run the command by the shell that the environment's SHELL names, else /bin/sh; default is true"}}
}

// childCommand is the command that arguments name, ready to be started, with our
// output as its own. When ctx ends it gets SIGTERM.
func childCommand(ctx context.Context, c *cli.Context, args []string) *exec.Cmd {
	if c.Bool("shell") {
		args = []string{cmp.Or(os.Getenv("SHELL"), "/bin/sh"), "-c", strings.Join(args, " ")}
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = childGrace
	cmd.Stdout, cmd.Stderr = c.App.Writer, c.App.ErrWriter
	return cmd
}
