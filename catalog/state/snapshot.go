package state

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"muster/catalog"
)

// A snapshot is a header, records and an end, numbers big-endian:
//
//	header   8 bytes  "MUSTERST"
//	         1 byte   version of the format, now 1
//	record   1 byte   kind, not 0
//	         4 bytes  length of the body, at most maxRecord
//	         n bytes  body: canonical msgpack of one row
//	end      1 byte   0
//	         8 bytes  number of records
//	         4 bytes  CRC-32C of all before
//
// The first record is the only one of kind recordMeta; the kinds follow each
// other in ascending order, and the rows of a kind are sorted by what identifies
// them. So a state has exactly one snapshot, byte for byte.
const (
	snapshotMagic   = "MUSTERST"
	snapshotVersion = 1

	// maxRecord bounds one row. A row comes from one command, and adds no more
	// than its node's and service's names and tags to what it was given there.
	maxRecord = 4 * catalog.MaxCommandSize

	recordHead = 5 // bytes before the body
)

// The kinds of records. Numbers are never reused or given a new meaning.
const (
	recordEnd     = 0
	recordMeta    = 1
	recordNode    = 2
	recordService = 3
	recordCheck   = 4
	recordTopic   = 5
	recordSource  = 6
	recordCoord   = 7
	recordKV      = 8
	recordKVGone  = 9
	recordSession = 10
	recordDelay   = 11

	recordAutopilot = 12
	recordQuery     = 13
	recordConfig    = 14

	recordOutcome = 16
	recordCA      = 17

	lastRecord = recordCA // of those that archives have

	// These come last, whatever else there will be.
	recordStaged  = 254 // a record that a restore has loaded
	recordStaging = 255 // how far the restore is
)

// recordNames say what the records of a kind are, for people.
var recordNames = [lastRecord + 1]string{
	recordMeta: "Meta", recordNode: "Node", recordService: "Service", recordCheck: "Check",
	recordTopic: "Index", recordSource: "Source", recordCoord: "Coordinate", recordKV: "KVS",
	recordKVGone: "Tombstone", recordSession: "Session", recordDelay: "LockDelay", recordAutopilot: "Autopilot",
	recordQuery: "PreparedQuery", recordConfig: "ConfigEntry", recordOutcome: "Outcome",
	recordCA: "ConnectCA",
}

