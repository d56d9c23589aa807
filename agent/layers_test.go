package agent_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// layers says, for each package, which of ours it may import. It is the table
// of docs/architecture.md; a package that is not in it fails the test.
var layers = map[string][]string{
	"catalog":             {},
	"consensus/core":      {},
	"gossip":              {},
	"ui":                  {},
	"catalog/state":       {"catalog"},
	"catalog/acl":         {"catalog"},
	"catalog/configentry": {"catalog"},
	"catalog/chain":       {"catalog", "catalog/configentry"},
	"catalog/gateway":     {"catalog", "catalog/configentry", "catalog/state"},
	"catalog/archive":     {"catalog/state"},
	"catalog/ca":          {"catalog"},
	"consensus/wal":       {"consensus/core"},
	"consensus/wal/memfs": {"consensus/wal"},
	"consensus/transport": {"consensus/core"},
	"agent/child":         {},
	"agent/handlers":      {"agent/child"},
	"agent/checks":        {"catalog", "agent/child"},
	"agent/dns":           {"catalog"},
	"consensus":           {"consensus/core", "consensus/wal", "consensus/wal/memfs", "consensus/transport"},
	"consensus/planted":   {},
	"consensus/campaign":  {"consensus/sim"},
	"consensus/sim":       {"consensus", "consensus/core", "consensus/wal", "consensus/wal/memfs", "consensus/transport"},
	"agent/local":         {"catalog", "agent/checks", "consensus/core", "consensus/wal"},
	"api":                 {"catalog", "catalog/state", "catalog/acl"},
	"api/agentapi":        {"api", "catalog", "catalog/state", "catalog/acl"},
	"api/catalogapi":      {"api", "catalog", "catalog/configentry", "catalog/gateway", "catalog/state", "catalog/acl"},
	"api/configapi":       {"api", "catalog", "catalog/ca", "catalog/chain", "catalog/configentry", "catalog/state", "catalog/acl"},
	"api/connectapi":      {"api", "catalog", "catalog/ca", "catalog/state", "catalog/acl"},
	"api/kvapi":           {"api", "catalog", "catalog/state", "catalog/acl"},
	"api/sessionapi":      {"api", "catalog", "catalog/state", "catalog/acl"},
	"api/queryapi":        {"api", "catalog", "catalog/state", "catalog/acl"},
	"api/snapshotapi":     {"api", "catalog", "catalog/state", "catalog/acl", "catalog/archive"},
	"api/txnapi":          {"api", "catalog", "catalog/acl"},
	"api/operatorapi":     {"api", "catalog", "catalog/state", "catalog/acl"},
	"agent/config":        {"catalog", "catalog/ca", "catalog/configentry", "agent/checks", "agent/dns", "agent/handlers", "agent/local", "gossip", "consensus", "api"},
	"agent":               {"*"},
	"cmd/agent":           {"agent", "agent/config", "agent/checks", "catalog", "catalog/archive", "catalog/configentry"},
	"cmd/agent/e2e":       {},
	"docs":                {}, // tests that compare pages with what the program does
}

// pure are the standard packages that the Raft core must do without: it has no
// clock, network, disk, logger or lock of its own.
var pure = []string{"time", "net", "os", "sync", "log", "log/slog", "math/rand", "math/rand/v2", "sync/atomic", "syscall"}

func TestPackages_ImportOnlyWhatTheirLevelMay(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "muster/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; seen++ {
		var pkg struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&pkg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(pkg.ImportPath, "muster/")
		allowed, ok := layers[name]
		if !ok {
			t.Errorf("package %s stands at no level", name)
			continue
		}
		for _, imp := range pkg.Imports {
			ours, is := strings.CutPrefix(imp, "muster/")
			if is && !slices.Contains(allowed, "*") && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s, which its level may not", name, ours)
			}
			if name == "consensus/core" && slices.Contains(pure, imp) {
				t.Errorf("the Raft core imports %s", imp)
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d packages were looked at", seen)
	}
}
