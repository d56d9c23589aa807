package sim

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

var hashSeeds = flag.Uint64("hashes", 0, "print the trace hashes of so many seeds, for TestRaceBuildHasTheSameTrace")

// TestHashes prints trace hashes for another build of this test to compare.
func TestHashes(t *testing.T) {
	if *hashSeeds == 0 {
		t.Skip("runs for TestRaceBuildHasTheSameTrace only")
	}
	fmt.Print(hashes(*hashSeeds))
}

// hashes runs the first n seeds; each gives a line.
func hashes(n uint64) string {
	var lines strings.Builder
	for seed := uint64(1); seed <= n; seed++ {
		fmt.Fprintf(&lines, "trace %d %016x\n", seed, Run(seed, nil).Hash)
	}
	return lines.String()
}

// TestRaceBuildHasTheSameTrace: a run is a function of its seed whatever the
// compiler does to the code; the race detector moves allocations, inlining and
// map seeds.
func TestRaceBuildHasTheSameTrace(t *testing.T) {
	if budget != 1 || testing.Short() {
		t.Skip("SKIPPED under -race and with -short: no build with the race detector was compared")
	}
	const seeds = 6
	cmd := exec.CommandContext(t.Context(), "go", "test", "-race", "-vet=off", "-count=1", "-run=^TestHashes$", fmt.Sprintf("-hashes=%d", seeds), ".")
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, exec.ErrNotFound) || bytes.Contains(out, []byte("-race requires cgo")) || bytes.Contains(out, []byte("C compiler")):
		t.Skipf("SKIPPED: this machine cannot build with -race: %s", out)
	case err != nil:
		t.Fatalf("go test -race: %v\n%s", err, out)
	}
	var raced strings.Builder
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "trace ") {
			raced.WriteString(line)
		}
	}
	if plain := hashes(seeds); raced.String() != plain {
		t.Errorf("with -race:\n%swithout:\n%s", raced.String(), plain)
	}
}
