package main

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

var rewrite = flag.Bool("rewrite", false, "rewrite docs/compatibility.md")

const (
	compatibilityDoc = "../../docs/compatibility.md"
	sectionBegin     = "<!-- commands: begin -->"
	sectionEnd       = "<!-- commands: end -->"
)

// notHere are the commands of Consul 1.21 that are missing: not yet, or for good
// and why.
var notHere = map[string]string{
	"acl":                        "",
	"connect envoy":              "won't: it writes the configuration of a data plane that Muster doesn't have",
	"connect expose":             "",
	"connect proxy":              "won't: Muster is no proxy",
	"exec":                       "won't: Consul has it off, as it lets whoever writes a key run commands on all nodes",
	"login":                      "",
	"logout":                     "",
	"operator area":              "won't: it is Consul Enterprise's",
	"operator utilization":       "won't: it is for Consul Enterprise's licence",
	"peering":                    "",
	"services imported-services": "won't: Consul 1.21 has no such command either",
	"troubleshoot":               "won't: it looks at Envoy, which Muster doesn't have",
}

// TestCompatibility_ListsTheCommands makes the page's section on commands from the
// commands that are here. With -rewrite it writes the page.
func TestCompatibility_ListsTheCommands(t *testing.T) {
	page, err := os.ReadFile(compatibilityDoc)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	listCommands(rows, "", newApp(strings.NewReader(""), io.Discard, io.Discard).Commands)
	here := len(rows)
	for name, why := range notHere {
		for path := range rows {
			if strings.HasPrefix(path+" ", name+" ") {
				t.Errorf("%s is here, and listed as missing", path)
			}
		}
		state := "not yet"
		if reason, never := strings.CutPrefix(why, "won't: "); never {
			state, why = "won't", reason
		}
		rows[name] = state + " | " + why
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n\n%d commands are here, with the flags, the output and the exit codes of Consul's; `-help` says what each does.\nLeft out are `-namespace`, `-partition` and `-segment`, which are Consul Enterprise's, `-stale` of `lock` and of `set-config` and `remove-peer`, where it would do nothing, and `debug -since`, which runs HashiCorp's hcdiag.\n`debug` records the members of the LAN where Consul has those of the WAN. Some commands refuse arguments that Consul passes over.\n\n| command | | |\n|---|---|---|\n", here)
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, rows[name])
	}
	before, rest, ok := strings.Cut(string(page), sectionBegin)
	_, after, closed := strings.Cut(rest, sectionEnd)
	if !ok || !closed {
		t.Fatalf("%s has no %s … %s", compatibilityDoc, sectionBegin, sectionEnd)
	}
	current := before + sectionBegin + b.String() + "\n" + sectionEnd + after
	if *rewrite {
		if err := os.WriteFile(compatibilityDoc, []byte(current), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if current != string(page) {
		t.Errorf("%s is not what the commands say; run: go test ./cmd/agent -run Compatibility -rewrite", compatibilityDoc)
	}
}

// listCommands notes the commands that do something, by their path.
func listCommands(rows map[string]string, parent string, commands []*cli.Command) {
	for _, cmd := range commands {
		path := strings.TrimSpace(parent + " " + cmd.Name)
		if len(cmd.Subcommands) > 0 {
			listCommands(rows, path, cmd.Subcommands)
			continue
		}
		rows[path] = "here | " + cmd.Usage
	}
}
