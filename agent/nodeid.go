package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"muster/consensus/wal"
)

// nodeIDFile keeps an agent's identity in its data-dir, as Consul's does.
const nodeIDFile = "node-id"

// loadNodeID gives the UUID by which servers know this agent for good: the
// configured one, else the one on disk, else a fresh random one that is put on
// disk. With dir empty (-dev) nothing is kept.
func loadNodeID(dir, configured string) (string, error) {
	if configured != "" {
		id, err := uuid.Parse(configured)
		if err != nil {
			return "", fmt.Errorf("node_id %q: not a UUID: %w", configured, err)
		}
		return id.String(), saveNodeID(dir, id.String())
	}
	if dir != "" {
		path := filepath.Join(dir, nodeIDFile)
		b, err := os.ReadFile(path)
		if err == nil {
			id, err := uuid.Parse(strings.TrimSpace(string(b)))
			if err != nil {
				return "", fmt.Errorf("%s: not a UUID: %w; put the agent's former ID back, or remove the file to become a new node", path, err)
			}
			return id.String(), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("read the node ID: %w", err)
		}
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return "", fmt.Errorf("make a node ID: %w", err)
	}
	return id.String(), saveNodeID(dir, id.String())
}

func saveNodeID(dir, id string) error {
	if dir == "" {
		return nil
	}
	path := filepath.Join(dir, nodeIDFile)
	if err := wal.WriteFileAtomic(wal.OS(), path, []byte(id+"\n"), 0o600); err != nil {
		return fmt.Errorf("keep the node ID: %w", err)
	}
	return nil
}
