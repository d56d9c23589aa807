package ui

import (
	"embed"
	"io/fs"
	"net/http"
	"path"
)

// Path is where Handler expects to be mounted.
const Path = "/ui/"

//go:embed page
var embedded embed.FS

// contentTypes are those of the embedded files, by the ending of their names: a
// machine's own list of types may lack or change them.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// Handler serves the page and its files below Path.
func Handler() http.Handler {
	page, err := fs.Sub(embedded, "page")
	if err != nil {
		panic("ui: the embedded folder has no valid name: " + err.Error())
	}
	return http.StripPrefix(Path, handler{page})
}

type handler struct{ files fs.FS }

// ServeHTTP implements http.Handler.
func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
		"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cache-Control", "no-cache") // a new binary has a new page

	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "method "+r.Method+" not allowed", http.StatusMethodNotAllowed)
		return
	}
	name := r.URL.Path
	if name == "" {
		name = "index.html"
	}
	body, err := fs.ReadFile(h.files, name) // refuses names with ".." or a leading slash
	if err != nil {
		http.Error(w, "there is no such page; the UI is at "+Path, http.StatusNotFound)
		return
	}
	header.Set("Content-Type", contentTypes[path.Ext(name)])
	_, _ = w.Write(body) // the reader may have gone
}
