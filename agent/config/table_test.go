package config_test

import (
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	"muster/agent/config"
)

// example is a value of each type in HCL, one that asks for something.
var example = map[config.Type]string{
	config.Bool: "true", config.Int: "7", config.Number: "1.5", config.String: `"x"`, config.Duration: `"7s"`,
	config.List: `["x"]`, config.Map: `{ k = "v" }`, config.Block: `{ k = "v" }`,
}

// assignment writes a key with its value, inside its blocks.
func assignment(path, value string) string {
	parts := strings.Split(path, ".")
	text := fmt.Sprintf("%s = %s", parts[len(parts)-1], value)
	for _, block := range slices.Backward(parts[:len(parts)-1]) {
		text = block + " { " + text + " }"
	}
	return text
}

func TestKeys_AreOneRowEachWithADoc(t *testing.T) {
	paths, flags := map[string]bool{}, map[string]bool{}
	for _, k := range config.Keys() {
		if paths[k.Path] {
			t.Errorf("%s has two rows", k.Path)
		}
		paths[k.Path] = true
		if k.Flag != "" && flags[k.Flag] {
			t.Errorf("-%s has two rows", k.Flag)
		}
		flags[k.Flag] = true
		if k.Doc == "" || example[k.Type] == "" {
			t.Errorf("%s has no doc, or the unknown type %q", k.Path, k.Type)
		}
	}
	if len(paths) < 300 {
		t.Errorf("there are only %d keys", len(paths))
	}
}

// Every row does what its class says: one acted on warns of nothing, one that
// isn't is named by one warning, one that won't come is refused with the reason.
func TestKeys_AreTreatedAsTheirClassSays(t *testing.T) {
	for _, k := range config.Keys() {
		_, warnings, err := load(t, assignment(k.Path, example[k.Type]))
		named := 0
		for _, w := range warnings {
			if strings.Contains(w, " "+k.Path+" is accepted but has no effect: "+k.Doc) {
				named++
			}
		}
		switch k.Status {
		case config.Here:
			if named != 0 {
				t.Errorf("%s is acted on, but warned of", k.Path)
			}
		case config.Later:
			if err != nil || named != 1 {
				t.Errorf("%s: %d warnings, error %v", k.Path, named, err)
			}
		case config.Never:
			if err == nil || !strings.Contains(err.Error(), k.Path+" is not supported: "+k.Doc) {
				t.Errorf("%s: error %v", k.Path, err)
			}
		}
	}
}

// Every key that is acted on has an effect on the Config: with it, the Config
// differs from that without it.
func TestKeys_ActedOnChangeTheConfig(t *testing.T) {
	// Values for keys whose type's example isn't valid for them, or is the default.
	special := map[string]string{
		"autopilot.cleanup_dead_servers": "false",
		"bind_addr":                      `"127.0.0.9"`, "advertise_addr": `"192.0.2.1"`, "advertise_addr_wan": `"192.0.2.1"`, "serf_lan": `"127.0.0.9"`,
		"client_addr": `"127.0.0.9"`, "addresses.http": `"unix:///x"`, "node_id": `"adf4238a-882b-9ddc-4a9d-5b6758e4159e"`,
		"encrypt": `"pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s="`, "log_level": `"warn"`, "unix_sockets.mode": `"0770"`,
		"serf_lan_allowed_cidrs": `["10.0.0.0/8"]`, "serf_wan_allowed_cidrs": `["10.0.0.0/8"]`,
		"http_config.block_endpoints": `["/v1"]`, "http_config.allow_write_http_from": `["10.0.0.0/8"]`, "performance.rpc_hold_timeout": `"9s"`,
		"encrypt_verify_incoming": "false", "encrypt_verify_outgoing": "false", "leave_on_terminate": "false",
		"addresses.dns": `"127.0.0.9"`, "recursors": `["127.0.0.9"]`, "dns_config.recursor_strategy": `"random"`,
		"dns_config.service_ttl": `{ x = "7s" }`, "dns_config.allow_stale": "false", "dns_config.use_cache": "false",
		"dns_config.enable_additional_node_meta_txt": "false",
		"service": `{ name = "x" }`, "services": `[{ name = "x" }]`, "check": `{ name = "x" ttl = "1s" }`, "checks": `[{ name = "x" ttl = "1s" }]`,
		"config_entries.bootstrap": `[{ kind = "mesh" }]`,
		"watches":                  `[{ type = "nodes" args = ["true"] }]`,
		"default_intention_policy": `"deny"`, "connect.enabled": "false", "connect.ca_config": `{ leaf_cert_ttl = "71h" }`,
		"locality.zone": "\"a\"\nregion = \"eu\"",
		"bootstrap":     "true\nserver = true", "bootstrap_expect": "3\nserver = true",
		"serf_wan": `"127.0.0.9"`, "retry_join_wan": "[\"a\"]\nserver = true", "start_join_wan": "[\"a\"]\nserver = true",
	}
	base := map[bool]*config.Config{false: mustLoad(t), true: mustLoad(t, `server = true`)}
	for _, k := range config.Keys() {
		if k.Status != config.Here || k.Path == "connect.ca_provider" {
			continue // of that one there is only one value
		}
		value, ok := special[k.Path]
		if !ok {
			value = example[k.Type]
		}
		c, _, err := load(t, assignment(k.Path, value))
		if err != nil {
			t.Errorf("%s: %v", k.Path, err)
			continue
		}
		if reflect.DeepEqual(c, base[strings.Contains(value, "server")]) {
			t.Errorf("%s = %s changes nothing", k.Path, value)
		}
	}
}

