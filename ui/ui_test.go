package ui

import (
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"
)

func serve(t testing.TB, method, target string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w.Result()
}

func body(t testing.TB, r *http.Response) string {
	t.Helper()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// files are the names of the embedded files.
func files(t testing.TB) []string {
	t.Helper()
	names, err := fs.Glob(embedded, "page/*")
	if err != nil || len(names) < 5 {
		t.Fatalf("embedded files: %v %v", names, err)
	}
	for i := range names {
		names[i] = path.Base(names[i])
	}
	return names
}

func TestHandler_ServesEveryFileWithItsTypeAndAStrictPolicy(t *testing.T) {
	for _, name := range files(t) {
		resp := serve(t, http.MethodGet, Path+name)
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d", name, resp.StatusCode)
		}
		for key, want := range map[string]string{
			"Content-Type":            contentTypes[path.Ext(name)],
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
			"X-Content-Type-Options":  "nosniff",
			"Referrer-Policy":         "no-referrer",
			"Cache-Control":           "no-cache",
		} {
			if got := resp.Header.Get(key); got != want || got == "" {
				t.Errorf("%s: %s is %q, want %q", name, key, got, want)
			}
		}
	}
}

func TestHandler_AnswersThePageOrNothing(t *testing.T) {
	page := body(t, serve(t, http.MethodGet, Path+"index.html"))
	for target, status := range map[string]int{
		"/ui/":                       http.StatusOK,
		"/ui/dc1/services/web":       http.StatusOK,
		"/ui/dc1/services/web/":      http.StatusOK,
		"/ui/nothing":                http.StatusOK,
		"/ui/nothing.js":             http.StatusNotFound,
		"/ui/dc1/style.css":          http.StatusNotFound,
		"/ui/page/index.html":        http.StatusNotFound,
		"/ui/../ui.go":               http.StatusNotFound,
		"/ui/..":                     http.StatusNotFound,
		"/ui/%2e%2e/x":               http.StatusNotFound,
		"/ui/..%2f..%2fetc%2fpasswd": http.StatusNotFound,
		"/ui//index.html":            http.StatusNotFound,
		"/ui//etc/passwd":            http.StatusNotFound,
		"/ui":                        http.StatusNotFound,
		"/v1/agent/self":             http.StatusNotFound,
		"/uix/":                      http.StatusNotFound,
	} {
		resp := serve(t, http.MethodGet, target)
		if resp.StatusCode != status {
			t.Errorf("GET %s: status %d, want %d", target, resp.StatusCode, status)
		}
		if isPage := body(t, resp) == page; isPage != (status == http.StatusOK) {
			t.Errorf("GET %s: the page: %v", target, isPage)
		}
		if resp.Header.Get("Content-Security-Policy") == "" {
			t.Errorf("GET %s: no policy", target)
		}
	}
}

func TestHandler_KnowsOnlyGetAndHead(t *testing.T) {
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, "TRACE", "PROPFIND"} {
		if resp := serve(t, method, Path); resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: status %d, Allow %q", method, resp.StatusCode, resp.Header.Get("Allow"))
		}
	}
	get, head := serve(t, http.MethodGet, Path), serve(t, http.MethodHead, Path)
	if head.StatusCode != http.StatusOK || body(t, head) != "" || head.Header.Get("Content-Length") != get.Header.Get("Content-Length") {
		t.Errorf("HEAD: status %d, header %v", head.StatusCode, head.Header)
	}
}

func TestHandler_SendsAFileAgainOnlyWhenItChanged(t *testing.T) {
	tags := map[string]string{}
	for _, name := range files(t) {
		tag := serve(t, http.MethodGet, Path+name).Header.Get("ETag")
		if other, taken := tags[tag]; taken || tag == "" {
			t.Errorf("%s and %s have the tag %q", name, other, tag)
		}
		tags[tag] = name
		same := serve(t, http.MethodGet, Path+name, "If-None-Match", tag)
		if same.StatusCode != http.StatusNotModified || body(t, same) != "" {
			t.Errorf("%s: status %d for a reader who has it", name, same.StatusCode)
		}
		if other := serve(t, http.MethodGet, Path+name, "If-None-Match", `"older"`); other.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d for a reader who has an older one", name, other.StatusCode)
		}
	}
}

// markup are the ways in which text from an agent could become markup or code,
// or the page could need what its policy forbids.
var markup = regexp.MustCompile(`(?i)innerHTML|outerHTML|insertAdjacentHTML|setHTMLUnsafe|createContextualFragment|document\.write|\beval\(|new Function|\son[a-z]+=|style=|<style|<script>`)

func TestPage_NeverMakesMarkupOfText(t *testing.T) {
	for _, name := range files(t) {
		if found := markup.FindString(body(t, serve(t, http.MethodGet, Path+name))); found != "" {
			t.Errorf("%s uses %s", name, found)
		}
	}
}

// reference finds the files that the page and its modules name.
var reference = regexp.MustCompile(`(?:href|src)="/ui/([^"]+)"|from "\./([^"]+)"`)

func TestPage_NamesOnlyFilesThatAreThereAndAll(t *testing.T) {
	named := map[string]bool{index: true}
	for _, name := range files(t) {
		for _, m := range reference.FindAllStringSubmatch(body(t, serve(t, http.MethodGet, Path+name)), -1) {
			named[strings.TrimSpace(m[1]+m[2])] = true
		}
	}
	for _, name := range files(t) {
		if !named[name] {
			t.Errorf("nothing names %s", name)
		}
		delete(named, name)
	}
	for name := range named {
		t.Errorf("%s is named and not there", name)
	}
}
