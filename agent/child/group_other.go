//go:build !unix

package child

import "os/exec"

// killAsGroup leaves the command to be killed alone: there are no process groups.
func killAsGroup(*exec.Cmd) {}
