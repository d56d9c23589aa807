package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"muster/agent/config"
)

// rotatingFile is a log file that is put aside when it is too large or too old,
// and begun anew. Its own name always holds the newest lines; those put aside
// carry the time at which they were.
type rotatingFile struct {
	path     string
	maxBytes int64         // 0: no bound
	maxAge   time.Duration // of the open file
	keep     int           // files put aside; 0: all, -1: none
	now      func() time.Time

	mu      sync.Mutex
	file    *os.File // guarded by mu, as all below
	size    int64
	started time.Time
}

// defaultLogName is used where log_file names a directory.
const defaultLogName = "muster.log"

func openRotating(cfg config.Log) (*rotatingFile, error) {
	f := &rotatingFile{
		path: cfg.File, maxBytes: int64(cfg.RotateBytes), maxAge: cfg.RotateDuration, keep: cfg.RotateMaxFiles,
		now: time.Now,
	}
	if info, err := os.Stat(f.path); strings.HasSuffix(f.path, "/") || err == nil && info.IsDir() {
		f.path = filepath.Join(f.path, defaultLogName)
	}
	if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
		return nil, fmt.Errorf("log_file: %w", err)
	}
	if err := f.open(); err != nil {
		return nil, fmt.Errorf("log_file: %w", err)
	}
	return f, nil
}

// open opens the file to append to it. The caller holds mu, or is alone.
func (f *rotatingFile) open() error {
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	f.file, f.size, f.started = file, info.Size(), f.now()
	return nil
}

// Write implements io.Writer. A file that can't be put aside is written on.
func (f *rotatingFile) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	full := f.maxBytes > 0 && f.size > 0 && f.size+int64(len(p)) > f.maxBytes
	var rotating error
	if full || f.now().Sub(f.started) >= f.maxAge {
		if err := f.rotate(); err != nil {
			rotating = fmt.Errorf("rotate the log: %w", err)
		}
	}
	n, err := f.file.Write(p)
	f.size += int64(n)
	return n, errors.Join(rotating, err)
}

// rotate puts the file aside and begins a new one. The caller holds mu.
func (f *rotatingFile) rotate() error {
	err := f.file.Close()
	ext := filepath.Ext(f.path)
	aside := fmt.Sprintf("%s-%d%s", strings.TrimSuffix(f.path, ext), f.now().UnixNano(), ext)
	err = errors.Join(err, os.Rename(f.path, aside), f.open())
	return errors.Join(err, f.prune())
}

// prune removes the oldest files that were put aside.
func (f *rotatingFile) prune() error {
	if f.keep == 0 {
		return nil
	}
	ext := filepath.Ext(f.path)
	old, err := filepath.Glob(escapeGlob(strings.TrimSuffix(f.path, ext)) + "-[0-9]*" + escapeGlob(ext))
	if err != nil {
		return err
	}
	// Names differ only in the time, so the shorter is the older.
	slices.SortFunc(old, func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) })
	for len(old) > max(f.keep, 0) {
		err = errors.Join(err, os.Remove(old[0]))
		old = old[1:]
	}
	return err
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// Close closes the file.
func (f *rotatingFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Close()
}
