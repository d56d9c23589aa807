package api

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// object is a JSON object of the OpenAPI document.
type object = map[string]any

// openAPIRoute serves the description of the API (OpenAPI Specification 3.1),
// which is made of the table of routes and so can't be out of date.
func (s *Server) openAPIRoute() Route {
	document := sync.OnceValues(func() ([]byte, error) { return json.Marshal(describe(s.Routes())) })
	return Route{
		Method: http.MethodGet, Path: "/v1/openapi.json", Kind: Local,
		Doc: "Describes this API as an OpenAPI 3.1 document.",
		Do: func(*Request) (any, error) {
			data, err := document()
			return Raw{ContentType: jsonType, Data: data}, err
		},
	}
}

// describe makes the OpenAPI document of routes.
func describe(routes []Route) object {
	types := schemas{}
	paths := object{}
	for i := range routes {
		r := &routes[i]
		item, _ := paths[r.Path].(object)
		if item == nil {
			item = object{}
			paths[r.Path] = item
		}
		item[strings.ToLower(r.Method)] = r.describe(types)
	}
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title":       "Muster",
			"version":     "1",
			"description": "Service discovery with Consul's HTTP API. A variable at the end of a path takes the rest of the path, slashes included.",
		},
		"paths":    paths,
		"security": []object{{}, {"token": []string{}}, {"bearer": []string{}}},
		"components": object{
			"schemas": types.byName(),
			"securitySchemes": object{
				"token":  object{"type": "apiKey", "in": "header", "name": "X-Consul-Token"},
				"bearer": object{"type": "http", "scheme": "bearer"},
			},
		},
	}
}

// describe makes the operation of one row.
func (r *Route) describe(types schemas) object {
	segments := strings.Split(strings.TrimPrefix(r.Path, "/v1/"), "/")
	op := object{
		"operationId": operationID(r.Method, segments),
		"summary":     r.Doc,
		"tags":        []string{strings.TrimSuffix(segments[0], ".json")},
		"parameters":  r.parameters(),
		"responses": object{
			"200":     object{"description": "the answer", "headers": r.headers(), "content": r.content(types)},
			"default": object{"description": "what was wrong", "content": object{"text/plain": object{"schema": object{"type": "string"}}}},
		},
	}
	if r.Upload {
		op["requestBody"] = object{"content": object{"application/octet-stream": object{"schema": object{}}}}
	}
	if r.Body != nil {
		op["requestBody"] = object{"content": object{jsonType: object{"schema": types.of(r.Body)}}}
	}
	return op
}

// operationID is a name for a row that generated clients can call a method by,
// such as getHealthServiceByService.
func operationID(method string, segments []string) string {
	id := strings.ToLower(method)
	for _, s := range segments {
		if name, ok := strings.CutPrefix(s, "{"); ok {
			s = "by-" + strings.TrimSuffix(name, "}")
		}
		for word := range strings.FieldsFuncSeq(s, func(c rune) bool { return strings.ContainsRune("-_.", c) }) {
			id += strings.ToUpper(word[:1]) + word[1:]
		}
	}
	return id
}

func (r *Route) parameters() []object {
	list := []object{}
	for _, v := range variable.FindAllStringSubmatch(r.Path, -1) {
		list = append(list, object{"name": v[1], "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	known := r.Params
	if r.Kind == Read {
		known = slices.Concat(known, ReadParams)
	}
	if r.takesOnceKey() {
		list = append(list, object{"name": onceHeader, "in": "header", "schema": object{"type": "string", "maxLength": maxOnceKey},
			"description": "a retry under the same key takes effect once, and is answered as the first request was"})
	}
	for _, p := range known {
		schema := object{"type": "string"}
		if p.Repeats {
			schema = object{"type": "array", "items": schema}
		}
		list = append(list, object{"name": p.Name, "in": "query", "description": p.Doc, "allowEmptyValue": !p.Repeats, "schema": schema})
	}
	return list
}

func (r *Route) headers() object {
	if r.View == nil && r.Download == nil {
		return object{}
	}
	return object{
		"X-Consul-Index":       object{"description": "what ?index= takes, to wait for something newer", "schema": object{"type": "integer"}},
		"X-Consul-KnownLeader": object{"description": "whether the server knew a leader", "schema": object{"type": "boolean"}},
		"X-Consul-LastContact": object{"description": "milliseconds since the server heard of its leader", "schema": object{"type": "integer"}},
	}
}

func (r *Route) content(types schemas) object {
	schema := object{}
	if r.Answer != nil {
		schema = types.of(r.Answer)
	} else if r.Command != nil {
		schema = object{"type": "boolean"}
	}
	if r.Download != nil {
		return object{"application/octet-stream": object{"schema": object{}}}
	}
	content := object{jsonType: object{"schema": schema}}
	if r.Kind == Read || r.Changed != nil {
		content[streamType] = object{"schema": object{"type": "string", "description": "server-sent events: the answer, then one event a change"}}
	}
	return content
}

// byName are the schemas of all types that were met, sorted by name as JSON has it.
func (s schemas) byName() object {
	all := object{}
	for _, t := range slices.Collect(maps.Keys(s)) {
		all[s[t].name] = s[t].schema
	}
	return all
}
