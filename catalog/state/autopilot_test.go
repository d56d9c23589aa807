package state

import (
	"bytes"
	"testing"

	"muster/catalog"
)

func TestAutopilot_IsSetAsAWholeAndWhereCASAllows(t *testing.T) {
	f := newFixture(t)
	if got := f.View().Autopilot(); got != catalog.DefaultAutopilot() {
		t.Errorf("before anybody set it: %+v", got)
	}
	three := catalog.Autopilot{MinQuorum: 3, RedundancyZoneTag: "zone"}
	created := f.must(&catalog.SetAutopilot{Autopilot: three, CAS: true})
	for _, c := range []struct {
		name string
		cmd  *catalog.SetAutopilot
		want bool
	}{
		{"over the default, which is no more", &catalog.SetAutopilot{CAS: true}, false},
		{"at a wrong index", &catalog.SetAutopilot{CAS: true, Index: created + 1}, false},
		{"the same", &catalog.SetAutopilot{Autopilot: three}, true},
		{"the same at its index", &catalog.SetAutopilot{Autopilot: three, CAS: true, Index: created}, true},
	} {
		f.mustKeep(c.cmd)
		if got := f.apply(c.cmd).Value; got != c.want {
			t.Errorf("%s: got %v, want %t", c.name, got, c.want)
		}
	}
	changed := f.must(&catalog.SetAutopilot{Autopilot: catalog.Autopilot{MinQuorum: 5}, CAS: true, Index: created})
	want := catalog.Autopilot{MinQuorum: 5, Indexes: catalog.Indexes{CreateIndex: created, ModifyIndex: changed}}
	v := f.View()
	if got := v.Autopilot(); got != want || v.Index() != changed {
		t.Errorf("%+v at %d, want %+v at %d", got, v.Index(), want, changed)
	}

	var bytes bytes.Buffer
	if _, err := f.Snapshot().WriteTo(&bytes); err != nil {
		t.Fatal(err)
	}
	restored := New()
	if err := restored.Restore(&bytes); err != nil {
		t.Fatal(err)
	}
	if got := restored.View().Autopilot(); got != want {
		t.Errorf("restored %+v, want %+v", got, want)
	}
}
