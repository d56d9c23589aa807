package sim

import (
	"fmt"
	"slices"
)

// Minimised is the smallest run found that breaks the same rule as another.
type Minimised struct {
	Mask   Mask
	Report Report
	Runs   int // how many runs it took
}

// Minimise looks for the smallest part of failed's plan that still breaks the
// rule that failed broke, in at most budget runs. run is RunPlan, or stands for
// it.
//
// As chance is drawn part by part, most of a smaller run goes as it went before;
// where the rest matters, other dice are tried.
func Minimise(failed Report, budget int, run func(Plan) Report) Minimised {
	m := &minimiser{plan: failed.Plan, rule: failed.Rule, left: budget, run: run, best: Minimised{Report: failed}}
	for i := range failed.Plan.Steps {
		m.best.Mask.Steps = append(m.best.Mask.Steps, i)
	}
	m.shorten()
	m.dropSteps()
	m.try(func(k *Mask) { k.Calm = true })
	m.try(func(k *Mask) { k.Exact = true })
	m.try(func(k *Mask) { k.Alone = true })
	for n := 1; n < m.best.Report.Plan.Clients && !m.try(func(k *Mask) { k.Clients = n }); n *= 2 {
	}
	for n := 1; n < m.best.Report.Plan.Servers && !m.try(func(k *Mask) { k.Servers = n }); n += 2 {
	}
	m.shorten()
	m.dropSteps()
	m.best.Runs = budget - m.left
	return m.best
}

// salts is how many other dice are tried for each change.
const salts = 3

type minimiser struct {
	plan Plan
	rule string
	left int
	run  func(Plan) Report
	best Minimised
}

// try keeps a change of the mask if the rule still breaks, be it with other dice.
func (m *minimiser) try(change func(*Mask)) bool {
	for salt := range uint64(salts) {
		mask := m.best.Mask
		mask.Steps = slices.Clone(mask.Steps)
		mask.Salt += salt
		change(&mask)
		plan := m.plan.Masked(mask)
		if same := m.best.Report.Plan; salt == 0 && plan.String() == same.String() {
			return false // it takes nothing away
		}
		if m.left--; m.left < 0 {
			m.left = 0
			return false
		}
		if r := m.run(plan); r.Rule == m.rule {
			m.best.Mask, m.best.Report = mask, r
			return true
		}
	}
	return false
}

// shorten ends the first phase where the rule broke.
func (m *minimiser) shorten() {
	end := m.best.Report.Ended + millisecond
	if end < m.best.Report.Plan.Faults {
		m.try(func(k *Mask) {
			k.Until = end
			k.Steps = slices.DeleteFunc(k.Steps, func(i int) bool { return m.plan.Steps[i].At > end })
		})
	}
}

// dropSteps drops runs of steps: large ones first, then single ones.
func (m *minimiser) dropSteps() {
	for size := (len(m.best.Mask.Steps) + 1) / 2; size > 0; size /= 2 {
		for at := 0; at < len(m.best.Mask.Steps); {
			end := min(at+size, len(m.best.Mask.Steps))
			if !m.try(func(k *Mask) { k.Steps = slices.Delete(k.Steps, at, end) }) {
				at += size
			}
		}
	}
}

// Tail keeps the last lines of a trace. Its Printf is for RunPlan.
type Tail struct {
	Lines []string
	max   int
}

// NewTail keeps at most the given number of lines.
func NewTail(lines int) *Tail { return &Tail{max: lines} }

// Printf takes a line.
func (t *Tail) Printf(format string, args ...any) {
	if len(t.Lines) == t.max {
		t.Lines = t.Lines[1:]
	}
	t.Lines = append(t.Lines, fmt.Sprintf(format, args...))
}
