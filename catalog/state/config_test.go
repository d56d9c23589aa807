package state

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"muster/catalog"
)

// modelKinds are kinds of config entries, of which the store knows no more than
// their names.
var modelKinds = []string{"mesh", "service-defaults"}

// configCommands draws changes of config entries.
func configCommands() *rapid.Generator[catalog.Command] {
	return rapid.Custom(func(t *rapid.T) catalog.Command {
		return &catalog.SetConfig{
			Verb:  catalog.ConfigVerb(rapid.IntRange(1, 4).Draw(t, "verb")),
			Kind:  rapid.SampledFrom(modelKinds).Draw(t, "kind"),
			Name:  someNames.Draw(t, "name"),
			Body:  []byte(rapid.SampledFrom([]string{`{"A":1}`, `{"A":2}`}).Draw(t, "body")),
			Index: rapid.Uint64Range(0, 12).Draw(t, "index"),
		}
	})
}

// changeConfig is what such a change does, as plainly as it can be said.
func (m model) changeConfig(index uint64, c *catalog.SetConfig) {
	at := [2]string{c.Kind, catalog.Fold(c.Name)}
	old, is := m.configs[at]
	next := catalog.ConfigEntry{Kind: c.Kind, Name: c.Name, Body: c.Body, Indexes: catalog.Indexes{CreateIndex: index, ModifyIndex: index}}
	if is {
		next.CreateIndex = old.CreateIndex
	}
	met := old.ModifyIndex == c.Index
	switch c.Verb {
	case catalog.ConfigSet:
		met = true
		fallthrough
	case catalog.ConfigCAS:
		if met && !(is && old.Same(&next)) {
			m.configs[at] = next
		}
	case catalog.ConfigDelete:
		delete(m.configs, at)
	case catalog.ConfigDeleteCAS:
		if met {
			delete(m.configs, at)
		}
	}
}

func configured(kind, name, body string) *catalog.SetConfig {
	return &catalog.SetConfig{Verb: catalog.ConfigSet, Kind: kind, Name: name, Body: []byte(body)}
}

func TestSetConfig_SaysWhetherItsConditionWasMet(t *testing.T) {
	f := newFixture(t, configured("mesh", "mesh", `{"A":1}`))
	created := f.View().ConfigEntry("mesh", "mesh").ModifyIndex
	for _, c := range []struct {
		verb  catalog.ConfigVerb
		body  string
		index uint64
		met   bool
	}{
		{catalog.ConfigCAS, `{"A":2}`, created + 1, false},
		{catalog.ConfigCAS, `{"A":1}`, created + 1, true}, // it says so already
		{catalog.ConfigCAS, `{"A":2}`, created, true},
		{catalog.ConfigDeleteCAS, "", created, false},
		{catalog.ConfigDelete, "", 0, true},
		{catalog.ConfigDeleteCAS, "", 9, true}, // it is gone already
	} {
		result := f.apply(&catalog.SetConfig{Verb: c.verb, Kind: "mesh", Name: "mesh", Body: []byte(c.body), Index: c.index})
		if result.Value != c.met {
			t.Errorf("%+v is answered %v", c, result.Value)
		}
	}
}

func TestSetConfig_RefusesWhatCannotBeKept(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		cmd  catalog.SetConfig
		want string
	}{
		{*configured("", "x", `{"A":1}`), "kind of a config entry must not be empty"},
		{*configured("mesh", "", `{"A":1}`), "name of a config entry must not be empty"},
		{*configured("mesh", "a\x00b", `{"A":1}`), "NUL"},
		{*configured("mesh", "x", `{}`), "not a JSON object"},
		{*configured("mesh", "x", `[1]`), "not a JSON object"},
		{catalog.SetConfig{Verb: 9, Kind: "mesh", Name: "x"}, "unknown verb 9"},
	} {
		result := f.apply(&c.cmd)
		if result.Err == nil || !strings.Contains(result.Err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.cmd, result.Err, c.want)
		}
	}
	if all := f.View().ConfigEntries(""); len(all) != 0 {
		t.Errorf("there is %v", all)
	}
}

// A waiter for one entry sleeps while others of its kind are written.
func TestWait_ForAConfigEntryWakesForThatEntryAlone(t *testing.T) {
	f := newFixture(t, configured("mesh", "other", `{"A":1}`))
	v := f.View()
	if e := v.ConfigEntry("mesh", "mesh"); e != nil {
		t.Fatalf("there is %+v", e)
	}
	done := make(chan error)
	go func() { done <- f.Wait(t.Context(), v.Topics(), v.Index()) }()
	f.waiters.await(1)
	f.must(configured("mesh", "other", `{"A":2}`))
	f.must(configured("service-defaults", "mesh", `{"A":2}`))
	if n := f.waiters.parked(); n != 1 {
		t.Fatalf("%d places are left", n)
	}
	f.must(configured("mesh", "mesh", `{"A":1}`))
	if err := <-done; err != nil {
		t.Error(err)
	}
}
