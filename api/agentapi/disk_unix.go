//go:build unix

package agentapi

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// readDisk reads how full the file system of a path is.
func readDisk(path string) (*HostDisk, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return nil, fmt.Errorf("read the file system of %s: %w", path, err)
	}
	block := uint64(fs.Bsize)
	d := &HostDisk{
		Path: path, Total: uint64(fs.Blocks) * block, Free: uint64(fs.Bavail) * block,
		Used:        (uint64(fs.Blocks) - uint64(fs.Bfree)) * block,
		InodesTotal: uint64(fs.Files), InodesFree: uint64(fs.Ffree),
	}
	if d.Used+d.Free > 0 {
		d.UsedPercent = 100 * float64(d.Used) / float64(d.Used+d.Free)
	}
	return d, nil
}
