package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	threeJSON = `[{"Key":"a/three","Value":"dGhyZWU=","Flags":42,"LockIndex":1,"Session":"s","CreateIndex":10,"ModifyIndex":11}]`
	treeJSON  = `[{"Key":"a/one","Value":"MQ==","Flags":0,"LockIndex":0,"CreateIndex":8,"ModifyIndex":9},
 {"Key":"a/two","Value":null,"Flags":7,"LockIndex":0,"CreateIndex":12,"ModifyIndex":12}]`
	coordinatesJSON = `[{"Node":"n1","Coord":{"Vec":[0,0,0,0,0,0,0,0],"Error":1.5,"Adjustment":0,"Height":0.001}},
 {"Node":"n2","Coord":{"Vec":[0.003,0,0,0,0,0,0,0],"Error":1.5,"Adjustment":0,"Height":0.001}}]`
)

// What Consul's commands of these names print, and what they ask.
func TestCommands_KVEventMaintRTT(t *testing.T) {
	a := serve(t, map[string]string{
		"GET /v1/kv/a/three":                                        threeJSON,
		"GET /v1/kv/a/three?stale=":                                 threeJSON,
		"GET /v1/kv/a?recurse=":                                     treeJSON,
		"GET /v1/kv/?recurse=":                                      treeJSON,
		"GET /v1/kv/a?keys=&separator=%2F":                          `["a/"]`,
		"GET /v1/kv/a?keys=":                                        `["a/one","a/two"]`,
		"PUT /v1/kv/k":                                              `true`,
		"PUT /v1/kv/k?flags=42":                                     `true`,
		"PUT /v1/kv/k?cas=3":                                        `false`,
		"PUT /v1/kv/k?cas=0":                                        `false`,
		"PUT /v1/kv/k?acquire=s":                                    `true`,
		"PUT /v1/kv/k?acquire=t":                                    `false`,
		"PUT /v1/kv/k?release=s":                                    `true`,
		"PUT /v1/kv/k?release=t":                                    `false`,
		"PUT /v1/kv/p/k?flags=7":                                    `true`,
		"DELETE /v1/kv/k":                                           `true`,
		"DELETE /v1/kv/k?cas=3":                                     `false`,
		"DELETE /v1/kv/a?recurse=":                                  `true`,
		"PUT /v1/event/fire/deploy":                                 `{"ID":"e1","Name":"deploy"}`,
		"PUT /v1/event/fire/deploy?service=web":                     `{"ID":"e2","Name":"deploy"}`,
		"PUT /v1/agent/maintenance?enable=true&reason=why":          ``,
		"PUT /v1/agent/maintenance?enable=false":                    ``,
		"PUT /v1/agent/service/maintenance/web?enable=true&reason=": ``,
		"PUT /v1/agent/service/maintenance/web?enable=false":        ``,
		"GET /v1/agent/checks":                                      `{"_service_maintenance:web":{"ServiceID":"web","Notes":"because"},"_node_maintenance":{"Notes":"why"},"other":{"Notes":"x"}}`,
		"GET /v1/agent/self":                                        `{"Config":{"NodeName":"n2","Datacenter":"dc1"}}`,
		"GET /v1/coordinate/nodes":                                  coordinatesJSON,
		"GET /v1/coordinate/datacenters":                            `[{"Datacenter":"dc1","AreaID":"WAN","Coordinates":` + coordinatesJSON + `}]`,
	})
	file := filepath.Join(t.TempDir(), "export.json")
	if err := os.WriteFile(file, []byte(`[{"key":"k","flags":7,"value":"aGk="}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args     string
		out, err string // err is a part of it
		code     int
		asked    string // the last request, where it matters
	}{
		{"kv get a/three", "three\n", "", 0, ""},
		{"kv get /a/three", "three\n", "", 0, ""},
		{"kv get -stale -base64 a/three", "dGhyZWU=\n", "", 0, ""},
		{"kv get -detailed a/three", "CreateIndex      10\nFlags            42\nKey              a/three\nLockIndex        1\nModifyIndex      11\nSession          s\nValue            three\n", "", 0, ""},
		{"kv get -recurse a", "a/one:1\na/two:\n", "", 0, ""},
		{"kv get -recurse -detailed a", "CreateIndex      8\nFlags            0\nKey              a/one\nLockIndex        0\nModifyIndex      9\nSession          -\nValue            1\n\n" +
			"CreateIndex      12\nFlags            7\nKey              a/two\nLockIndex        0\nModifyIndex      12\nSession          -\nValue\n", "", 0, ""},
		{"kv get -keys a", "a/\n", "", 0, ""},
		{"kv get -keys -recurse a", "a/one\na/two\n", "", 0, ""},
		{"kv get", "", "Error! Missing KEY argument", 1, ""},
		{"kv get a b", "", "Too many arguments (expected 1, got 2)", 1, ""},
		{"kv get other", "", "Error querying Consul agent: Unexpected response code: 500", 1, ""},
		{"kv put k v", "Success! Data written to: k\n", "", 0, "PUT /v1/kv/k v"},
		{"kv put k", "Success! Data written to: k\n", "", 0, "PUT /v1/kv/k"},
		{"kv put -flags=42 -base64 k aGk=", "Success! Data written to: k\n", "", 0, "PUT /v1/kv/k?flags=42 hi"},
		{"kv put k @" + file, "Success! Data written to: k\n", "", 0, `PUT /v1/kv/k [{"key":"k","flags":7,"value":"aGk="}]`},
		{"kv put k @" + file + "x", "", "Error! Failed to read file: open", 1, ""},
		{"kv put -base64 k !", "", "Error! Cannot base 64 decode data: illegal base64 data at input byte 0", 1, ""},
		{"kv put -cas -modify-index=3 k v", "", "Error! Did not write to k: CAS failed", 1, ""},
		{"kv put -cas k v", "", "Error! Did not write to k: CAS performed with index=0 and key already exists.", 1, ""},
		{"kv put -acquire -session=s k v", "Success! Lock acquired on: k\n", "", 0, ""},
		{"kv put -acquire -session=t k v", "", "Error! Did not acquire lock", 1, ""},
		{"kv put -release -session=s k v", "Success! Lock released on: k\n", "", 0, ""},
		{"kv put -release -session=t k v", "", "Error! Did not release lock", 1, ""},
		{"kv put -release k v", "", "Error! Missing -session (required with -acquire and -release)", 1, ""},
		{"kv put /k v", "", "Error! Failed writing data: Invalid key. Key must not begin with a '/': /k", 1, ""},
		{"kv put", "", "Error! Missing KEY argument", 1, ""},
		{"kv put a b c", "", "Error! Too many arguments (expected 1 or 2, got 3)", 1, ""},
		{"kv delete /k", "Success! Deleted key: k\n", "", 0, ""},
		{"kv delete -cas -modify-index=3 k", "", "Error! Did not delete key k: CAS failed", 1, ""},
		{"kv delete -cas k", "", "Cannot delete a key that does not exist. Provide a -modify-index greater than than 0.", 1, ""},
		{"kv delete -modify-index=3 k", "", "Cannot specify -modify-index without -cas!", 1, ""},
		{"kv delete -cas -modify-index=3 -recurse k", "", "Cannot specify both -cas and -recurse!", 1, ""},
		{"kv delete -recurse a", "Success! Deleted keys with prefix: a\n", "", 0, ""},
		{"kv delete", "", "Error! Missing KEY argument", 1, ""},
		{"kv export", "[\n\t{\n\t\t\"key\": \"a/one\",\n\t\t\"flags\": 0,\n\t\t\"value\": \"MQ==\"\n\t},\n\t{\n\t\t\"key\": \"a/two\",\n\t\t\"flags\": 7,\n\t\t\"value\": \"\"\n\t}\n]\n", "", 0, ""},
		{"kv import -prefix=p/ @" + file, "Imported: p/k\n", "", 0, "PUT /v1/kv/p/k?flags=7 hi"},
		{"kv import [{", "", "Cannot unmarshal data: unexpected end of JSON input", 1, ""},
		{`kv import [{"key":"k","value":"!"}]`, "", "Error base 64 decoding value for key k: illegal base64 data at input byte 0", 1, ""},
		{`kv import [{"key":"other","value":""}]`, "", "Error! Failed writing data for key other: Unexpected response code: 500", 1, ""},
		{"kv import", "", "Error! Missing DATA argument", 1, ""},
		{"kv", "", "Usage: muster kv <subcommand>", 1, ""},

		{"event -name=deploy 1.2", "Event ID: e1\n", "", 0, "PUT /v1/event/fire/deploy 1.2"},
		{"event -name=deploy -service=web", "Event ID: e2\n", "", 0, ""},
		{"event", "", "Event name must be specified\n\nUsage: muster event [options] [payload]", 1, ""},
		{"event -name=x a b", "", "Too many command line arguments.", 1, ""},
		{"event -name=x -tag=a", "", "Cannot provide tag filter without service filter.", 1, ""},
		{"event -name=x -node=(", "", "Failed to compile node filter regexp: error parsing regexp: missing closing )", 1, ""},

		{"maint -enable -reason=why", "Node maintenance is now enabled\n", "", 0, ""},
		{"maint -disable", "Node maintenance is now disabled\n", "", 0, ""},
		{"maint -enable -service=web", "Service maintenance is now enabled for \"web\"\n", "", 0, ""},
		{"maint -disable -service=web", "Service maintenance is now disabled for \"web\"\n", "", 0, ""},
		{"maint -enable -service=nope", "", "Error enabling service maintenance: Unexpected response code: 500", 1, ""},
		{"maint", "Node:\n  Name:   n2\n  Reason: why\n\nService:\n  ID:     web\n  Reason: because\n\n", "", 0, ""},
		{"maint -enable -disable", "", "Only one of -enable or -disable may be provided", 1, ""},
		{"maint -reason=x", "", "Reason may only be provided with -enable", 1, ""},
		{"maint -service=web", "", "Service requires either -enable or -disable", 1, ""},

		{"rtt n1 n2", "Estimated n1 <-> n2 rtt: 5.000 ms (using LAN coordinates)\n", "", 0, ""},
		{"rtt n1", "Estimated n1 <-> n2 rtt: 5.000 ms (using LAN coordinates)\n", "", 0, ""},
		{"rtt -wan n1.dc1", "Estimated n1.dc1 <-> n2.dc1 rtt: 5.000 ms (using WAN coordinates)\n", "", 0, ""},
		{"rtt n1 n3", "", `Could not find a coordinate for node "n3"`, 1, ""},
		{"rtt -wan n1 n2", "", "Node names must be specified as <node name>.<datacenter> with -wan", 1, ""},
		{"rtt", "", "One or two node names must be specified\n\nUsage: muster rtt [options] node1 [node2]", 1, ""},
	} {
		a.requests = nil
		out, errOut, code := muster(t, strings.Fields(tc.args)...)
		if out != tc.out || !strings.Contains(errOut, tc.err) || tc.err == "" && errOut != "" || code != tc.code {
			t.Errorf("%s: code %d\n%q\n%s\nwant code %d\n%q\n%s", tc.args, code, out, errOut, tc.code, tc.out, tc.err)
		}
		if tc.asked != "" && (len(a.requests) == 0 || a.requests[len(a.requests)-1] != tc.asked) {
			t.Errorf("%s: asked %q, want %q", tc.args, a.requests, tc.asked)
		}
	}
}

// Whatever is wrong with an import, nothing of it is written.
func TestKVImport_WritesNothingOfWhatItCantRead(t *testing.T) {
	a := serve(t, map[string]string{"PUT /v1/kv/good": `true`})
	if _, _, code := muster(t, "kv", "import", `[{"key":"good","value":""},{"key":"bad","value":"!"}]`); code != 1 || len(a.requests) > 0 {
		t.Errorf("code %d, asked %q", code, slices.Clone(a.requests))
	}
}
