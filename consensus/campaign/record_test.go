package main

import (
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestRecord_GoesOnWhereItEnded: seeds in a row are one line, another commit is
// another line, and what was written is read back.
func TestRecord_GoesOnWhereItEnded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "campaign.txt")
	r, err := open(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, commit := range []string{"a", "a", "b"} {
		r.add(commit, "simulator", r.next("simulator"), tally{seeds: 10, simulated: time.Minute, operations: 7})
		r.add(commit, "walk", r.next("walk"), tally{seeds: 3, failures: []string{"seed 2:\n  two leaders"}})
		if err := r.save(); err != nil {
			t.Fatal(err)
		}
		if r, err = open(path); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, l := range r.lines {
		got = append(got, l.String())
	}
	want := []string{
		"a               simulator  1        20       2m0s           14          0",
		"a               walk       1        6        0s             0           2",
		"b               simulator  21       30       1m0s           7           0",
		"b               walk       7        9        0s             0           1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if f := r.lines[1].failures; len(f) != 2 || f[0] != "seed 2: two leaders" {
		t.Errorf("failures read back as %q", f)
	}
}

// TestSimulate_CountsWhatItRan: the campaign runs the simulator itself.
func TestSimulate_CountsWhatItRan(t *testing.T) {
	got, err := simulate(t.Context(), 1, 4, 2)
	if err != nil || got.seeds != 4 || got.operations == 0 || got.simulated == 0 || len(got.failures) > 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}
