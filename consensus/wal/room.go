package wal

import (
	"errors"
	"fmt"
	"syscall"
)

// Spacer is what an FS implements that knows how much room is left in it.
type Spacer interface {
	// Free is the number of bytes that this process may still fill in the file
	// system that holds dir.
	Free(dir string) (int64, error)
}

// Room is how much room the log's file system has left.
type Room struct {
	Free int64
	// Ready is what is left of the segments that are preallocated: it stays the
	// log's whatever becomes of Free.
	Ready int64
	// Reserve is how much of both has to stay: for a snapshot like the newest
	// one, a little for terms and votes, and twice the next segment, since a batch
	// that doesn't fit into what is left of one wastes that. Below it the
	// server takes no new commands.
	Reserve int64
}

// Room looks how much room there is. It is false where the FS can't tell; then
// nothing is foreseen, and a full disk shows as a failed write.
func (l *Log) Room() (Room, bool) {
	s, ok := l.fsys.(Spacer)
	if !ok {
		return Room{}, false
	}
	free, err := s.Free(l.dir)
	if err != nil {
		return Room{}, false
	}
	r := Room{Free: free, Reserve: l.cfg.SegmentBytes / 16}
	if meta, ok := l.snaps.Latest(); ok {
		r.Reserve += int64(meta.Size) + int64(meta.Size)/4
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.segments) > 0 {
		r.Reserve += 2 * l.cfg.nextSize(l.active().size, 0)
		r.Ready = l.active().size - l.active().used
	}
	if l.blank != nil {
		r.Ready += l.blank.size
	}
	return r, true
}

// noRoomFor says why a segment of size bytes had better not be prepared: trying
// would fill the disk up to the last byte for a moment, for everyone.
func (l *Log) noRoomFor(size int64) error {
	if s, ok := l.fsys.(Spacer); ok {
		if free, err := s.Free(l.dir); err == nil && free < size+l.cfg.SegmentBytes/16 {
			return fmt.Errorf("prepare a segment of %d bytes in %s: %d bytes free: %w", size, l.dir, free, syscall.ENOSPC)
		}
	}
	return nil
}

// makeSegment preallocates a segment at once, of size bytes where there is room
// for them, and else with no more than a batch of need bytes takes and a few
// small ones: what this server accepted, its term and its vote still fit when
// nothing larger does.
func (l *Log) makeSegment(size, need int64) (*blank, error) {
	b, err := makeBlank(l.fsys, l.dir, instantName, size)
	for _, spare := range []int64{16, 3} { // sectors; three are its header, first batch and seal
		least := max(minSegmentBytes, need+spare*sectorSize)
		if errors.Is(err, syscall.ENOSPC) && least < size {
			b, err = makeBlank(l.fsys, l.dir, instantName, least)
		}
	}
	return b, err
}
