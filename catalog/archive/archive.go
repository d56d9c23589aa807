package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"
)

// Version is that of Meta, the same as in Consul's backups.
const Version = 1

// The members of the tar file.
const (
	metaName  = "meta.json"
	stateName = "state.bin"
	sumsName  = "SHA256SUMS"
)

const (
	// MaxState bounds the state in an archive, in bytes: 64 GiB. It is beyond what
	// a server holds in memory, and keeps a small file from announcing more.
	MaxState = 64 << 30
	// maxSmall bounds the members besides the state.
	maxSmall = 64 << 10
)

// Meta says what an archive is of. Its JSON form is part of the format.
type Meta struct {
	Version int
	ID      string // term, index and the time of the backup in Unix milliseconds, joined by "-"
	Index   uint64 // of the catalog: all up to it is in the backup
	Term    uint64 // of Raft, when the backup was made
	Size    int64  // of the state in bytes
}

// NewMeta describes a backup that is made now. Size is found out by Write.
func NewMeta(index, term uint64, now time.Time) Meta {
	return Meta{Version: Version, ID: fmt.Sprintf("%d-%d-%d", term, index, now.UnixMilli()), Index: index, Term: term}
}

// Write writes an archive of a state. The state is written twice, as a tar file
// names a member's size before its content: it must be the same bytes each time.
func Write(out io.Writer, m Meta, state io.WriterTo, now time.Time) (err error) {
	if m.Size, err = state.WriteTo(io.Discard); err != nil {
		return fmt.Errorf("size of the state: %w", err)
	}
	meta, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode %s: %w", metaName, err)
	}
	z, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err != nil {
		return err
	}
	w := &writer{tar: tar.NewWriter(z), at: now}
	w.member(metaName, int64(len(meta)), bytes.NewReader(meta))
	w.member(stateName, m.Size, state)
	w.member(sumsName, int64(w.sums.Len()), bytes.NewReader(w.sums.Bytes()))
	if w.err == nil {
		w.err = w.tar.Close()
	}
	if w.err == nil {
		w.err = z.Close()
	}
	if w.err != nil {
		return fmt.Errorf("write the archive: %w", w.err)
	}
	return nil
}

// writer writes the members of an archive. The first error stays.
type writer struct {
	tar  *tar.Writer
	at   time.Time
	sums bytes.Buffer // of the members so far
	err  error
}

func (w *writer) member(name string, size int64, from io.WriterTo) {
	if w.err != nil {
		return
	}
	if w.err = w.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: w.at.Truncate(time.Second), Format: tar.FormatPAX}); w.err != nil {
		return
	}
	sum := sha256.New()
	if _, w.err = from.WriteTo(io.MultiWriter(w.tar, sum)); w.err == nil {
		fmt.Fprintf(&w.sums, "%x  %s\n", sum.Sum(nil), name)
	}
}

// Reader reads an archive: what it is of, then its state, then Verify.
type Reader struct {
	Meta Meta

	tar   *tar.Reader
	gzip  *gzip.Reader
	sums  map[string]string // found of the members so far
	state hash.Hash
	read  int64
}

// NewReader reads an archive up to its state, which Read goes on with.
func NewReader(in io.Reader) (*Reader, error) {
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, fmt.Errorf("failed to decompress snapshot: %w", short(err))
	}
	z.Multistream(false)
	r := &Reader{tar: tar.NewReader(z), gzip: z, sums: map[string]string{}, state: sha256.New()}
	meta, err := r.small(metaName)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(meta, &r.Meta); err != nil {
		return nil, fmt.Errorf("%s is no description of a snapshot: %w", metaName, err)
	}
	if r.Meta.Version != Version {
		return nil, fmt.Errorf("%s has version %d of the format, this build reads %d", metaName, r.Meta.Version, Version)
	}
	head, err := r.next(stateName)
	switch {
	case err != nil:
		return nil, err
	case head.Size > MaxState:
		return nil, fmt.Errorf("%s has %d bytes, more than the %d that are allowed", stateName, head.Size, int64(MaxState))
	case head.Size != r.Meta.Size:
		return nil, fmt.Errorf("%s has %d bytes, %s announces %d", stateName, head.Size, metaName, r.Meta.Size)
	}
	return r, nil
}

// next goes to the member that must be the next one.
func (r *Reader) next(name string) (*tar.Header, error) {
	head, err := r.tar.Next()
	if err == io.EOF {
		return nil, fmt.Errorf("the archive ends where %s should begin", name)
	}
	if err != nil {
		return nil, fmt.Errorf("read the archive up to %s: %w", name, short(err))
	}
	if head.Name != name || head.Typeflag != tar.TypeReg {
		return nil, fmt.Errorf("the archive has %q where the file %s should be", head.Name, name)
	}
	return head, nil
}

// small reads a whole member.
func (r *Reader) small(name string) ([]byte, error) {
	head, err := r.next(name)
	if err != nil {
		return nil, err
	}
	if head.Size > maxSmall {
		return nil, fmt.Errorf("%s has %d bytes, more than the %d that are allowed", name, head.Size, maxSmall)
	}
	data, err := io.ReadAll(r.tar)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, short(err))
	}
	sum := sha256.Sum256(data)
	r.sums[name] = hex.EncodeToString(sum[:])
	return data, nil
}

// Read reads the state. It implements io.Reader; what it gives isn't verified yet.
func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.tar.Read(p)
	r.state.Write(p[:n])
	r.read += int64(n)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("read %s at byte %d: %w", stateName, r.read, short(err))
	}
	return n, err
}

// Verify reads what is left of the archive and compares the checksums. It is to
// be called once, when the state was read to its end.
func (r *Reader) Verify() error {
	if r.read != r.Meta.Size {
		return fmt.Errorf("%s was read up to byte %d of %d", stateName, r.read, r.Meta.Size)
	}
	r.sums[stateName] = hex.EncodeToString(r.state.Sum(nil))
	want := fmt.Sprintf("%s  %s\n%s  %s\n", r.sums[metaName], metaName, r.sums[stateName], stateName)
	said, err := r.small(sumsName)
	if err != nil {
		return err
	}
	if !sameLines(string(said), want) {
		return fmt.Errorf("the checksums in %s are not those of the content: the archive is damaged", sumsName)
	}
	switch head, err := r.tar.Next(); {
	case err == nil:
		return fmt.Errorf("the archive goes on with %q behind %s", head.Name, sumsName)
	case err != io.EOF:
		return fmt.Errorf("read the end of the archive: %w", short(err))
	}
	// What is left is padding; at its end gzip compares its own checksum.
	n, err := io.Copy(io.Discard, io.LimitReader(r.gzip, maxSmall))
	if err == nil && n == maxSmall {
		err = fmt.Errorf("%d bytes and more behind the end of the tar file", n)
	}
	if err != nil {
		return fmt.Errorf("read the end of the archive: %w", short(err))
	}
	return nil
}

// sameLines compares lists of checksums, whose order says nothing.
func sameLines(a, b string) bool {
	count := map[string]int{}
	for l := range strings.Lines(a) {
		count[l]++
	}
	for l := range strings.Lines(b) {
		count[l]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

// short names an end that came too early as such.
func short(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
