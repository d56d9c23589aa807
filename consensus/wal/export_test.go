package wal

import (
	"encoding/binary"
	"hash/crc32"
)

// FixChecksums makes all checksums of a segment file right, as far as its
// lengths let it, so that a fuzz target gets past them.
func FixChecksums(file []byte) {
	le := binary.LittleEndian
	if len(file) < sectorSize {
		return
	}
	le.PutUint32(file[508:], crc32.Checksum(file[:508], castagnoli))
	for off := sectorSize; off+sectorSize <= len(file) && file[off] == guardHead; {
		h := batchHead{bodyLen: le.Uint32(file[off+1+12:])}
		n := h.sectors() * sectorSize
		if n > int64(len(file)-off) {
			return
		}
		payload, ok := unguard(append([]byte(nil), file[off:off+int(n)]...))
		if !ok {
			return
		}
		le.PutUint32(file[off+1+4:], crc32.Checksum(payload[headSize:], castagnoli))
		le.PutUint32(file[off+1:], crc32.Checksum(file[off+1+4:off+1+headSize], castagnoli))
		off += int(n)
	}
}
