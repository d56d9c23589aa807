package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestConfigAndIntention_PrintWhatConsulPrints(t *testing.T) {
	intention := `{"ID":"e5b3b5a4-160a-4fa7-9c57-060137628b8d","SourceName":"web","DestinationName":"db","Action":"deny","Meta":{"a":"b"},"Precedence":9,"CreatedAt":"2026-11-24T00:07:36Z"}`
	permission := `{"SourceName":"api","DestinationName":"db","Permissions":[{"Action":"allow","HTTP":{"PathExact":"/x"}}],"Precedence":9}`
	a := serve(t, map[string]string{
		"GET /v1/config/mesh/mesh":                                                      `{"Kind":"mesh","TransparentProxy":{"MeshDestinationsOnly":false},"CreateIndex":6,"ModifyIndex":6}`,
		"GET /v1/config/service-defaults":                                               `[{"Kind":"service-defaults","Name":"db"},{"Kind":"service-defaults","Name":"web"}]`,
		"DELETE /v1/config/mesh/mesh":                                                   `{}`,
		"DELETE /v1/config/mesh/mesh?cas=4":                                             `false`,
		"PUT /v1/config":                                                                `true`,
		"PUT /v1/config?cas=7":                                                          `false`,
		"GET /v1/connect/intentions":                                                    "[" + intention + "," + permission + "]",
		"GET /v1/connect/intentions/exact?destination=db&source=web":                    intention,
		"GET /v1/connect/intentions/exact?destination=db&source=api":                    permission,
		"PUT /v1/connect/intentions/e5b3b5a4-160a-4fa7-9c57-060137628b8d":               ``,
		"PUT /v1/connect/intentions/exact?destination=db&source=api":                    ``,
		"POST /v1/connect/intentions":                                                   `{"ID":"x"}`,
		"DELETE /v1/connect/intentions/exact?destination=db&source=web":                 `true`,
		"DELETE /v1/connect/intentions/e5b3b5a4-160a-4fa7-9c57-060137628b8d":            `true`,
		"GET /v1/connect/intentions/check?destination=db&source=web&source-type=consul": `{"Allowed":false}`,
		"GET /v1/connect/intentions/check?destination=db&source=api&source-type=consul": `{"Allowed":true}`,
		"GET /v1/connect/intentions/match?by=destination&name=db":                       `{"db":[` + intention + "," + permission + `]}`,
		"GET /v1/connect/intentions/match?by=source&name=web":                           `{"web":[` + intention + `]}`,
		"GET /v1/connect/intentions/match?by=destination&name=none":                     `{"none":null}`,
	})
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	web := file("web.hcl", `
Kind = "service-defaults"
Name = "web"
Protocol = "http"
UpstreamConfig { Overrides = [ { Name = "db", ConnectTimeoutMs = 5 } ] Defaults { ConnectTimeoutMs = 7 } }
`)
	mesh := file("mesh.json", `{"kind":"mesh","allow_enabling_permissive_mutual_tls":true}`)
	bogus := file("bogus.hcl", `Kind = "mesh" Bogus = 1`)
	source := file("i.json", `{"SourceName":"f1","DestinationName":"f2","Action":"allow"}`)
	for _, tc := range []struct {
		args     string
		out, err string // err is a part of it
		code     int
	}{
		{"config write " + web, "Config entry written: service-defaults/web\n", "", 0},
		{"config write " + mesh, "Config entry written: mesh/mesh\n", "", 0},
		{"config write -cas -modify-index=7 " + web, "", "Config entry not updated: service-defaults/web", 1},
		{"config write " + bogus, "", `Failed to decode config entry input: 1 error occurred:
	* invalid config key "Bogus"`, 1},
		{"config write nofile", "", "Failed to load data: Failed to read file: open nofile: no such file", 1},
		{"config write", "", "Must provide exactly one positional argument", 1},
		{"config read -kind=mesh -name=mesh", `{
    "Kind": "mesh",
    "TransparentProxy": {
        "MeshDestinationsOnly": false
    },
    "CreateIndex": 6,
    "ModifyIndex": 6
}
`, "", 0},
		{"config read -name=x", "", "Must specify the -kind parameter", 1},
		{"config read -kind=mesh", "", "Must specify the -name parameter", 1},
		{"config list -kind=service-defaults", "db\nweb\n", "", 0},
		{"config list", "", "Must specify the -kind parameter", 1},
		{"config delete -kind=mesh -name=mesh", "Config entry deleted: mesh/mesh\n", "", 0},
		{"config delete -filename=" + mesh, "Config entry deleted: mesh/mesh\n", "", 0},
		{"config delete -kind=mesh -name=mesh -cas -modify-index=4", "", "Config entry not deleted: mesh/mesh", 1},
		{"config delete -kind=mesh -name=mesh -cas", "", "Must specify a -modify-index greater than 0 with -cas", 1},
		{"config delete -kind=mesh -name=mesh -modify-index=4", "", "Cannot specify -modify-index without -cas", 1},
		{"config delete -kind=mesh -filename=x", "", "filename can't be used with kind or name", 1},
		{"config delete", "", "Must specify the -kind or -filename parameter", 1},
		{"intention create web db", "Created: web => db (allow)\n", "", 0},
		{"intention create -deny web db", "Created: web => db (deny)\n", "", 0},
		{"intention create -replace -deny web db", "", "", 0},
		{"intention create -replace api db", "", "", 0},
		{"intention create -file " + source, "Created: f1 => f2 (allow)\n", "", 0},
		{"intention create -allow -deny a b", "", "Only one of -allow or -deny may be specified.", 1},
		{"intention create a", "", "Error: Must specify two arguments: source and destination", 1},
		{"intention get web db", `Source:       web
Destination:  db
Action:       deny
ID:           e5b3b5a4-160a-4fa7-9c57-060137628b8d
Meta[a]:      b
Created At:   Tuesday, 24-Nov-26 00:07:36 UTC
`, "", 0},
		{"intention get api db", `Source:       api
Destination:  db
Permissions:
[
  {
    "Action": "allow",
    "HTTP": {
      "PathExact": "/x"
    }
  }
]
`, "", 0},
		{"intention get", "", "command requires exactly 1 or 2 arguments", 1},
		{"intention check web db", "Denied\n", "", 1},
		{"intention check api db", "Allowed\n", "", 0},
		{"intention check api", "", "Error: command requires exactly two arguments: src and dst", 2},
		{"intention match db", "web => db (deny)\napi => db (1 permission)\n", "", 0},
		{"intention match -source web", "web => db (deny)\n", "", 0},
		{"intention match none", "", "", 0},
		{"intention match", "", "Error: command requires exactly one argument: src or dst", 1},
		{"intention match -source -destination web", "", "Error: only one of -source or -destination may be specified", 1},
		{"intention list", `ID                                    Source  Action  Destination  Precedence
e5b3b5a4-160a-4fa7-9c57-060137628b8d  web     deny    db           9
                                      api             db           9
`, "", 0},
		{"intention delete web db", "Intention deleted.\n", "", 0},
		{"intention delete e5b3b5a4-160a-4fa7-9c57-060137628b8d", "Intention deleted.\n", "", 0},
		{"intention delete", "", "command requires exactly 1 or 2 arguments", 1},
	} {
		out, errOut, code := muster(t, strings.Fields(tc.args)...)
		if out != tc.out || code != tc.code {
			t.Errorf("muster %s: code %d, want %d; prints\n%swant\n%s", tc.args, code, tc.code, out, tc.out)
		}
		if !strings.Contains(errOut, tc.err) || (tc.err == "") != (errOut == "") {
			t.Errorf("muster %s: complains %q, want %q", tc.args, errOut, tc.err)
		}
	}
	if !slices.ContainsFunc(a.requests, func(r string) bool {
		return strings.HasPrefix(r, "PUT /v1/config {") && strings.Contains(r, `"Overrides":[{"Name":"db"`) && strings.Contains(r, `"Defaults":{`)
	}) {
		t.Errorf("what the file says was not sent: %q", a.requests)
	}
}
