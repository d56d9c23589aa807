package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"muster/consensus/core"
)

// ErrNoSnapshot says that a snapshot is asked for that isn't there, or no
// longer: only the newest two are kept.
var ErrNoSnapshot = errors.New("no such snapshot")

// keepSnapshots is how many snapshots stay. The older one is there for a
// transfer to a follower that began before the newer one, and for a newer one
// that turns out damaged.
const keepSnapshots = 2

// Snapshots are the snapshot files of one server. Its methods may be called
// from several goroutines at once. A failure concerns the one file at hand and
// leaves the others, and the log, as they were.
type Snapshots struct {
	fsys FS
	dir  string

	// damaged are the snapshots newer than Latest that Open found not to be
	// whole. It isn't changed later.
	damaged []error

	// publishing is held over the I/O that makes a snapshot the newest one, so
	// that none drops the file of another.
	publishing sync.Mutex

	// mu guards what follows and is never held over I/O.
	mu        sync.Mutex
	list      []core.SnapshotMeta // newest first; durable
	receiving *Receiver           // the one that may still write; nil if none
}

// openSnapshots takes stock of a directory. The newest snapshot is verified
// whole, for the server will start from it.
func openSnapshots(fsys FS, dir string, names []string) (*Snapshots, error) {
	s := &Snapshots{fsys: fsys, dir: dir}
	var found []string
	for _, name := range names {
		if _, ok := snapshotIndex(name, snapshotSuffix); ok {
			found = append(found, name)
		}
		if _, ok := snapshotIndex(name, snapshotSuffix+tmpSuffix); ok {
			if err := fsys.Remove(filepath.Join(dir, name)); err != nil {
				return nil, err
			}
		}
	}
	slices.Sort(found)
	slices.Reverse(found)
	for _, name := range found {
		m, err := s.inspect(name, len(s.list) == 0)
		var damage *CorruptError
		switch {
		case err == nil:
			s.list = append(s.list, m)
		case !errors.As(err, &damage):
			return nil, err
		case len(s.list) == 0:
			s.damaged = append(s.damaged, err)
		}
	}
	return s, nil
}

// inspect reads the meta of a snapshot file and, if whole is set, verifies all of it.
func (s *Snapshots) inspect(name string, whole bool) (core.SnapshotMeta, error) {
	path := filepath.Join(s.dir, name)
	f, err := s.fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return core.SnapshotMeta{}, err
	}
	defer f.Close()
	m, err := readMeta(f, path, name)
	if err == nil && whole {
		_, err = io.Copy(io.Discard, newSnapshotReader(f, path, m))
	}
	return m, err
}

// Latest is the newest snapshot, false if there is none.
func (s *Snapshots) Latest() (core.SnapshotMeta, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) == 0 {
		return core.SnapshotMeta{}, false
	}
	return s.list[0], true
}

// find gives the durable snapshot at the place of m.
func (s *Snapshots) find(m core.SnapshotMeta) (core.SnapshotMeta, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, have := range s.list {
		if have.Index == m.Index && have.Term == m.Term {
			return have, true
		}
	}
	return core.SnapshotMeta{}, false
}

// holds says whether the snapshot of meta is there, durable.
func (s *Snapshots) holds(meta core.SnapshotMeta) bool {
	_, ok := s.find(meta)
	return ok
}

// openFile opens the file of the snapshot at the place of meta.
func (s *Snapshots) openFile(meta core.SnapshotMeta) (File, string, core.SnapshotMeta, error) {
	have, ok := s.find(meta)
	if !ok {
		return nil, "", have, fmt.Errorf("open snapshot (%d, %d): %w", meta.Term, meta.Index, ErrNoSnapshot)
	}
	path := filepath.Join(s.dir, snapshotName(have))
	f, err := s.fsys.OpenFile(path, os.O_RDONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		err = ErrNoSnapshot // replaced since find
	}
	if err != nil {
		return nil, "", have, fmt.Errorf("open snapshot (%d, %d): %w", meta.Term, meta.Index, err)
	}
	return f, path, have, nil
}

