package checks

import "context"

// NewStepper runs a check by hand: each call asks once and gives the state that
// the answer brings about, "" for none.
func NewStepper(d Definition) func(context.Context) string {
	probe, limits := d.described()[0].build(d, Config{}), newThresholds(d)
	return func(ctx context.Context) string {
		status, _ := probe(ctx)
		if status, settled := limits.observe(status); settled {
			return status
		}
		return ""
	}
}
