package chain

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"muster/catalog"
	"muster/catalog/configentry"
)

// written are config entries by kind and name.
type written map[string]*catalog.ConfigEntry

func (w written) ConfigEntry(kind, name string) *catalog.ConfigEntry { return w[kind+"/"+name] }

func entries(t testing.TB, bodies ...string) written {
	t.Helper()
	w := written{}
	for _, body := range bodies {
		e, err := configentry.Decode([]byte(body))
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		w[e.Kind+"/"+e.Name] = e
	}
	return w
}

const allHTTP = `{"Kind":"proxy-defaults","Name":"global","Config":{"protocol":"http"}}`

func TestCompile_NamesTargetsByTheTrustDomain(t *testing.T) {
	w := entries(t, `{"Kind":"service-resolver","Name":"web","DefaultSubset":"v1","Subsets":{"v1":{}}}`)
	c, err := Compile(w, Request{Service: "web", Datacenter: "dc1", TrustDomain: "td.consul"})
	if err != nil {
		t.Fatal(err)
	}
	target := c.Targets["v1.web.default.default.dc1"]
	if target == nil || target.SNI != "v1.web.default.dc1.internal.td.consul" || target.Name != target.SNI {
		t.Errorf("%+v", target)
	}
}

// What Consul 1.21.4 does with entries that say less, or more, than one would think.
func TestCompile_AsConsul(t *testing.T) {
	compile := func(bodies ...string) *Chain {
		t.Helper()
		c, err := Compile(entries(t, bodies...), Request{Service: "a", Datacenter: "dc1"})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := compile(allHTTP, `{"Kind":"service-defaults","Name":"a","MaxInboundConnections":5}`); c.Protocol != "tcp" {
		t.Errorf("a service whose own defaults leave its protocol out speaks %s", c.Protocol)
	}
	if c := compile(`{"Kind":"service-resolver","Name":"a","Meta":{"k":"v"}}`); !c.Default {
		t.Error("an entry that says nothing makes a chain of its own")
	}
	if c := compile(`{"Kind":"service-resolver","Name":"a","Redirect":{"Service":"b"}}`); c.Default || !c.Nodes["resolver:b.default.default.dc1"].Resolver.Default {
		t.Errorf("a redirect to a service without entries: %+v", c)
	}
	c := compile(`{"Kind":"service-resolver","Name":"a","DefaultSubset":"v1","Subsets":{"v1":{}},"Redirect":{"Datacenter":"dc2"}}`)
	if c.StartNode != "resolver:v1.a.default.default.dc2" {
		t.Errorf("sent to another datacenter it begins with %s", c.StartNode)
	}
	balanced := func(name, policy string) string {
		return fmt.Sprintf(`{"Kind":"service-resolver","Name":%q,"LoadBalancer":{"Policy":%q}}`, name, policy)
	}
	const split = `{"Kind":"service-splitter","Name":"a","Splits":[{"Weight":50,"Service":"b"},{"Weight":50,"Service":"c"}]}`
	for want, bodies := range map[string][]string{
		"maglev":    {balanced("a", "ring_hash"), balanced("b", "least_request"), balanced("c", "maglev")},
		"ring_hash": {balanced("b", "ring_hash"), balanced("c", "maglev")},
		"":          {balanced("a", "maglev"), balanced("b", "least_request")},
	} {
		got := ""
		if b := compile(append(bodies, allHTTP, split)...).Nodes["splitter:a.default.default"].LoadBalancer; b != nil {
			got = b.Policy
		}
		if got != want {
			t.Errorf("the splitter balances by %q, not %q", got, want)
		}
	}
}

// Splitters that lead to splitters multiply: what a few entries come to is bounded.
func TestCompile_IsBounded(t *testing.T) {
	wide := []string{allHTTP}
	for i := range 40 { // each leads to the two before it: 2, 3, 5, 8, … shares
		wide = append(wide, fmt.Sprintf(`{"Kind":"service-splitter","Name":"s%d","Splits":[{"Weight":50,"Service":"s%d"},{"Weight":50,"Service":"s%d"}]}`, i+2, i+1, i))
	}
	deep := []string{allHTTP}
	for i := range 100 {
		deep = append(deep, fmt.Sprintf(`{"Kind":"service-splitter","Name":"s%d","Splits":[{"Weight":100,"Service":"s%d"}]}`, i+1, i))
	}
	for name, c := range map[string]struct {
		bodies []string
		start  string
		want   string
	}{
		"wide": {wide, "s41", "more than 1024 shares"},
		"deep": {deep, "s100", "more than 64 splitters follow each other"},
	} {
		_, err := Compile(entries(t, c.bodies...), Request{Service: c.start, Datacenter: "dc1"})
		if err == nil || !strings.Contains(err.Error(), c.want) || catalog.KindOf(err) != catalog.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The same entries make the same chain, whatever the order of maps.
func TestCompile_IsAFunctionOfTheEntries(t *testing.T) {
	w := entries(t, allHTTP,
		`{"Kind":"service-resolver","Name":"b","Subsets":{"v1":{},"v2":{}},"Failover":{"*":{"Datacenters":["dc2","dc3"]},"v2":{"Service":"c"}}}`,
		`{"Kind":"service-splitter","Name":"b","Splits":[{"Weight":60,"ServiceSubset":"v1"},{"Weight":40,"ServiceSubset":"v2"}]}`,
		`{"Kind":"service-router","Name":"a","Routes":[{"Match":{"HTTP":{"PathPrefix":"/b"}},"Destination":{"Service":"b"}}]}`)
	first := ""
	for range 20 {
		c, err := Compile(w, Request{Service: "a", Datacenter: "dc1"})
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = string(text)
		}
		if string(text) != first {
			t.Fatalf("%s\nand\n%s", first, text)
		}
	}
}
