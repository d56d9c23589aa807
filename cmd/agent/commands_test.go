package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// muster runs a command line.
func muster(t testing.TB, args ...string) (out, errOut string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), append([]string{"muster"}, args...), strings.NewReader(""), &o, &e)
	return o.String(), e.String(), code
}

// api answers requests by "METHOD path?query" with canned JSON; what it doesn't
// know is a 500. It notes the requests, with their bodies.
type api struct {
	answers  map[string]string
	requests []string
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	request := r.Method + " " + r.URL.RequestURI()
	a.requests = append(a.requests, strings.TrimSpace(request+" "+string(body)))
	answer, ok := a.answers[request]
	if !ok {
		http.Error(w, "no answer to "+request, http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, answer)
}

func serve(t testing.TB, answers map[string]string) *api {
	t.Helper()
	a := &api{answers: answers}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	t.Setenv("CONSUL_HTTP_ADDR", server.URL)
	return a
}

const (
	membersJSON = `[
 {"Name":"oc","Addr":"127.66.0.2","Port":8301,"Status":4,"Tags":{"role":"node","build":"1.21.4:","vsn":"2","dc":"dc1","segment":""}},
 {"Name":"s1","Addr":"127.66.0.1","Port":8301,"Status":1,"Tags":{"role":"consul","build":"1.21.4:abc","vsn":"2","dc":"dc1","segment":""}}]`
	nodesJSON = `[{"ID":"e761b229-d7f4-6963-39d9-ddf017a025f5","Node":"oracle","Address":"127.66.0.1","Datacenter":"dc1","TaggedAddresses":{"wan":"127.66.0.1","lan":"127.66.0.1"},"Meta":{"b":"2","a":"1"}}]`
	raftJSON  = `{"Servers":[
 {"ID":"id1","Node":"s1","Address":"127.0.0.1:8300","Leader":true,"ProtocolVersion":"3","Voter":true,"LastIndex":21},
 {"ID":"id2","Node":"s2","Address":"127.0.0.2:8300","Leader":false,"ProtocolVersion":"3","Voter":true,"LastIndex":20},
 {"ID":"id3","Node":"s3","Address":"127.0.0.3:8300","Leader":false,"ProtocolVersion":"3","Voter":false,"LastIndex":7}],"Index":1}`
)

func TestCommands_PrintWhatConsulPrints(t *testing.T) {
	serve(t, map[string]string{
		"GET /v1/agent/members?segment=_all":       membersJSON,
		"GET /v1/agent/members?segment=_all&wan=1": `[]`,
		"GET /v1/catalog/datacenters":              `["dc1","dc2"]`,
		"GET /v1/catalog/nodes":                    nodesJSON,
		"GET /v1/catalog/nodes?node-meta=a%3Ab":    nodesJSON,
		"GET /v1/catalog/nodes?stale=":             `[]`,
		"GET /v1/catalog/service/web":              `[{"ID":"e761b229-d7f4","Node":"n","Address":"127.0.0.1","Datacenter":"dc1"},{"ID":"e761b229-d7f4","Node":"n","Address":"127.0.0.1","Datacenter":"dc1"}]`,
		"GET /v1/catalog/services":                 `{"web":["b","a","a"],"consul":[]}`,
		"GET /v1/catalog/node/oracle":              `{"Node":{"Node":"oracle"},"Services":{"w1":{"ID":"w1","Service":"web","Tags":["x"]},"w2":{"ID":"w2","Service":"web","Tags":["y"]}}}`,
		"GET /v1/catalog/node/none":                `null`,
		"GET /v1/operator/raft/configuration":      raftJSON,
		"GET /v1/agent/self":                       `{"Stats":{"raft":{"term":"2","state":"Leader"},"agent":{"checks":"0"}}}`,
		"PUT /v1/agent/join/127.0.0.1":             ``,
		"PUT /v1/agent/leave":                      ``,
		"PUT /v1/agent/reload":                     ``,
		"PUT /v1/agent/force-leave/gone":           ``,
		"PUT /v1/agent/force-leave/gone?prune=1":   ``,
		"PUT /v1/agent/service/deregister/web":     ``,
	})
	for _, tc := range []struct {
		args     string
		out, err string // err is a part of it
		code     int
	}{
		{"members", `
Node  Address          Status  Type    Build   Protocol  DC   Partition  Segment
s1    127.66.0.1:8301  alive   server  1.21.4  2         dc1  default    <all>
oc    127.66.0.2:8301  failed  client  1.21.4  2         dc1  default    <default>
`, "", 0},
		{"members -status=alive -detailed", `
Node  Address          Status  Tags
s1    127.66.0.1:8301  alive   build=1.21.4:abc,dc=dc1,role=consul,segment=,vsn=2
`, "", 0},
		{"members -status=left", "", "", 2},
		{"members -wan", "", "not in the WAN pool", 2},
		{"members -status=[", "", "Failed to compile status regexp: ", 1},
		{"members -nope", "", "flag provided but not defined: -nope", 1},
		{"catalog datacenters", "\ndc1\ndc2\n", "", 0},
		{"catalog datacenters x", "", "Too many arguments (expected 0, got 1)", 1},
		{"catalog nodes", "\nNode    ID        Address     DC\noracle  e761b229  127.66.0.1  dc1\n", "", 0},
		{"catalog nodes -node-meta=a=b", "\nNode    ID        Address     DC\noracle  e761b229  127.66.0.1  dc1\n", "", 0},
		{"catalog nodes -node-meta=a", "", `-node-meta "a" must have the form key=value`, 1},
		{"catalog nodes -detailed", `
Node    ID                                    Address     DC   TaggedAddresses                 Meta
oracle  e761b229-d7f4-6963-39d9-ddf017a025f5  127.66.0.1  dc1  lan=127.66.0.1, wan=127.66.0.1  a=1, b=2
`, "", 0},
		{"catalog nodes -stale", "", "No nodes match the given query - try expanding your search.", 0},
		{"catalog nodes -service=web", "\nNode  ID        Address    DC\nn     e761b229  127.0.0.1  dc1\n", "", 0},
		{"catalog nodes -near=x", "", "Error listing nodes: Unexpected response code: 500", 1},
		{"catalog services", "\nconsul\nweb\n", "", 0},
		{"catalog services -tags", "\nconsul  \nweb     a,b\n", "", 0},
		{"catalog services -node=oracle -tags", "\nweb  x,y\n", "", 0},
		{"catalog services -node=none", "", "No services match the given query", 0},
		{"catalog nope", "", `muster catalog: there is no subcommand "nope"`, 1},
		{"operator raft list-peers", `
Node  ID   Address         State     Voter  RaftProtocol  Commit Index  Trails Leader By
s1    id1  127.0.0.1:8300  leader    true   3             21            -
s2    id2  127.0.0.2:8300  follower  true   3             20            1 commit
s3    id3  127.0.0.3:8300  follower  false  3             7             14 commits
`, "", 0},
		{"info", "\nagent:\n\tchecks = 0\nraft:\n\tstate = Leader\n\tterm = 2\n", "", 0},
		{"join 127.0.0.1 127.0.0.2", "\nSuccessfully joined cluster by contacting 1 nodes.\n", "Error joining address '127.0.0.2': Unexpected response code: 500", 0},
		{"join 127.0.0.2", "", "Failed to join any nodes.", 1},
		{"join", "", "At least one address to join must be specified.", 1},
		{"leave", "\nGraceful leave complete\n", "", 0},
		{"leave x", "", "Error found unexpected args: [x]", 1},
		{"force-leave gone", "", "", 0},
		{"force-leave -prune gone", "", "", 0},
		{"force-leave", "", "A single node name must be specified to force leave.", 1},
		{"force-leave nope", "", "Error force leaving: Unexpected response code: 500", 1},
		{"reload", "\nConfiguration reload triggered\n", "", 0},
		{"services deregister -id=web", "\nDeregistered service: web\n", "", 0},
		{"services deregister -id=db", "", `Error deregistering service "db": Unexpected response code: 500`, 1},
		{"services deregister", "", "Service deregistration requires at least one argument or -id.", 1},
		{"services register", "", "Service registration requires at least one argument or flags.", 1},
		{"services register -name=x f.hcl", "", "Service registration requires arguments or -id, not both.", 1},
		{"services register -name=x -tagged-address=lan=h:port", "", `-tagged-address lan: "port" is no port`, 1},
		{"services register nofile.json", "", "nofile.json: no such file", 1},
		{"version -format=xx", "", "Unknown format: xx", 1},
		{"validate", "", "Must specify at least one config file or directory", 1},
		{"agent -dev extra", "", "==> Unexpected extra arguments: [extra]", 1},
		{"agent -bind 127.0.0.1", "", "==> data_dir cannot be empty", 1},
		{"agent -dev -config-format=xml", "", "==> -config-format must be either 'hcl' or 'json'", 1},
		{"agent -dev -hcl=servr=1 -http-port=x", "", "==> -hcl 1:1: invalid config key servr", 1},
		{"", "", "Usage: muster [--version] [--help] <command>", 127},
		{"nosuch", "", `there is no command "nosuch"`, 127},
	} {
		out, errOut, code := muster(t, strings.Fields(tc.args)...)
		if want := strings.TrimPrefix(tc.out, "\n"); out != want || code != tc.code {
			t.Errorf("muster %s: code %d, want %d; prints\n%swant\n%s", tc.args, code, tc.code, out, want)
		}
		if !strings.Contains(errOut, tc.err) || (tc.err == "") != (errOut == "") {
			t.Errorf("muster %s: complains %q, want %q", tc.args, errOut, tc.err)
		}
	}
}

func TestCommands_SayWhenNoAgentAnswers(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	_, errOut, code := muster(t, "members", "-http-addr", server.URL)
	if code != 1 || !strings.HasPrefix(errOut, "Error retrieving members: Get ") {
		t.Errorf("code %d: %s", code, errOut)
	}
}

func TestNewClient_AsksWhereAgentsListen(t *testing.T) {
	t.Setenv("CONSUL_HTTP_ADDR", "")
	t.Setenv("CONSUL_HTTP_SSL", "true") // so that no agent of this machine understands it
	if _, errOut, code := muster(t, "members"); code != 1 || !strings.HasPrefix(errOut, `Error retrieving members: Get "https://127.0.0.1:8500/`) {
		t.Errorf("code %d: %s", code, errOut)
	}
}

func TestCommands_SendTokenAndDatacenter(t *testing.T) {
	var got *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		_, _ = io.WriteString(w, `[]`)
	}))
	defer server.Close()
	muster(t, "catalog", "nodes", "-http-addr="+server.URL, "-token=tok", "-datacenter=dc2", "-stale", "-filter=Node == x", "-near=_agent")
	q := got.URL.Query()
	if got.Header.Get("X-Consul-Token") != "tok" || q.Get("dc") != "dc2" || !q.Has("stale") || q.Get("filter") != "Node == x" || q.Get("near") != "_agent" {
		t.Errorf("asked %s with %v", got.URL, got.Header)
	}
}

