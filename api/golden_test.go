package api_test

import (
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write what the routes answer to testdata and docs instead of comparing it")

// silent are headers that are the same everywhere or have tests of their own.
var silent = []string{"Vary", "X-Content-Type-Options", "Content-Length", "X-Consul-Default-Acl-Policy", "X-Consul-Query-Backend"}

// TestGolden walks the files of testdata: each is a conversation with a fresh
// server. A line that begins with a method is a request, its body behind the
// path; what follows up to an empty line is the answer.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no conversations", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			said, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			heard := converse(newRig(t), string(said))
			if *rewrite {
				if err := os.WriteFile(file, []byte(heard), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, got := strings.Split(string(said), "\n"), strings.Split(heard, "\n")
			for i := range max(len(want), len(got)) {
				if i >= len(want) || i >= len(got) || want[i] != got[i] {
					t.Fatalf("%s:%d:\nwant %s\ngot  %s", file, i+1, line(want, i), line(got, i))
				}
			}
		})
	}
}

func line(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "the end"
}

// converse makes the requests of a conversation and gives it with the answers.
func converse(r *rig, said string) string {
	var heard strings.Builder
	for l := range strings.Lines(said) {
		l = strings.TrimSuffix(l, "\n")
		if strings.HasPrefix(l, "#") {
			fmt.Fprintf(&heard, "%s\n", l)
			continue
		}
		method, rest, ok := strings.Cut(l, " ")
		if !ok || !slices.Contains([]string{"GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS"}, method) {
			continue
		}
		target, body, _ := strings.Cut(rest, " ")
		w := r.do(method, target, body)
		fmt.Fprintf(&heard, "%s\n%d", l, w.Code)
		for _, name := range slices.Sorted(maps.Keys(w.Header())) {
			if !slices.Contains(silent, http.CanonicalHeaderKey(name)) {
				fmt.Fprintf(&heard, " %s=%s", strings.TrimPrefix(name, "X-Consul-"), w.Header().Get(name))
			}
		}
		if body := strings.TrimRight(w.Body.String(), "\n"); body != "" {
			fmt.Fprintf(&heard, "\n%s", body)
		}
		heard.WriteString("\n\n")
	}
	return strings.TrimSuffix(heard.String(), "\n")
}
