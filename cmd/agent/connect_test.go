package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestConnectCA_PrintsWhatConsulPrints(t *testing.T) {
	a := serve(t, map[string]string{
		"GET /v1/connect/ca/configuration": `{"Provider":"consul","Config":{"LeafCertTTL":"72h"},"State":null,"ForceWithoutCrossSigning":false,"CreateIndex":5,"ModifyIndex":9}`,
		"PUT /v1/connect/ca/configuration": ``,
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
	good, bad := file("ca.json", `{"Provider":"consul","Config":{"LeafCertTTL":"71h"}}`), file("bad.json", "x")
	printed := "{\n\t\"Provider\": \"consul\",\n\t\"Config\": {\n\t\t\"LeafCertTTL\": \"72h\"\n\t},\n\t\"State\": null,\n\t\"ForceWithoutCrossSigning\": false,\n\t\"CreateIndex\": 5,\n\t\"ModifyIndex\": 9\n}\n"
	for _, tc := range []struct {
		args, out, err string // err is a part of it
		code           int
	}{
		{"connect ca get-config", printed, "", 0},
		{"connect ca get-config extra", "", "Too many arguments", 1},
		{"connect ca set-config", "", "The -config-file flag is required", 1},
		{"connect ca set-config -config-file=" + bad, "", "Error parsing config file: invalid character 'x'", 1},
		{"connect ca set-config -config-file=" + dir + "/none", "", "Error reading config file: open ", 1},
		{"connect ca set-config -config-file=" + good, "Configuration updated!\n", "", 0},
		{"connect ca set-config -force-without-cross-signing -config-file=" + good, "Configuration updated!\n", "", 0},
	} {
		out, errOut, code := muster(t, strings.Fields(tc.args)...)
		if out != tc.out || code != tc.code || !strings.Contains(errOut, tc.err) || (tc.err == "") != (errOut == "") {
			t.Errorf("muster %s: code %d, want %d; prints\n%swant\n%scomplains %q", tc.args, code, tc.code, out, tc.out, errOut)
		}
	}
	for _, want := range []string{`"LeafCertTTL":"71h"},"State":null,"ForceWithoutCrossSigning":false`, `"ForceWithoutCrossSigning":true`} {
		if !slices.ContainsFunc(a.requests, func(r string) bool { return strings.HasPrefix(r, "PUT ") && strings.Contains(r, want) }) {
			t.Errorf("%s was not sent: %q", want, a.requests)
		}
	}
}
