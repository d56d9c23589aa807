package wal

import (
	"errors"
	"fmt"
	"hash/crc64"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"muster/consensus/core"
)

// ErrChecksum says that a received snapshot isn't the one that was announced.
// What was received has been dropped; it is to be sent from the start.
var ErrChecksum = errors.New("received snapshot has another checksum than announced")

// Receiver writes a snapshot that comes from the leader, in order, and goes on
// after a restart where verified bytes end. Its methods may be called from
// several goroutines.
type Receiver struct {
	s    *Snapshots
	meta core.SnapshotMeta

	// mu is held over I/O: chunks come one after another.
	mu   sync.Mutex
	w    chunkWriter
	done bool  // Finish has succeeded, or the snapshot was there already
	err  error // sticky: a failed write, or ErrClosed
}

// Receive begins, or continues, to receive the snapshot that meta describes. It
// returns the offset of the first byte that is wanted. An earlier Receiver is
// closed; what it received stays only if it was for the same snapshot.
func (s *Snapshots) Receive(meta core.SnapshotMeta) (r *Receiver, next uint64, err error) {
	if meta.Index == 0 || meta.Size > math.MaxInt64/2 {
		return nil, 0, fmt.Errorf("receive snapshot (%d, %d) of %d bytes: not a snapshot", meta.Term, meta.Index, meta.Size)
	}
	r = &Receiver{s: s, meta: meta}
	s.mu.Lock()
	before := s.receiving
	s.receiving = r
	s.mu.Unlock()
	if before != nil {
		_ = before.Close() // its part is verified again before it is used
	}
	if have, ok := s.find(meta); ok && have.Size == meta.Size && have.Checksum == meta.Checksum {
		r.done, r.err = true, ErrClosed
		return r, meta.Size, nil
	}
	if have, ok := s.Latest(); ok && have.Index > meta.Index {
		return nil, 0, fmt.Errorf("receive snapshot (%d, %d): there is a newer one at (%d, %d)", meta.Term, meta.Index, have.Term, have.Index)
	}
	if err := s.dropParts(partName(meta)); err != nil {
		return nil, 0, fmt.Errorf("receive snapshot (%d, %d): %w", meta.Term, meta.Index, err)
	}
	path := filepath.Join(s.dir, partName(meta))
	f, err := s.fsys.OpenFile(path, os.O_RDWR|os.O_CREATE, filePerm)
	if err != nil {
		return nil, 0, fmt.Errorf("receive snapshot (%d, %d): %w", meta.Term, meta.Index, err)
	}
	r.w = newChunkWriter(f, path)
	if err := r.resume(); err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return r, r.w.size, nil
}

// dropParts removes what was received of snapshots other than keep.
func (s *Snapshots) dropParts(keep string) error {
	names, err := s.fsys.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, partSuffix) && name != keep {
			if err := s.fsys.Remove(filepath.Join(s.dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// resume moves the writer behind the chunks that are there and whole.
func (r *Receiver) resume() error {
	buf := make([]byte, chunkSize)
	for r.w.size < r.meta.Size {
		c, err := readChunk(r.w.f, r.w.path, r.w.next, r.meta.Size, buf)
		var damage *CorruptError
		if errors.As(err, &damage) {
			return nil // here the part ends, or what a crash left of it
		}
		if err != nil {
			return err
		}
		r.w.next++
		r.w.size += uint64(len(c))
		r.w.sum = crc64.Update(r.w.sum, ecma, c)
	}
	return nil
}

// WriteAt takes the bytes of the snapshot from offset on and returns the offset
// that is wanted next. Bytes it has are skipped; bytes beyond a gap are not
// taken, which the returned offset says.
func (r *Receiver) WriteAt(offset uint64, data []byte) (next uint64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return r.meta.Size, nil
	}
	if r.err != nil {
		return r.w.size, r.err
	}
	if end := offset + uint64(len(data)); end < offset || end > r.meta.Size {
		return r.w.size, fmt.Errorf("receive snapshot (%d, %d): %d bytes at offset %d of %d", r.meta.Term, r.meta.Index, len(data), offset, r.meta.Size)
	} else if offset > r.w.size || end <= r.w.size {
		return r.w.size, nil
	}
	if _, err := r.w.Write(data[r.w.size-offset:]); err != nil {
		r.err = err
		return 0, err
	}
	return r.w.size, nil
}

// Finish verifies that all of the snapshot is there, and makes it durable and
// the newest one. ErrChecksum says that it has to be received anew.
func (r *Receiver) Finish() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.done:
		return nil
	case r.err != nil:
		return r.err
	case r.w.size != r.meta.Size:
		return fmt.Errorf("finish snapshot (%d, %d): %d of %d bytes received", r.meta.Term, r.meta.Index, r.w.size, r.meta.Size)
	}
	r.err = ErrClosed
	if r.w.sum != r.meta.Checksum {
		err := fmt.Errorf("finish snapshot (%d, %d): %w", r.meta.Term, r.meta.Index, ErrChecksum)
		return errors.Join(err, r.w.f.Close(), r.s.fsys.Remove(r.w.path))
	}
	if err := r.w.finish(r.meta); err != nil {
		return errors.Join(err, r.w.f.Close())
	}
	if err := r.w.f.Close(); err != nil {
		return fmt.Errorf("close %s: %w", r.w.path, err)
	}
	if err := r.s.publish(r.w.path, r.meta); err != nil {
		return err
	}
	r.done = true
	return nil
}

// Close gives up the file and keeps what was received, for a later Receive. It
// need not be called after Finish.
func (r *Receiver) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if errors.Is(r.err, ErrClosed) {
		return nil
	}
	r.err = ErrClosed
	if r.w.f == nil {
		return nil
	}
	return r.w.f.Close()
}
