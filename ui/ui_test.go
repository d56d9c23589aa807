package ui

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"
)

func serve(t testing.TB, method, target string) *http.Response {
	t.Helper()
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w.Result()
}

func TestHandler_ServesEveryFileWithItsTypeAndAStrictPolicy(t *testing.T) {
	files, err := fs.Glob(embedded, "page/*")
	if err != nil || len(files) < 5 {
		t.Fatalf("embedded files: %v %v", files, err)
	}
	for _, file := range append(files, "page/") {
		name := strings.TrimPrefix(file, "page/")
		resp := serve(t, http.MethodGet, Path+name)
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d", name, resp.StatusCode)
		}
		want := contentTypes[path.Ext(name)]
		if name == "" {
			want = contentTypes[".html"]
		}
		if got := resp.Header.Get("Content-Type"); got != want || got == "" {
			t.Errorf("%s: Content-Type %q, want %q", name, got, want)
		}
		csp := resp.Header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", name, resp.Header)
		}
	}
}

func TestHandler_RefusesWhatItHasNot(t *testing.T) {
	for target, status := range map[string]int{
		"/ui/nothing":     http.StatusNotFound,
		"/ui/../ui.go":    http.StatusNotFound,
		"/ui/%2e%2e/x":    http.StatusNotFound,
		"/ui//index.html": http.StatusNotFound,
	} {
		if resp := serve(t, http.MethodGet, target); resp.StatusCode != status {
			t.Errorf("GET %s: status %d, want %d", target, resp.StatusCode, status)
		}
	}
	if resp := serve(t, http.MethodPost, Path); resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") == "" {
		t.Errorf("POST: status %d, Allow %q", resp.StatusCode, resp.Header.Get("Allow"))
	}
}

// markup are the ways in which text from an agent could become markup or code,
// or the page could need what its policy forbids.
var markup = regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|\bon[a-z]+=|style=|<script>`)

func TestPage_NeverMakesMarkupOfText(t *testing.T) {
	files, err := fs.Glob(embedded, "page/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := fs.ReadFile(embedded, file)
		if err != nil {
			t.Fatal(err)
		}
		if found := markup.Find(text); found != nil {
			t.Errorf("%s uses %s", file, found)
		}
	}
}

// asset finds the files that the page and its scripts name.
var asset = regexp.MustCompile(`(?:href|src)="([^"#/][^"]*)"|from "\./([^"]+)"`)

func TestPage_NamesOnlyFilesThatAreThere(t *testing.T) {
	found := 0
	for _, file := range []string{"index.html", "main.js"} {
		text, err := fs.ReadFile(embedded, "page/"+file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range asset.FindAllStringSubmatch(string(text), -1) {
			found++
			if _, err := fs.Stat(embedded, "page/"+m[1]+m[2]); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
	if found < 6 {
		t.Errorf("only %d references were found", found)
	}
}
