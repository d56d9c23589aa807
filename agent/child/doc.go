// Package child runs the programs that users name in checks and watches: without a
// shell, in the agent's environment, each in a process group of its own.
package child

import (
	"context"
	"os/exec"
	"time"
)

// grace is how long a killed program's pipes may stay open, as when a child of it
// left the process group and holds them.
const grace = time.Second

// Command is the command that arguments name. When ctx ends it is killed, with all
// that it has started.
func Command(ctx context.Context, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.WaitDelay = grace
	killAsGroup(cmd)
	return cmd
}
