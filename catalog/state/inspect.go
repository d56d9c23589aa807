package state

import (
	"fmt"
	"io"

	"muster/catalog"
)

// Record is one record of a snapshot, as Inspect sees it.
type Record struct {
	Name string          // what sort of record it is
	Size int             // bytes that it takes in the snapshot
	KV   *catalog.KVPair // of an entry of the key/value store, else nil
}

// Inspect gives each record of a snapshot to see, in order. It checks the frame
// of the snapshot and its checksum, which it knows at the end, but not what the
// records say of each other: Restore does.
func Inspect(in io.Reader, see func(Record)) error {
	return readRecords(in, func(kind byte, body []byte) error {
		if int(kind) >= len(recordNames) {
			return fmt.Errorf("unknown kind %d", kind)
		}
		rec := Record{Name: recordNames[kind], Size: recordHead + len(body)}
		if kind == recordKV {
			rec.KV = new(catalog.KVPair)
			if err := catalog.Unmarshal(body, rec.KV); err != nil {
				return err
			}
		}
		see(rec)
		return nil
	})
}
