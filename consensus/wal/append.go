package wal

import (
	"fmt"

	"muster/consensus/core"
)

// Names of preallocated files on their way to be a segment: made ahead by Run,
// or on the spot.
const (
	preparedName = "prepared" + segmentSuffix + tmpSuffix
	instantName  = "instant" + segmentSuffix + tmpSuffix
)

// Append makes b durable: one write, one fsync, all of b or nothing after a
// crash. A batch whose only news is HardState.Commit is remembered and goes out
// with the next one, unless what SetVoteless said waits to be made durable. A
// batch that contradicts the log (a gap, a term that goes back, a second vote in
// a term) is refused and changes nothing.
func (l *Log) Append(b Batch) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.failure(); err != nil {
		return err
	}
	return l.append(b)
}

// AppendAll is Append for several batches at once, still with a single write
// and a single fsync for them all.
func (l *Log) AppendAll(bs []Batch) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.failure(); err != nil {
		return err
	}
	if len(bs) == 1 {
		return l.append(bs[0])
	}
	var all Batch
	l.merged = l.merged[:0]
	defer func() {
		clear(l.merged) // don't keep the data alive
	}()
	for _, b := range bs {
		if b.HardState != nil {
			all.HardState = b.HardState
		}
		if len(b.Entries) == 0 {
			continue
		}
		first := b.Entries[0].Index
		switch n := uint64(len(l.merged)); {
		case n == 0 || first <= l.merged[0].Index:
			l.merged = l.merged[:0]
		case first > l.merged[0].Index+n:
			return fmt.Errorf("append: entry %d follows entry %d", first, l.merged[n-1].Index)
		default:
			l.merged = l.merged[:first-l.merged[0].Index]
		}
		l.merged = append(l.merged, b.Entries...)
	}
	all.Entries = l.merged
	return l.append(all)
}

// append checks b against the log and writes it if it has to be. The caller
// holds writing.
func (l *Log) append(b Batch) error {
	hs := l.hs
	if b.HardState != nil {
		hs = *b.HardState
	}
	if err := l.check(hs, b.Entries); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	l.mu.Lock()
	l.hs = hs
	marked := l.voteless == l.votelessOnDisk
	l.mu.Unlock()
	if len(b.Entries) == 0 && hs.Term == l.onDisk.Term && hs.Vote == l.onDisk.Vote && marked {
		return nil
	}
	return l.write(b.Entries)
}

// check refuses what the core never asks for, so that a mistake there can't
// become a state on disk that recovery must refuse.
func (l *Log) check(hs core.HardState, es []core.Entry) error {
	switch {
	case hs.Term < l.hs.Term:
		return fmt.Errorf("hard state: term %d after term %d", hs.Term, l.hs.Term)
	case hs.Term == l.hs.Term && l.hs.Vote != "" && hs.Vote != l.hs.Vote:
		return fmt.Errorf("hard state: vote for %q after a vote for %q in term %d", hs.Vote, l.hs.Vote, hs.Term)
	}
	if _, err := bodyLen(hs.Vote, es); err != nil {
		return err
	}
	if len(es) == 0 {
		return nil
	}
	first := es[0].Index
	if first < l.first || first > l.last+1 {
		return fmt.Errorf("entry %d does not follow the log, which holds %d to %d", first, l.first, l.last)
	}
	term := l.terms.at(first - 1)
	for i := range es {
		if want := first + uint64(i); es[i].Index != want {
			return fmt.Errorf("entry %d in the place of entry %d", es[i].Index, want)
		}
		if es[i].Term < term {
			return fmt.Errorf("entry %d has term %d after an entry of term %d", es[i].Index, es[i].Term, term)
		}
		term = es[i].Term
	}
	return nil
}

// write makes the hard state and es durable as one batch. The caller holds
// writing and has checked them.
func (l *Log) write(es []core.Entry) error {
	next := l.last + 1
	if len(es) > 0 {
		next = es[0].Index
	}
	h := l.head(l.hs, next, l.terms.at(next-1), es)
	if need := h.sectors() * sectorSize; !l.active().fits(need) {
		if err := l.rotate(need); err != nil {
			return l.fail(err)
		}
		h.seq = l.seq
	}
	l.buf = encodeBatch(l.buf, h, l.hs.Vote, es)
	s := l.active()
	off := s.used
	if _, err := s.file.WriteAt(l.buf, off); err != nil {
		return l.fail(fmt.Errorf("write %s at offset %d: %w", s.path, off, err))
	}
	if err := s.file.Sync(); err != nil {
		return l.fail(fmt.Errorf("sync %s: %w", s.path, err))
	}
	l.seq++
	l.mu.Lock()
	s.used += int64(len(l.buf))
	l.onDisk, l.votelessOnDisk = l.hs, h.voteless
	l.admit(h, off, es)
	ask := s.used > s.size/2 && l.blank == nil
	l.mu.Unlock()
	if ask {
		select {
		case l.want <- struct{}{}:
		default: // Run has been asked already
		}
	}
	return nil
}

