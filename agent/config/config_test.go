package config_test

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/agent/config"
)

var rewrite = flag.Bool("rewrite", false, "rewrite golden files and docs/compatibility.md")

// load reads HCL fragments on top of a minimal configuration that doesn't depend
// on the machine.
func load(t testing.TB, fragments ...string) (*config.Config, []string, error) {
	t.Helper()
	return config.Load(config.Source{HCL: append([]string{`data_dir = "/nonexistent/muster" bind_addr = "127.0.0.1" node_name = "n1"`}, fragments...)})
}

func mustLoad(t testing.TB, fragments ...string) *config.Config {
	t.Helper()
	c, _, err := load(t, fragments...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoad_RefusesWithConsulsTexts(t *testing.T) {
	for _, tc := range []struct{ hcl, want string }{
		{`bootstrap = true`, `'bootstrap = true' requires 'server = true'`},
		{`bootstrap_expect = 3`, `'bootstrap_expect > 0' requires 'server = true'`},
		{`server = true bootstrap = true bootstrap_expect = 3`, `'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive`},
		{`server = true bootstrap_expect = -1`, `bootstrap_expect cannot be -1. Must be greater than or equal to zero`},
		{`datacenter = "DC 1"`, `datacenter can only contain lowercase alphanumeric, - or _ characters. received: "dc 1"`},
		{`datacenter = ""`, `datacenter cannot be empty`},
		{`data_dir = ""`, `data_dir cannot be empty`},
		{`bind_addr = ""`, `bind_addr cannot be empty`},
		{`bind_addr = "127.0.0.1 127.0.0.2"`, `bind_addr cannot contain multiple addresses`},
		{`bind_addr = "nohost.invalid"`, `bind_addr: invalid ip address: nohost.invalid`},
		{`bind_addr = "{{ GetNothing }}"`, `template "{{ GetNothing }}"`},
		{`bind_addr = "unix:///x"`, `bind_addr cannot be a unix socket`},
		{`advertise_addr = "0.0.0.0"`, `advertise_addr cannot be 0.0.0.0, :: or [::]`},
		{`client_addr = "foo.invalid"`, `client_addr: invalid ip address: foo.invalid`},
		{`ports { http = 70000 }`, `ports.http: invalid port: 70000`},
		{`ports { server = -1 }`, `ports.server cannot be -1`},
		{`server = true ports { serf_wan = 8301 }`, `ports.serf_lan and ports.serf_wan are both 8301`},
		{`ports { serf_wan = 0 }`, `ports.serf_wan cannot be 0; it must be between 1 and 65535`},
		{`retry_join_wan = ["a"]`, `retry_join_wan requires 'server = true'`},
		{`server = true retry_join_wan = ["a"] ports { serf_wan = -1 }`, `retry_join_wan needs ports.serf_wan, which is off`},
		{`gossip_wan { suspicion_mult = 0 }`, `gossip_wan has a value that is not positive`},
		{`server = true ports { server = 8301 }`, `ports.server and ports.serf_lan are both 8301`},
		{`retry_interval = "x"`, `retry_interval has an invalid duration: "x"`},
		{`retry_interval = 5`, `retry_interval must be a duration in quotes`},
		{`retry_join = ["provider=aws tag=x"]`, `looking up addresses at a cloud provider is not supported`},
		{`retry_join = ["{{ GetNothing }}"]`, `retry_join "{{ GetNothing }}"`},
		{`watches = [{ type = "key" args = ["true"] }]`, `watches[0] Must specify a single key to watch`},
		{`watches { type = "nodes" }`, `watches Must define a watch handler`},
		{`watches = ["x"]`, `watches[0] must be an object, not a string`},
		{`watches = [{ type = "nodes" args = ["true"] }] ports { http = -1 }`, `watches ask this agent's own HTTP API, which is off: see ports.http`},
		{`autopilot { last_contact_threshold = "-1s" }`, `must not be negative`},
		{`default_intention_policy = "bogus"`, `default_intention_policy must be allow or deny, not "bogus"`},
		{`connect { ca_provider = "vault" }`, `connect.ca_provider "vault" is not supported`},
		{`connect { ca_config { leaf_cert_ttl = "10m" } }`, `connect.ca_config: leaf cert TTL must be greater or equal than 1h0m0s`},
		{`connect { ca_config { bogus = 1 } }`, `connect.ca_config: the CA's configuration has no setting "bogus"`},
		{`connect { ca_config = 7 }`, `connect.ca_config must be an object`},
		{`config_entries { bootstrap { kind = "service-defaults" } }`, `config_entries.bootstrap Name is required`},
		{`config_entries { bootstrap = [{ kind = "mesh" }, { kind = "mesh", bogus = 1 }] }`, `config_entries.bootstrap[1] Request decoding failed: 1 error occurred`},
		{`performance { raft_multiplier = 11 }`, `performance.raft_multiplier cannot be 11. Must be between 1 and 10`},
		{`encrypt = "abc"`, `encrypt has invalid key: illegal base64 data`},
		{`encrypt = "MTIzNA=="`, `encrypt has invalid key: it has 4 bytes`},
		{`node_id = "zz"`, `node_id "zz" is no UUID`},
		{`locality { zone = "z" }`, `this node: zone cannot be set without region`},
		{`node_meta { consul-x = "1" }`, `Key prefix 'consul-' is reserved for internal use`},
		{`node_name = "` + strings.Repeat("n", 5000) + `"`, `this node: node name is 5000 bytes long`},
		{`log_level = "loud"`, `log_level "loud" is unknown`},
		{`server = "yes"`, `server must be a boolean, not a string`},
		{`ports { http = "8500" }`, `ports.http must be a whole number, not a string`},
		{`ports = 3`, `ports must be an object, not a whole number`},
		{`http_config { allow_write_http_from = ["1.2.3.4"] }`, `http_config.allow_write_http_from: invalid cidr: 1.2.3.4`},
		{`http_config { response_headers { "a b" = "c" } }`, `"a b" is no valid HTTP header`},
		{`http_config { block_endpoints = ["v1"] }`, `"v1" must begin with /`},
		{`unix_sockets { mode = "rw" }`, `unix_sockets.mode "rw" must be octal`},
		{`raft_snapshot_threshold = -1`, `raft_snapshot_threshold cannot be -1`},
		{`ports { dns = 70000 }`, `ports.dns: invalid port: 70000`},
		{`addresses { dns = "unix:///x" }`, `addresses.dns cannot be a unix socket`},
		{`recursors = ["example.com"]`, `recursors: invalid recursor address "example.com"`},
		{`dns_config { udp_answer_limit = 0 }`, `dns_config.udp_answer_limit cannot be 0. Must be greater than zero`},
		{`dns_config { a_record_limit = -1 }`, `dns_config.a_record_limit cannot be -1. Must be greater than or equal to zero`},
		{`dns_config { service_ttl { web = "x" } }`, `dns_config.service_ttl "web" has an invalid duration: "x"`},
		{`dns_config { service_ttl { "w*b" = "1s" } }`, `a * may stand only at the end of a name`},
		{`dns_config { node_ttl = "-1s" }`, `dns_config.node_ttl cannot be -1s`},
		{`dns_config { recursor_strategy = "best" }`, `dns_config.recursor_strategy "best" is unknown`},
		{`dns_config { soa { min_ttl = -1 } }`, `dns_config.soa.min_ttl cannot be -1`},
		{`domain = "a..b"`, `domain "a..b" is no domain name`},
		{`retry_max = -1`, `retry_max must not be negative`},
		{`read_replica = true`, `read_replica is not supported`},
		{`auto_encrypt { tls = true }`, `auto_encrypt.tls is not supported`},
		{`servr = true`, `invalid config key servr; did you mean server?`},
		{`acl { tokens { agnt = "x" } }`, `invalid config key acl.tokens.agnt; did you mean acl.tokens.agent?`},
		{`service { name = "" }`, `service (""): has no name`},
		{`service { name = "a" check { name = "x" } }`, `check 1:`},
		{`service { name = "a" check { id = "x" check_id = "y" ttl = "1s" } }`, `has two IDs`},
		{`check { ttl = "1s" }`, `has no name`},
		{`check { name = "a" args = ["x"] script_args = ["y"] interval = "1s" }`, `has both args and script_args`},
		{`service { name = "a" connect { sidecar_service { connect { sidecar_service { } } } } }`, `the sidecar of "a" can't have one itself`},
		{`data_dir = `, `-hcl 2:1`},
		{`log_json = maybe`, `-hcl 2:1`},
	} {
		_, _, err := load(t, tc.hcl)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s\n gives %v\n want …%s…", tc.hcl, err, tc.want)
		}
	}
}

func TestLoad_SaysEverythingAtOnceWithFileAndLine(t *testing.T) {
	dir := t.TempDir()
	a := write(t, dir, "a.hcl", `servr = true
ports {
  htp = 1
}
service {
  name = "web"
  colour = "blue"
  check { interval = 2 }
}
services = [{ name = "b", checks = [{ ttl = "1x" }] }, 3]
`)
	b := write(t, dir, "b.json", `{
  "retry_max": "three",
  "nothing": null,
  "unknown": null,
  "performance": {
    "raft_multiplier": 20
  }
}`)
	c := write(t, dir, "c.json", "{\n\"server\": true,,\n}")
	d := write(t, dir, "d.hcl", `bind_addr = "127.0.0.1"`)
	_, _, err := config.Load(config.Source{Inputs: []config.Input{{Path: a}, {Path: b}, {Path: c}, {Path: d}, {Path: dir + "/missing.hcl"}}})
	got := strings.ReplaceAll(fmt.Sprint(err), dir+"/", "")
	golden(t, "faults.txt", got+"\n")
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not as expected (-rewrite writes it). Got:\n%s", name, got)
	}
}