// Rows whose form in memory isn't the one in a snapshot.
type (
	metaRecord struct {
		Applied uint64
		Floor   uint64
		Lists   []uint64
		KVFloor uint64 `codec:",omitempty"`
		Offset  uint64 `codec:",omitempty"`
	}
	serviceRecord struct {
		Node    string
		Service catalog.Service
	}
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Snapshot is the store at one moment, to be written out while the store goes on.
type Snapshot struct {
	reader reader
}

// Snapshot returns the whole state as it is now, at no cost.
func (s *Store) Snapshot() *Snapshot { return &Snapshot{s.read()} }

// Backup returns the catalog as it is now, at no cost: a Snapshot without what a
// restore under way has loaded.
func (s *Store) Backup() *Snapshot {
	catalog := *s.db.Load()
	catalog.staging = nil
	return &Snapshot{reader{&catalog}}
}

// Index is the index of the last entry that the snapshot has seen, as the catalog
// counts.
func (s *Snapshot) Index() uint64 { return s.reader.meta().index() }

// Close lets go of the state, so that what has changed since can be freed.
func (s *Snapshot) Close() { s.reader = reader{} }

// WriteTo writes the snapshot. It implements io.WriterTo.
func (s *Snapshot) WriteTo(out io.Writer) (int64, error) {
	if s.reader.db == nil {
		return 0, errors.New("write snapshot: it is closed")
	}
	w := newRecordWriter(out)
	s.reader.records(s.reader.meta(), w.record)
	if staging := s.reader.db.staging; staging != nil {
		staging.records(w)
	}
	return w.end()
}

// records gives the record of each row, in their order.
func (r reader) records(meta *metaRow, give func(kind byte, row any)) {
	give(recordMeta, metaRecord{meta.Applied, meta.Floor, moved(meta.Lists[:]), meta.KVFloor, meta.Offset})
	for n := range each[*catalog.Node](r, tableNodes, byIDPrefix, "") {
		give(recordNode, n)
	}
	for row := range each[*serviceRow](r, tableServices, byIDPrefix, "") {
		give(recordService, serviceRecord{row.node, *row.service})
	}
	for c := range each[*catalog.Check](r, tableChecks, byIDPrefix, "") {
		give(recordCheck, c)
	}
	for t := range each[*topicRow](r, tableTopics, byIDPrefix, "") {
		give(recordTopic, t)
	}
	for src := range each[*sourceRow](r, tableSources, byIDPrefix, "") {
		give(recordSource, src)
	}
	for c := range each[*catalog.NodeCoordinate](r, tableCoords, byIDPrefix, "") {
		give(recordCoord, c)
	}
	for e := range each[*catalog.KVPair](r, tableKV, byIDPrefix, "") {
		give(recordKV, e)
	}
	for g := range each[*goneRow](r, tableKVGone, byIDPrefix, "") {
		give(recordKVGone, g)
	}
	for e := range each[*catalog.Session](r, tableSessions, byIDPrefix, "") {
		give(recordSession, e)
	}
	for d := range each[*catalog.LockDelay](r, tableDelays, byIDPrefix, "") {
		give(recordDelay, d)
	}
	if a := r.autopilot(); a != nil {
		give(recordAutopilot, a)
	}
	for q := range each[*catalog.PreparedQuery](r, tableQueries, byIDPrefix, "") {
		give(recordQuery, q)
	}
	for e := range each[*catalog.ConfigEntry](r, tableConfigs, byIDPrefix, "") {
		give(recordConfig, e)
	}
	for o := range each[*onceRow](r, tableOutcomes, byIDPrefix, "") {
		give(recordOutcome, o)
	}
	if a := r.ca(); a != nil {
		give(recordCA, a)
	}
}

// maxIndex bounds what a snapshot may say of an index, so that those that follow
// it can be counted.
const maxIndex = 1 << 62

// row is the part of a metaRow that says where the state is.
func (m *metaRecord) row() (metaRow, error) {
	if m.Applied > maxIndex || m.Offset > maxIndex {
		return metaRow{}, fmt.Errorf("it is at index %d in the log, and %d above in the catalog: no log comes so far", m.Applied, m.Offset)
	}
	return metaRow{Applied: m.Applied, Offset: m.Offset}, nil
}

// moved cuts off the lists at the end that have never moved, so that a list that
// a later build adds changes no snapshot without it.
func moved(lists []uint64) []uint64 {
	for len(lists) > 0 && lists[len(lists)-1] == 0 {
		lists = lists[:len(lists)-1]
	}
	return lists
}

// recordWriter writes the frame of a snapshot. The first error stays.
type recordWriter struct {
	out     *bufio.Writer
	sum     uint32
	size    int64
	records uint64
	err     error
}

func newRecordWriter(out io.Writer) *recordWriter {
	w := &recordWriter{out: bufio.NewWriterSize(out, 64<<10)}
	w.write(append([]byte(snapshotMagic), snapshotVersion))
	return w
}

func (w *recordWriter) write(b []byte) {
	if w.err != nil {
		return
	}
	w.sum = crc32.Update(w.sum, castagnoli, b)
	w.size += int64(len(b))
	_, w.err = w.out.Write(b)
}

func (w *recordWriter) record(kind byte, row any) {
	if w.err != nil {
		return
	}
	body, err := catalog.Marshal(row)
	if err == nil && len(body) > maxRecord {
		err = fmt.Errorf("a record of kind %d takes %d bytes, more than %d", kind, len(body), maxRecord)
	}
	if err != nil {
		w.err = err
		return
	}
	w.write(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body))))
	w.write(body)
	w.records++
}

func (w *recordWriter) end() (int64, error) {
	w.write(binary.BigEndian.AppendUint64([]byte{recordEnd}, w.records))
	w.write(binary.BigEndian.AppendUint32(nil, w.sum))
	if w.err == nil {
		w.err = w.out.Flush()
	}
	if w.err != nil {
		return w.size, fmt.Errorf("write snapshot: %w", w.err)
	}
	return w.size, nil
}