// head describes the next batch: es, or the hard state alone. The caller holds
// writing.
func (l *Log) head(hs core.HardState, first, prevTerm uint64, es []core.Entry) batchHead {
	l.mu.RLock()
	voteless := l.voteless
	l.mu.RUnlock()
	n, _ := bodyLen(hs.Vote, es) // checked before
	return batchHead{
		kind: kindBatch, voteless: voteless,
		voteLen: uint8(len(hs.Vote)), bodyLen: n,
		seq: l.seq, first: first, prevTerm: prevTerm, count: uint32(len(es)),
		term: hs.Term, commit: hs.Commit,
	}
}

// admit takes a durable batch of the active segment into the index. The caller
// holds mu and writing.
func (l *Log) admit(h batchHead, off int64, es []core.Entry) {
	if h.count == 0 {
		return
	}
	l.truncate(h.first)
	for i := range es {
		l.terms = l.terms.add(es[i].Index, es[i].Term)
	}
	s := l.active()
	s.refs = append(s.refs, ref{h.first, uint32(off / sectorSize), uint32(h.sectors())})
	l.last = h.last()
}

// truncate forgets the entries from index on. The caller holds mu and writing.
func (l *Log) truncate(index uint64) {
	if index > l.last {
		return
	}
	for i := len(l.segments) - 1; i >= 0; i-- {
		s := l.segments[i]
		n := len(s.refs)
		for n > 0 && s.refs[n-1].first >= index {
			n--
		}
		if s.refs = s.refs[:n]; n > 0 {
			break
		}
	}
	l.terms = l.terms.before(index)
	l.last = index - 1
}

// rotate starts a new segment with room for a batch of need bytes, and seals
// the one before. The caller holds writing.
func (l *Log) rotate(need int64) error {
	old := l.active()
	h := segmentHeader{
		number: old.number + 1, seq: l.seq,
		first: l.last + 1, prevTerm: l.terms.at(l.last),
	}
	s, err := l.startSegment(h, need)
	if err != nil {
		return err
	}
	if old.fits(0) {
		seal := batchHead{kind: kindSeal, seq: s.seq, first: h.first, prevTerm: h.prevTerm, term: l.onDisk.Term}
		l.buf = encodeBatch(l.buf, seal, "", nil)
		if _, err := old.file.WriteAt(l.buf, old.used); err != nil {
			return fmt.Errorf("seal %s: %w", old.path, err)
		}
		if err := old.file.Sync(); err != nil {
			return fmt.Errorf("seal %s: %w", old.path, err)
		}
	}
	l.mu.Lock()
	l.segments = append(l.segments, s)
	l.mu.Unlock()
	return nil
}

// startSegment makes a durable segment with header h. Its first batch carries
// the hard state, so that nothing older is needed for it. The caller holds
// writing, and makes the segment the active one.
func (l *Log) startSegment(h segmentHeader, need int64) (*segment, error) {
	var prev int64
	if len(l.segments) > 0 {
		prev = l.active().size
	}
	l.mu.Lock()
	b := l.blank
	l.blank = nil
	l.mu.Unlock()
	if b != nil && b.size < need+3*sectorSize {
		_ = b.file.Close()
		_ = l.fsys.Remove(b.path)
		b = nil
	}
	if b == nil {
		var err error
		if b, err = l.makeSegment(l.cfg.nextSize(prev, need), need); err != nil {
			return nil, err
		}
	}
	h.log = l.incarnation
	// Not l.hs: that may belong to a batch that is about to be written whole.
	l.buf = encodeBatch(l.buf, l.head(l.onDisk, h.first, h.prevTerm, nil), l.onDisk.Vote, nil)
	s, err := b.become(l.fsys, h, l.buf)
	if err != nil {
		_ = b.file.Close()
		return nil, err
	}
	l.seq++
	return s, nil
}