// Open reads the snapshot at (meta.Term, meta.Index) from its beginning. Each
// byte is verified before it is given out, and the whole before io.EOF. The
// reader stays good when the snapshot is replaced meanwhile.
func (s *Snapshots) Open(meta core.SnapshotMeta) (io.ReadCloser, error) {
	f, path, have, err := s.openFile(meta)
	if err != nil {
		return nil, err
	}
	return newSnapshotReader(f, path, have), nil
}

// ReadChunk reads up to n verified bytes of a snapshot from offset on, fewer
// only at its end; last says that they reach it.
func (s *Snapshots) ReadChunk(meta core.SnapshotMeta, offset uint64, n int) (data []byte, last bool, err error) {
	f, path, have, err := s.openFile(meta)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	if offset > have.Size || n < 0 || n == 0 && offset < have.Size {
		return nil, false, fmt.Errorf("read snapshot (%d, %d): %d bytes at offset %d of %d", meta.Term, meta.Index, n, offset, have.Size)
	}
	end := offset + min(uint64(n), have.Size-offset)
	data = make([]byte, 0, end-offset)
	buf := make([]byte, chunkSize)
	for at := offset; at < end; {
		c, err := readChunk(f, path, at/chunkData, have.Size, buf)
		if err != nil {
			return nil, false, err
		}
		c = c[at%chunkData:]
		c = c[:min(uint64(len(c)), end-at)]
		data = append(data, c...)
		at += uint64(len(c))
	}
	return data, end == have.Size, nil
}

// snapshotReader reads and verifies a snapshot chunk by chunk.
type snapshotReader struct {
	f    File
	path string
	meta core.SnapshotMeta
	buf  []byte
	left []byte // of the chunk at hand
	next uint64 // number of the chunk after it
	done uint64 // bytes of all chunks up to it
	sum  uint64 // their CRC-64
}

func newSnapshotReader(f File, path string, m core.SnapshotMeta) *snapshotReader {
	return &snapshotReader{f: f, path: path, meta: m, buf: make([]byte, chunkSize)}
}

