package wal

import (
	"fmt"
	"io"
)

// scan reads the batches of the active segment. newest says that no segment
// follows: only there may a batch be torn.
func (r *recovery) scan(s *segment, newest bool) error {
	size, err := s.file.Size()
	if err != nil {
		return fmt.Errorf("open %s: %w", s.path, err)
	}
	if size > s.size {
		return &CorruptError{File: s.path, Offset: s.size, Reason: fmt.Sprintf("%d bytes long, %d by its header", size, s.size)}
	}
	w := window{file: s.file, path: s.path, size: size}
	r.tail = tail{file: size}
	for off := int64(sectorSize); ; off = s.used {
		end, sealed, err := r.next(&w, s, off, newest)
		if err != nil {
			return err
		}
		if !end {
			r.tail.last = off
			continue
		}
		if r.tail.last == 0 {
			return &CorruptError{File: s.path, Offset: off, Reason: "the first batch of the segment is missing"}
		}
		if newest {
			r.judgeEnd(s, size, sealed)
		}
		return nil
	}
}

// judgeEnd notes whether the newest segment shows that batches behind its last
// one have been lost.
func (r *recovery) judgeEnd(s *segment, size int64, sealed bool) {
	if r.tail.torn > s.used {
		r.l.repairs = append(r.l.repairs, fmt.Sprintf("cut a torn write that was never acknowledged off %s at offset %d", s.path, s.used))
	}
	why := ""
	switch {
	case size < s.size:
		why = fmt.Sprintf("%s is %d bytes long and should be %d", s.path, size, s.size)
	case sealed:
		why = fmt.Sprintf("the segment after %s is missing", s.path)
	default:
		return
	}
	r.lost = true
	r.l.repairs = append(r.l.repairs, why+"; acknowledged entries may be lost, so this server has no vote until a leader has caught it up")
}

// next takes the batch at off, or says that the batches of the segment end there.
func (r *recovery) next(w *window, s *segment, off int64, newest bool) (end, sealed bool, err error) {
	if off >= w.size {
		return true, false, nil
	}
	sector, err := w.at(off, sectorSize)
	if err != nil {
		return false, false, err
	}
	partial := off+sectorSize > w.size // the file has been shortened to within the sector
	if isZero(sector) || partial {
		if newest {
			err = r.findTorn(w, s, off, batchHead{}, nil)
		}
		return true, false, err
	}
	damaged := func(err error) error {
		return &CorruptError{File: s.path, Offset: off, Reason: err.Error()}
	}
	// A sector is written whole or not at all: one that is not zero and not a
	// head is damage, whoever was told what.
	h, err := decodeHead(sector)
	if err != nil {
		return false, false, damaged(err)
	}
	if h.seq != r.l.seq {
		return false, false, damaged(fmt.Errorf("batch number %d in the place of number %d", h.seq, r.l.seq))
	}
	n := h.sectors() * sectorSize
	if off+n > s.size {
		return false, false, damaged(errBodyDamaged)
	}
	if off+n > w.size {
		if newest {
			err = r.findTorn(w, s, off, h, errBodyDamaged)
		} else {
			err = damaged(errBodyDamaged)
		}
		return true, false, err
	}
	raw, err := w.at(off, int(n))
	if err != nil {
		return false, false, err
	}
	b, err := decodeBody(h, raw)
	if err != nil {
		w.forget() // decodeBody has worked in it
		if newest {
			err = r.findTorn(w, s, off, h, err)
		} else {
			err = damaged(err)
		}
		return true, false, err
	}
	if h.kind == kindSeal {
		return true, true, nil
	}
	if err := r.take(b, off); err != nil {
		return false, false, damaged(err)
	}
	return false, false, nil
}

// findTorn looks at the newest segment from off on, where there is no whole
// batch: a head h whose body fails with cause, or (cause nil) a sector of zeros.
// The remains of one torn write are noted in r.tail. Anything else is damage:
//
//   - A later batch was only written after this one had been acknowledged.
//   - A torn write lacks a sector, which is then all zeros, for every sector it
//     wrote begins with a guard. With none lacking, it was whole once.
func (r *recovery) findTorn(w *window, s *segment, off int64, h batchHead, cause error) error {
	lacking := cause == nil
	limit := s.size
	if cause != nil {
		limit = off + h.sectors()*sectorSize
		lacking = limit > w.size
	}
	r.tail.torn = off
	for at := off; at < w.size; at += sectorSize {
		sector, err := w.at(at, sectorSize)
		if err != nil {
			return err
		}
		if isZero(sector) {
			lacking = lacking || at < limit
			continue
		}
		r.tail.torn = at + sectorSize
		if at+sectorSize > w.size || at == off && cause != nil {
			continue
		}
		if sector[0] == guardHead {
			return &CorruptError{File: s.path, Offset: off, Reason: fmt.Sprintf("a batch is missing here, for one that was written after it begins at offset %d", at)}
		}
		if sector[0] != guardBody || at >= limit {
			return &CorruptError{File: s.path, Offset: at, Reason: "neither part of a batch nor zeros"}
		}
	}
	if !lacking {
		return &CorruptError{File: s.path, Offset: off, Reason: cause.Error()}
	}
	return nil
}

// window reads a file from front to back through a buffer.
type window struct {
	file File
	path string
	size int64
	buf  []byte
	off  int64 // of buf in the file
}

// at gives n bytes from off on, zeros where the file ends before. The caller
// has checked that no more than the last sector of them lies behind its end.
func (w *window) at(off int64, n int) ([]byte, error) {
	if off < w.off || off+int64(n) > w.off+int64(len(w.buf)) {
		have := min(w.size-off, max(int64(n), int64(len(zeros))))
		want := max(int64(n), have)
		if int64(cap(w.buf)) < want {
			w.buf = make([]byte, want)
		}
		w.buf = w.buf[:want]
		clear(w.buf[have:])
		if err := readFull(w.file, w.buf[:have], off); err != nil {
			if err == io.ErrUnexpectedEOF {
				err = fmt.Errorf("it became shorter: %w", err)
			}
			return nil, fmt.Errorf("read %s at offset %d: %w", w.path, off, err)
		}
		w.off = off
	}
	return w.buf[off-w.off:][:n], nil
}

// forget makes the next at read the file again.
func (w *window) forget() { w.buf = w.buf[:0] }
