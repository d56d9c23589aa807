package checks

import "muster/catalog"

// thresholds turns answers into states: a state changes only after so many
// answers of its sort in a row.
type thresholds struct {
	beforePassing, beforeWarning, beforeCritical int

	good, bad int // answers of that sort in a row; at most one is above zero
}

func newThresholds(d Definition) *thresholds {
	t := &thresholds{
		beforePassing:  d.SuccessBeforePassing,
		beforeWarning:  d.FailuresBeforeWarning,
		beforeCritical: d.FailuresBeforeCritical,
	}
	if t.beforeWarning == 0 {
		t.beforeWarning = t.beforeCritical
	}
	return t
}

// observe gives the state that an answer brings about, and false where it is
// too early for another one.
func (t *thresholds) observe(status string) (string, bool) {
	if status == catalog.StatusPassing || status == catalog.StatusWarning {
		t.good, t.bad = t.good+1, 0
		return status, t.good >= t.beforePassing
	}
	t.good, t.bad = 0, t.bad+1
	switch {
	case t.bad >= t.beforeCritical:
		return catalog.StatusCritical, true
	case t.bad >= t.beforeWarning:
		return catalog.StatusWarning, true
	}
	return "", false
}