func (r *snapshotReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(r.left) == 0 {
		if r.done == r.meta.Size {
			if r.sum != r.meta.Checksum {
				return 0, &CorruptError{File: r.path, Reason: "snapshot: checksum of the whole differs"}
			}
			return 0, io.EOF
		}
		c, err := readChunk(r.f, r.path, r.next, r.meta.Size, r.buf)
		if err != nil {
			return 0, err
		}
		r.left = c
		r.next++
		r.done += uint64(len(c))
		r.sum = crc64.Update(r.sum, ecma, c)
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

func (r *snapshotReader) Close() error { return r.f.Close() }

// publish gives a written and synced file its name, enters it and drops what is
// no longer needed. A snapshot that a newer one has overtaken is dropped itself.
func (s *Snapshots) publish(tmp string, m core.SnapshotMeta) error {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	if newest, ok := s.Latest(); ok && newest.Index > m.Index {
		err := fmt.Errorf("snapshot (%d, %d): a newer one at (%d, %d) has come first", m.Term, m.Index, newest.Term, newest.Index)
		return errors.Join(err, s.fsys.Remove(tmp))
	}
	if err := publish(s.fsys, tmp, filepath.Join(s.dir, snapshotName(m))); err != nil {
		return err
	}
	s.mu.Lock()
	list := []core.SnapshotMeta{m}
	for _, have := range s.list {
		if len(list) < keepSnapshots && have.Index < m.Index {
			list = append(list, have)
		}
	}
	s.list = list
	s.mu.Unlock()
	s.prune(list)
	return nil
}

// prune removes all snapshot files but those in keep, and parts that are no
// newer. What can't be removed now will be the next time.
func (s *Snapshots) prune(keep []core.SnapshotMeta) {
	names, err := s.fsys.ReadDir(s.dir)
	if err != nil {
		return
	}
	for _, name := range names {
		_, old := snapshotIndex(name, snapshotSuffix)
		for _, m := range keep {
			old = old && name != snapshotName(m)
		}
		if index, ok := snapshotIndex(name, partSuffix); ok {
			old = index <= keep[0].Index
		}
		if old {
			_ = s.fsys.Remove(filepath.Join(s.dir, name))
		}
	}
}

// chunkWriter writes the chunks of a snapshot file.
type chunkWriter struct {
	f    File
	path string
	buf  []byte // data of the chunk at hand, cap chunkSize
	next uint64 // its number
	size uint64 // bytes taken, buf included
	sum  uint64 // their CRC-64
}

func newChunkWriter(f File, path string) chunkWriter {
	return chunkWriter{f: f, path: path, buf: make([]byte, 0, chunkSize)}
}

// Write takes p; full chunks go to the file.
func (w *chunkWriter) Write(p []byte) (int, error) {
	n := len(p)
	w.sum = crc64.Update(w.sum, ecma, p)
	w.size += uint64(n)
	for len(p) > 0 {
		k := min(len(p), chunkData-len(w.buf))
		w.buf = append(w.buf, p[:k]...)
		p = p[k:]
		if len(w.buf) == chunkData {
			if err := w.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

// flush writes the chunk at hand.
func (w *chunkWriter) flush() error {
	b := binary.LittleEndian.AppendUint32(w.buf, chunkSum(w.next, w.buf))
	if _, err := w.f.WriteAt(b, int64(w.next*chunkSize)); err != nil {
		return fmt.Errorf("write %s: %w", w.path, err)
	}
	w.next++
	w.buf = w.buf[:0]
	return nil
}

// finish writes the last chunk and the trailer, and makes the file durable.
func (w *chunkWriter) finish(m core.SnapshotMeta) error {
	if len(w.buf) > 0 {
		if err := w.flush(); err != nil {
			return err
		}
	}
	t, err := encodeTrailer(m)
	if err != nil {
		return err
	}
	if _, err := w.f.WriteAt(t, chunksLen(m.Size)); err != nil {
		return fmt.Errorf("write %s: %w", w.path, err)
	}
	if err := w.f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", w.path, err)
	}
	return nil
}

// SnapshotWriter writes a snapshot of the own state machine. It is for one
// goroutine, and must end with Commit or Abort.
type SnapshotWriter struct {
	s    *Snapshots
	meta core.SnapshotMeta
	w    chunkWriter
	err  error // of the first failure; later calls repeat it
}

// Create begins a snapshot at (meta.Term, meta.Index). Size and Checksum of
// meta are found out while it is written. Nothing of it is seen before Commit.
func (s *Snapshots) Create(meta core.SnapshotMeta) (*SnapshotWriter, error) {
	if have, ok := s.Latest(); ok && meta.Index < have.Index || meta.Index == 0 {
		return nil, fmt.Errorf("create snapshot (%d, %d): the newest one is at (%d, %d)", meta.Term, meta.Index, have.Term, have.Index)
	}
	path := filepath.Join(s.dir, snapshotName(meta)+tmpSuffix)
	f, err := s.fsys.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, filePerm)
	if err != nil {
		return nil, fmt.Errorf("create snapshot (%d, %d): %w", meta.Term, meta.Index, err)
	}
	return &SnapshotWriter{s: s, meta: meta, w: newChunkWriter(f, path)}, nil
}

// Write adds p to the snapshot.
func (w *SnapshotWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.w.Write(p)
	w.err = err
	return n, err
}

// Commit makes the snapshot durable and the newest one, and returns its meta
// with Size and Checksum. If it fails the snapshot is not there.
func (w *SnapshotWriter) Commit() (core.SnapshotMeta, error) {
	m := w.meta
	m.Size, m.Checksum = w.w.size, w.w.sum
	err := w.err
	if err == nil {
		err = w.w.finish(m)
	}
	if err != nil {
		return core.SnapshotMeta{}, errors.Join(err, w.Abort())
	}
	w.err = ErrClosed
	if err := w.w.f.Close(); err != nil {
		return core.SnapshotMeta{}, fmt.Errorf("close %s: %w", w.w.path, err)
	}
	if err := w.s.publish(w.w.path, m); err != nil {
		return core.SnapshotMeta{}, err
	}
	return m, nil
}

// Abort drops the snapshot. After Commit it does nothing.
func (w *SnapshotWriter) Abort() error {
	if errors.Is(w.err, ErrClosed) {
		return nil
	}
	w.err = ErrClosed
	return errors.Join(w.w.f.Close(), w.s.fsys.Remove(w.w.path))
}
