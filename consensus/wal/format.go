package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"muster/consensus/core"
)

// # Segment file, version 1
//
// A segment file is named by its number, 20 decimal digits and ".wal". It is a
// row of 512-byte sectors: one segment header, then batches, each starting on
// a sector of its own, then zeros up to the preallocated size. Integers are
// little-endian.
//
// Segment header, sector 0:
//
//	offset size
//	     0    8  magic "MUSTERWL"
//	     8    4  version, 1
//	    12    4  flags; bit 0: all segments before this one are void (ResetTo)
//	    16    8  number of the segment, as in its name
//	    24    8  size: the preallocated length of the file in bytes
//	    32    8  first: index that the next entry had when the segment was made
//	    40    8  term of the entry before it, 0 if first is 1
//	    48    8  sequence number of the segment's first batch
//	    56    8  log: the incarnation of the log, the same in all its segments
//	    64  444  zeros
//	   508    4  CRC-32C of bytes 0–507
//
// Batch, from a sector boundary on. The first byte of each sector is a guard:
// 0xB7 in the first sector of a batch, 0x5C in its other sectors. The guards
// taken out, the 511-byte rests join to the payload:
//
//	offset size
//	     0    4  CRC-32C of payload bytes 4–59
//	     4    4  CRC-32C of payload bytes 60 up to the end of the last sector
//	     8    1  kind; 1: batch, 2: seal
//	     9    1  flags; bit 0: voteless
//	    10    1  length of vote
//	    11    1  zero
//	    12    4  length of body, counted from offset 60
//	    16    8  sequence number: one more than that of the batch before
//	    24    8  first: index of the first entry (of the next one, if count is 0)
//	    32    8  term of the entry before it
//	    40    8  hard state: term
//	    48    8  hard state: commit
//	    56    4  count of entries
//	    60       body: vote, then the entries, then zeros to the sector's end
//
// Entry in a body; indexes follow from the batch's first:
//
//	offset size
//	     0    8  term
//	     8    1  kind
//	     9    4  length of data
//	    13       data
//
// A seal is a batch without entries. It is written behind the last batch of a
// segment when the next segment is there, and repeats the sequence number of
// that segment's first batch.
const (
	segmentMagic   = "MUSTERWL"
	segmentVersion = 1

	sectorSize  = 512
	payloadSize = sectorSize - 1 // of a sector, without its guard
	// The guards are not zero, so that no written sector is all zeros, and
	// differ in six bits from each other and in four or more from zero, so that
	// no flip of one bit makes one into the other or into nothing.
	guardHead = 0xB7
	guardBody = 0x5C

	headSize        = 60
	entryHeaderSize = 13

	kindBatch = 1
	kindSeal  = 2

	flagReset    = 1 << 0 // of a segment
	flagVoteless = 1 << 0 // of a batch

	maxVote = math.MaxUint8
	// maxBody bounds one batch; a longer Append is refused before it is written.
	maxBody = 1 << 30
	// maxNumber bounds indexes and sequence numbers that are read, so that sums
	// with them can't overflow.
	maxNumber = 1 << 62
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// segmentHeader is the first sector of a segment file.
type segmentHeader struct {
	reset    bool
	number   uint64
	size     int64
	first    uint64
	prevTerm uint64
	seq      uint64
	log      core.Incarnation
}

// encode writes the header into a sector.
func (h segmentHeader) encode(sector []byte) {
	clear(sector[:sectorSize])
	copy(sector, segmentMagic)
	le := binary.LittleEndian
	le.PutUint32(sector[8:], segmentVersion)
	if h.reset {
		le.PutUint32(sector[12:], flagReset)
	}
	le.PutUint64(sector[16:], h.number)
	le.PutUint64(sector[24:], uint64(h.size))
	le.PutUint64(sector[32:], h.first)
	le.PutUint64(sector[40:], h.prevTerm)
	le.PutUint64(sector[48:], h.seq)
	le.PutUint64(sector[56:], uint64(h.log))
	le.PutUint32(sector[508:], crc32.Checksum(sector[:508], castagnoli))
}

func decodeSegmentHeader(sector []byte) (segmentHeader, error) {
	le := binary.LittleEndian
	if string(sector[:8]) != segmentMagic {
		return segmentHeader{}, errors.New("not a log segment: the magic is missing")
	}
	if crc32.Checksum(sector[:508], castagnoli) != le.Uint32(sector[508:]) {
		return segmentHeader{}, errors.New("segment header: checksum differs")
	}
	if v := le.Uint32(sector[8:]); v != segmentVersion {
		return segmentHeader{}, fmt.Errorf("%w: segment version %d, this program reads version %d", ErrVersion, v, segmentVersion)
	}
	h := segmentHeader{
		reset:    le.Uint32(sector[12:])&flagReset != 0,
		number:   le.Uint64(sector[16:]),
		size:     int64(le.Uint64(sector[24:])),
		first:    le.Uint64(sector[32:]),
		prevTerm: le.Uint64(sector[40:]),
		seq:      le.Uint64(sector[48:]),
		log:      core.Incarnation(le.Uint64(sector[56:])),
	}
	if h.size < minSegmentBytes || h.size%sectorSize != 0 || h.seq > maxNumber ||
		h.first == 0 || h.first > maxNumber || h.first == 1 && h.prevTerm != 0 {
		return segmentHeader{}, fmt.Errorf("segment header: impossible values (size %d, first index %d)", h.size, h.first)
	}
	return h, nil
}

// batchHead is the fixed part of a batch.
type batchHead struct {
	kind     uint8
	voteless bool
	voteLen  uint8
	bodyLen  uint32
	bodyCRC  uint32
	seq      uint64
	first    uint64
	prevTerm uint64
	term     uint64
	commit   uint64
	count    uint32
}

// sectors is how many sectors the batch takes.
func (h batchHead) sectors() int64 {
	return (headSize + int64(h.bodyLen) + payloadSize - 1) / payloadSize
}

// last is the index of the last entry, first-1 if there is none.
func (h batchHead) last() uint64 { return h.first + uint64(h.count) - 1 }

// bodyLen is the length of a body, and an error if a batch can't be that long.
func bodyLen(vote core.ServerID, entries []core.Entry) (uint32, error) {
	if len(vote) > maxVote {
		return 0, fmt.Errorf("vote for a server id of %d bytes; the limit is %d", len(vote), maxVote)
	}
	n := len(vote)
	for i := range entries {
		n += entryHeaderSize + len(entries[i].Data)
		if n > maxBody {
			return 0, fmt.Errorf("batch of more than %d bytes", maxBody)
		}
	}
	return uint32(n), nil
}

// encodeBatch builds the sectors of a batch in buf, which is grown as needed
// and returned. h.bodyLen must be what bodyLen says; checksums are filled in.
func encodeBatch(buf []byte, h batchHead, vote core.ServerID, entries []core.Entry) []byte {
	n := int(h.sectors())
	if cap(buf) < n*sectorSize {
		buf = make([]byte, n*sectorSize)
	}
	buf = buf[:n*sectorSize]
	payload := buf[:n*payloadSize]

	p := payload[:headSize]
	le := binary.LittleEndian
	p = append(p, vote...)
	for i := range entries {
		e := &entries[i]
		p = le.AppendUint64(p, e.Term)
		p = append(p, uint8(e.Kind))
		p = le.AppendUint32(p, uint32(len(e.Data)))
		p = append(p, e.Data...)
	}
	clear(payload[len(p):])

	clear(payload[:headSize])
	le.PutUint32(payload[4:], crc32.Checksum(payload[headSize:], castagnoli))
	payload[8] = h.kind
	if h.voteless {
		payload[9] = flagVoteless
	}
	payload[10] = uint8(len(vote))
	le.PutUint32(payload[12:], h.bodyLen)
	le.PutUint64(payload[16:], h.seq)
	le.PutUint64(payload[24:], h.first)
	le.PutUint64(payload[32:], h.prevTerm)
	le.PutUint64(payload[40:], h.term)
	le.PutUint64(payload[48:], h.commit)
	le.PutUint32(payload[56:], uint32(len(entries)))
	le.PutUint32(payload[0:], crc32.Checksum(payload[4:headSize], castagnoli))

	guard(buf)
	return buf
}

// guard spreads a payload at the front of buf over sectors, in place. It goes
// from the back so that no part is overwritten before it has moved.
func guard(buf []byte) {
	for s := len(buf)/sectorSize - 1; s >= 0; s-- {
		copy(buf[s*sectorSize+1:(s+1)*sectorSize], buf[s*payloadSize:])
		buf[s*sectorSize] = guardBody
	}
	buf[0] = guardHead
}

// unguard is the reverse of guard; it returns the payload, or false if a guard
// is wrong.
func unguard(buf []byte) ([]byte, bool) {
	n := len(buf) / sectorSize
	for s := range n {
		want := byte(guardBody)
		if s == 0 {
			want = guardHead
		}
		if buf[s*sectorSize] != want {
			return nil, false
		}
		copy(buf[s*payloadSize:], buf[s*sectorSize+1:(s+1)*sectorSize])
	}
	return buf[:n*payloadSize], true
}

// decodeHead reads the first sector of a batch. Its length may be trusted
// afterwards, for it is under a checksum of its own.
func decodeHead(sector []byte) (batchHead, error) {
	if sector[0] != guardHead {
		return batchHead{}, fmt.Errorf("no batch begins here: guard 0x%02x", sector[0])
	}
	p := sector[1:sectorSize]
	le := binary.LittleEndian
	if crc32.Checksum(p[4:headSize], castagnoli) != le.Uint32(p) {
		return batchHead{}, errors.New("batch head: checksum differs")
	}
	h := batchHead{
		bodyCRC:  le.Uint32(p[4:]),
		kind:     p[8],
		voteless: p[9]&flagVoteless != 0,
		voteLen:  p[10],
		bodyLen:  le.Uint32(p[12:]),
		seq:      le.Uint64(p[16:]),
		first:    le.Uint64(p[24:]),
		prevTerm: le.Uint64(p[32:]),
		term:     le.Uint64(p[40:]),
		commit:   le.Uint64(p[48:]),
		count:    le.Uint32(p[56:]),
	}
	switch {
	case h.kind != kindBatch && h.kind != kindSeal:
		return batchHead{}, fmt.Errorf("batch head: unknown kind %d", h.kind)
	case h.bodyLen > maxBody,
		uint64(h.voteLen)+uint64(h.count)*entryHeaderSize > uint64(h.bodyLen),
		h.first == 0, h.first > maxNumber, h.seq > maxNumber:
		return batchHead{}, errors.New("batch head: impossible values")
	}
	return h, nil
}

// batchBody is a body whose checksum has been verified.
type batchBody struct {
	head batchHead
	rest []byte // from the vote on
}

var errBodyDamaged = errors.New("batch: checksum differs")

// decodeBody verifies the sectors of a batch whose head has been read. It works
// in buf and keeps it.
func decodeBody(h batchHead, buf []byte) (batchBody, error) {
	payload, ok := unguard(buf)
	if !ok || crc32.Checksum(payload[headSize:], castagnoli) != h.bodyCRC {
		return batchBody{}, errBodyDamaged
	}
	return batchBody{h, payload[headSize:][:h.bodyLen]}, nil
}

func (b batchBody) vote() core.ServerID { return core.ServerID(b.rest[:b.head.voteLen]) }

// entries calls f with each entry in order until f says false. Data points into
// the body. An error says that the body is not made as the format says, which
// a right checksum makes all but impossible.
func (b batchBody) entries(f func(core.Entry) bool) error {
	p := b.rest[b.head.voteLen:]
	le := binary.LittleEndian
	for i := range uint64(b.head.count) {
		if len(p) < entryHeaderSize {
			return errors.New("batch: shorter than its entries")
		}
		e := core.Entry{Index: b.head.first + i, Term: le.Uint64(p), Kind: core.EntryKind(p[8])}
		n := uint64(le.Uint32(p[9:]))
		p = p[entryHeaderSize:]
		if n > uint64(len(p)) {
			return fmt.Errorf("entry %d: longer than its batch", e.Index)
		}
		e.Data, p = p[:n:n], p[n:]
		if !f(e) {
			return nil
		}
	}
	if len(p) != 0 {
		return errors.New("batch: longer than its entries")
	}
	return nil
}

// isZero says whether a sector was never written.
func isZero(sector []byte) bool {
	for len(sector) >= 8 {
		if binary.LittleEndian.Uint64(sector) != 0 {
			return false
		}
		sector = sector[8:]
	}
	for _, b := range sector {
		if b != 0 {
			return false
		}
	}
	return true
}
