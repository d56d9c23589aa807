package api_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"muster/api"
)

func openAPI(t *testing.T, r *rig) *openapi3.T {
	t.Helper()
	w := r.do("GET", "/v1/openapi.json", "")
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	doc, err := openapi3.NewLoader().LoadFromData(w.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestOpenAPI_IsValidAndCoversEveryRoute(t *testing.T) {
	r := newRig(t)
	doc := openAPI(t, r)
	if err := doc.Validate(t.Context(), openapi3.IsOpenAPI31OrLater()); err != nil {
		t.Error(err)
	}
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("version %s", doc.OpenAPI)
	}
	for _, route := range r.server.Routes() {
		item := doc.Paths.Value(route.Path)
		if item == nil || item.GetOperation(route.Method) == nil {
			t.Errorf("%s %s is not described", route.Method, route.Path)
		} else if route.Kind == api.Read && route.View != nil && route.Answer == nil {
			t.Errorf("%s %s doesn't say what it answers with", route.Method, route.Path)
		}
	}
}

// What the routes really answer in the conversations fits their description.
func TestOpenAPI_DescribesTheAnswers(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, file := range files {
		said, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r := newRig(t)
		doc := openAPI(t, r)
		for l := range strings.Lines(string(said)) {
			method, rest, _ := strings.Cut(strings.TrimSpace(l), " ")
			target, body, _ := strings.Cut(rest, " ")
			if method != http.MethodGet && method != http.MethodPut {
				continue
			}
			w := r.do(method, target, body)
			schema := answerSchema(r, doc, method, target)
			if w.Code != 200 || schema == nil || w.Body.Len() == 0 || w.Header().Get("Content-Type") != "application/json" {
				continue
			}
			var answer any
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
				t.Fatal(err)
			}
			if err := schema.VisitJSON(answer, openapi3.EnableJSONSchema2020()); err != nil {
				t.Errorf("%s %s: %v", method, target, err)
			}
			checked++
		}
	}
	if checked < 50 {
		t.Errorf("only %d answers were checked", checked)
	}
}

// answerSchema finds the description of a request's answer.
func answerSchema(r *rig, doc *openapi3.T, method, target string) *openapi3.Schema {
	path, _, _ := strings.Cut(target, "?")
	best := ""
	for _, route := range r.server.Routes() {
		within := regexp.MustCompile(`\{\w+\}/`).ReplaceAllString(route.Path, "[^/]*/")
		pattern := regexp.MustCompile("^" + regexp.MustCompile(`\{\w+\}$`).ReplaceAllString(within, ".*") + "$")
		if route.Method == method && pattern.MatchString(path) && (path == route.Path || len(route.Path) > len(best)) {
			best = route.Path
		}
	}
	if best == "" {
		return nil
	}
	media := doc.Paths.Value(best).GetOperation(method).Responses.Value("200").Value.Content.Get("application/json")
	if media == nil || media.Schema == nil {
		return nil
	}
	return media.Schema.Value
}