// Restore replaces the whole state by that of a snapshot, and wakes every waiter.
// If the snapshot is damaged, cut short or of a form that this build doesn't
// know, it changes nothing and says why.
func (s *Store) Restore(in io.Reader) error {
	db, err := readSnapshot(in)
	if err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	s.db.Store(db)
	s.waiters.wakeAll()
	return nil
}

// readSnapshot builds the database of a snapshot.
func readSnapshot(in io.Reader) (*db, error) {
	l := loader{writer: writer{reader: reader{newDB()}}}
	if err := readRecords(in, l.load); err != nil {
		return nil, err
	}
	if err := l.complete(); err != nil {
		return nil, err
	}
	l.insert(tableMeta, &l.meta)
	return l.db.publish(), nil
}

// readRecords gives each record of a snapshot to take, whose body is valid for
// that call only. The snapshot is as it was written only once it has returned nil.
func readRecords(in io.Reader, take func(kind byte, body []byte) error) error {
	r := &recordReader{in: bufio.NewReaderSize(in, 64<<10)}
	if err := r.header(); err != nil {
		return err
	}
	for {
		kind, body, err := r.record()
		if err != nil {
			return err
		}
		if kind == recordEnd {
			break
		}
		if err := take(kind, body); err != nil {
			return fmt.Errorf("record %d: %w", r.records, err)
		}
	}
	if r.records == 0 {
		return errors.New("it has no records")
	}
	if _, err := r.in.ReadByte(); err != io.EOF {
		if err != nil {
			return err
		}
		return errors.New("there are bytes after its end")
	}
	return nil
}

// recordReader reads the frame of a snapshot.
type recordReader struct {
	in      *bufio.Reader
	sum     uint32
	records uint64
	body    bytes.Buffer
}

func (r *recordReader) read(b []byte) error {
	if _, err := io.ReadFull(r.in, b); err != nil {
		return cutShort(err)
	}
	r.sum = crc32.Update(r.sum, castagnoli, b)
	return nil
}

// cutShort names what it means that a snapshot ends before its end.
func cutShort(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errors.New("it is cut short")
	}
	return err
}

func (r *recordReader) header() error {
	var b [len(snapshotMagic) + 1]byte
	if err := r.read(b[:]); err != nil {
		return err
	}
	if string(b[:len(snapshotMagic)]) != snapshotMagic {
		return errors.New("the state is none that Muster saved, as its first bytes tell: those of Consul, or of another system, can't be read")
	}
	if v := b[len(snapshotMagic)]; v != snapshotVersion {
		return fmt.Errorf("it has version %d of the format, this build reads %d", v, snapshotVersion)
	}
	return nil
}

// record reads the next record. Its body is valid until the next call; memory
// grows with what is there, not with what is announced.
func (r *recordReader) record() (kind byte, body []byte, err error) {
	var head [recordHead]byte
	if err := r.read(head[:1]); err != nil {
		return 0, nil, err
	}
	if head[0] == recordEnd {
		return recordEnd, nil, r.end()
	}
	if err := r.read(head[1:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxRecord {
		return 0, nil, fmt.Errorf("record %d announces %d bytes, more than %d", r.records+1, n, maxRecord)
	}
	r.body.Reset()
	if _, err := io.CopyN(&r.body, r.in, int64(n)); err != nil {
		return 0, nil, cutShort(err)
	}
	r.sum = crc32.Update(r.sum, castagnoli, r.body.Bytes())
	r.records++
	return head[0], r.body.Bytes(), nil
}

func (r *recordReader) end() error {
	var count [8]byte
	if err := r.read(count[:]); err != nil {
		return err
	}
	want := r.sum
	var sum [4]byte
	if err := r.read(sum[:]); err != nil {
		return err
	}
	if got := binary.BigEndian.Uint32(sum[:]); got != want {
		return fmt.Errorf("its checksum is %08x, its content has %08x: it is damaged", got, want)
	}
	if n := binary.BigEndian.Uint64(count[:]); n != r.records {
		return fmt.Errorf("it announces %d records and has %d", n, r.records)
	}
	return nil
}
