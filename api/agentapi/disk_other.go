//go:build !unix

package agentapi

import (
	"errors"
	"runtime"
)

func readDisk(string) (*HostDisk, error) {
	return nil, errors.New("disk usage is not read on " + runtime.GOOS)
}
