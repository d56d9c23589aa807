package local_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"muster/agent/checks"
	"muster/agent/local"
	"muster/catalog"
)

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewPedanticRegistry()
		s, f := newState(t, func(c *local.Config) { c.Registerer = reg }), newCatalog()
		start(t, newSyncer(t, s, f).Run)
		ok(t, s.AddService(web(), []checks.Definition{ttl("c1"), ttl("c2")}, local.Options{}))
		synctest.Wait()
		f.setFail(func(catalog.Command) error { return errors.New("connection refused") })
		ok(t, s.UpdateTTL("c1", "passing", ""))
		synctest.Wait()
		want := `
# HELP muster_local_checks Checks registered with this agent, by status.
# TYPE muster_local_checks gauge
muster_local_checks{status="critical"} 1
muster_local_checks{status="passing"} 1
muster_local_checks{status="warning"} 0
# HELP muster_local_pending Things of this agent that the catalog does not have as they are.
# TYPE muster_local_pending gauge
muster_local_pending 1
# HELP muster_local_services Services registered with this agent.
# TYPE muster_local_services gauge
muster_local_services 1
`
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "muster_local_checks", "muster_local_pending", "muster_local_services"); err != nil {
			t.Error(err)
		}
		f.setFail(func(write catalog.Command) error {
			if write == nil {
				return nil
			}
			return catalog.Errorf(catalog.Denied, "Permission denied")
		})
		time.Sleep(time.Second)
		syncs := counters(t, reg, "muster_local_syncs_total")
		for labels, want := range map[string]float64{"full ok": 1, "partial error": 1, "full refused": 1} {
			if syncs[labels] < want {
				t.Errorf("%s: %v syncs, want %v at least; all are %v", labels, syncs[labels], want, syncs)
			}
		}
		if n := counters(t, reg, "muster_local_refusals_total")[""]; n < 1 {
			t.Errorf("%v refusals were counted", n)
		}
	})
}

// counters gives the values of a counter by its labels' values.
func counters(t *testing.T, reg prometheus.Gatherer, name string) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	ok(t, err)
	values := map[string]float64{}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			values[strings.Join(labels, " ")] = m.GetCounter().GetValue()
		}
	}
	return values
}
