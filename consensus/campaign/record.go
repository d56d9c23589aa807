package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

// record is the file of a campaign. A line says what some seeds in a row came to
// on one commit; below it are those that failed.
type record struct {
	path  string
	lines []*line
}

type line struct {
	commit, trial string
	first, last   uint64
	simulated     time.Duration
	operations    uint64
	failures      []string
}

const head = `# How far the campaign got (make campaign; docs/testing.md). One line for each
# run of seeds on one commit; operations are those judged by Porcupine, steps of
# the random walk, or crash points. A failing seed stands below its line.
#
# commit        trial      first    last     simulated      operations  failed
`

// open reads the file, if there is one.
func open(path string) (*record, error) {
	r := &record{path: path}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	for in, n := bufio.NewScanner(f), 1; ; n++ {
		if !in.Scan() {
			return r, in.Err()
		}
		text := in.Text()
		switch {
		case text == "" || text[0] == '#':
		case text[0] == '\t' && len(r.lines) > 0:
			l := r.lines[len(r.lines)-1]
			l.failures = append(l.failures, text[1:])
		default:
			l, err := parse(text)
			if err != nil {
				return nil, fmt.Errorf("%s, line %d: %w", path, n, err)
			}
			r.lines = append(r.lines, l)
		}
	}
}

func parse(text string) (*line, error) {
	var l line
	var simulated string
	var failed int
	if _, err := fmt.Sscan(text, &l.commit, &l.trial, &l.first, &l.last, &simulated, &l.operations, &failed); err != nil {
		return nil, fmt.Errorf("want seven columns: %w", err)
	}
	var err error
	l.simulated, err = time.ParseDuration(simulated)
	return &l, err
}

func (l *line) String() string {
	return fmt.Sprintf("%-15s %-10s %-8d %-8d %-14v %-11d %d", l.commit, l.trial, l.first, l.last, l.simulated.Round(time.Second), l.operations, len(l.failures))
}

// next is the first seed that a trial has not had on any commit.
func (r *record) next(trial string) uint64 {
	next := uint64(1)
	for _, l := range r.lines {
		if l.trial == trial {
			next = max(next, l.last+1)
		}
	}
	return next
}

// add notes what seeds from first on came to, in the line that they continue if
// there is one.
func (r *record) add(commit, trial string, first uint64, got tally) {
	var at *line
	for _, l := range r.lines {
		if l.commit == commit && l.trial == trial && l.last+1 == first {
			at = l
		}
	}
	if at == nil {
		at = &line{commit: commit, trial: trial, first: first}
		r.lines = append(r.lines, at)
	}
	at.last = first + got.seeds - 1
	at.simulated += got.simulated
	at.operations += got.operations
	at.failures = append(at.failures, got.failures...)
}

// save replaces the file.
func (r *record) save() error {
	var b strings.Builder
	b.WriteString(head)
	for _, l := range r.lines {
		fmt.Fprintln(&b, l)
		for _, f := range l.failures {
			fmt.Fprintf(&b, "\t%s\n", strings.Join(strings.Fields(f), " "))
		}
	}
	if err := os.WriteFile(r.path+".new", []byte(b.String()), 0o644); err != nil {
		return err
	}
	return os.Rename(r.path+".new", r.path)
}
