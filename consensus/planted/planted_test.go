package planted

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	oneBug    = flag.Int("bug", 0, "plant only the bug of this number")
	allChecks = flag.Bool("all", false, "run every check of a bug, not only up to the first that finds it")
)

// deadline ends a single run of a check. Running into it is not finding a bug.
const deadline = 90 * time.Second

// TestPlantedBugs prints the table of docs/testing.md as it is today.
func TestPlantedBugs(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED with -short: no planted bug was looked for; run go test ./consensus/planted")
	}
	if underRace {
		t.Skip("SKIPPED under -race: no planted bug was looked for; run go test ./consensus/planted")
	}
	consensus, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	w := &workshop{consensus: consensus, dir: t.TempDir()}
	if *oneBug == 0 {
		w.soundCode(t)
	}

	var (
		results = make([]*result, len(bugs))
		todo    = make(chan int)
		workers sync.WaitGroup
	)
	for range 2 {
		workers.Go(func() {
			for i := range todo {
				results[i] = w.look(bugs[i])
			}
		})
	}
	for i, b := range bugs {
		if b.notApplicable == "" && (*oneBug == 0 || *oneBug == b.number) {
			todo <- i
		}
	}
	close(todo)
	workers.Wait()
	report(t, results)
}

// report prints the table and fails for what is not as it should be.
func report(t *testing.T, results []*result) {
	t.Helper()
	found, applicable := 0, 0
	for i, b := range bugs {
		r := results[i]
		name := fmt.Sprintf("%2d %-44s", b.number, b.name)
		switch {
		case b.notApplicable != "" && *oneBug == 0:
			t.Logf("%s not applicable: %s", name, b.notApplicable)
			continue
		case r == nil:
			continue // another one was asked for by -bug
		}
		applicable++
		switch {
		case r.err != nil:
			t.Errorf("%s cannot be planted: %v", name, r.err)
		case r.finder == "" && b.survives != "":
			t.Logf("%s SURVIVES, as known: %s (%s)", name, b.survives, r.tried())
		case r.finder == "":
			t.Errorf("%s SURVIVES: none of its checks failed: %s", name, r.tried())
		case b.survives != "":
			t.Errorf("%s is found by %s, but listed as a known survivor: strike that", name, r.finder)
		default:
			found++
			t.Logf("%s found by %s in %.1f s", name, r.finder, r.took.Seconds())
		}
		if r.log != "" {
			t.Log(r.log)
		}
	}
	t.Logf("%d of %d planted bugs found", found, applicable)
}

// result is what became of one bug.
type result struct {
	finder string // "" if it survived
	took   time.Duration
	runs   []string // checks that passed, with their budgets
	log    string
	err    error
}

func (r *result) tried() string { return strings.Join(r.runs, "; ") }

// workshop builds and runs test binaries of changed code.
type workshop struct {
	consensus string // the directory
	dir       string // temporary
}

// soundCode runs all checks on the unchanged code, where they must pass.
func (w *workshop) soundCode(t *testing.T) {
	t.Helper()
	largest := make(map[string]check)
	for _, b := range bugs {
		for _, c := range b.checks {
			if have, ok := largest[c.name]; !ok || have.seeds < c.seeds {
				largest[c.name] = c
			}
		}
	}
	w.parallel(largest, func(c check) {
		out, failed, err := w.run(bug{name: "none"}, c)
		switch {
		case err != nil:
			t.Errorf("%s on the unchanged code: %v", c, err)
		case failed:
			t.Errorf("%s fails on the unchanged code:\n%s", c, out)
		}
	})
	if t.Failed() {
		t.FailNow()
	}
}

func (w *workshop) parallel(checks map[string]check, f func(check)) {
	var group sync.WaitGroup
	slots := make(chan struct{}, 2)
	for _, c := range checks {
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			f(c)
		})
	}
	group.Wait()
}

