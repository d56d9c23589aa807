package core_test

import (
	"encoding/binary"
	"hash/fnv"
	"slices"

	"muster/consensus/core"
)

// The state machine of a server, its snapshots, and how it receives one.

const chunkSize = 32

func (s *server) apply(commit uint64) {
	if commit > s.applied {
		s.c.trace("%s  applies up to %d", s.id, commit)
	}
	for s.applied < commit {
		e := s.memory.at(s.applied + 1)
		if e.Index == 0 {
			s.c.t.Fatalf("%s: commit %d, but its log (%v, %d] lacks index %d", s.id, commit, s.memory.base, s.memory.last(), s.applied+1)
		}
		s.applied = e.Index
		s.hash = hashEntry(s.hash, e)
		s.c.check.applied(s, e)
	}
}

func hashEntry(sum uint64, e core.Entry) uint64 {
	h := fnv.New64a()
	var b [24]byte
	binary.BigEndian.PutUint64(b[0:], sum)
	binary.BigEndian.PutUint64(b[8:], e.Term)
	binary.BigEndian.PutUint64(b[16:], e.Index)
	h.Write(b[:])
	h.Write(e.Data)
	return h.Sum64()
}

// takeSnapshot writes a snapshot of the applied state and drops the log before
// first.
func (s *server) takeSnapshot(first uint64) {
	config, at, ok := s.core.ConfigAt(s.applied)
	term, known := s.memory.term(s.applied)
	if !ok || !known || s.applied == 0 || s.applied > s.core.Status().Durable {
		return
	}
	data := binary.BigEndian.AppendUint64(nil, s.hash)
	for len(data) < 5*chunkSize/2 {
		data = append(data, byte(s.applied))
	}
	meta := core.SnapshotMeta{Index: s.applied, Term: term, Config: config, ConfigIndex: at, Size: uint64(len(data)), Checksum: s.hash}
	s.keepSnapshot(snapshotFile{meta: meta, data: data})
	first = min(first, s.applied+1)
	s.disk.log.compact(first)
	s.memory.compact(first)
	s.core.Compacted(meta, first)
	s.c.trace("%s  has a snapshot up to %d, its log starts at %d", s.id, meta.Index, s.disk.log.base.Index+1)
	s.settle()
}

func (s *server) keepSnapshot(f snapshotFile) {
	s.disk.snapshots = append(slices.Clone(s.disk.snapshots), f)
	if n := len(s.disk.snapshots); n > 2 {
		s.disk.snapshots = s.disk.snapshots[n-2:]
	}
}

func (s *server) snapshot(meta core.SnapshotMeta) *snapshotFile {
	for i := range s.disk.snapshots {
		if m := s.disk.snapshots[i].meta; m.Index == meta.Index && m.Term == meta.Term {
			return &s.disk.snapshots[i]
		}
	}
	return nil
}

func (s *server) restoreState(f snapshotFile) {
	s.applied = f.meta.Index
	s.hash = binary.BigEndian.Uint64(f.data)
}

// writeChunk is the receiving end: it resumes where it stands, whatever comes.
func (s *server) writeChunk(ch core.SnapshotChunk) {
	p := &s.disk.partial
	if p.meta.Index != ch.Meta.Index || p.meta.Term != ch.Meta.Term {
		*p = snapshotFile{meta: ch.Meta}
	}
	if have := uint64(len(p.data)); ch.Offset <= have && ch.Offset+uint64(len(ch.Data)) > have {
		p.data = append(p.data, ch.Data[have-ch.Offset:]...)
	}
	if have := uint64(len(p.data)); have < ch.Meta.Size || !ch.Last {
		s.core.ChunkWritten(s.clock(), ch.Meta, have)
		return
	}
	file := *p
	*p = snapshotFile{}
	if binary.BigEndian.Uint64(file.data) != ch.Meta.Checksum {
		s.core.SnapshotFailed(s.clock(), ch.Meta)
		return
	}
	id := core.EntryID{Term: ch.Meta.Term, Index: ch.Meta.Index}
	s.keepSnapshot(file)
	s.disk.log, s.memory = diskLog{base: id}, diskLog{base: id}
	s.restoreState(file)
	s.c.check.situation["snapshot installed"]++
	s.c.trace("%s  has installed the snapshot up to %d", s.id, ch.Meta.Index)
	s.core.SnapshotInstalled(s.clock(), ch.Meta)
}
