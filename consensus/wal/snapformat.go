package wal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/crc64"
	"io"
	"math"
	"strconv"
	"strings"

	"muster/consensus/core"
)

// # Snapshot file, version 1
//
// A snapshot file is named by the index and the term of its last entry, 20
// decimal digits each: "index-term.snap". It holds the bytes of the state
// machine in chunks, then what they are. Integers are little-endian.
//
// Chunk n, at offset n × 65536; the last one may be shorter, an empty snapshot
// has none:
//
//	offset size
//	     0    k  data, k = 65532 but for the last chunk
//	     k    4  CRC-32C of n (8 bytes) and the data
//
// Behind the chunks:
//
//	offset size
//	     0    m  the core.SnapshotMeta as JSON; Size and Checksum (CRC-64/ECMA)
//	             are those of the data of all chunks
//	     m    4  m
//	   m+4    4  version, 1
//	   m+8    8  magic "MUSTERSN"
//	  m+16    4  CRC-32C of bytes 0 to m+15
//
// A snapshot on its way from the leader has the same chunks in a file
// "index-term-checksum-size.part" (checksum in hexadecimal), so that whatever
// part of it survives a crash can be told good from bad and be continued.
const (
	snapshotMagic   = "MUSTERSN"
	snapshotVersion = 1

	chunkSize = 64 << 10
	chunkData = chunkSize - 4 // of a chunk, without its checksum

	trailerSize = 20
	// maxMeta bounds the JSON: a configuration has some ten servers.
	maxMeta = 1 << 20

	snapshotSuffix = ".snap"
	partSuffix     = ".part"
)

var ecma = crc64.MakeTable(crc64.ECMA)

func snapshotName(m core.SnapshotMeta) string {
	return fmt.Sprintf("%020d-%020d%s", m.Index, m.Term, snapshotSuffix)
}

func partName(m core.SnapshotMeta) string {
	return fmt.Sprintf("%020d-%020d-%016x-%d%s", m.Index, m.Term, m.Checksum, m.Size, partSuffix)
}

// snapshotIndex reads the index off the name of a snapshot or part.
func snapshotIndex(name, suffix string) (uint64, bool) {
	index, rest, ok := strings.Cut(name, "-")
	if !ok || len(index) != 20 || !strings.HasSuffix(rest, suffix) {
		return 0, false
	}
	n, err := strconv.ParseUint(index, 10, 64)
	return n, err == nil
}

// chunksLen is the length on disk of the chunks that hold size bytes.
func chunksLen(size uint64) int64 {
	n := (size + chunkData - 1) / chunkData
	return int64(size + 4*n)
}

// chunkSum is the checksum of chunk n.
func chunkSum(n uint64, data []byte) uint32 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], n)
	return crc32.Update(crc32.Checksum(b[:], castagnoli), castagnoli, data)
}

// readChunk reads chunk n of a snapshot of size bytes into buf, which has
// chunkSize bytes, and verifies it. A chunk that isn't as written is a
// CorruptError.
func readChunk(f io.ReaderAt, path string, n, size uint64, buf []byte) ([]byte, error) {
	off := int64(n * chunkSize)
	k := int(min(size-n*chunkData, chunkData))
	buf = buf[:k+4]
	err := readFull(f, buf, off)
	if err != nil && err != io.ErrUnexpectedEOF {
		return nil, fmt.Errorf("read %s at offset %d: %w", path, off, err)
	}
	if err != nil || binary.LittleEndian.Uint32(buf[k:]) != chunkSum(n, buf[:k]) {
		return nil, &CorruptError{File: path, Offset: off, Reason: "snapshot chunk: checksum differs"}
	}
	return buf[:k], nil
}

// encodeTrailer builds what stands behind the chunks.
func encodeTrailer(m core.SnapshotMeta) ([]byte, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode snapshot meta: %w", err)
	}
	if len(b) > maxMeta {
		return nil, fmt.Errorf("encode snapshot meta: %d bytes, more than %d", len(b), maxMeta)
	}
	le := binary.LittleEndian
	b = le.AppendUint32(b, uint32(len(b)))
	b = le.AppendUint32(b, snapshotVersion)
	b = append(b, snapshotMagic...)
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli)), nil
}

// readMeta reads what a snapshot file says of itself. It verifies that, and the
// file's length, but not the chunks.
func readMeta(f File, path, name string) (core.SnapshotMeta, error) {
	var m core.SnapshotMeta
	size, err := f.Size()
	if err != nil {
		return m, fmt.Errorf("read %s: %w", path, err)
	}
	damaged := func(why string) error {
		return &CorruptError{File: path, Offset: max(0, size-trailerSize), Reason: "snapshot trailer: " + why}
	}
	if size < trailerSize {
		return m, damaged("file too short")
	}
	fixed := make([]byte, trailerSize)
	if err := readFull(f, fixed, size-trailerSize); err != nil {
		return m, fmt.Errorf("read %s: %w", path, err)
	}
	le := binary.LittleEndian
	n := int64(le.Uint32(fixed))
	if n > maxMeta || n > size-trailerSize {
		return m, damaged("impossible length")
	}
	b := make([]byte, n+trailerSize)
	if err := readFull(f, b, size-int64(len(b))); err != nil {
		return m, fmt.Errorf("read %s: %w", path, err)
	}
	sum := len(b) - 4
	switch {
	case string(b[n+8:n+16]) != snapshotMagic:
		return m, damaged("the magic is missing")
	case le.Uint32(b[sum:]) != crc32.Checksum(b[:sum], castagnoli):
		return m, damaged("checksum differs")
	case le.Uint32(b[n+4:]) != snapshotVersion:
		return m, fmt.Errorf("%s: %w: snapshot version %d, this program reads version %d", path, ErrVersion, le.Uint32(b[n+4:]), snapshotVersion)
	}
	if err := decodeMeta(b[:n], &m); err != nil {
		return m, damaged(err.Error())
	}
	if m.Size > math.MaxInt64/2 || chunksLen(m.Size)+int64(len(b)) != size {
		return m, damaged(fmt.Sprintf("file of %d bytes for a snapshot of %d", size, m.Size))
	}
	if name != snapshotName(m) {
		return m, damaged(fmt.Sprintf("it is the snapshot at (%d, %d) by its own words", m.Term, m.Index))
	}
	return m, nil
}

// decodeMeta is strict: what this program didn't write it doesn't read.
func decodeMeta(b []byte, m *core.SnapshotMeta) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return err
	}
	if d.InputOffset() != int64(len(b)) {
		return errors.New("something follows the JSON")
	}
	return nil
}