func TestServicesRegister_SendsAllThatAFileSays(t *testing.T) {
	a := serve(t, map[string]string{"PUT /v1/agent/service/register": ``, "PUT /v1/agent/service/deregister/web-1": ``, "PUT /v1/agent/service/deregister/db": ``})
	file := filepath.Join(t.TempDir(), "s.hcl")
	if err := os.WriteFile(file, []byte(`
services {
  id = "web-1"
  name = "web"
  port = 80
  tags = ["a,b"]
  token = "tok"
  check { http = "http://x" interval = "10s" output_max_size = 9 }
}
services { name = "db" }`), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errOut, code := muster(t, "services", "register", file)
	if code != 0 || out != "Registered service: web\nRegistered service: db\n" {
		t.Fatalf("code %d: %s%s", code, out, errOut)
	}
	var sent map[string]any
	if err := json.Unmarshal([]byte(strings.TrimPrefix(a.requests[0], "PUT /v1/agent/service/register ")), &sent); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(sent)
	want := fmt.Sprint(map[string]any{
		"ID": "web-1", "Name": "web", "Port": 80.0, "Tags": []any{"a,b"}, "Token": "tok", "Weights": map[string]any{"Passing": 1.0, "Warning": 1.0},
		"Checks": []any{map[string]any{"HTTP": "http://x", "Interval": 1e10, "OutputMaxSize": 9.0}},
	})
	if got != want {
		t.Errorf("sent\n%s\nwant\n%s", got, want)
	}
	if out, errOut, code := muster(t, "services", "deregister", file); code != 0 || out != "Deregistered service: web-1\nDeregistered service: db\n" {
		t.Errorf("code %d: %s%s", code, out, errOut)
	}
}

func TestServicesRegister_SendsFlags(t *testing.T) {
	a := serve(t, map[string]string{"PUT /v1/agent/service/register": ``})
	_, errOut, code := muster(t, "services", "register", "-name=w", "-id=w1", "-port=1", "-address=192.0.2.1", "-tag=a,b", "-tag=c",
		"-meta=k=v=w", "-tagged-address=lan=192.0.2.2:81", "-tagged-address=v6=::1")
	if code != 0 || len(a.requests) != 1 {
		t.Fatalf("code %d, requests %v: %s", code, a.requests, errOut)
	}
	for _, part := range []string{`"Name":"w"`, `"ID":"w1"`, `"Port":1`, `"Address":"192.0.2.1"`, `"Tags":["a,b","c"]`, `"Meta":{"k":"v=w"}`,
		`"lan":{"Address":"192.0.2.2","Port":81}`, `"v6":{"Address":"::1","Port":0}`} {
		if !strings.Contains(a.requests[0], part) {
			t.Errorf("the request lacks %s: %s", part, a.requests[0])
		}
	}
}

func TestVersion_IsReadByTools(t *testing.T) {
	out, _, code := muster(t, "version", "-format=json")
	var v struct{ Version, Muster string }
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != 0 || v.Version != "1.21.4" || v.Muster == "" {
		t.Errorf("version: %s %v", out, err)
	}
	first, _, _ := muster(t, "version")
	second, _, _ := muster(t, "--version")
	if first != second || !strings.HasPrefix(first, "Muster v") || !strings.Contains(first, "Consul v1.21.4") {
		t.Errorf("version prints %q, --version %q", first, second)
	}
}

func TestKeygen_MakesAKeyOf32Bytes(t *testing.T) {
	first, _, _ := muster(t, "keygen")
	second, _, _ := muster(t, "keygen")
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(first))
	if err != nil || len(key) != 32 || first == second {
		t.Errorf("keys %q and %q: %v", first, second, err)
	}
}

