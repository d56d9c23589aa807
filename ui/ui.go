package ui

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

// Path is what Handler serves, and everything below it.
const Path = "/ui/"

//go:embed page
var embedded embed.FS

// policy lets the page load its own files and ask its own agent, and nothing
// else; no other page may frame it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// contentTypes are those of the embedded files, by the ending of their names: a
// machine's own list of types may lack or change them.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

const index = "index.html"

// file is an embedded file as it is served.
type file struct {
	body        []byte
	contentType string
	etag        string
}

// Handler serves the page and its files at Path. The page is also the answer to
// any path below it that doesn't look like a file's: bookmarks of other UIs name
// services and nodes there, which the page understands.
func Handler() http.Handler {
	entries, err := fs.ReadDir(embedded, "page")
	if err != nil {
		panic("ui: the embedded folder is not there: " + err.Error())
	}
	files := make(handler, len(entries))
	for _, e := range entries {
		body, err := fs.ReadFile(embedded, path.Join("page", e.Name()))
		if err != nil {
			panic("ui: an embedded file is not there: " + err.Error())
		}
		sum := sha256.Sum256(body)
		files[e.Name()] = file{body, contentTypes[path.Ext(e.Name())], `"` + hex.EncodeToString(sum[:8]) + `"`}
	}
	return files
}

// handler holds the files by name.
type handler map[string]file

// ServeHTTP implements http.Handler.
func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", policy)
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")

	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "method "+r.Method+" not allowed", http.StatusMethodNotAllowed)
		return
	}
	f, ok := h.find(r.URL.Path)
	if !ok {
		http.Error(w, "there is no such page; the UI is at "+Path, http.StatusNotFound)
		return
	}
	header.Set("Content-Type", f.contentType)
	header.Set("ETag", f.etag)
	header.Set("Cache-Control", "no-cache") // kept, but a new binary has a new page
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.body))
}

// find is the file for the path of a request.
func (h handler) find(requested string) (file, bool) {
	name, below := strings.CutPrefix(requested, Path)
	if !below {
		return file{}, false
	}
	if f, ok := h[name]; ok {
		return f, true
	}
	if name != "" && (!fs.ValidPath(strings.TrimSuffix(name, "/")) || path.Ext(name) != "") {
		return file{}, false
	}
	return h[index], true
}