// look plants b and runs its checks until one fails.
func (w *workshop) look(b bug) *result {
	r := new(result)
	for _, c := range b.checks {
		start := time.Now()
		out, failed, err := w.run(b, c)
		took := time.Since(start)
		switch {
		case err != nil:
			r.err = fmt.Errorf("%s: %w", c, err)
			return r
		case !failed:
			r.runs = append(r.runs, c.String())
			if *allChecks {
				r.log += fmt.Sprintf("not found by %s in %.1f s\n", c, took.Seconds())
			}
			continue
		}
		if *allChecks {
			r.log += fmt.Sprintf("found by %s in %.1f s: %s\n", c, took.Seconds(), firstLines(out))
		}
		if r.finder == "" {
			r.finder, r.took = c.String()+c.where(out), took
		}
		if !*allChecks {
			return r
		}
	}
	return r
}

// firstLines keeps what tells how a check failed.
func firstLines(out string) string {
	lines := strings.Split(out, "\n")
	return strings.Join(lines[:min(len(lines), 12)], "\n    ")
}

// run says whether a check fails with b planted. An error says that there was no
// verdict.
func (w *workshop) run(b bug, c check) (out string, failed bool, err error) {
	binary, err := w.build(b, c.pkg)
	if err != nil {
		return "", false, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, c.args()...)
	cmd.Dir = filepath.Join(w.consensus, c.pkg)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOTRACEBACK=none")
	raw, err := cmd.CombinedOutput()
	switch exit, stopped := errors.AsType[*exec.ExitError](err); {
	case err == nil:
		return string(raw), false, nil
	case ctx.Err() != nil:
		return string(raw), false, nil // it hangs; nothing has said that it is wrong
	case !stopped:
		return "", false, err
	case !bytes.Contains(raw, []byte("--- FAIL: ")) && !bytes.Contains(raw, []byte("panic: ")):
		return "", false, fmt.Errorf("the check ended with %v but named no failure:\n%s", exit, raw)
	}
	return string(raw), true, nil
}

// build makes the test binary of a package with b planted, once.
func (w *workshop) build(b bug, pkg string) (string, error) {
	dir := filepath.Join(w.dir, fmt.Sprint(b.number))
	binary := filepath.Join(dir, filepath.Base(filepath.Join(w.consensus, pkg))+".test")
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	overlay, err := w.plant(b, dir)
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", binary, "./"+pkg)
	cmd.Dir = w.consensus
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return binary, nil
}

// plant writes the changed files and the overlay that puts them in place of the
// originals.
func (w *workshop) plant(b bug, dir string) (overlay string, err error) {
	texts := make(map[string]string)
	for _, e := range b.edits {
		text, ok := texts[e.file]
		if !ok {
			raw, err := os.ReadFile(filepath.Join(w.consensus, e.file))
			if err != nil {
				return "", err
			}
			text = string(raw)
		}
		if n := strings.Count(text, e.old); n != 1 {
			return "", fmt.Errorf("the text to replace stands %d times in consensus/%s, not once:\n%s", n, e.file, e.old)
		}
		texts[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	replace := make(map[string]string)
	for file, text := range texts {
		changed := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(w.consensus, file)] = changed
	}
	raw, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, raw, 0o600)
}

// check is one run of the test binary of a package.
type check struct {
	name  string
	pkg   string // below consensus
	flags []string
	seeds int // budget; 0 for a check that takes none
}

func (c check) String() string {
	if c.seeds == 0 {
		return c.name
	}
	return fmt.Sprintf("%s, %d seeds", c.name, c.seeds)
}

func (c check) args() []string {
	args := append([]string{"-test.count=1"}, c.flags...)
	if c.seeds > 0 {
		args = append(args, fmt.Sprintf("-seeds=%d", c.seeds))
	}
	return args
}

var (
	failingSeed = regexp.MustCompile(`seed (\d+):`)
	failingTest = regexp.MustCompile(`--- FAIL: (\S+)`)
)

// where says at which seed or in which test a check failed.
func (c check) where(out string) string {
	if m := failingSeed.FindStringSubmatch(out); m != nil && c.seeds > 0 {
		return " (seed " + m[1] + ")"
	}
	if c.seeds > 0 {
		return " (panic)"
	}
	all := failingTest.FindAllStringSubmatch(out, -1)
	if len(all) == 0 {
		return " (panic)"
	}
	return " (" + all[len(all)-1][1] + ")"
}
