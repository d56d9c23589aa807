package wal_test

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"muster/consensus/core"
	"muster/consensus/wal"
	"muster/consensus/wal/memfs"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The bytes on disk are a contract with every version to come.
func TestGolden_BytesOnDisk(t *testing.T) {
	fsys := memfs.New()
	l, _ := open(t, fsys)
	must(t, l.Append(wal.Batch{
		HardState: &core.HardState{Term: 3, Vote: "server-1", Commit: 0},
		Entries: []core.Entry{
			{Index: 1, Term: 1, Kind: core.EntryConfig, Data: []byte(`{"ClusterID":"c"}`)},
			{Index: 2, Term: 3, Kind: core.EntryNoop},
		},
	}))
	must(t, l.Append(wal.Batch{Entries: []core.Entry{
		{Index: 3, Term: 3, Kind: core.EntryCommand, Data: []byte(strings.Repeat("over two sectors ", 32))},
	}}))
	l.SetVoteless(true)
	must(t, l.Append(wal.Batch{HardState: &core.HardState{Term: 4, Commit: 2}}))
	mustSnapshot(t, l, 2, 3, 90)
	must(t, l.Close())
	for _, name := range files(t, fsys) {
		b, err := wal.ReadFile(fsys, filepath.Join(dir, name), 1<<20)
		must(t, err)
		golden(t, name+".golden", dump(b))
	}
}

// What an earlier version wrote is read.
func TestGolden_IsReadBack(t *testing.T) {
	fsys := memfs.New()
	names, err := filepath.Glob("testdata/*.golden")
	must(t, err)
	for _, path := range names {
		text, err := os.ReadFile(path)
		must(t, err)
		f, err := fsys.OpenFile(filepath.Join(dir, strings.TrimSuffix(filepath.Base(path), ".golden")), os.O_CREATE, 0o600)
		must(t, err)
		_, err = f.WriteAt(undump(t, string(text)), 0)
		must(t, err)
	}
	l, r := open(t, fsys)
	if r.HardState != (core.HardState{Term: 4, Commit: 2}) || r.LastIndex != 3 || !r.Voteless || r.Snapshot.Index != 2 || len(r.Configs) != 1 {
		t.Fatalf("restored %+v", r)
	}
	if es := all(t, l); len(es) != 3 || es[1].Kind != core.EntryNoop || !strings.HasPrefix(string(es[2].Data), "over two") {
		t.Fatalf("entries %v", es)
	}
}

// What a later version wrote is refused as that, not called damage: it is whole,
// and its release can read it.
func TestVersion_OfAnotherReleaseIsRefusedByName(t *testing.T) {
	for _, tc := range []struct {
		file        string
		version     func(b []byte) int // where it stands
		sum, sumEnd func(b []byte) int // the CRC-32C at sumEnd covers all from sum on
	}{
		{
			"00000000000000000001.wal", func([]byte) int { return 8 },
			func([]byte) int { return 0 }, func([]byte) int { return 508 },
		},
		{
			"00000000000000000002-00000000000000000003.snap", func(b []byte) int { return len(b) - 16 },
			func(b []byte) int { return len(b) - 20 - int(binary.LittleEndian.Uint32(b[len(b)-20:])) }, func(b []byte) int { return len(b) - 4 },
		},
	} {
		fsys := memfs.New()
		l, _ := open(t, fsys)
		must(t, l.Append(wal.Batch{HardState: &core.HardState{Term: 3}, Entries: entries(1, 3, 3)}))
		mustSnapshot(t, l, 2, 3, 90)
		must(t, l.Close())
		path := filepath.Join(dir, tc.file)
		b, err := wal.ReadFile(fsys, path, 1<<20)
		must(t, err)
		b[tc.version(b)] = 2
		binary.LittleEndian.PutUint32(b[tc.sumEnd(b):], crc32.Checksum(b[tc.sum(b):tc.sumEnd(b)], crc32.MakeTable(crc32.Castagnoli)))
		f, err := fsys.OpenFile(path, os.O_RDWR, 0)
		must(t, err)
		_, err = f.WriteAt(b, 0)
		must(t, err)
		_, _, err = wal.Open(fsys, dir, tiny())
		var damage *wal.CorruptError
		if !errors.Is(err, wal.ErrVersion) || errors.As(err, &damage) || !strings.Contains(err.Error(), tc.file) {
			t.Errorf("%s of version 2: %v", tc.file, err)
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if got != string(want) {
		t.Errorf("%s differs; if the format is meant to change, so must its version:\n%s", path, got)
	}
}

// dump is a hex dump in which a star stands for lines of zeros.
func dump(b []byte) string {
	var out strings.Builder
	starred := false
	lines := strings.SplitAfter(hex.Dump(b), "\n")
	for i, line := range lines {
		zero := strings.Contains(line, "00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00") && i < len(lines)-2
		if zero && !starred {
			out.WriteString("*\n")
		} else if !zero {
			out.WriteString(line)
		}
		starred = zero
	}
	return out.String()
}

// undump is the reverse of dump.
func undump(t *testing.T, text string) []byte {
	t.Helper()
	var b []byte
	for line := range strings.Lines(text) {
		if line == "*\n" {
			continue
		}
		off, err := hex.DecodeString(line[:8])
		must(t, err)
		at := int(off[0])<<24 | int(off[1])<<16 | int(off[2])<<8 | int(off[3])
		b = append(b, make([]byte, at-len(b))...)
		row, err := hex.DecodeString(strings.ReplaceAll(line[8:min(len(line), 59)], " ", ""))
		must(t, err)
		b = append(b, row...)
	}
	return b
}