// Every field of the Config is read by the agent or the command that runs it: no
// key is taken and then ignored.
func TestConfig_EveryFieldIsActedOn(t *testing.T) {
	out, err := exec.Command("git", "grep", "-h", "--no-index", "-E", `\w\.[A-Z]`, "--", "../*.go", "../../cmd/agent/*.go", ":!../*_test.go").Output()
	if err != nil {
		t.Skipf("SKIPPED: git grep: %v", err)
	}
	var walk func(t reflect.Type, prefix string)
	walk = func(typ reflect.Type, prefix string) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			if f.Type.Kind() == reflect.Struct && f.Type.PkgPath() == reflect.TypeFor[config.Config]().PkgPath() {
				walk(f.Type, "")
				continue
			}
			if !strings.Contains(string(out), "."+prefix+f.Name) {
				t.Errorf("nothing reads Config's field %s", f.Name)
			}
		}
	}
	walk(reflect.TypeFor[config.Config](), "")
}

func TestFlags_ReachTheirKeys(t *testing.T) {
	for _, k := range config.Flags() {
		value := strings.Trim(example[k.Type], `"[]`)
		if k.Type == config.Map {
			value = "k:v"
		}
		_, warnings, err := config.Load(config.Source{Dev: true, Flags: []config.FlagValue{{Name: k.Flag, Value: value}}})
		said := strings.Join(warnings, "\n")
		if err != nil {
			said += err.Error()
		}
		if k.Status != config.Here && !strings.Contains(said, "-"+k.Flag+": "+k.Path) {
			t.Errorf("-%s: %q does not name %s", k.Flag, said, k.Path)
		}
		if k.Status == config.Here && strings.Contains(said, "no effect: "+k.Doc) {
			t.Errorf("-%s: %s", k.Flag, said)
		}
	}
	if _, _, err := config.Load(config.Source{Dev: true, Flags: []config.FlagValue{{Name: "nope", Value: "1"}, {Name: "http-port", Value: "x"}}}); err == nil ||
		!strings.Contains(err.Error(), "-nope: there is no such flag") || !strings.Contains(err.Error(), `-http-port: must be a whole number, not "x"`) {
		t.Errorf("bad flags: %v", err)
	}
}

const (
	compatibilityDoc = "../../docs/compatibility.md"
	sectionBegin     = "<!-- configuration: begin -->"
	sectionEnd       = "<!-- configuration: end -->"
)

// TestCompatibility_DocIsCurrent makes the page's section on configuration from
// the table of keys. With -rewrite it writes the page.
func TestCompatibility_DocIsCurrent(t *testing.T) {
	page, err := os.ReadFile(compatibilityDoc)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), sectionBegin)
	_, after, closed := strings.Cut(rest, sectionEnd)
	if !ok || !closed {
		t.Fatalf("%s has no %s … %s", compatibilityDoc, sectionBegin, sectionEnd)
	}
	current := before + sectionBegin + section() + sectionEnd + after
	if *rewrite {
		if err := os.WriteFile(compatibilityDoc, []byte(current), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if current != string(page) {
		t.Errorf("%s is not what the table of keys says; run: go test ./agent/config -run Compatibility -rewrite", compatibilityDoc)
	}
}

func section() string {
	var b strings.Builder
	counts := map[config.Status]int{}
	for _, k := range config.Keys() {
		counts[k.Status]++
	}
	fmt.Fprintf(&b, "\n\n%d keys are acted on, %d are accepted with a warning but have no effect yet, and %d are refused\nwhere they ask for something. Any other key is an error.\n", counts[config.Here], counts[config.Later], counts[config.Never])
	b.WriteString("\n| key | flag | type | | |\n|---|---|---|---|---|\n")
	for _, k := range config.Keys() {
		flag := ""
		if k.Flag != "" {
			flag = "`-" + k.Flag + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", k.Path, flag, k.Type, k.Status, k.Doc)
	}
	b.WriteString("\nBeside these, `muster agent` has `-config-file`, `-config-dir`, `-config-format`, `-hcl` and `-dev`.\n\n")
	return b.String()
}
