package checks

import (
	"context"
	"errors"
	"fmt"
	"os/exec"

	"muster/agent/child"
	"muster/catalog"
)

// newScript makes the probe of a script check: a program run without a shell, in
// the agent's environment and a process group of its own. Exit code 0 is
// passing, 1 warning, all else critical.
func newScript(d Definition, cfg Config) probe {
	timeout := d.timeout(defaultScriptTimeout)
	return func(ctx context.Context) (string, string) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		out := &child.Tail{Max: cfg.outputMaxSize(d.OutputMaxSize)}
		cmd := child.Command(ctx, d.ScriptArgs)
		cmd.Stdout, cmd.Stderr = out, out
		err := cmd.Run()
		var exit *exec.ExitError
		switch {
		case errors.Is(ctx.Err(), context.DeadlineExceeded):
			return catalog.StatusCritical, fmt.Sprintf("Timed out (%s) running check\n\n%s", timeout, out)
		case err == nil, errors.Is(err, exec.ErrWaitDelay):
			// A script that ended well may leave something behind that keeps
			// its output open; its own exit code is the answer.
			return catalog.StatusPassing, out.String()
		case !errors.As(err, &exit):
			return catalog.StatusCritical, err.Error()
		case exit.ExitCode() == 1:
			return catalog.StatusWarning, out.String()
		}
		return catalog.StatusCritical, out.String()
	}
}
