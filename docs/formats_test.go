package docs_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the examples of formats.md anew")

// example is a block of formats.md: a comment that names it, and a fenced text.
var example = regexp.MustCompile("(?s)<!-- example: ([a-z0-9-]+) -->\n```text\n(.*?)```\n")

// TestFormats_ExamplesAreWhatTheProgramWrites makes each example of formats.md
// with the code that ships and compares it with what the page shows. With
// -rewrite it writes the page. If a format that has been released changes, so
// must its version.
func TestFormats_ExamplesAreWhatTheProgramWrites(t *testing.T) {
	const page = "formats.md"
	old, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]*table{}
	for _, make := range []func(testing.TB, map[string]*table){
		segmentExamples, snapshotExamples, entryExamples, catalogExamples, identityExamples, streamExamples,
	} {
		make(t, made)
	}
	text := example.ReplaceAllStringFunc(string(old), func(block string) string {
		name := example.FindStringSubmatch(block)[1]
		table, ok := made[name]
		if !ok {
			t.Errorf("%s: nothing makes the example %q", page, name)
			return block
		}
		delete(made, name)
		table.end(t)
		now := fmt.Sprintf("<!-- example: %s -->\n```text\n%s```\n", name, table.text.String())
		if now != block && !*rewrite {
			t.Errorf("%s: example %q is not what the program writes; run go test ./docs -rewrite, and see whether the version must change:\n%s", page, name, now)
		}
		return now
	})
	for name := range made {
		t.Errorf("%s: the example %q is missing", page, name)
	}
	if *rewrite && !t.Failed() {
		if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// table shows bytes field by field: offset, bytes, meaning. Each byte belongs to
// one field.
type table struct {
	all  []byte
	at   int
	text strings.Builder
}

func newTable(all []byte) *table { return &table{all: all} }

// field shows the next n bytes, eight a line, or a row of equal ones as one. It
// returns them.
func (b *table) field(t testing.TB, n int, meaning string, values ...any) []byte {
	t.Helper()
	if b.at+n > len(b.all) {
		t.Fatalf("%d bytes at offset %d are to be %q, of %d", n, b.at, meaning, len(b.all))
	}
	field := b.all[b.at : b.at+n]
	if len(values) > 0 {
		meaning = fmt.Sprintf(meaning, values...)
	}
	if equal := strings.Count(string(field), string(field[:1])); equal == n && n > 8 {
		b.line(b.at, fmt.Sprintf("%02x … (%d)", field[0], n), meaning)
	} else {
		for from := 0; from < n; from += 8 {
			b.line(b.at+from, fmt.Sprintf("% x", field[from:min(n, from+8)]), meaning)
			meaning = ""
		}
	}
	b.at += n
	return field
}

// blob shows the next n bytes and as what they read, eight a line.
func (b *table) blob(t testing.TB, n int, meaning string) {
	t.Helper()
	if b.at+n > len(b.all) {
		t.Fatalf("%d bytes at offset %d are to be %q, of %d", n, b.at, meaning, len(b.all))
	}
	b.line(b.at, fmt.Sprintf("(%d bytes)", n), meaning)
	for from := b.at; from < b.at+n; from += 8 {
		part := b.all[from:min(b.at+n, from+8)]
		printable := strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return '.'
			}
			return r
		}, latin(part))
		b.line(from, fmt.Sprintf("% x", part), printable)
	}
	b.at += n
}

// json shows the next n bytes as they are.
func (b *table) json(t testing.TB, n int, meaning string) {
	t.Helper()
	if b.at+n > len(b.all) {
		t.Fatalf("%d bytes at offset %d are to be %q, of %d", n, b.at, meaning, len(b.all))
	}
	b.line(b.at, fmt.Sprintf("(%d bytes)", n), meaning)
	fmt.Fprintf(&b.text, "        %s\n", b.all[b.at:b.at+n])
	b.at += n
}

// latin is one character for each byte.
func latin(b []byte) string {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}

func (b *table) line(offset int, hex, meaning string) {
	fmt.Fprintf(&b.text, "%s\n", strings.TrimRight(fmt.Sprintf("%6d  %-23s  %s", offset, hex, meaning), " "))
}

// end makes sure that nothing is left that no field shows.
func (b *table) end(t testing.TB) {
	t.Helper()
	if b.at != len(b.all) {
		t.Errorf("%d of %d bytes are shown:\n%s", b.at, len(b.all), b.text.String())
	}
}
