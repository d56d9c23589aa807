package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var tourBlock = regexp.MustCompile("(?s)```sh tour\n(.*?)```")

// TestREADME_TourWorksAsWritten runs the README's five-minute tour, in order
// and as it stands, in one shell.
func TestREADME_TourWorksAsWritten(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(binary, filepath.Join(dir, "bin", "muster")); err != nil {
		t.Fatal(err)
	}
	script := "set -e\ntrap 'kill -9 $(cat tour-*.pid) 2>/dev/null' EXIT\n"
	blocks := tourBlock.FindAllStringSubmatch(string(readme), -1)
	if len(blocks) < 6 {
		t.Fatalf("the README's tour has %d blocks; is it still marked?", len(blocks))
	}
	for _, b := range blocks {
		script += strings.Replace(b[1], "make build\n", "", 1)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		logs, _ := filepath.Glob(filepath.Join(dir, "tour-*.log"))
		for _, l := range logs {
			b, _ := os.ReadFile(l)
			t.Logf("%s:\n%.8000s", filepath.Base(l), b)
		}
		t.Fatalf("the tour stops: %v\n%s", err, out)
	}
	for _, want := range []string{"server-3", "client", `"Output":"up"`, `"printer"`, "muster_gossip_members"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the tour's output has no %s:\n%s", want, out)
		}
	}
}
