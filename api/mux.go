package api

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/gorilla/mux"
)

// table finds the rows for a request. Paths are matched as they were sent,
// neither cleaned nor unescaped, so that an escaped slash stays part of a name and
// no other spelling of a path gets past a rule.
type table struct {
	// areas holds one router for each first two segments of a path, such as
	// /v1/health, so that a request is matched against a few patterns only.
	areas map[string]*mux.Router
	paths map[string]*endpoint
}

// endpoint is the rows that share a path.
type endpoint struct {
	path string
	rows map[string]*row // by method
}

// row is a Route with what is worked out from it once.
type row struct {
	*Route
	metrics *routeMetrics
	vars    []string // names of the path's variables
}

// A variable within a path is one segment, one at its end takes the rest.
var (
	variable       = regexp.MustCompile(`\{(\w+)\}`)
	variableWithin = regexp.MustCompile(`\{(\w+)\}/`)
	variableAtEnd  = regexp.MustCompile(`\{(\w+)\}$`)
)

// pattern is a path as gorilla/mux takes it.
func pattern(path string) string {
	return variableAtEnd.ReplaceAllString(variableWithin.ReplaceAllString(path, "{$1:[^/]*}/"), "{$1:.*}")
}

func newTable(tables [][]Route, m *metrics) (*table, error) {
	t := &table{areas: map[string]*mux.Router{}, paths: map[string]*endpoint{}}
	for _, rows := range tables {
		for i := range rows {
			route := &rows[i]
			if err := route.validate(); err != nil {
				return nil, err
			}
			ep := t.paths[route.Path]
			if ep == nil {
				ep = &endpoint{path: route.Path, rows: map[string]*row{}}
				t.paths[route.Path] = ep
			}
			if ep.rows[route.Method] != nil {
				return nil, fmt.Errorf("api: two routes for %s %s", route.Method, route.Path)
			}
			r := &row{Route: route, metrics: m.of(route)}
			for _, v := range variable.FindAllStringSubmatch(route.Path, -1) {
				r.vars = append(r.vars, v[1])
			}
			ep.rows[route.Method] = r
		}
	}
	for _, path := range t.inOrder() {
		area := areaOf(path)
		if t.areas[area] == nil {
			t.areas[area] = mux.NewRouter().SkipClean(true).UseEncodedPath()
		}
		t.areas[area].Path(pattern(path)).Name(path)
	}
	return t, nil
}

// validate says what is wrong with a row.
func (r *Route) validate() error {
	handlers := 0
	for _, has := range []bool{r.View != nil, r.Ask != nil, r.Download != nil, r.Command != nil, r.Edit != nil, r.Lead != nil, r.Do != nil} {
		if has {
			handlers++
		}
	}
	fits := r.Kind == Read && (r.View != nil || r.Ask != nil || r.Download != nil) || r.Kind == Write && (r.Command != nil || r.Edit != nil || r.Lead != nil) || r.Kind == Leading && r.Lead != nil || r.Kind == Local && r.Do != nil
	if !fits || handlers != 1 {
		return fmt.Errorf("api: route %s %s needs the one handler of its kind", r.Method, r.Path)
	}
	if r.Filter != nil && !slices.ContainsFunc(r.Params, func(p Param) bool { return p.Name == "filter" }) {
		return fmt.Errorf("api: route %s %s has a filter that is not among its parameters, so that answers would be kept without it", r.Method, r.Path)
	}
	if r.Upload && r.Lead == nil {
		return fmt.Errorf("api: route %s %s has an upload that nothing reads", r.Method, r.Path)
	}
	if r.Doc == "" || !strings.HasPrefix(r.Path, "/v1/") {
		return fmt.Errorf("api: route %s %s needs a path below /v1/ and a line of documentation", r.Method, r.Path)
	}
	return nil
}

// inOrder lists the paths so that the more special come before those whose
// variable would take them in.
func (t *table) inOrder() []string {
	var paths []string
	for p := range t.paths {
		paths = append(paths, p)
	}
	special := func(p string) string { // longer fixed parts sort first, then those without a variable, then longer paths
		fixed, _, open := strings.Cut(p, "{")
		if !open {
			fixed += "\xff"
		}
		return fixed
	}
	slices.SortFunc(paths, func(a, b string) int {
		return cmp.Or(strings.Compare(special(b), special(a)), len(b)-len(a))
	})
	return paths
}

// areaOf gives the first two segments of a path.
func areaOf(path string) string {
	for i, slashes := 0, 0; i < len(path); i++ {
		if path[i] == '/' {
			if slashes++; slashes == 3 {
				return path[:i]
			}
		}
	}
	return path
}

// respelled gives the URL of the table's that a client seems to have meant whose path is
// none: without doubled slashes, . and .., or with a slash behind it. It is nil if there
// is no such.
func (t *table) respelled(from *url.URL) *url.URL {
	clean := path.Clean(from.EscapedPath())
	spellings := []string{clean, clean + "/"}
	if strings.HasSuffix(from.Path, "/") {
		spellings = spellings[1:]
	}
	for _, escaped := range spellings {
		plain, err := url.PathUnescape(escaped)
		if err != nil {
			return nil
		}
		to := &url.URL{Path: plain, RawPath: escaped, RawQuery: from.RawQuery}
		if ep, _, err := t.find(&http.Request{URL: to}); err == nil && ep != nil {
			return to
		}
	}
	return nil
}

// find gives the rows of a request's path and the variables in it.
func (t *table) find(r *http.Request) (*endpoint, map[string]string, error) {
	router := t.areas[areaOf(r.URL.EscapedPath())]
	var match mux.RouteMatch
	if router == nil || !router.Match(r, &match) || match.Route == nil {
		return nil, nil, nil
	}
	for name, v := range match.Vars {
		plain, err := url.PathUnescape(v)
		if err != nil {
			return nil, nil, invalid("the path has a malformed escape: %v", err)
		}
		match.Vars[name] = plain
	}
	return t.paths[match.Route.GetName()], match.Vars, nil
}

// allow is the Allow header of a path.
func (e *endpoint) allow() string {
	methods := []string{http.MethodOptions}
	for _, m := range []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete} {
		if e.rows[m] != nil {
			methods = append(methods, m)
		}
	}
	return strings.Join(methods, ",")
}
