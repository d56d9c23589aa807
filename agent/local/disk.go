package local

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The directories below DataDir, and how their files are named while written.
const (
	servicesDir = "services"
	checksDir   = "checks"
	stateDir    = "checks/state"
	tmpSuffix   = ".tmp"
)

// maxRecord bounds one record in bytes. It is above all that a request body,
// which is smaller, can bring.
const maxRecord = 16 << 20

// disk keeps records as JSON, one file each, named by the hash of a key. A nil
// disk keeps nothing.
type disk struct{ dir string }

// openDisk makes the directories below dir; "" gives a disk that keeps nothing.
func openDisk(dir string) (*disk, error) {
	if dir == "" {
		return nil, nil
	}
	for _, d := range []string{servicesDir, checksDir, stateDir} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, fmt.Errorf("make a directory for what is registered with this agent: %w", err)
		}
	}
	return &disk{dir: dir}, nil
}

func (d *disk) path(dir, key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(d.dir, dir, hex.EncodeToString(sum[:]))
}

// put keeps a record durably: after a crash the file holds the old content or
// the new one whole.
func (d *disk) put(dir, key string, record any) error {
	if d == nil {
		return nil
	}
	return writeFile(d.path(dir, key), record, true)
}

// putLossy keeps a record that a power failure may take away, but not tear.
func (d *disk) putLossy(dir, key string, record any) error {
	if d == nil {
		return nil
	}
	return writeFile(d.path(dir, key), record, false)
}

// remove removes a record durably. It is no error if there is none.
func (d *disk) remove(dir, key string) error {
	if d == nil {
		return nil
	}
	path := d.path(dir, key)
	if err := os.Remove(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("remove a registration: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

// each reads all records of a directory, in the order of their file names, and
// removes what an unfinished write left. A record that can't be read is passed
// to bad and stays where it is.
func (d *disk) each(dir string, decode func(data []byte) error, bad func(path string, err error)) error {
	if d == nil {
		return nil
	}
	entries, err := os.ReadDir(filepath.Join(d.dir, dir))
	if err != nil {
		return fmt.Errorf("read what is registered with this agent: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(d.dir, dir, e.Name())
		switch {
		case e.IsDir():
		case strings.HasSuffix(e.Name(), tmpSuffix):
			_ = os.Remove(path) // the next start tries again
		default:
			data, err := readFile(path)
			if err == nil {
				err = decode(data)
			}
			if err != nil {
				bad(path, err)
			}
		}
	}
	return nil
}

// readFile reads a record whole.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxRecord+1))
	if err == nil && len(data) > maxRecord {
		err = fmt.Errorf("larger than %d bytes", maxRecord)
	}
	return data, err
}

// writeFile replaces a file atomically, and durably if asked to.
func writeFile(path string, record any, durable bool) error {
	data, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	tmp := path + tmpSuffix
	if err := writeSynced(tmp, data, durable); err != nil {
		_ = os.Remove(tmp) // each cleans up what is left
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if !durable {
		return nil
	}
	return syncDir(filepath.Dir(path))
}

func writeSynced(path string, data []byte, durable bool) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && durable {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}