func TestLoad_MergesInConsulsOrder(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "b.hcl", `node_name = "from-b" retry_join = ["b"] node_meta { x = "b" y = "b" } service { name = "b" }`)
	write(t, dir, "a.json", `{"node_name": "from-a", "datacenter": "a", "retry_join": ["a"], "node_meta": {"x": "a"}, "services": [{"name": "a1"}, {"name": "a2"}]}`)
	write(t, dir, "z.txt", `this is not read`)
	if err := os.Mkdir(filepath.Join(dir, "c.hcl"), 0o700); err != nil {
		t.Fatal(err)
	}
	first := write(t, t.TempDir(), "first", `log_level = "warn" retry_join = ["first"] data_dir = "/nonexistent/x" bind_addr = "127.0.0.1"`)
	c, _, err := config.Load(config.Source{
		Inputs: []config.Input{{Path: first}, {Path: dir}},
		Flags:  []config.FlagValue{{"node", "from-flag"}, {"retry-join", "flag"}, {"http-port", "1"}, {"node-meta", "z:flag"}, {"server", "true"}},
		HCL:    []string{`ports { http = 2 }`},
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.NodeName != "from-flag" || c.Datacenter != "a" || c.Log.Level != slog.LevelWarn || !c.Server {
		t.Errorf("scalars: %+v", c)
	}
	if want := []string{"first", "a", "b", "flag"}; !slices.Equal(c.RetryJoin, want) {
		t.Errorf("retry_join is %v, want %v", c.RetryJoin, want)
	}
	if want := map[string]string{"x": "b", "y": "b", "z": "flag"}; !reflect.DeepEqual(c.NodeMeta, want) {
		t.Errorf("node_meta is %v, want %v", c.NodeMeta, want)
	}
	if want := []config.Listener{{Network: "tcp", Address: "127.0.0.1:2"}}; !slices.Equal(c.HTTP, want) {
		t.Errorf("HTTP listeners are %v: fragments come last, as in Consul", c.HTTP)
	}
	var names []string
	for _, s := range c.Definitions.Services {
		names = append(names, s.Service.Service)
	}
	if want := []string{"a1", "a2", "b"}; !slices.Equal(names, want) {
		t.Errorf("services are %v, want %v", names, want)
	}
}

func TestLoad_DefaultsDependOnTheMode(t *testing.T) {
	client, server := mustLoad(t), mustLoad(t, `server = true bootstrap_expect = 3`)
	if !client.LeaveOnTerminate || client.SkipLeaveOnInterrupt {
		t.Errorf("a client leaves at SIGTERM and SIGINT: %+v", client)
	}
	if server.LeaveOnTerminate || !server.SkipLeaveOnInterrupt {
		t.Errorf("a server leaves at neither: %+v", server)
	}
	set := mustLoad(t, `server = true leave_on_terminate = true skip_leave_on_interrupt = false`)
	if !set.LeaveOnTerminate || set.SkipLeaveOnInterrupt {
		t.Errorf("what is said counts: %+v", set)
	}
	alone := mustLoad(t, `server = true bootstrap_expect = 1`)
	if !alone.Bootstrap || alone.BootstrapExpect != 1 {
		t.Errorf("bootstrap_expect 1 is bootstrap: %+v", alone)
	}
	if client.AdvertiseAddr != "127.0.0.1" || client.SerfBindAddr != "127.0.0.1" || client.AdvertiseAddrWAN != "127.0.0.1" {
		t.Errorf("addresses follow bind_addr: %+v", client)
	}
	if client.RetryInterval != 30*time.Second || client.ReconnectTimeout != 72*time.Hour || client.RPCHoldTimeout != 7*time.Second || client.CheckUpdateInterval != 5*time.Minute {
		t.Errorf("durations: %+v", client)
	}

	dev, _, err := config.Load(config.Source{Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	if !dev.Server || !dev.Bootstrap || !dev.UI || !dev.EnableDebug || dev.DataDir != "" || dev.BindAddr != "127.0.0.1" || dev.Log.Level != slog.LevelDebug {
		t.Errorf("development mode: %+v", dev)
	}
}

func TestLoad_ResolvesAddresses(t *testing.T) {
	c := mustLoad(t, `
		bind_addr = "{{ GetAllInterfaces | include \"name\" \"^lo$\" | include \"type\" \"IPv4\" | limit 1 | attr \"address\" }}"
		advertise_addr = "192.0.2.1"
		serf_lan = "[::1]"
		client_addr = "127.0.0.1 ::1 127.0.0.1"`)
	want := []config.Listener{{"tcp", "127.0.0.1:8500"}, {"tcp", "[::1]:8500"}}
	if c.BindAddr != "127.0.0.1" || c.AdvertiseAddr != "192.0.2.1" || c.SerfBindAddr != "::1" || !slices.Equal(c.HTTP, want) {
		t.Errorf("resolved: %+v", c)
	}
	c = mustLoad(t, `addresses { http = "unix:///run/muster.sock 127.0.0.2" } ports { http = -1 }`)
	if want := []config.Listener{{"unix", "/run/muster.sock"}}; !slices.Equal(c.HTTP, want) {
		t.Errorf("with the port off: %v, want %v", c.HTTP, want)
	}
}

func TestLoad_ReadsServicesAndChecks(t *testing.T) {
	c := mustLoad(t, `
service {
  id = "web-1"
  name = "web"
  tags = ["a"]
  port = 80
  enable_tag_override = true
  meta { k = "v" }
  weights { passing = 3 }
  tagged_addresses { lan { address = "192.0.2.1" port = 81 } }
  token = "secret"
  check { id = "one" http = "http://localhost" interval = "10s" timeout = "1s" header { X-A = ["1"] } deregister_critical_service_after = "90m" }
  check { ttl = "15s" }
  proxy { config { n = 1 x = 1.5 } }
  connect { sidecar_service { port = 20000 check { ttl = "20s" } proxy { upstreams { destination_name = "db" } } } }
}
check { name = "disk" script_args = ["true"] interval = "30s" }`)
	svc := c.Definitions.Services[0]
	if svc.Service.ID != "web-1" || svc.Service.Service != "web" || svc.Service.Port != 80 || !svc.Service.EnableTagOverride || svc.Token != "secret" ||
		svc.Service.Weights.Passing != 3 || svc.Service.Weights.Warning != 1 || svc.Service.TaggedAddresses["lan"].Port != 81 || svc.Service.Meta["k"] != "v" {
		t.Errorf("service: %+v", svc)
	}
	if n, x := svc.Service.Proxy.Config["n"], svc.Service.Proxy.Config["x"]; n != int64(1) || x != 1.5 {
		t.Errorf("free-form numbers: %T %T", n, x)
	}
	if len(svc.Checks) != 2 || svc.Checks[0].CheckID != "one" || svc.Checks[0].Interval != 10*time.Second || svc.Checks[0].DeregisterCriticalServiceAfter != 90*time.Minute ||
		svc.Checks[0].Header["X-A"][0] != "1" || svc.Checks[1].TTL != 15*time.Second {
		t.Errorf("checks: %+v", svc.Checks)
	}
	if side := svc.Sidecar; side == nil || side.Service.Port != 20000 || len(side.Checks) != 1 || side.Checks[0].TTL != 20*time.Second ||
		len(side.Service.Proxy.Upstreams) != 1 || side.Service.Proxy.Upstreams[0].DestinationName != "db" {
		t.Errorf("sidecar: %+v", side)
	}
	if len(c.Definitions.Checks) != 1 || c.Definitions.Checks[0].Check.ScriptArgs[0] != "true" {
		t.Errorf("node checks: %+v", c.Definitions.Checks)
	}
}

// What third parties' tests give an agent must start it.
func TestLoad_TakesWhatToolsGenerate(t *testing.T) {
	c, warnings, err := config.Load(config.Source{Inputs: []config.Input{{Path: "testdata/generated.json"}, {Path: write(t, t.TempDir(), "empty.hcl", "")}}})
	if err != nil {
		t.Fatal(err)
	}
	if c.Autopilot == nil || c.Autopilot.MinQuorum != 3 || !c.Autopilot.CleanupDeadServers {
		t.Errorf("autopilot: %+v", c.Autopilot)
	}
	if c.NodeID != "adf4238a-882b-9ddc-4a9d-5b6758e4159e" || !c.Server || !c.Bootstrap || c.RaftMultiplier != 1 || !c.EnableRemoteScriptChecks || !c.SkipLeaveOnInterrupt {
		t.Errorf("read as %+v", c)
	}
	for _, key := range []string{"acl.enabled", "ports.https", "verify_incoming", "disable_update_check", "version", "peering.enabled", "limits.rpc_rate"} {
		n := 0
		for _, w := range warnings {
			if strings.Contains(w, " "+key+" ") {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d warnings name %s, want one", n, key)
		}
	}
	for _, w := range warnings {
		if strings.Contains(w, "segments") {
			t.Errorf("null asks for nothing: %s", w)
		}
	}
}

func TestSecret_IsNeverPrinted(t *testing.T) {
	const key = "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s="
	c := mustLoad(t, `encrypt = "`+key+`"`)
	var b strings.Builder
	slog.New(slog.NewJSONHandler(&b, nil)).Info("configuration", "encrypt", c.Encrypt, "all", *c)
	fmt.Fprintf(&b, "%v %+v %#v %s %q", *c, *c, *c, c.Encrypt, c.Encrypt)
	if strings.Contains(b.String(), key[:8]) || !strings.Contains(b.String(), "hidden") {
		t.Errorf("the key is shown, or not marked as hidden: %s", b.String())
	}
	if string(c.Encrypt) != key {
		t.Error("the key is lost")
	}
}

func FuzzLoad(f *testing.F) {
	for _, seed := range []string{`a = 1`, `service { name = "x" check { ttl = "1s" } }`, `{"ports": {"http": 1}}`, "a = <<E\nE\n", `a "b" { c = [1, "x", {}] }`, `x = 0x`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, _, err := config.Load(config.Source{HCL: []string{text}, Dev: true})
		if (c == nil) == (err == nil) {
			t.Fatalf("config %v with error %v", c, err)
		}
	})
}
