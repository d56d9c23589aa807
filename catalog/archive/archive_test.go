package archive_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"muster/catalog"
	"muster/catalog/archive"
	"muster/catalog/state"
)

var backupTime = time.Unix(1700000000, 0)

// store has an entry for each key, and a node.
func store(t testing.TB, keys ...string) *state.Store {
	t.Helper()
	s := state.New()
	commands := []catalog.Command{&catalog.Register{Node: catalog.Node{Node: "n1", Address: "192.0.2.1", Datacenter: "dc1"}}}
	for _, k := range keys {
		commands = append(commands, &catalog.KV{Verb: catalog.KVSet, Key: k, Value: []byte("v")})
	}
	for i, cmd := range commands {
		data, err := catalog.EncodeCommand(cmd)
		if err != nil {
			t.Fatal(err)
		}
		if r := s.Apply([]state.Entry{{Index: uint64(i + 1), Data: data}})[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	return s
}

// backup is an archive of a state.
func backup(t testing.TB, s io.WriterTo) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := archive.Write(&out, archive.NewMeta(3, 2, backupTime), s, backupTime); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// raw is a state of given bytes.
type raw []byte

func (r raw) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(r)
	return int64(n), err
}

func TestArchive_GivesBackWhatWasWritten(t *testing.T) {
	s := store(t, "a/b/c", "a/b/d", "e")
	var want bytes.Buffer
	if _, err := s.Snapshot().WriteTo(&want); err != nil {
		t.Fatal(err)
	}
	r, err := archive.NewReader(bytes.NewReader(backup(t, s.Snapshot())))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Fatalf("the state came back as %q, %v", got, err)
	}
	if err := r.Verify(); err != nil {
		t.Fatal(err)
	}
	if m := r.Meta; m.ID != "2-3-1700000000000" || m.Index != 3 || m.Term != 2 || m.Version != 1 || m.Size != int64(want.Len()) {
		t.Errorf("meta %+v", m)
	}
}

func TestInspect_CountsRecordsAndKeys(t *testing.T) {
	in := backup(t, store(t, "a/b/c", "a/b/d", "a/x", "e").Snapshot())
	report, err := archive.Inspect(bytes.NewReader(in), &archive.KVDetails{Depth: 2, Filter: "a"})
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	var sum int64
	for _, s := range report.Stats {
		counts[s.Name] = s.Count
		sum += s.Sum
	}
	if fmt.Sprint(counts) != "map[Index:1 KVS:4 Meta:1 Node:1]" || sum != report.Meta.Size-22 {
		t.Errorf("%v, %d bytes in records of %d", counts, sum, report.Meta.Size)
	}
	if kv := report.KV; len(kv) != 2 || kv[0].Name != "a/b" || kv[0].Count != 2 || kv[1].Name != "a/x" || kv[1].Count != 1 {
		t.Errorf("keys %+v", kv)
	}
	if report, err = archive.Inspect(bytes.NewReader(in), nil); err != nil || report.KV != nil {
		t.Errorf("keys that nobody asked for: %+v, %v", report, err)
	}
}

// TestInspect_FindsEveryDamage flips each bit of an archive, and cuts it at each byte.
func TestInspect_FindsEveryDamage(t *testing.T) {
	in := backup(t, store(t, "k").Snapshot())
	whole, err := archive.Inspect(bytes.NewReader(in), nil)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(in) {
		if _, err := archive.Inspect(bytes.NewReader(in[:cut]), nil); err == nil {
			t.Errorf("cut at byte %d of %d it is taken", cut, len(in))
		}
	}
	for bit := range 8 * len(in) {
		damaged := bytes.Clone(in)
		damaged[bit/8] ^= 1 << (bit % 8)
		// Some bits make no difference: gzip's head says on what system it was made,
		// and what repeats can be said to do so at several distances.
		if report, err := archive.Inspect(bytes.NewReader(damaged), nil); err == nil && (report.Meta != whole.Meta || !bytes.Equal(unzip(t, damaged), unzip(t, in))) {
			t.Errorf("with bit %d of byte %d flipped it is taken, as %+v", bit%8, bit/8, report.Meta)
		}
	}
}

func unzip(t testing.TB, in []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// member is a file in a tar file.
type member struct{ name, content string }

func pack(t testing.TB, members ...member) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for _, m := range members {
		err := w.WriteHeader(&tar.Header{Name: m.name, Size: int64(len(m.content)), Mode: 0o600})
		if _, werr := io.WriteString(w, m.content); errors.Join(err, werr) != nil {
			t.Fatal(err, werr)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestReader_SaysWhatIsWrong(t *testing.T) {
	var content bytes.Buffer
	if _, err := store(t).Snapshot().WriteTo(&content); err != nil {
		t.Fatal(err)
	}
	state := content.String()
	meta := fmt.Sprintf(`{"Version":1,"ID":"x","Index":1,"Term":1,"Size":%d}`, len(state))
	good := []member{{"meta.json", meta}, {"state.bin", state}}
	for name, c := range map[string]struct {
		in   []byte
		want string
	}{
		"nothing":             {nil, "failed to decompress snapshot: unexpected EOF"},
		"no gzip":             {[]byte("what is this file?"), "failed to decompress snapshot"},
		"no tar":              {pack(t), "the archive ends where meta.json should begin"},
		"another file":        {pack(t, member{"a.txt", "b"}), `the archive has "a.txt" where the file meta.json should be`},
		"large meta":          {pack(t, member{"meta.json", strings.Repeat(" ", 1<<20)}), "more than the 65536 that are allowed"},
		"meta no JSON":        {pack(t, member{"meta.json", "{"}), "is no description of a snapshot"},
		"later version":       {pack(t, member{"meta.json", `{"Version":2}`}), "has version 2 of the format, this build reads 1"},
		"another size":        {pack(t, member{"meta.json", `{"Version":1,"Size":7}`}, good[1]), "meta.json announces 7"},
		"no state":            {pack(t, good[0]), "the archive ends where state.bin should begin"},
		"no checksums":        {pack(t, good...), "the archive ends where SHA256SUMS should begin"},
		"other checksums":     {pack(t, good[0], good[1], member{"SHA256SUMS", "00  meta.json\n"}), "are not those of the content"},
		"a state of Consul's": {backup(t, raw("\x00\x01\x02 some other state")), "the state is none that Muster saved"},
	} {
		if _, err := archive.Inspect(bytes.NewReader(c.in), nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, not %q", name, err, c.want)
		}
	}
}

func TestWrite_SaysThatItsWriterFailed(t *testing.T) {
	gone := errors.New("gone")
	err := archive.Write(failing{gone}, archive.NewMeta(1, 1, backupTime), store(t).Snapshot(), backupTime)
	if !errors.Is(err, gone) {
		t.Errorf("it says %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// FuzzInspect reads what may be no archive. It takes little memory, whatever that
// announces, and what it takes is whole.
func FuzzInspect(f *testing.F) {
	f.Add(backup(f, store(f, "a", "b").Snapshot()))
	f.Add(pack(f, member{"meta.json", `{"Version":1,"Size":68719476736}`}, member{"state.bin", "x"}))
	f.Fuzz(func(t *testing.T, in []byte) {
		if report, err := archive.Inspect(bytes.NewReader(in), &archive.KVDetails{Depth: 1}); err == nil && report.Meta.Version != archive.Version {
			t.Errorf("%+v is taken", report.Meta)
		}
	})
}
