package api

import "testing"

func TestFilterLooksThroughLists(t *testing.T) {
	type check struct{ Status string }
	type row struct {
		Name   string
		Meta   map[string]string
		Checks []*check
	}
	mixed := row{"web", map[string]string{"a b": "c"}, []*check{{"passing"}, {"critical"}}}
	for expression, want := range map[string]bool{
		`Checks.Status == passing`:                                   true,
		`Checks.Status != passing`:                                   true,
		"`critical` in Checks.Status":                                true,
		"`passing` not in Checks.Status":                             true,
		`Checks.Status contains warning`:                             false,
		`not Checks.Status == passing`:                               false,
		`Checks.Status matches "crit"`:                               true,
		`Checks.Status not matches "crit|pass"`:                      false,
		`Checks is empty`:                                            false,
		`Checks.Status == critical and Name == web`:                  true,
		`Checks.Status == critical and (Name == db or Name == x)`:    false,
		`Checks.Status == warning or Meta["a b"] == c`:               true,
		`Checks.Status == critical and Name != "a` + "`" + `b"`:      true,
		`(any Checks as c { c.Status == critical }) and Name == web`: true,
		`all Checks as c { c.Status == critical }`:                   false,
	} {
		eval, err := compileFilter(expression, row{})
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		if got, err := match(eval, mixed); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", expression, got, err, want)
		}
	}
}
