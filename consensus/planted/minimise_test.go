package planted

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

var minimised = regexp.MustCompile(`minimised in \d+ runs to (\d+) of (\d+) steps: [^\n]*\n\s*replay: [^\n]*-seed=(\d+) -mask="([^"]*)"`)

// TestMinimise_APlantedBugIsShownByFewSteps: the simulator makes the run that
// finds a planted bug small, and the line it prints replays the small run, which
// fails on the changed code and passes on ours.
func TestMinimise_APlantedBugIsShownByFewSteps(t *testing.T) {
	if testing.Short() || underRace {
		t.Skip("SKIPPED with -short and under -race: no failing run was made smaller")
	}
	consensus, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	w := &workshop{consensus: consensus, dir: t.TempDir()}
	simulator := cluster(100)
	simulator.flags = append(simulator.flags, "-minimise=200")
	for _, number := range []int{24, 36, 43} {
		planted := bugs[slices.IndexFunc(bugs, func(b bug) bool { return b.number == number })]
		out, failed, err := w.run(planted, simulator)
		if err != nil || !failed {
			t.Fatalf("bug %d: not found in 100 seeds (%v)", number, err)
		}
		m := minimised.FindStringSubmatch(out)
		if m == nil {
			t.Fatalf("bug %d: no minimised run in\n%s", number, firstLines(out))
		}
		kept, _ := strconv.Atoi(m[1])
		whole, _ := strconv.Atoi(m[2])
		t.Logf("bug %d: seed %s, %d of %d steps: -mask=%q", number, m[3], kept, whole, m[4])
		if kept > 5 || kept >= whole {
			t.Errorf("bug %d: %d of %d steps are left", number, kept, whole)
		}
		for _, b := range []bug{planted, {name: "none"}} {
			binary, err := w.build(b, "sim")
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), binary, "-test.run=^TestSeeds$", "-seed="+m[3], "-mask="+m[4])
			cmd.Dir = filepath.Join(consensus, "sim")
			cmd.Env = append(os.Environ(), "GOTRACEBACK=none")
			out, err := cmd.CombinedOutput()
			if fails := err != nil; fails != (b.number != 0) {
				t.Errorf("bug %d: the replay of mask %q with bug %d planted: failed=%v\n%s", number, m[4], b.number, fails, out)
			}
		}
	}
}
