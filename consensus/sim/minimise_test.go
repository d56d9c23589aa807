package sim

import (
	"slices"
	"testing"

	"muster/consensus/core"
)

// TestMinimise_FindsTheStepsThatMatter: of a plan of many steps the two that a
// made-up rule needs are left, and of its sizes what the rule needs.
func TestMinimise_FindsTheStepsThatMatter(t *testing.T) {
	plan := Draw(7)
	plan.Servers, plan.Clients, plan.Spares, plan.Loss = 5, 8, 2, 0.1
	first, second := plan.Steps[2].Seed, plan.Steps[len(plan.Steps)-3].Seed
	runs := 0
	run := func(p Plan) Report {
		runs++
		has := func(seed uint64) bool {
			return slices.ContainsFunc(p.Steps, func(st Step) bool { return st.Seed == seed })
		}
		r := Report{Plan: p, Ended: p.Faults + second10}
		if has(first) && has(second) && p.Servers >= 3 {
			r.Rule, r.Ended = "made up", core.Duration(plan.Steps[len(plan.Steps)-3].At+1)
		}
		return r
	}
	failed := run(plan)
	if failed.Rule == "" {
		t.Fatal("the whole plan does not break the rule")
	}
	m := Minimise(failed, 400, run)
	p := m.Report.Plan
	if m.Report.Rule != failed.Rule || len(p.Steps) != 2 || p.Servers != 3 || p.Clients != 1 || p.Spares != 0 || p.Loss != 0 {
		t.Errorf("minimised to %v\n%s(mask %s)", p, p.Describe(), m.Mask)
	}
	if m.Runs > 400 || runs != m.Runs+1 {
		t.Errorf("took %d runs of 400 and says %d", runs-1, m.Runs)
	}
	again, err := ParseMask(m.Mask.String())
	if err != nil || plan.Masked(again).String() != p.String() || plan.Masked(again).Describe() != p.Describe() {
		t.Errorf("mask %q (%v) makes another plan", m.Mask, err)
	}
}

const second10 = 10 * second

func TestMask_RefusesWhatItDoesNotKnow(t *testing.T) {
	for _, text := range []string{"stars=3", "servers=x", "steps=1+b", "until=9", "salt=-1"} {
		if m, err := ParseMask(text); err == nil {
			t.Errorf("%q became %+v", text, m)
		}
	}
}
