package planted

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	propertyRow = regexp.MustCompile(`^\| (\d+) \| [^|]+ \| ([^|]+) \|$`)
	testName    = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]+)`")
	scriptName  = regexp.MustCompile("`([a-z0-9_]+)\\.txt`")
	testFunc    = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
)

// properties is how many properties consensus must have.
const properties = 45

// TestProperties_EachIsShownByTests: docs/testing.md names, under Properties, for
// each of them the tests that show it, and those tests are there. What says
// "open:" has none yet, and is listed.
func TestProperties_EachIsShownByTests(t *testing.T) {
	doc, err := os.ReadFile("../../docs/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	have := testsOf(t, "../..")
	seen := make(map[int]bool)
	for line := range strings.Lines(section(t, string(doc), "Properties")) {
		m := propertyRow.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		number, _ := strconv.Atoi(m[1])
		if seen[number] {
			t.Errorf("property %d stands twice", number)
		}
		seen[number] = true
		shown, open, isOpen := strings.Cut(m[2], "open:")
		if isOpen {
			t.Logf("property %d, open: %s", number, open)
		}
		names := testName.FindAllStringSubmatch(shown, -1)
		if len(names) == 0 && !isOpen {
			t.Errorf("property %d: no test is named in %q", number, m[2])
		}
		for _, name := range names {
			if !have[name[1]] {
				t.Errorf("property %d: there is no %s", number, name[1])
			}
		}
		for _, name := range scriptName.FindAllStringSubmatch(shown, -1) {
			if _, err := os.Stat(filepath.Join("../core/testdata", name[1]+".txt")); err != nil {
				t.Errorf("property %d: %v", number, err)
			}
		}
	}
	for number := 1; number <= properties; number++ {
		if !seen[number] {
			t.Errorf("property %d has no row", number)
		}
	}
}

// section is what stands under a heading of the second level, up to the next one.
func section(t *testing.T, doc, title string) string {
	t.Helper()
	_, rest, found := strings.Cut(doc, "\n## "+title+"\n")
	if !found {
		t.Fatalf("docs/testing.md has no section %q", title)
	}
	text, _, _ := strings.Cut(rest, "\n## ")
	return text
}

// testsOf finds the names of all tests and fuzz targets below a directory.
func testsOf(t *testing.T, root string) map[string]bool {
	t.Helper()
	have := make(map[string]bool)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range testFunc.FindAllStringSubmatch(string(text), -1) {
			have[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return have
}
