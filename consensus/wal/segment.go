package wal

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"

	"muster/consensus/core"
)

const (
	segmentSuffix = ".wal"
	tmpSuffix     = ".tmp"
	filePerm      = fs.FileMode(0o600)
)

// segmentName is the file name of a segment; names sort as numbers do.
func segmentName(number uint64) string { return fmt.Sprintf("%020d%s", number, segmentSuffix) }

// segmentNumber is the reverse of segmentName.
func segmentNumber(name string) (uint64, bool) {
	n, err := strconv.ParseUint(strings.TrimSuffix(name, segmentSuffix), 10, 64)
	return n, err == nil && name == segmentName(n)
}

// segment is one file of the log.
type segment struct {
	segmentHeader
	path string
	file File

	// used is where the next batch goes. Guarded by Log.mu.
	used int64
	// refs are the batches with entries that still count, ascending by first.
	// Guarded by Log.mu.
	refs []ref

	// pins counts who needs file open: the log itself and each reader. It is
	// raised only under Log.mu while the segment is in the log.
	pins atomic.Int32
}

// ref says where in its segment the entries from first on are, up to those of
// the next ref. Sixteen bytes a batch, not an entry, are all that the log holds
// in memory.
type ref struct {
	first   uint64
	sector  uint32
	sectors uint32
}

func newSegment(h segmentHeader, path string, file File) *segment {
	s := &segment{segmentHeader: h, path: path, file: file, used: sectorSize}
	s.pins.Store(1)
	return s
}

// release undoes a pin; the last one closes the file.
func (s *segment) release() {
	if s.pins.Add(-1) == 0 {
		_ = s.file.Close() // nothing unsynced is in it that counts
	}
}

// fits says whether n bytes, and a seal behind them, fit into the segment.
func (s *segment) fits(n int64) bool { return s.used+n+sectorSize <= s.size }

// find gives the position in refs of the batch that holds index.
func (s *segment) find(index uint64) (int, bool) {
	i := sort.Search(len(s.refs), func(i int) bool { return s.refs[i].first > index }) - 1
	return i, i >= 0
}

// readBatch reads and verifies the batch that r points to.
func (s *segment) readBatch(r ref) (batchBody, error) {
	off := int64(r.sector) * sectorSize
	buf := make([]byte, int64(r.sectors)*sectorSize)
	if err := readFull(s.file, buf, off); err != nil {
		return batchBody{}, fmt.Errorf("read %s at offset %d: %w", s.path, off, err)
	}
	h, err := decodeHead(buf)
	if err == nil && h.sectors() != int64(r.sectors) {
		err = errBodyDamaged
	}
	var b batchBody
	if err == nil {
		b, err = decodeBody(h, buf)
	}
	if err != nil {
		return batchBody{}, &CorruptError{File: s.path, Offset: off, Reason: err.Error()}
	}
	return b, nil
}

// collect appends the entries lo to hi of the batch at r to es, as many as the
// budget of encoded bytes allows, and returns what is left of it: less than zero
// when it stopped for the budget. The first entry of es is taken whatever its size.
func (s *segment) collect(es []core.Entry, r ref, lo, hi uint64, budget int) ([]core.Entry, int, error) {
	b, err := s.readBatch(r)
	if err != nil {
		return nil, 0, err
	}
	err = b.entries(func(e core.Entry) bool {
		if e.Index < lo {
			return true
		}
		if e.Index > hi {
			return false
		}
		budget -= entryHeaderSize + len(e.Data)
		if budget < 0 && len(es) > 0 {
			return false
		}
		es = append(es, e)
		return budget >= 0
	})
	if err != nil {
		return nil, 0, &CorruptError{File: s.path, Offset: int64(r.sector) * sectorSize, Reason: err.Error()}
	}
	return es, budget, nil
}

// blank is a preallocated file that will become a segment.
type blank struct {
	file File
	path string
	size int64
}

var zeros [256 << 10]byte

// makeBlank preallocates a file of size bytes under a temporary name. It writes
// the zeros rather than reserve extents: a batch later written over them changes
// no metadata, so its fdatasync is a single write to the disk. It syncs as it
// goes, so that the syncs of batches never queue behind a whole segment.
func makeBlank(fsys FS, dir, name string, size int64) (*blank, error) {
	path := filepath.Join(dir, name)
	f, err := fsys.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, filePerm)
	if err != nil {
		return nil, fmt.Errorf("preallocate segment: %w", err)
	}
	const syncEvery = 1 << 20
	for off := int64(0); off < size && err == nil; {
		n := min(size-off, int64(len(zeros)))
		_, err = f.WriteAt(zeros[:n], off)
		if off += n; err == nil && (off%syncEvery == 0 || off == size) {
			err = f.Sync()
		}
	}
	if err != nil {
		_ = f.Close()
		_ = fsys.Remove(path)
		return nil, fmt.Errorf("preallocate segment of %d bytes: %w", size, err)
	}
	return &blank{f, path, size}, nil
}

// become turns the blank into a durable segment: its header and first batch
// are synced before it gets its name, so a segment that is there is whole.
func (b *blank) become(fsys FS, h segmentHeader, firstBatch []byte) (*segment, error) {
	h.size = b.size
	path := filepath.Join(filepath.Dir(b.path), segmentName(h.number))
	head := make([]byte, sectorSize, sectorSize+len(firstBatch))
	h.encode(head)
	if _, err := b.file.WriteAt(append(head, firstBatch...), 0); err != nil {
		return nil, fmt.Errorf("write head of segment %d: %w", h.number, err)
	}
	if err := b.file.Sync(); err != nil {
		return nil, fmt.Errorf("sync head of segment %d: %w", h.number, err)
	}
	if err := publish(fsys, b.path, path); err != nil {
		return nil, err
	}
	s := newSegment(h, path, b.file)
	s.used += int64(len(firstBatch))
	return s, nil
}
