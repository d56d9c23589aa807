package api

import "testing"

func TestFilterLooksThroughLists(t *testing.T) {
	type check struct{ Status string }
	type address struct{ Port int }
	type row struct {
		Name      string
		Meta      map[string]string
		Addresses map[string]address
		Checks    []*check
	}
	mixed := row{"web", map[string]string{"a b": "c"}, map[string]address{"lan": {80}}, []*check{{"passing"}, {"critical"}}}
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
		`Addresses.lan.Port == 80`:                                   true,
		`Addresses.wan.Port == 80`:                                   false,
		`Addresses.wan.Port != 80`:                                   true,
		`Addresses.lan.Port != 80`:                                   false,
		`not Addresses.wan.Port == 80 and Checks.Status == critical`: true,
		`Addresses.wan.Port != 80 and Name == db`:                    false,
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

// What can't be compared is refused whatever is stored.
func TestFilterRefusesWhatCannotBeCompared(t *testing.T) {
	type row struct {
		Name   string
		Port   int
		Native bool
		Meta   map[string]string
		Any    map[string]any
		Place  *struct{ Zone string }
		List   []*struct{ Zone string }
		Secret string `bexpr:"-"`
	}
	for expression, want := range map[string]string{
		`Port == x`:               `Failed to coerce value "x" for selector "Port": strconv.ParseInt: parsing "x": invalid syntax`,
		`Native != maybe`:         `Failed to coerce value "maybe" for selector "Native": strconv.ParseBool: parsing "maybe": invalid syntax`,
		`Name matches "("`:        "Failed to compile regular expression \"(\": error parsing regexp: missing closing ): `(`",
		`Place == x`:              `Invalid match operator "Equal" for selector "Place"`,
		`Meta == x`:               `Invalid match operator "Equal" for selector "Meta"`,
		`Port is empty`:           `Invalid match operator "Is Empty" for selector "Port"`,
		`x in Port`:               `Invalid match operator "In" for selector "Port"`,
		`Name == a or Port == x`:  `Failed to coerce value "x" for selector "Port": strconv.ParseInt: parsing "x": invalid syntax`,
		`Secret == a`:             `Selector "Secret" is not valid`,
		`List.Bogus == 1`:         `Selector "List.Bogus" is not valid`,
		`List.Zone == 1`:          "",
		`Native == true`:          "",
		`Any.x.y == z`:            "",
		`Any.x is empty`:          "",
		`Place.Zone == x`:         "",
		`a in Meta and Name != b`: "",
	} {
		_, err := compileFilter(expression, row{})
		got := ""
		if err != nil {
			got = err.Error()
		}
		if want != "" {
			want = "Failed to create boolean expression evaluator: " + want
		}
		if got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", expression, got, want)
		}
	}
}