func TestValidate_ReadsFilesAndDirectories(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("a.hcl", `data_dir = "/nonexistent/x" bind_addr = "127.0.0.1"`)
	write("b.json", `{"session_ttl_min": "20s"}`)
	out, errOut, code := muster(t, "validate", dir)
	if code != 0 || !strings.HasSuffix(out, "Configuration is valid!\n") || strings.Count(out, "session_ttl_min") != 1 {
		t.Errorf("code %d: %s%s", code, out, errOut)
	}
	if out, _, code := muster(t, "validate", "-quiet", dir); code != 0 || out != "" {
		t.Errorf("-quiet: code %d: %s", code, out)
	}
	bad := write("bad", `{"servr": true}`)
	if _, errOut, code := muster(t, "validate", "-config-format=json", bad, dir+"/missing"); code != 1 ||
		!strings.HasPrefix(errOut, "Config validation failed:\n") || !strings.Contains(errOut, bad+":1: invalid config key servr") || !strings.Contains(errOut, "missing") {
		t.Errorf("code %d: %s", code, errOut)
	}
}

// Every command explains itself and each of its flags.
func TestHelp_ExplainsEveryCommandAndFlag(t *testing.T) {
	var visit func(path []string, commands []*cli.Command)
	visit = func(path []string, commands []*cli.Command) {
		for _, cmd := range commands {
			name := append(slices.Clone(path), cmd.Name)
			out, errOut, code := muster(t, append(name, "-help")...)
			if code != 0 || errOut != "" || !strings.HasPrefix(out, "Usage: muster "+strings.Join(name, " ")) || cmd.Usage == "" || cmd.Description == "" {
				t.Errorf("%v -help: code %d: %s%s", name, code, out, errOut)
			}
			for _, f := range cmd.Flags {
				if f.Names()[0] == "help" {
					continue
				}
				doc, ok := f.(cli.DocGenerationFlag)
				if !ok || doc.GetUsage() == "" || !strings.Contains(out, "\n  -"+f.Names()[0]) {
					t.Errorf("%v: -%s is not explained", name, f.Names()[0])
				}
			}
			for line := range strings.Lines(out) {
				if len(line) > 110 {
					t.Errorf("%v: a line is too long: %s", name, line)
				}
			}
			visit(name, cmd.Subcommands)
		}
	}
	visit(nil, newApp(nil, io.Discard, io.Discard).Commands)
	if out, _, code := muster(t, "--help"); code != 0 || !strings.Contains(out, "members        Lists the members") {
		t.Errorf("--help: code %d: %s", code, out)
	}
}

// Flags of both kinds of input keep their order, and every flag reaches config.
func TestAgentFlags_KeepTheirOrder(t *testing.T) {
	given := &settings{}
	app := &cli.App{Flags: given.flags(), Action: func(*cli.Context) error { return nil }}
	if err := app.Run([]string{"x", "-config-dir", "d1", "-config-file=f1", "--config-dir=d2", "-hcl", "a=1", "-node=n", "-server", "-ui=false", "-dev", "-config-format", "json"}); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(given.source, given.format)
	if want := "{[{d1 } {f1 } {d2 }] [{node n} {server true} {ui false}] [a=1] true}json"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
