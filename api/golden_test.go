package api_test

import (
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
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

// drawn are the IDs that a server draws: they stand in a conversation as ID-1, ID-2
// and so on, in its requests too.
var drawn = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`)

// converse makes the requests of a conversation and gives it with the answers.
func converse(r *rig, said string) string {
	var heard strings.Builder
	var ids []string
	give, take := strings.NewReplacer(), strings.NewReplacer()
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
		w := r.do(method, take.Replace(target), take.Replace(body))
		fmt.Fprintf(&heard, "%s\n%d", l, w.Code)
		for _, name := range slices.Sorted(maps.Keys(w.Header())) {
			if !slices.Contains(silent, http.CanonicalHeaderKey(name)) {
				fmt.Fprintf(&heard, " %s=%s", strings.TrimPrefix(name, "X-Consul-"), w.Header().Get(name))
			}
		}
		if body := strings.TrimRight(w.Body.String(), "\n"); body != "" {
			for _, id := range drawn.FindAllString(body, -1) {
				if name := fmt.Sprintf("ID-%d", len(ids)/2+1); !slices.Contains(ids, id) && !strings.Contains(said, id) {
					ids = append(ids, id, name)
				}
			}
			backwards := slices.Clone(ids)
			slices.Reverse(backwards)
			give, take = strings.NewReplacer(ids...), strings.NewReplacer(backwards...)
			fmt.Fprintf(&heard, "\n%s", give.Replace(body))
		}
		heard.WriteString("\n\n")
	}
	return strings.TrimSuffix(heard.String(), "\n")
}
